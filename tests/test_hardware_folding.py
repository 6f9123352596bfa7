"""Checked weights and folded batch norms."""

from __future__ import annotations

import numpy as np
import pytest
from test_hardware_graphs import forward, images_for, trained_looking_weights

from emnas_gym.graph import GraphBuilder
from hardware.errors import WeightsError
from hardware.folding import check_weights, fold


@pytest.mark.parametrize("op", ["conv2d", "depthwise_conv2d"])
def test_a_folded_layer_computes_the_same(op: str) -> None:
    builder = GraphBuilder((5, 4, 3))
    builder.window(op, 3, 1, "same", filters=4, batch_norm=True)
    graph = builder.build()
    weights, image = trained_looking_weights(graph), images_for(graph, 1)[0]
    linear = fold(graph.nodes[1], weights)
    kernel = linear.kernel[0] if op == "depthwise_conv2d" else linear.kernel
    name = graph.nodes[1].name
    folded = weights | {
        f"{name}/kernel": kernel,
        f"{name}/bias": linear.bias,
        f"{name}/gamma": np.ones_like(linear.bias),
        f"{name}/beta": np.zeros_like(linear.bias),
        f"{name}/mean": np.zeros_like(linear.bias),
        f"{name}/variance": np.full_like(linear.bias, 1.0 - 1e-3),
    }
    np.testing.assert_allclose(
        forward(graph, folded, image), forward(graph, weights, image), atol=1e-5
    )
    assert linear.kernel.shape[linear.axis] == len(linear.bias) == len(linear.peaks)


def test_a_negative_variance_is_refused() -> None:
    builder = GraphBuilder((5, 4, 3))
    builder.window("conv2d", 3, 1, "same", filters=2, batch_norm=True)
    graph = builder.build()
    weights = trained_looking_weights(graph)
    weights["conv2d_1/variance"] = np.array([1.0, -1.0], np.float32)
    with pytest.raises(WeightsError, match="variance is negative"):
        fold(graph.nodes[1], weights)


def test_weights_that_are_no_numbers_are_refused() -> None:
    builder = GraphBuilder((2, 2, 1))
    builder.dense(1)
    graph = builder.build()
    weights = trained_looking_weights(graph) | {"dense_1/bias": np.array(["x"])}
    with pytest.raises(WeightsError, match="dense_1/bias"):
        check_weights(graph, weights)
