"""Checks weights and folds batch norm into the kernels before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from emnas_gym.graph import LayerGraph, Node
from hardware.errors import WeightsError
from hardware.program import Array

EPSILON = 1e-3  # of every batch norm of the project


@dataclass(frozen=True)
class Linear:
    """Kernel and bias of one node, batch norm folded.

    Attributes:
        kernel: float32; (out, height, width, in), (1, height, width, channels) or (units, inputs).
        bias: float32, (channels,).
        axis: The kernel's axis of output channels.
    """

    kernel: Array
    bias: Array
    axis: int

    @property
    def peaks(self) -> Array:
        """Largest absolute weight of each output channel, (channels,)."""
        others = tuple(i for i in range(self.kernel.ndim) if i != self.axis)
        return np.asarray(np.abs(self.kernel).max(axis=others))


def check_weights(graph: LayerGraph, weights: Mapping[str, Array]) -> None:
    """Checks that all weights of ``graph`` are there, of the right shape and finite.

    Raises:
        WeightsError: Naming the first weight that is not.
    """
    for name, shape in graph.weight_shapes().items():
        if name not in weights:
            raise WeightsError(f"weight {name} of shape {shape} is missing")
        value = np.asarray(weights[name])
        if value.shape != shape:
            raise WeightsError(f"weight {name} has shape {value.shape} instead of {shape}")
        if value.dtype.kind not in "fiu" or not np.isfinite(value).all():
            raise WeightsError(f"weight {name} is not made of finite numbers")


def fold(node: Node, weights: Mapping[str, Array]) -> Linear:
    """Kernel and bias of a weighted node as they are deployed.

    Args:
        node: A ``conv2d``, ``depthwise_conv2d`` or ``dense``.
        weights: Checked by `check_weights`.

    Raises:
        WeightsError: If a running variance is negative.
    """
    kernel = np.asarray(weights[f"{node.name}/kernel"], np.float64)
    bias = np.asarray(weights[f"{node.name}/bias"], np.float64)
    axis = 0
    if node.op == "depthwise_conv2d":
        kernel, axis = kernel[np.newaxis], 3
    if node.batch_norm:
        part = {
            p: np.asarray(weights[f"{node.name}/{p}"], np.float64)
            for p in ("gamma", "beta", "mean", "variance")
        }
        if part["variance"].min() < 0:
            raise WeightsError(f"weight {node.name}/variance is negative")
        gain = part["gamma"] / np.sqrt(part["variance"] + EPSILON)
        kernel = kernel * np.expand_dims(gain, [i for i in range(kernel.ndim) if i != axis])
        bias = (bias - part["mean"]) * gain + part["beta"]
    return Linear(kernel.astype(np.float32), bias.astype(np.float32), axis)
