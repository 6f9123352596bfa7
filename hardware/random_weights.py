"""Weights and images for networks that nobody has trained: enough to build and to time them."""

from __future__ import annotations

import math

import numpy as np

from emnas_gym.graph import LayerGraph, Shape
from hardware.program import Array

SEED = 0


def random_weights(graph: LayerGraph, seed: int = SEED) -> dict[str, Array]:
    """He-normal kernels, zero biases, and batch norms that change nothing yet.

    Args:
        graph: Any graph.
        seed: Equal seeds give equal weights.

    Returns:
        float32 arrays by name.
    """
    generator = np.random.default_rng(seed)
    constants = {"bias": 0.0, "gamma": 1.0, "beta": 0.0, "mean": 0.0, "variance": 1.0}
    weights: dict[str, Array] = {}
    for name, shape in graph.weight_shapes().items():
        part = name.rpartition("/")[2]
        if part in constants:
            weights[name] = np.full(shape, constants[part], np.float32)
            continue
        depthwise = len(shape) == 3
        fan_in = math.prod(shape[:2] if depthwise else shape[1:])
        spread = math.sqrt(2 / fan_in)
        weights[name] = generator.normal(0.0, spread, shape).astype(np.float32)
    return weights


def random_images(shape: Shape, count: int = 8, seed: int = SEED) -> Array:
    """Images of uniform noise from -1 to 1, the range of the project's images.

    Args:
        shape: Of one image.
        count: How many.
        seed: Equal seeds give equal images.

    Returns:
        (count, *shape) float32.
    """
    generator = np.random.default_rng(seed)
    return generator.uniform(-1.0, 1.0, (count, *shape)).astype(np.float32)
