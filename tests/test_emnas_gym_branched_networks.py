"""Networks with branches are trained, exported and run as chains are."""

from __future__ import annotations

import re
from functools import cache
from typing import get_args

import gymnasium as gym
import numpy as np
import pytest
from test_hardware_graphs import images_for, trained_looking_weights

from emnas_gym import costs
from emnas_gym.branched.operations import OPERATIONS, lower
from emnas_gym.graph import GraphBuilder, LayerGraph
from emnas_gym.space import CellSpaceName, load_space
from emnas_gym.tasks import DIGITS

DRAWN = 5


@cache
def _graphs() -> tuple[LayerGraph, ...]:
    """A few networks of every space, and one of every operation in both of its forms."""
    rng = np.random.default_rng(0)
    names: tuple[CellSpaceName, ...] = get_args(CellSpaceName)
    found = [load_space(name).sample(rng).graph(DIGITS) for name in names for _ in range(DRAWN)]
    for name, operation in OPERATIONS.items():
        for channels, stride in ((4, 1), (6, 2), (7, 1)) if operation else ():
            builder = GraphBuilder((9, 8, 4))
            lower(name, builder, 0, channels, stride)
            builder.mean()
            builder.dense(3)
            builder.pointwise("softmax")
            found.append(builder.build())
    return tuple(found)


def test_torch_and_the_exported_file_agree() -> None:  # A7, A18
    torch = pytest.importorskip("torch", reason="needs the package torch")
    pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")
    from hardware.export import export_float, export_int8
    from hardware.interpreter import Model
    from predictors.network import GraphNetwork

    differences = []
    for seed, graph in enumerate(_graphs()):
        weights, images = trained_looking_weights(graph, seed), images_for(graph, 8, seed)
        network = GraphNetwork(graph).eval()
        network.load_weights(weights)
        with torch.no_grad():
            logits = network(torch.from_numpy(images).permute(0, 3, 1, 2)).flatten(1)
        expected = torch.softmax(logits, 1).numpy()
        floats = Model(export_float(graph, weights)).run(images)
        np.testing.assert_allclose(floats, expected, atol=1e-5)
        content = export_int8(graph, weights, images)
        assert len(content) <= costs.flash_bytes(graph)
        differences.append(np.abs(Model(content).run(images) - floats).max())
    assert np.median(differences) < 0.01
    assert np.max(differences) < 0.1


def test_micro_runtime_needs_the_planned_head() -> None:  # A7
    runtime = pytest.importorskip(
        "tflite_micro.python.tflite_micro.runtime", reason="needs the package tflite-micro"
    )
    from hardware.captured import captured
    from hardware.export import export_int8

    for seed, graph in enumerate(_graphs()):
        weights, images = trained_looking_weights(graph, seed), images_for(graph, 8, seed)
        content = export_int8(graph, weights, images)
        interpreter = runtime.Interpreter.from_bytes(content, arena_size=8 << 20)
        interpreter.set_input(np.zeros((1, *graph.input_shape), np.int8), 0)
        interpreter.invoke()
        with captured(2) as printed:
            interpreter.print_allocations()
        head = int(re.search(r"allocation head (\d+) bytes", printed[0])[1])
        assert head == costs.arena_head_bytes(graph)


def test_the_shuffle_unit_permutes_channels() -> None:  # A18
    """Halves of even and odd channels, side by side, are all channels once."""
    builder = GraphBuilder((4, 4, 7))
    lower("shuffle3x3", builder, 0, 7, 1)
    graph = builder.build()
    slices = [node for node in graph if node.op == "slice"]
    read = [range(node.begin[2], node.end[2], node.step[2]) for node in slices]
    assert [list(r) for r in read] == [[0, 2, 4, 6], [1, 3, 5]]
    order = [channel for r in read for channel in r]
    inverse = np.argsort(order)
    assert sorted(order) == list(range(7)) and list(np.array(order)[inverse]) == list(range(7))
    assert graph.nodes[-1].op == "concat" and graph.output_shape == (4, 4, 7)
    assert graph.nodes[-1].inputs[0] == graph.nodes.index(slices[0]), "half of them untouched"


@pytest.mark.parametrize(("expansion", "kernel"), [(1, 3), (3, 3), (6, 5)])
def test_a_block_has_the_parameters_of_its_formula(expansion: int, kernel: int) -> None:  # A9
    c, d, e = 5, 8, expansion
    builder = GraphBuilder((8, 8, c))
    lower(f"mbconv{kernel}x{kernel}_e{e}", builder, 0, d, 2)
    norm = 5  # bias, scale, shift, mean, variance of a channel
    expand = e * c * (c + norm) if e > 1 else 0
    assert costs.params(builder.build()) == expand + e * c * (kernel**2 + norm) + d * (e * c + norm)


def test_a_cell_is_trained_and_judged_by_the_environment() -> None:
    pytest.importorskip("torch", reason="needs the package torch")
    from predictors.datasets import load
    from predictors.trained import TrainedEvaluator
    from predictors.training import Recipe

    evaluator = TrainedEvaluator(load("digits", 16), Recipe(epochs=3), workers=1)
    env = gym.make("EmNASCell-v0", evaluator=["analytic", evaluator], budgets={"ram_bytes": 16384})
    space = load_space("nb201-cell")
    choices = dict.fromkeys(space.operations, "skip") | {"0→1": "conv3x3", "0→3": "conv1x1"}
    env.reset(seed=0)
    for token in space.encode(choices):
        _, reward, over, _, info = env.step(token)
    assert over and info["feasible"] and reward > 0
    assert info["measurement"]["accuracy"] > 0.3, "a few epochs are better than chance"
