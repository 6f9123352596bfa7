"""Rewrites to one operator a node."""

from __future__ import annotations

import numpy as np
import pytest
from test_hardware_graphs import branching_graphs, forward, images_for, trained_looking_weights

from emnas_gym.graph import GraphBuilder, LayerGraph
from hardware.legalize import SAME_SCALE, legalize, requantize, scale_groups


def joined(op: str, parts: int, activation: str = "none") -> LayerGraph:
    builder = GraphBuilder((4, 4, 2))
    branches = [builder.window("conv2d", 1, 1, "same", filters=2, reads=0) for _ in range(parts)]
    builder.join(op, branches, activation)
    return builder.build()


def test_a_sum_of_four_becomes_three_sums_with_one_activation() -> None:
    legal = legalize(joined("add", 4, "relu"))
    sums = [node for node in legal.nodes if node.op == "add"]
    assert [len(node.inputs) for node in sums] == [2, 2, 2]
    assert [node.activation for node in sums] == ["none", "none", "relu"]
    assert legal.origins[-3:] == (5, 5, 5)


def test_a_product_of_many_reads_whole_maps_first() -> None:
    builder = GraphBuilder((4, 4, 2))
    weights = builder.mean()
    builder.join("mul", [weights, 0, weights, 0], "relu6")
    products = [node for node in legalize(builder.build()).nodes if node.op == "mul"]
    assert [node.inputs for node in products] == [(0, 0), (2, 1), (3, 1)]
    assert [node.activation for node in products] == ["none", "none", "relu6"]
    assert {node.shape for node in products} == {(4, 4, 2)}


def test_concat_hands_its_activation_on() -> None:
    legal = legalize(joined("concat", 2, "relu6"))
    assert [node.op for node in legal.nodes[-2:]] == ["concat", "relu6"]
    assert legal.nodes[-2].activation == "none"


def test_global_average_becomes_a_pool_over_the_map() -> None:
    builder = GraphBuilder((5, 3, 2))
    builder.mean()
    (pool,) = legalize(builder.build()).nodes[1:]
    assert (pool.op, pool.kernel, pool.shape) == ("avg_pool2d", (5, 3), (1, 1, 2))


@pytest.mark.parametrize(
    ("size", "op"),
    [
        ((256, 256), "avg_pool2d"),
        ((257, 1), "mean"),
        ((1, 65536), "avg_pool2d"),
        ((2, 32769), "mean"),
    ],
)
def test_a_map_too_large_for_a_pool_keeps_its_mean(size: tuple[int, int], op: str) -> None:
    builder = GraphBuilder((*size, 1))
    builder.mean()
    assert legalize(builder.build()).nodes[1].op == op


def test_chains_keep_their_nodes() -> None:
    builder = GraphBuilder((8, 8, 1))
    builder.window("conv2d", 3, 2, "same", filters=4, activation="relu")
    builder.dense(3)
    builder.pointwise("softmax")
    graph = builder.build()
    assert requantize(legalize(graph)).nodes == graph.nodes


def test_rewritten_graphs_compute_the_same() -> None:
    for seed, graph in enumerate(branching_graphs(30)):
        deployed = graph.deployed()
        weights, image = trained_looking_weights(graph, seed), images_for(graph, 1, seed)[0]
        nodes = legalize(deployed).nodes
        plain = [n for n in nodes if n.op not in ("relu", "relu6")]
        if len(plain) == len(nodes):
            rewritten = forward(LayerGraph(nodes), weights, image)
            np.testing.assert_allclose(rewritten, forward(graph, weights, image), atol=1e-9)


def test_only_a_sigmoid_that_joins_another_scale_is_requantized() -> None:
    builder = GraphBuilder((4, 4, 2))
    conv = builder.window("conv2d", 3, 1, "same", filters=2)
    sigmoid = builder.pointwise("sigmoid", conv)
    pooled = builder.window("max_pool2d", 2, 1, "same", reads=sigmoid)
    builder.join("concat", [pooled, conv])
    mixed = requantize(legalize(builder.build()))
    assert [n.op for n in mixed.nodes] == [
        "input",
        "conv2d",
        "sigmoid",
        "quantize",
        "max_pool2d",
        "concat",
    ]
    assert mixed.origins == (0, 1, 2, 2, 3, 4)
    assert mixed.nodes[4].inputs == (3,)

    alone = GraphBuilder((4, 4, 2))
    first = alone.pointwise("sigmoid")
    second = alone.pointwise("softmax", 0)
    alone.join("concat", [first, second])
    assert "quantize" not in {n.op for n in requantize(legalize(alone.build())).nodes}


def test_scale_groups_are_closed_under_what_keeps_the_scale() -> None:
    for graph in branching_graphs(20):
        nodes = requantize(legalize(graph.deployed())).nodes
        groups = scale_groups(nodes)
        for node, group in zip(nodes, groups, strict=True):
            if node.op in SAME_SCALE:
                assert {groups[i] for i in node.inputs} == {group}
