"""A torch module from a `LayerGraph`, with TensorFlow Lite's padding and weight names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from emnas_gym.errors import InvalidArchitecture
from emnas_gym.graph import WEIGHTED, LayerGraph, Node

BATCH_NORM_EPSILON = 1e-3  # Keras' default, folded with the same value on export


class GraphNetwork(nn.Module):
    """Runs a graph on images of shape (N, C, H, W) and returns logits of shape (N, classes).

    Args:
        graph: The network; its last node, ``softmax``, is left to the loss.
    """

    def __init__(self, graph: LayerGraph) -> None:
        super().__init__()
        self.graph = graph
        self.layers = nn.ModuleDict()
        self.norms = nn.ModuleDict()
        for node in graph:
            if node.op in WEIGHTED:
                self.layers[node.name] = _layer(node, graph.in_shapes(node)[0])
            if node.batch_norm:
                self.norms[node.name] = nn.BatchNorm2d(
                    node.shape[-1], eps=BATCH_NORM_EPSILON, momentum=0.1
                )

    def forward(self, images: Tensor) -> Tensor:
        """Returns logits."""
        outputs: list[Tensor] = []
        for node in self.graph:
            read = [outputs[i] for i in node.inputs]
            value = images if node.op == "input" else self.activate(node, self.linear(node, read))
            outputs.append(value)
        return outputs[-1]

    def linear(self, node: Node, read: list[Tensor]) -> Tensor:
        """The operation of a node without its activation: the pre-activation."""
        x = self.without_norm(node, read)
        return self.norm(node).forward(x) if node.batch_norm and node.op in WEIGHTED else x

    def without_norm(self, node: Node, read: list[Tensor]) -> Tensor:
        """The operation of a node without its batch norm and activation."""
        x = read[0]
        if node.op in WEIGHTED:
            return self._weighed(node, x)
        if node.op == "pad":
            return _padded(x, node, 0.0)
        if node.op == "mean":
            return x.mean(dim=(2, 3), keepdim=True)
        if node.op == "add":
            return torch.stack(read).sum(dim=0)
        if node.op == "mul":
            return reduce(torch.mul, read)
        if node.op == "concat":
            return torch.cat(read, dim=1)
        if node.op == "slice":
            return _sliced(x, node)
        if node.op == "max_pool2d":
            return functional.max_pool2d(_padded(x, node, -torch.inf), node.kernel, node.stride)
        if node.op == "avg_pool2d":
            return _average_pool(x, node)
        return x

    def _weighed(self, node: Node, x: Tensor) -> Tensor:
        """A dense layer, or a convolution."""
        layer = self.layer(node)
        if node.op == "dense":
            return layer.forward(x.flatten(1))
        if node.shape[:2] == (1, 1):
            return self._one_pixel(node, x)
        top, bottom, left, right = node.pads
        if (top, left) == (bottom, right):
            padding = (top, left)  # the convolution pads itself, without a copy
        else:
            padding = (0, 0)
            x = _padded(x, node, 0.0)
        groups = node.shape[-1] if node.op == "depthwise_conv2d" else 1
        return functional.conv2d(
            x, layer.weight, layer.bias, node.stride, padding, node.dilation, groups
        )

    def _one_pixel(self, node: Node, x: Tensor) -> Tensor:
        """A convolution that leaves one pixel, as the product that it is.

        Only the taps that see the image count, the others see padding. By convolutions a quarter
        of a training's time was spent on such maps.
        """
        layer = self.layer(node)
        rows, taps_down = _seen(x.shape[2], node.kernel[0], node.dilation[0], node.pads[0])
        columns, taps_across = _seen(x.shape[3], node.kernel[1], node.dilation[1], node.pads[2])
        seen, taps = x[:, :, rows, columns], layer.weight[:, :, taps_down, taps_across]
        if node.op == "depthwise_conv2d":
            value = (seen * taps[:, 0]).sum(dim=(2, 3)) + _bias(layer)
        else:
            value = functional.linear(seen.flatten(1), taps.flatten(1), _bias(layer))
        return value[:, :, None, None]

    def activate(self, node: Node, x: Tensor) -> Tensor:
        """The activation of a node on its pre-activation."""
        if node.op == "sigmoid":
            return torch.sigmoid(x)
        if node.op == "softmax" and node is not self.graph.nodes[-1]:
            return torch.softmax(x, dim=1)
        if node.op == "dropout":
            return functional.dropout(x, node.rate, self.training)
        if node.activation == "relu":
            return functional.relu(x)
        if node.activation == "relu6":
            normed = node.batch_norm and node.op in WEIGHTED
            return functional.relu6(x, inplace=normed)  # nobody else reads what a norm wrote
        return x

    def weights(self) -> dict[str, np.ndarray]:
        """All weights with the names and layouts of `LayerGraph.weight_shapes`."""
        state = {}
        for node, layer in self._weighted():
            kernel = layer.weight.detach()
            if node.op == "conv2d":
                kernel = kernel.permute(0, 2, 3, 1)
            elif node.op == "depthwise_conv2d":
                kernel = kernel[:, 0].permute(1, 2, 0)
            else:
                kernel = _columns_hwc(kernel, self._read_shape(node))
            state[f"{node.name}/kernel"] = kernel.cpu().numpy().copy()
            state[f"{node.name}/bias"] = _bias(layer).detach().cpu().numpy().copy()
            for name, part in self._norm_parts(node).items():
                state[f"{node.name}/{name}"] = part.detach().cpu().numpy().copy()
        return state

    @torch.no_grad()
    def load_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        """Loads what `weights` returned.

        Raises:
            InvalidArchitecture: If a name or shape does not belong to the graph.
        """
        expected = self.graph.weight_shapes()
        shapes = {name: np.shape(value) for name, value in weights.items()}
        if shapes != expected:
            raise InvalidArchitecture("the weights do not belong to this graph")
        for node, layer in self._weighted():
            kernel = torch.from_numpy(np.ascontiguousarray(weights[f"{node.name}/kernel"]))
            if node.op == "conv2d":
                kernel = kernel.permute(0, 3, 1, 2)
            elif node.op == "depthwise_conv2d":
                kernel = kernel.permute(2, 0, 1)[:, None]
            else:
                kernel = _columns_chw(kernel, self._read_shape(node))
            layer.weight.copy_(kernel)
            _bias(layer).copy_(torch.from_numpy(weights[f"{node.name}/bias"]))
            for name, part in self._norm_parts(node).items():
                part.copy_(torch.from_numpy(weights[f"{node.name}/{name}"]))

    def layer(self, node: Node) -> nn.Conv2d | nn.Linear:
        """The linear part of a weighted node."""
        layer = self.layers[node.name]
        assert isinstance(layer, (nn.Conv2d, nn.Linear))
        return layer

    def norm(self, node: Node) -> nn.BatchNorm2d:
        """The batch norm of a node."""
        norm = self.norms[node.name]
        assert isinstance(norm, nn.BatchNorm2d)
        return norm

    def _weighted(self) -> Iterator[tuple[Node, nn.Conv2d | nn.Linear]]:
        for node in self.graph:
            if node.op in WEIGHTED:
                yield node, self.layer(node)

    def _norm_parts(self, node: Node) -> dict[str, Tensor]:
        if not node.batch_norm:
            return {}
        norm = self.norm(node)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        return {
            "gamma": norm.weight,
            "beta": norm.bias,
            "mean": norm.running_mean,
            "variance": norm.running_var,
        }

    def _read_shape(self, node: Node) -> tuple[int, ...]:
        return self.graph.in_shapes(node)[0]


def _bias(layer: nn.Conv2d | nn.Linear) -> Tensor:
    assert layer.bias is not None
    return layer.bias


def _layer(node: Node, in_shape: tuple[int, ...]) -> nn.Module:
    if node.op == "dense":
        return nn.Linear(int(np.prod(in_shape)), node.shape[-1])
    channels = in_shape[-1]
    groups = channels if node.op == "depthwise_conv2d" else 1
    return nn.Conv2d(
        channels, node.shape[-1], node.kernel, node.stride, dilation=node.dilation, groups=groups
    )


def _seen(size: int, taps: int, dilation: int, before: int) -> tuple[slice, slice]:
    """The pixels that a kernel at the first place sees along an axis, and the taps seeing them.

    Args:
        size: Pixels of the image.
        taps: Of the kernel.
        dilation: Pixels from tap to tap.
        before: Pixels of padding before the image.
    """
    first = -(-before // dilation)
    past = max(first, min(taps, -(-(size + before) // dilation)))
    start = first * dilation - before
    return slice(start, start + (past - first) * dilation, dilation), slice(first, past)


def _padded(x: Tensor, node: Node, value: float) -> Tensor:
    top, bottom, left, right = node.pads
    return functional.pad(x, (left, right, top, bottom), value=value) if any(node.pads) else x


def _sliced(x: Tensor, node: Node) -> Tensor:
    ends = zip(node.begin, node.end, node.step, strict=True)
    rows, columns, channels = (slice(*bounds) for bounds in ends)
    return x[:, channels, rows, columns]


def _average_pool(x: Tensor, node: Node) -> Tensor:
    """Averages over the pixels that exist, as TensorFlow does; padding does not count."""
    return _window_sum(x, node) / _window_sum(torch.ones_like(x[:1, :1]), node)


def _window_sum(x: Tensor, node: Node) -> Tensor:
    """Sum over every window; padding is 0."""
    rows, columns = node.kernel[0] // 2, node.kernel[1] // 2
    centred = node.kernel == (2 * rows + 1, 2 * columns + 1)
    if centred and node.stride == (1, 1) and node.pads == (rows, rows, columns, columns):
        summed: Tensor = _CentredSum.apply(x, rows, columns)  # type: ignore[no-untyped-call]
        return summed
    area = node.kernel[0] * node.kernel[1]
    return functional.avg_pool2d(_padded(x, node, 0.0), node.kernel, node.stride) * area


class _CentredSum(torch.autograd.Function):
    """Sum over a window around every pixel, one axis after the other.

    Pixel a is in the window of b where b is in that of a: the gradient is the same sum. Torch's own
    pooling took over a third of a step of DARTS on CIFAR-10, this takes under a fifth of that.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: int, columns: int) -> Tensor:  # noqa: ANN401
        ctx.reach = rows, columns
        for axis, reach in ((2, rows), (3, columns)):
            near, size = x.clone(), x.shape[axis]
            for step in range(1, min(reach, size - 1) + 1):
                near.narrow(axis, 0, size - step).add_(x.narrow(axis, step, size - step))
                near.narrow(axis, step, size - step).add_(x.narrow(axis, 0, size - step))
            x = near
        return x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        back: Tensor = _CentredSum.apply(gradient, *ctx.reach)  # type: ignore[no-untyped-call]
        return back, None, None


def _columns_hwc(kernel: Tensor, read: tuple[int, ...]) -> Tensor:
    """Reorders a dense kernel's columns from torch's C, H, W to H, W, C."""
    if len(read) != 3:
        return kernel
    height, width, channels = read
    return kernel.view(-1, channels, height, width).permute(0, 2, 3, 1).flatten(1)


def _columns_chw(kernel: Tensor, read: tuple[int, ...]) -> Tensor:
    if len(read) != 3:
        return kernel
    return kernel.view(-1, *read).permute(0, 3, 1, 2).flatten(1)
