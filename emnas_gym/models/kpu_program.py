"""What the compiler nncase 0.2 makes of a chain of layers for a Kendryte K210: steps in order.

The accelerator of the K210, the KPU, computes convolutions of 1 × 1 and 3 × 3 pixels on maps from
4 × 4 on, always with zeros around them and with a stride of 1. The compiler brings what a network
asks for into that form: missing zeros are added before and surplus pixels cut off after, strides
become slices. It then rewrites neighbours, and what is left over between two convolutions is done
by the CPU, on bytes that travel out of the memory of the KPU and back.

The rules, their conditions and their order are those of kendryte/nncase (Apache-2.0), folders
``src/transforms/hlir`` and ``src/targets`` of its releases 0.2, stated here for chains. The
compiler's own report is the check: `working_memory` gives, to the 10 bytes to which it was noted,
what it said of all 440 networks of dataset_7 of amirhpd/emnas that it could convert.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from emnas_gym.graph import GraphBuilder, Shape
from emnas_gym.layers import LayerSpec

Sides = tuple[tuple[int, int], tuple[int, int]]  # (top, bottom), (left, right)
NONE: Sides = ((0, 0), (0, 0))
WINDOWS = ("conv2d", "depthwise_conv2d")
FLOAT_AND_BYTE = 5  # bytes of an element that is held as both


@dataclass(frozen=True, slots=True)
class Step:
    """One step on maps (height, width, channels).

    Attributes:
        kind: ``"kpu"`` (a convolution there), ``"conv"`` (one by the CPU), ``"pad"``, ``"slice"``,
            or the name of another operation.
        reads: Shape of what it reads.
        gives: Shape of what it returns.
        kernel: Side of the window of a convolution.
        stride: Step of ``conv`` and ``slice``; that of ``kpu`` is 1.
        depthwise: Whether each channel is a convolution of its own.
        pooled: Whether ``kpu`` keeps every second pixel only, which costs nothing.
        pads: Zeros around the map for ``conv`` and ``pad``; a negative number cuts pixels off.
        begin: First row and column that ``slice`` takes.
        end: One beyond the last row and column that it may take.
    """

    kind: str
    reads: Shape
    gives: Shape
    kernel: int = 1
    stride: int = 1
    depthwise: bool = False
    pooled: bool = False
    pads: Sides = NONE
    begin: tuple[int, int] = (0, 0)
    end: tuple[int, int] = (0, 0)


Steps = tuple[Step, ...]
Rule = Callable[[Step, Step | None], tuple[int, list[Step]] | None]  # → steps used, and instead


@lru_cache(maxsize=1 << 15)
def layer_steps(spec: LayerSpec, shape: Shape, classes: int) -> tuple[Shape, Steps]:
    """One layer before the compiler has seen it, and the shape that it returns.

    Raises:
        ShapeError: If the layer does not fit the shape.
    """
    builder = GraphBuilder(shape)
    spec.lower(builder, classes)
    graph = builder.build().deployed()
    steps: list[Step] = []
    for node in graph.nodes[1:]:
        reads = graph.in_shapes(node)[0]
        window = node.op in WINDOWS
        top, bottom, left, right = node.pads
        steps.append(
            Step(
                "conv" if window else node.op,
                reads,
                node.shape,
                node.kernel[0],
                node.stride[0],
                node.op == "depthwise_conv2d",
                pads=((top, bottom), (left, right)),
            )
        )
    return builder.shape, tuple(steps)


def absorb_pads(steps: Sequence[Step]) -> Steps:
    """Zeros of their own are added to those of the convolution behind them, wherever it runs."""
    found: list[Step] = []
    for step in steps:
        last = found[-1] if found else None
        if last is not None and last.kind == "pad" and step.kind in ("pad", "conv"):
            found.pop()
            step = replace(step, reads=last.reads, pads=_sum(last.pads, step.pads))
        found.append(step)
    return tuple(found)


def parts(steps: Sequence[Step]) -> list[Steps]:
    """Cuts a chain where no rewriting reaches across, so that parts can be kept and used again.

    Args:
        steps: From `absorb_pads`.
    """
    found: list[Steps] = []
    part: list[Step] = []
    for step in steps:
        if part and step.kind not in ("pad", "conv"):
            found.append(tuple(part))
            part = []
        part.append(step)
        if _closed(part):
            found.append(tuple(part))
            part = []
    return [*found, tuple(part)] if part else found


def _closed(part: list[Step]) -> bool:
    last = part[-1]
    form = _kpu_form(last)
    if form is None:
        return last.kind != "pad"
    if last.stride == 1:
        return form[1] == NONE
    return len(part) == 1 and lower(tuple(part))[-1].kind == "kpu"


@lru_cache(maxsize=1 << 15)
def lower(part: Steps) -> Steps:
    """Steps that run, for a part of a chain (`parts`) or for a whole one.

    Rules are tried in the compiler's order, each from the front, and after every change again.

    Args:
        part: From `absorb_pads`.
    """
    steps = list(part)
    while _rewrite(steps):
        pass
    return tuple(steps)


def _rewrite(steps: list[Step]) -> bool:
    for kind, rule in RULES:
        for i, step in enumerate(steps):
            if step.kind != kind:
                continue
            change = rule(step, steps[i + 1] if i + 1 < len(steps) else None)
            if change is not None:
                steps[i : i + change[0]] = change[1]
                return True
    return False


def working_memory(steps: Sequence[Step]) -> int:
    """Bytes of main memory that the steps of a chain without sigmoids and dense layers need."""
    most = 0
    for i, step in enumerate(steps):
        size, result = math.prod(step.reads), math.prod(step.gives)
        if step.kind == "kpu":
            downloaded = i + 1 == len(steps) or steps[i + 1].kind != "kpu"
            most = max(most, result if downloaded else 0)
        elif step.kind == "mean":
            most = max(most, FLOAT_AND_BYTE * size)
        elif step.kind in ("conv", "pad", "slice"):
            most = max(most, size + result)
    return most


def fits(shape: Shape) -> bool:
    """Whether the KPU takes a map (height, width, channels)."""
    height, width, channels = shape
    return 4 <= height <= 256 and 4 <= width <= 512 and channels <= 1024


def _sum(a: Sides, b: Sides) -> Sides:
    (t, u), (v, w) = a
    return (t + b[0][0], u + b[0][1]), (v + b[1][0], w + b[1][1])


def _pad(reads: Shape, pads: Sides) -> Step:
    height, width, channels = reads
    gives = (height + sum(pads[0]), width + sum(pads[1]), channels)
    return Step("pad", reads, gives, pads=pads)


def _slice(reads: Shape, stride: int, begin: tuple[int, int], end: tuple[int, int]) -> Step:
    height, width = (-(-(e - b) // stride) for b, e in zip(begin, end, strict=True))
    gives = (height, width, reads[2])
    return Step("slice", reads, gives, stride=stride, begin=begin, end=end)


def _kpu(like: Step, reads: Shape, pooled: bool) -> Step:
    halves = 2 if pooled else 1
    gives = (reads[0] // halves, reads[1] // halves, like.gives[2])
    return Step("kpu", reads, gives, like.kernel, 1, like.depthwise, pooled)


def _kpu_form(step: Step) -> tuple[Sides, Sides] | None:
    """Zeros to add before and pixels to cut off after, where the KPU can do a convolution."""
    if step.kind != "conv" or step.kernel not in (1, 3) or not fits(step.reads):
        return None
    own = step.kernel // 2  # zeros that the KPU adds itself
    (top, bottom), (left, right) = step.pads
    wanted = (top - own, bottom - own), (left - own, right - own)
    (a, b), (c, d) = wanted
    before = (max(a, 0), max(b, 0)), (max(c, 0), max(d, 0))
    if step.gives[2] > 1024 or not fits(_pad(step.reads, before).gives):
        return None
    return before, ((min(a, 0), min(b, 0)), (min(c, 0), min(d, 0)))


def _to_kpu(step: Step, _: Step | None) -> tuple[int, list[Step]] | None:
    form = _kpu_form(step)
    if form is None:
        return None
    before = _pad(step.reads, form[0])
    conv = _kpu(step, before.gives, pooled=False)
    after = _pad(conv.gives, form[1])
    height, width, _channels = after.gives
    return 1, [before, conv, after, _slice(after.gives, step.stride, (0, 0), (height, width))]


def _slice_behind_conv(step: Step, then: Step | None) -> tuple[int, list[Step]] | None:
    """Slicing after a 1 × 1 convolution gives the same, and can be fused into it."""
    whole = step.begin == (0, 0) and step.end == step.reads[:2]
    if step.stride != 2 or not whole or then is None:
        return None
    if then.kind != "kpu" or then.depthwise or then.kernel != 1 or then.pooled:
        return None
    conv = _kpu(then, step.reads, pooled=False)
    height, width, _ = conv.gives
    return 2, [conv, _slice(conv.gives, 2, (0, 0), (height, width))]


def _pool(step: Step, then: Step | None) -> tuple[int, list[Step]] | None:
    """The KPU keeps every second pixel itself, except of depthwise convolutions."""
    if step.depthwise or then is None or then.kind != "slice":
        return None
    if then.stride != 2 or not fits(then.gives):
        return None
    above = then.begin[0] % 2
    even = (above, (then.reads[0] + above) % 2), (0, step.reads[1] % 2)
    before = _pad(step.reads, even)
    if not fits(before.gives):
        return None
    conv = _kpu(step, before.gives, pooled=True)
    top, left = -(then.begin[0] // 2 + above), -(then.begin[1] // 2)
    bottom, right = (a - b for a, b in zip(then.gives[:2], conv.gives[:2], strict=True))
    return 2, [before, conv, _pad(conv.gives, ((top, bottom - top), (left, right - left)))]


def _no_pad(step: Step, _: Step | None) -> tuple[int, list[Step]] | None:
    return (1, []) if step.pads == NONE else None


def _pads_in_one(step: Step, then: Step | None) -> tuple[int, list[Step]] | None:
    if then is None or then.kind != "pad":
        return None
    return 2, [_pad(step.reads, _sum(step.pads, then.pads))]


def _cut_by_slice(step: Step, then: Step | None) -> tuple[int, list[Step]] | None:
    if then is None or then.kind != "slice":
        return None
    (a, b), (c, d) = step.pads
    if min(a, b, c, d) >= 0:
        return None
    kept = _pad(step.reads, ((max(a, 0), max(b, 0)), (max(c, 0), max(d, 0))))
    down, across = max(-a, 0), max(-c, 0)
    begin = then.begin[0] + down, then.begin[1] + across
    end = then.end[0] + down, then.end[1] + across
    return 2, [kept, _slice(kept.gives, then.stride, begin, end)]


def _slice_as_pad(step: Step, _: Step | None) -> tuple[int, list[Step]] | None:
    if step.stride != 1:
        return None
    (top, left), (bottom, right) = step.begin, step.end
    height, width, _channels = step.reads
    return 1, [_pad(step.reads, ((-top, bottom - height), (-left, right - width)))]


RULES: tuple[tuple[str, Rule], ...] = (  # kind of the step that a rule begins with
    ("conv", _to_kpu),
    ("slice", _slice_behind_conv),
    ("kpu", _pool),
    ("pad", _no_pad),
    ("pad", _pads_in_one),
    ("pad", _cut_by_slice),
    ("slice", _slice_as_pad),
)
