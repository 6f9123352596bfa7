"""Where every activation lies in the arena of a TFLM-style runtime, and how large the arena is.

A chain alternates between the two ends of the arena, so that its head is the largest sum of one
operation's input and output. Graphs with branches use TensorFlow Lite Micro's greedy plan
(largest buffer first, ties: the later tensor first, first fit), which was checked against it, or
the same with the earlier tensor first where that is smaller: where all maps are of one size, as in
a stack of cells, ties decide everything. A file carries its plan, so that the runtime follows.
"""

from __future__ import annotations

import bisect
import itertools
from dataclasses import dataclass

from emnas_gym.graph import LayerGraph, Node

ALIGNMENT = 16
POOL_ROWS, POOL_AREA = 256, 65536  # the largest average pool that Vela leaves to an Ethos-U
MEAN_SCRATCH = 2 * ALIGNMENT  # for the axes, beside four bytes a channel for the sums


def align(size: int) -> int:
    """Rounds up to the alignment of the arena."""
    return -(-size // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True)
class ArenaPlan:
    """Offsets of the activations of a deployed graph.

    Attributes:
        offsets: Byte offset of each node's output, in the order of the nodes.
        head_bytes: Size of the part of the arena that activations share.
    """

    offsets: tuple[int, ...]
    head_bytes: int


def plan_arena(graph: LayerGraph, bytes_per_element: int = 1) -> ArenaPlan:
    """Plans the activations of ``graph``; training-only operations must be gone.

    Args:
        graph: A deployed graph.
        bytes_per_element: 1 for int8, 4 for float32.
    """
    sizes = [align(node.size * bytes_per_element) for node in graph]
    plan = _alternate(sizes) if graph.is_chain else _smaller(sizes, _lifetimes(graph))
    return _with_scratch(graph, sizes, plan)


def is_large_mean(graph: LayerGraph, node: Node) -> bool:
    """Whether a global average is over a map too large to be written as an average pool."""
    if node.op != "mean":
        return False
    height, width, _ = graph.in_shapes(node)[0]
    return height > POOL_ROWS or height * width > POOL_AREA


def scratch_bytes(graph: LayerGraph, node: Node) -> int:
    """What the runtime's kernel asks of the arena while one operation runs, beside its maps."""
    return align(4 * node.shape[-1]) + MEAN_SCRATCH if is_large_mean(graph, node) else 0


def _alternate(sizes: list[int]) -> ArenaPlan:
    pairs = itertools.pairwise(sizes)
    head = max((a + b for a, b in pairs), default=sizes[0])
    offsets = [0 if i % 2 == 0 else head - size for i, size in enumerate(sizes)]
    return ArenaPlan(tuple(offsets), head)


def _lifetimes(graph: LayerGraph) -> list[tuple[int, int]]:
    last = [i for i in range(len(graph.nodes))]
    for i, node in enumerate(graph):
        for j in node.inputs:
            last[j] = i
    last[-1] = len(graph.nodes) - 1
    return list(enumerate(last))


def _smaller(sizes: list[int], lifetimes: list[tuple[int, int]]) -> ArenaPlan:
    plans = [_greedy(sizes, lifetimes, tie) for tie in (-1, 1)]
    return min(plans, key=lambda plan: plan.head_bytes)


def _greedy(sizes: list[int], lifetimes: list[tuple[int, int]], tie: int) -> ArenaPlan:
    """The largest first; of equal ones the later if ``tie`` is -1, the earlier if it is 1."""
    placed: list[tuple[int, int]] = []  # (offset, tensor), kept sorted by offset
    offsets = [0] * len(sizes)
    for tensor in sorted(range(len(sizes)), key=lambda i: (-sizes[i], tie * i)):
        offset = 0
        for other_offset, other in placed:
            if not _overlap(lifetimes[tensor], lifetimes[other]):
                continue
            if other_offset - offset >= sizes[tensor]:
                break
            offset = max(offset, other_offset + sizes[other])
        offsets[tensor] = offset
        bisect.insort(placed, (offset, tensor))
    return ArenaPlan(tuple(offsets), max(o + s for o, s in zip(offsets, sizes, strict=True)))


def _with_scratch(graph: LayerGraph, sizes: list[int], plan: ArenaPlan) -> ArenaPlan:
    """The plan with a head that has room for scratch, which the runtime places: first fit."""
    head, lifetimes = plan.head_bytes, _lifetimes(graph)
    for i, node in enumerate(graph):
        if not is_large_mean(graph, node):
            continue
        alive = [j for j, (first, last) in enumerate(lifetimes) if first <= i <= last]
        offset = 0
        for j in sorted(alive, key=lambda j: plan.offsets[j]):
            if plan.offsets[j] - offset >= scratch_bytes(graph, node):
                break
            offset = max(offset, plan.offsets[j] + sizes[j])
        head = max(head, offset + scratch_bytes(graph, node))
    return ArenaPlan(plan.offsets, head)


def _overlap(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return a[0] <= b[1] and b[0] <= a[1]
