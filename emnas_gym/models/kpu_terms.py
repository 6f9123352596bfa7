"""What the steps of a network ask of a Kendryte K210, counted: terms of an additive latency.

The KPU reads maps in lines of 64 bytes, which several channels share where they are narrow. What it
does not do itself goes through the main memory: a download, cuts, zeros and slices on bytes, then
an upload, which copies row by row unless the width is a multiple of 64. Sources: the row layout and
the kernels of kendryte/nncase (Apache-2.0), releases 0.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

from emnas_gym.graph import Shape
from emnas_gym.models.kpu_program import lower, parts
from emnas_gym.models.kpu_steps import Step, Steps, absorb_pads, layer_steps
from emnas_gym.tasks import Task
from emnas_gym.token_space import TokenSpace

Terms = dict[str, float]
CACHE_WAY, CACHE_WAYS = 4096, 8  # bytes, ways
LINE = 64  # bytes


def kpu_terms(space: TokenSpace, task: Task, tokens: Sequence[int], cache: bool) -> Terms:
    """Terms of a whole network as the compiler lowers it (`emnas_gym.models.kpu_program`).

    Args:
        space: The search space.
        task: What the network is for.
        tokens: Its tokens; repeats of the same behaviour count alike.
        cache: Whether convolutions by the CPU are told apart by how they fill its cache.

    Raises:
        ShapeError: If a layer does not fit its shape.
    """
    total: Terms = {}
    before = "kpu"  # the camera image is put there
    for part in parts(chain_steps(space, task, tokens)):
        before, terms = _part_terms(part, before, cache)
        for name, amount in terms.items():
            total[name] = total.get(name, 0) + amount
    return total


def chain_steps(space: TokenSpace, task: Task, tokens: Sequence[int]) -> Steps:
    """Steps of a network before lowering, zeros absorbed.

    Raises:
        ShapeError: If a layer does not fit its shape.
    """
    shape: Shape = task.input_shape
    steps: list[Step] = []
    for token in space.canonical_tokens(tokens):
        shape, found = layer_steps(space.spec(token), shape, task.classes)
        steps += found
    return absorb_pads(steps)


@lru_cache(maxsize=1 << 15)
def _part_terms(part: Steps, before: str, cache: bool) -> tuple[str, Mapping[str, float]]:
    """Kind of the last step, and terms; ``before`` is the kind of the step before the part."""
    terms: Terms = {}
    for step in lower(part):
        if step.kind == "sigmoid" and before == "kpu":
            _add(terms, "sigmoid in the KPU", calls=1)  # a table there; the map stays where it is
            continue
        if step.kind == "kpu":
            _add_kpu(terms, step, before)
        else:
            _add_cpu(terms, step, before, cache)
        before = step.kind
    return before, MappingProxyType(terms)


def _add(terms: Terms, name: str, **amounts: float) -> None:
    for what, amount in amounts.items():
        if amount:
            key = f"{name}: {what}"
            terms[key] = terms.get(key, 0) + amount


def _add_kpu(terms: Terms, step: Step, before: str) -> None:
    height, width, channels = step.reads
    size = math.prod(step.reads)
    if before != "kpu":
        if width % LINE:
            _add(terms, "upload by rows", bytes=size, rows=height * channels)
        else:
            _add(terms, "upload", bytes=size)
    read, made = _lines(step.reads), _lines((height, width, step.gives[2]))
    rounds = 1 if step.depthwise else step.gives[2]  # times that the map is read
    _add(
        terms,
        f"kpu {_window(step)}",
        calls=1,
        work=read * rounds,
        weights=step.kernel**2 * channels * rounds,
        read=read,
        made=made,
    )


def _lines(shape: Shape) -> int:
    """Lines of the memory of the KPU that a map takes."""
    height, width, channels = shape
    if width > LINE // 2:
        return height * -(-width // LINE) * channels
    return height * -(-channels // (4 if width <= LINE // 4 else 2))


def _add_cpu(terms: Terms, step: Step, before: str, cache: bool) -> None:
    size, made = math.prod(step.reads), math.prod(step.gives)
    if before == "kpu":
        _add(terms, "download", calls=1, bytes=size)
    if step.kind == "conv":
        _add_conv(terms, step, cache)
    elif step.kind in ("pad", "slice"):
        _add(terms, step.kind, calls=1, out=made, rows=step.gives[0] * step.gives[2])
    elif step.kind == "sigmoid":
        _add(terms, f"sigmoid after {before}", calls=1, out=made)
    elif step.kind == "dense":
        _add(terms, "dense", calls=1, macs=size * made, **{"in": size, "out": made})
    else:
        _add(terms, step.kind, calls=1, **{"in": size})


def _add_conv(terms: Terms, step: Step, cache: bool) -> None:
    made = math.prod(step.gives)
    name = f"cpu {_window(step)}/{step.stride}"
    depth = 1 if step.depthwise else step.reads[2]
    macs = _taps(step, 0) * _taps(step, 1) * step.gives[2] * depth
    _add(terms, name, calls=1, macs=macs, out=made)
    if step.depthwise:
        return
    _add(terms, name, sums=made * depth)
    shared = depth * math.gcd(step.reads[0] * step.reads[1], CACHE_WAY) / CACHE_WAY
    if cache and shared >= CACHE_WAYS:
        _add(terms, f"cpu conv with {shared:g} channels a cache set", macs=macs)


def _taps(step: Step, axis: int) -> int:
    """Taps of the window along an axis over all its places; those on zeros are left out."""
    size, before = step.reads[axis], step.pads[axis][0]
    starts = (place * step.stride - before for place in range(step.gives[axis]))
    return sum(max(0, min(size, first + step.kernel) - max(0, first)) for first in starts)


def _window(step: Step) -> str:
    return f"{'depthwise' if step.depthwise else 'conv'} {step.kernel}x{step.kernel}"
