"""Pictures of networks with branches: wires lead right, and every decision is seen."""

from __future__ import annotations

import itertools
from typing import get_args

import numpy as np
import pytest

from emnas_gym.graph import GraphBuilder
from emnas_gym.problem import Problem
from emnas_gym.rendering import make_scene, render_ansi
from emnas_gym.rendering.boxes import boxes
from emnas_gym.rendering.layers import is_branched, layers
from emnas_gym.space import CellSpaceName, load_space
from emnas_gym.tasks import DIGITS

NAMES: tuple[CellSpaceName, ...] = get_args(CellSpaceName)


@pytest.mark.parametrize("name", NAMES)
def test_wires_lead_one_column_to_the_right(name: CellSpaceName) -> None:  # A7
    space = load_space(name)
    drawn = boxes(space.sample(np.random.default_rng(0)).graph(DIGITS))
    found = layers(drawn)
    column = {place: i for i, places in enumerate(found.columns) for place in places}
    for wire in found.wires:
        steps = [column[b] - column[a] for a, b in itertools.pairwise(wire)]
        assert set(steps) == {1}
        assert all(place >= len(drawn) for place in wire[1:-1]), "a wire passes no box"
    ends = {(wire[0], wire[-1]) for wire in found.wires}
    assert ends == {(source, i) for i, box in enumerate(drawn) for source in box.reads}
    for places in found.columns:
        heights = [found.height(place) for place in places]
        assert np.array_equal(np.diff(heights), np.ones(len(places) - 1))
        assert sum(heights) == 0, "a column stands around the middle"


def test_two_branches_do_not_cross() -> None:
    builder = GraphBuilder((8, 8, 2))
    stem = builder.window("conv2d", 3, 1, "same", filters=4)
    one, two = (builder.window("conv2d", 1, 1, "same", filters=4, reads=stem) for _ in range(2))
    second = builder.window("max_pool2d", 3, 1, "same", reads=two)
    first = builder.window("avg_pool2d", 3, 1, "same", reads=one)
    builder.join("add", (first, second))
    drawn = boxes(builder.build())
    found = layers(drawn)
    assert is_branched(drawn) and found.tallest == 2
    assert found.height(one) == found.height(first) != found.height(second) == found.height(two)


def test_a_chain_is_drawn_as_before() -> None:
    for name in ("emnas-382", "emnas-bench-8"):
        graph = load_space(name).sample(np.random.default_rng(0)).graph(DIGITS)
        assert not is_branched(boxes(graph))


@pytest.mark.parametrize("name", NAMES)
def test_every_decision_is_told_and_the_costs_at_the_end_are_all(name: CellSpaceName) -> None:
    problem = Problem.make(name)
    tokens = problem.space.sample(np.random.default_rng(1)).tokens
    for placed in range(len(tokens) + 1):
        scene = make_scene(problem, tokens[:placed])
        assert scene.finished == (placed == len(tokens)) and scene.graph is not None
        text = render_ansi(scene)
        for token in tokens[:placed]:
            assert problem.space.describe(token) in text
        assert f"{placed} of {len(tokens)} decisions" in text
    promised = problem.space.promised(tokens, DIGITS)
    assert scene.spent["flash_bytes"] == promised.flash_bytes
    assert scene.spent["macs"] == promised.macs


def test_frames_grow_with_the_network() -> None:
    pytest.importorskip("matplotlib", reason="needs the package matplotlib")
    from emnas_gym.rendering import render_rgb

    problem = Problem.make("nb201-cell")
    space = load_space("nb201-cell")
    tokens = space.encode(dict.fromkeys(space.operations, "conv3x3"))
    frames = [render_rgb(make_scene(problem, tokens[:placed])) for placed in range(7)]
    network = [frame[84:494] for frame in frames]
    assert all(frame.shape == (720, 1280, 3) for frame in frames)
    ink = [np.any(part != part[0, 0], axis=2).mean() for part in network]
    assert all((a != b).any() for a, b in itertools.pairwise(network))
    assert ink[-1] > ink[0]
    again = render_rgb(make_scene(problem, tokens))
    assert np.array_equal(again, frames[-1])
