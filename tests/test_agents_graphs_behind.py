"""Ways through cells: what agents read of spaces with branches equals what they read of tables."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from agents.graphs_behind import graphs_behind
from agents.guided.cell_ways import free_cells, ways
from agents.guided.description import Description
from agents.network_features import NetworkFeatures
from emnas_gym.branched.cell_space import CellSpace
from emnas_gym.branched.free_cell import FreeCell
from emnas_gym.problem import Problem
from emnas_gym.space import load_space, sample_tokens
from emnas_gym.table import Metric, Table
from emnas_gym.table_env import table_problem
from emnas_gym.tasks import DIGITS, Task
from emnas_gym.wiring import Wiring
from predictors.supernet.wirings import wiring

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))


def _cells(name: str) -> CellSpace:
    found = load_space(name)
    assert isinstance(found, CellSpace)
    return found


def _as_table(space: CellSpace) -> Problem:
    """A table of the same positions, operations and graph."""
    choices = np.array(list(itertools.product(range(5), repeat=6)))
    valid = np.zeros((len(choices), 1))
    task = Task("elsewhere", (8, 8, 1), 3, has_images=False)
    metrics = {"long": Metric(valid, valid)}
    table = Table("cells", task, space.operations, choices, metrics, wiring=Wiring(EDGES, "none"))
    return table_problem(table, classes=False)[0]


@pytest.mark.parametrize("what", ["all", "plain", "paths"])
def test_a_cell_is_described_as_a_table_of_it_is(what: str) -> None:  # B14
    space = _cells("nb201-cell")
    problem, table = Problem.make(space, DIGITS, budgets={}), _as_table(space)
    rng = np.random.default_rng(0)
    networks = [sample_tokens(problem.automaton, rng) for _ in range(40)]
    mine, theirs = Description(problem, what), Description(table, what)
    assert np.array_equal(mine(networks), theirs(networks))
    assert mine.groups == theirs.groups
    features = NetworkFeatures(problem.automaton), NetworkFeatures(table.automaton)
    assert features[0].paths == features[1].paths != ()
    assert np.array_equal(features[0].of(networks), features[1].of(networks))


@pytest.mark.parametrize("name", ["nb201-cell", "nb201-macro"])
def test_equal_graphs_have_equal_paths(name: str) -> None:  # A8
    """Live paths do not depend on how the nodes between input and output are numbered.

    Of cells without skips: the canonical form joins what a skip leads to with where it came from.
    """
    space = _cells(name)
    problem, rng = Problem.make(space, DIGITS, budgets={}), np.random.default_rng(1)
    drawn = [sample_tokens(problem.automaton, rng) for _ in range(600)]
    skips = {t for t in range(1, space.num_tokens + 1) if space.describe(t).endswith("= skip")}
    networks = [tokens for tokens in drawn if not skips & set(tokens)]
    assert len(networks) > 5 and skips
    canonical = [space.canonical_tokens(tokens) for tokens in networks]
    assert canonical != networks
    describe = Description(problem, "paths")
    assert np.array_equal(describe(networks), describe(canonical))


@pytest.mark.parametrize("name", ["nb201-cell", "nb201-macro", "lenna-block", "mobile-stages"])
def test_live_operations_are_those_that_run(name: str) -> None:
    space = _cells(name)
    graphs = graphs_behind(space)
    assert [g.first for g in graphs] == list(
        itertools.accumulate([0, *(len(g.wiring.edges) for g in graphs[:-1])])
    )
    assert graphs[-1].positions.stop == space.max_layers
    problem, rng = Problem.make(space, DIGITS, budgets={}), np.random.default_rng(2)
    networks = [sample_tokens(problem.automaton, rng) for _ in range(10)]
    counts = NetworkFeatures(problem.automaton).of(networks)[:, : space.num_tokens]
    for network, row in zip(networks, counts, strict=True):
        live = set()
        for (group, choices), graph in zip(space.choices(network).items(), graphs, strict=True):
            for edge, _ in wiring(space.groups[group]).running(choices):
                live.add(network[graph.first + edge] - 1)
        assert set(np.flatnonzero(row).tolist()) == live


def test_ways_through_nodes_that_choose_by_hand() -> None:  # B14
    cell = FreeCell(2, ("skip", "conv3x3", "max_pool3x3"))
    second = next(i for i, pair in enumerate(cell.pairs[1]) if pair == (1, 2))
    found = ways(
        cell, (0, 1, second, 2, 1)
    )  # node 2: skip of 0, conv of 1; 3: pool of 1, conv of 2
    assert sorted(found) == [
        ("conv3x3",), ("conv3x3", "conv3x3"), ("max_pool3x3",), ("skip",), ("skip", "conv3x3"),
    ]  # fmt: skip


def test_cells_whose_nodes_choose_are_described_by_their_ways() -> None:
    space = _cells("darts-cell")
    assert graphs_behind(space) == graphs_behind(load_space("emnas-382")) == ()
    problem, rng = Problem.make(space, DIGITS, budgets={}), np.random.default_rng(3)
    networks = [sample_tokens(problem.automaton, rng) for _ in range(20)]
    for what in ("all", "plain", "paths"):
        describe = Description(problem, what)
        rows = describe(networks)
        assert rows.shape == (20, sum(describe.groups))
        assert len(np.unique(rows, axis=0)) == len(set(networks))
    cells = free_cells(space)
    names = cells["normal"].operations
    counts = Description(problem, "all")(networks)[:, -14:]  # of 7 operations, two cells
    for network, row in zip(networks, counts, strict=True):
        words = [space.describe(token).split(" = ")[1] for token in network]
        normal = Counter(word for word in words[: len(words) // 2] if word in names)
        assert row[:7].tolist() == [normal[name] for name in names]
    for row, network in zip(Description(problem, "paths")(networks), networks, strict=True):
        choices = space.choices(network)
        assert row.sum() == sum(len(ways(cell, choices[group])) for group, cell in cells.items())
