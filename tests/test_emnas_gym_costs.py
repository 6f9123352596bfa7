"""Costs that follow from shapes: exact counts, and bounds that hold."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from test_hardware_graphs import SMALL_COLOUR, Drawn, branching_graphs, space_graphs

from emnas_gym import costs
from emnas_gym.graph import GraphBuilder, LayerGraph
from hardware.export import export_int8
from hardware.random_weights import random_images, random_weights

CHAINS = Drawn(
    100,
    lambda: [
        *space_graphs("emnas-382", 60, seed=1),
        *space_graphs("emnas-382", 20, SMALL_COLOUR, seed=2),
        *space_graphs("emnas-mobile-49", 20, seed=3),
    ],
)
BRANCHING = Drawn(60, lambda: branching_graphs(60, seed=900))


def single(op: str, **options: object) -> LayerGraph:
    builder = GraphBuilder((6, 5, 3))
    builder.window(op, 3, 2, "same", **options)  # type: ignore[arg-type]
    return builder.build()


def exported_size(graph: LayerGraph) -> int:
    images = random_images(graph.input_shape, 2)
    return len(export_int8(graph, random_weights(graph), images))


def test_counts_of_single_layers_by_hand() -> None:  # E12, E13
    conv = single("conv2d", filters=7, batch_norm=True)
    assert conv.output_shape == (3, 3, 7)
    assert costs.macs(conv) == 3 * 3 * 7 * 3 * 3 * 3
    assert costs.params(conv) == 7 * 27 + 7 + 4 * 7
    depthwise = single("depthwise_conv2d")
    assert costs.macs(depthwise) == 3 * 3 * 3 * 9
    assert costs.params(depthwise) == 3 * 9 + 3
    builder = GraphBuilder((2, 2, 3))
    builder.dense(5)
    builder.pointwise("dropout", rate=0.5)
    assert costs.macs(builder.build()) == 60
    assert costs.params(builder.build()) == 65


def test_params_are_the_sizes_of_all_weights() -> None:  # E12
    for graph in [*CHAINS, *BRANCHING]:
        assert costs.params(graph) == sum(int(np.prod(s)) for s in graph.weight_shapes().values())


def test_costs_are_a_header_and_a_sum_over_nodes() -> None:
    for graph in [*CHAINS, *BRANCHING]:
        deployed = graph.deployed()
        flash = sum(costs.node_flash(deployed, node) for node in deployed)
        kept = sum(costs.node_persistent(deployed, node) for node in deployed)
        assert costs.flash_bytes(graph) == costs.FLASH_HEADER + flash
        assert costs.persistent_bytes(graph) == costs.PERSISTENT_HEADER + kept
        setup = costs.SETUP_HEADER + sum(costs.node_setup(deployed, node) for node in deployed)
        head = max(costs.arena_head_bytes(graph), setup)
        assert costs.ram_bytes(graph) == costs.PERSISTENT_HEADER + kept + head
        assert costs.macs(graph) == sum(costs.node_macs(deployed, node) for node in deployed)


def test_a_node_of_a_chain_costs_the_same_in_whatever_chain() -> None:
    prices: dict[object, set[tuple[int, int]]] = {}
    for graph in CHAINS:
        deployed = graph.deployed()
        for node in deployed:
            key = (
                *(deployed.in_shapes(node), node.op, node.shape, node.kernel),
                *(node.stride, node.padding, node.activation),
            )
            price = costs.node_flash(deployed, node), costs.node_persistent(deployed, node)
            prices.setdefault(key, set()).add(price)
    assert all(len(each) == 1 for each in prices.values())


def test_flash_bounds_the_file_of_every_chain_tightly() -> None:  # E6
    pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")
    for graph in CHAINS:
        assert 0 <= costs.flash_bytes(graph) - exported_size(graph) < costs.FLASH_SLACK


def test_flash_bounds_the_file_of_every_branching_network() -> None:  # E6
    pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")
    for graph in BRANCHING:
        counts = Counter(node.op for node in graph)
        branches = sum(counts[op] for op in costs.BRANCHING)
        slack = costs.flash_bytes(graph) - exported_size(graph)
        assert 0 <= slack < costs.FLASH_SLACK + branches * costs.BRANCH_SLACK


@pytest.mark.parametrize("dilation", [1, 3])
@pytest.mark.parametrize("mask", range(0, 4096, 273))
def test_the_flash_header_covers_every_mixture_of_layers(mask: int, dilation: int) -> None:  # E6
    pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")
    builder = GraphBuilder((40, 40, 2))
    wanted = iter(f"{mask:012b}" * 2)
    for op in ("conv2d", "depthwise_conv2d"):
        for padding in ("same", "valid"):
            for activation in ("none", "relu"):
                if next(wanted) == "1":
                    builder.window(op, 2, 1, padding, filters=3, activation=activation)
    if dilation > 1 and next(wanted) == "1":
        builder.slice((1, 0, 0), (30, 30, 3), (2, 1, 1))
    if next(wanted) == "1":
        builder.pad((1, 0, 0, 1))
    if next(wanted) == "1":
        builder.pointwise("sigmoid")
    if next(wanted) == "1":
        builder.mean()
    if next(wanted) == "1":
        builder.dense(4, "relu")
    builder.dense(3)
    builder.pointwise("softmax")
    graph = builder.build()
    assert 0 <= costs.flash_bytes(graph) - exported_size(graph) < costs.FLASH_SLACK


def test_dropout_costs_nothing() -> None:
    builder = GraphBuilder((4, 4, 1))
    builder.dense(3)
    without = builder.build()
    builder = GraphBuilder((4, 4, 1))
    builder.pointwise("dropout", rate=0.2)
    builder.dense(3)
    within = builder.build()
    for cost in (costs.macs, costs.params, costs.flash_bytes, costs.ram_bytes):
        assert cost(without) == cost(within)
