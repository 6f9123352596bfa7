"""Small networks made ready for devices."""

from __future__ import annotations

from functools import lru_cache

from test_hardware_graphs import images_for, trained_looking_weights

from emnas_gym.graph import GraphBuilder
from hardware.deployment import Deployment, deploy


@lru_cache
def small_deployment(formats: tuple[str, ...] = ("flat",), filters: int = 3) -> Deployment:
    """A convolution and a dense layer on a map of 8 by 8."""
    builder = GraphBuilder((8, 8, 1))
    builder.window("conv2d", 3, 2, "same", filters=filters, activation="relu")
    builder.dense(4)
    builder.pointwise("softmax")
    graph = builder.build()
    return deploy(graph, trained_looking_weights(graph), images_for(graph, 8), formats)
