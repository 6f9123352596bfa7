"""What the compiler nncase 0.2 makes of a chain of layers for a Kendryte K210: steps in order.

The accelerator of the K210, the KPU, computes convolutions of 1 × 1 and 3 × 3 pixels on maps from
4 × 4 on, always with zeros around them and with a stride of 1. The compiler brings what a network
asks for into that form: missing zeros are added before and surplus pixels cut off after, strides
become slices. It then rewrites neighbours, and what is left over between two convolutions is done
by the CPU, on bytes that travel out of the memory of the KPU and back.

The rules, their conditions and their order are those of kendryte/nncase (Apache-2.0), folders
``src/transforms/hlir`` and ``src/targets`` of its releases 0.2, stated here for chains. The
compiler's own report is the check: `kpu_steps.working_memory` gives, to the 10 bytes to which it
was noted, what it said of all 440 networks of dataset_7 of amirhpd/emnas that it could convert.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from emnas_gym.models.kpu_steps import NONE, Sides, Step, Steps, every, fits, on_kpu, pad, sum_of

Rule = Callable[[Step, Step | None], tuple[int, list[Step]] | None]  # → steps used, and instead


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


def _kpu_form(step: Step) -> tuple[Sides, Sides] | None:
    """Zeros to add before and pixels to cut off after, where the KPU can do a convolution."""
    if step.kind != "conv" or step.kernel not in (1, 3) or not fits(step.reads):
        return None
    own = step.kernel // 2  # zeros that the KPU adds itself
    (top, bottom), (left, right) = step.pads
    wanted = (top - own, bottom - own), (left - own, right - own)
    (a, b), (c, d) = wanted
    before = (max(a, 0), max(b, 0)), (max(c, 0), max(d, 0))
    if step.gives[2] > 1024 or not fits(pad(step.reads, before).gives):
        return None
    return before, ((min(a, 0), min(b, 0)), (min(c, 0), min(d, 0)))


def _to_kpu(step: Step, _: Step | None) -> tuple[int, list[Step]] | None:
    form = _kpu_form(step)
    if form is None:
        return None
    before = pad(step.reads, form[0])
    conv = on_kpu(step, before.gives, pooled=False)
    after = pad(conv.gives, form[1])
    height, width, _channels = after.gives
    return 1, [before, conv, after, every(after.gives, step.stride, (0, 0), (height, width))]


def _slice_behind_conv(step: Step, then: Step | None) -> tuple[int, list[Step]] | None:
    """Slicing after a 1 × 1 convolution gives the same, and can be fused into it."""
    whole = step.begin == (0, 0) and step.end == step.reads[:2]
    if step.stride != 2 or not whole or then is None:
        return None
    if then.kind != "kpu" or then.depthwise or then.kernel != 1 or then.pooled:
        return None
    conv = on_kpu(then, step.reads, pooled=False)
    height, width, _ = conv.gives
    return 2, [conv, every(conv.gives, 2, (0, 0), (height, width))]


def _pool(step: Step, then: Step | None) -> tuple[int, list[Step]] | None:
    """The KPU keeps every second pixel itself, except of depthwise convolutions."""
    if step.depthwise or then is None or then.kind != "slice":
        return None
    if then.stride != 2 or not fits(then.gives):
        return None
    above = then.begin[0] % 2
    even = (above, (then.reads[0] + above) % 2), (0, step.reads[1] % 2)
    before = pad(step.reads, even)
    if not fits(before.gives):
        return None
    conv = on_kpu(step, before.gives, pooled=True)
    top, left = -(then.begin[0] // 2 + above), -(then.begin[1] // 2)
    bottom, right = (a - b for a, b in zip(then.gives[:2], conv.gives[:2], strict=True))
    return 2, [before, conv, pad(conv.gives, ((top, bottom - top), (left, right - left)))]


def _no_pad(step: Step, _: Step | None) -> tuple[int, list[Step]] | None:
    return (1, []) if step.pads == NONE else None


def _pads_in_one(step: Step, then: Step | None) -> tuple[int, list[Step]] | None:
    if then is None or then.kind != "pad":
        return None
    return 2, [pad(step.reads, sum_of(step.pads, then.pads))]


def _cut_by_slice(step: Step, then: Step | None) -> tuple[int, list[Step]] | None:
    if then is None or then.kind != "slice":
        return None
    (a, b), (c, d) = step.pads
    if min(a, b, c, d) >= 0:
        return None
    kept = pad(step.reads, ((max(a, 0), max(b, 0)), (max(c, 0), max(d, 0))))
    down, across = max(-a, 0), max(-c, 0)
    begin = then.begin[0] + down, then.begin[1] + across
    end = then.end[0] + down, then.end[1] + across
    return 2, [kept, every(kept.gives, then.stride, begin, end)]


def _slice_as_pad(step: Step, _: Step | None) -> tuple[int, list[Step]] | None:
    if step.stride != 1:
        return None
    (top, left), (bottom, right) = step.begin, step.end
    height, width, _channels = step.reads
    return 1, [pad(step.reads, ((-top, bottom - height), (-left, right - width)))]


RULES: tuple[tuple[str, Rule], ...] = (  # kind of the step that a rule begins with
    ("conv", _to_kpu),
    ("slice", _slice_behind_conv),
    ("kpu", _pool),
    ("pad", _no_pad),
    ("pad", _pads_in_one),
    ("pad", _cut_by_slice),
    ("slice", _slice_as_pad),
)
