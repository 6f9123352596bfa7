"""What may stand on an edge of a cell, as it is deployed.

A convolution is one fused operator: convolution, batch norm, ReLU, in this order, so that export
folds the batch norm. NAS-Bench-201 and DARTS write ReLU, convolution, batch norm, which leaves two
operators on a device; DARTS applies a separable convolution twice. The choices are the same.

Names of families with a window k (1, 3, 5 or 7; for pools 2 or 3):

=====================  ============================================================================
``none``               no edge
``skip``               the input itself; where the shape changes, a 1×1 convolution with a stride
``conv{k}x{k}``        convolution; ``dilconv{k}x{k}`` with every second pixel of its window
``sep{k}x{k}``         depthwise, then pointwise convolution; ``dilsep{k}x{k}`` dilated
``avg_pool{k}x{k}``    average, and ``max_pool{k}x{k}`` maximum of a window; where channels change,
                       a 1×1 convolution follows
``mbconv{k}x{k}_e{e}``  inverted residual of MobileNetV2 with expansion e (Sandler et al., 2018)
``shuffle{k}x{k}``     unit of ShuffleNet V2 (Ma et al., 2018)
=====================  ============================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from emnas_gym.graph import GraphBuilder

Lower = Callable[[GraphBuilder, int, int, int], int]  # builder, what it reads, channels, stride
NONE, SKIP = "none", "skip"


def convolution(
    builder: GraphBuilder,
    reads: int,
    channels: int,
    stride: int = 1,
    kernel: int = 1,
    dilation: int = 1,
    activation: str = "relu",
) -> int:
    """Adds a convolution with batch norm that keeps the map, or divides it by the stride."""
    return builder.window(
        "conv2d", kernel, stride, "same", filters=channels, dilation=dilation,
        activation=activation, batch_norm=True, reads=reads,
    )  # fmt: skip


def _skip(builder: GraphBuilder, reads: int, channels: int, stride: int) -> int:
    if stride == 1 and builder.nodes[reads].shape[-1] == channels:
        return reads
    return convolution(builder, reads, channels, stride)


def _conv(
    builder: GraphBuilder, reads: int, channels: int, stride: int, kernel: int, dilation: int
) -> int:
    return convolution(builder, reads, channels, stride, kernel, dilation)


def _separable(
    builder: GraphBuilder, reads: int, channels: int, stride: int, kernel: int, dilation: int
) -> int:
    depthwise = builder.window(
        "depthwise_conv2d", kernel, stride, "same", dilation=dilation, reads=reads
    )
    return convolution(builder, depthwise, channels)


def _pool(
    builder: GraphBuilder, reads: int, channels: int, stride: int, op: str, kernel: int
) -> int:
    pooled = builder.window(op, kernel, stride, "same", reads=reads)
    if builder.shape[-1] == channels:
        return pooled
    return convolution(builder, pooled, channels)


def _depthwise(builder: GraphBuilder, reads: int, stride: int, kernel: int, activation: str) -> int:
    return builder.window(
        "depthwise_conv2d", kernel, stride, "same",
        activation=activation, batch_norm=True, reads=reads,
    )  # fmt: skip


def _inverted(
    builder: GraphBuilder, reads: int, channels: int, stride: int, kernel: int, expansion: int
) -> int:
    before = builder.nodes[reads].shape[-1]
    inner = reads
    if expansion > 1:
        inner = convolution(builder, reads, expansion * before, activation="relu6")
    inner = _depthwise(builder, inner, stride, kernel, "relu6")
    out = convolution(builder, inner, channels, activation="none")
    same = stride == 1 and before == channels
    return builder.join("add", (reads, out)) if same else out


def _shuffle(builder: GraphBuilder, reads: int, channels: int, stride: int, kernel: int) -> int:
    """One branch keeps its channels, one computes; both are put side by side.

    ShuffleNet V2 interleaves the channels at the end of a unit and halves them at the beginning
    of the next. Here a unit takes even channels and odd ones, which is both at once: read one
    after the other, they are a permutation of the channels.
    """
    height, width, before = builder.nodes[reads].shape
    left = channels - channels // 2
    if stride == 1 and before == channels and channels > 1:
        kept = builder.slice((0, 0, 0), (height, width, before), (1, 1, 2), reads)
        rest = builder.slice((0, 0, 1), (height, width, before), (1, 1, 2), reads)
    else:
        kept = convolution(builder, _depthwise(builder, reads, stride, kernel, "none"), left)
        rest = reads
    inner = convolution(builder, rest, channels - left)
    inner = _depthwise(builder, inner, stride, kernel, "none")
    inner = convolution(builder, inner, channels - left)
    return builder.join("concat", (kept, inner))


OPERATIONS: dict[str, Lower | None] = {NONE: None, SKIP: _skip}
for _k in (1, 3, 5, 7):
    OPERATIONS[f"conv{_k}x{_k}"] = partial(_conv, kernel=_k, dilation=1)
for _k in (3, 5, 7):
    OPERATIONS[f"dilconv{_k}x{_k}"] = partial(_conv, kernel=_k, dilation=2)
    OPERATIONS[f"sep{_k}x{_k}"] = partial(_separable, kernel=_k, dilation=1)
    OPERATIONS[f"dilsep{_k}x{_k}"] = partial(_separable, kernel=_k, dilation=2)
    OPERATIONS[f"shuffle{_k}x{_k}"] = partial(_shuffle, kernel=_k)
    for _e in (1, 2, 3, 4, 6):
        OPERATIONS[f"mbconv{_k}x{_k}_e{_e}"] = partial(_inverted, kernel=_k, expansion=_e)
for _k in (2, 3):
    OPERATIONS[f"avg_pool{_k}x{_k}"] = partial(_pool, op="avg_pool2d", kernel=_k)
    OPERATIONS[f"max_pool{_k}x{_k}"] = partial(_pool, op="max_pool2d", kernel=_k)


def lower(name: str, builder: GraphBuilder, reads: int, channels: int, stride: int) -> int:
    """Adds an operation that is an edge.

    Args:
        name: One of `OPERATIONS`, not ``none``.
        builder: The graph so far.
        reads: Index of the node that it reads.
        channels: Channels of its output.
        stride: Step by which it divides the map.

    Returns:
        Index of its output; of what it reads where it adds no operation.

    Raises:
        ShapeError: If it does not fit the map.
    """
    found = OPERATIONS[name]
    assert found is not None, "no edge adds no operation"
    return found(builder, reads, channels, stride)
