"""The report's figures of a search by gradient, and of the cells that it found."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from invented_search import make_summary
from report_page import CHROMIUM, Page, browse, csv_rows, downloads

pytest.importorskip("torch")

from conftest import TINY, ByTokens

from benchmarks.report.charts import Figure
from benchmarks.report.search.genotype_figure import genotype_figure
from benchmarks.report.search.gradient_figures import PANELS, gradient_figures
from benchmarks.report.search.page import render_html
from benchmarks.told import genotype, told_by
from emnas_gym.branched.cell_space import CellSpace
from emnas_gym.history import Row
from emnas_gym.ledger import Ledger
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.space import load_space, sample_tokens
from predictors.supernet.wirings import wiring

SPACES = ("nb201-cell", "darts-cell", "lenna-block")
EPOCHS = 6


def _space(name: str) -> CellSpace:
    space = load_space(name)
    assert isinstance(space, CellSpace)
    return space


def _traces(space: CellSpace, latency: bool = True) -> list[dict[str, Any]]:
    """What a search might tell: edges that make up their minds."""
    rng = np.random.default_rng(0)
    rows = {g: wiring(cell).operations for g, cell in space.groups.items()}
    ways = {g: [rng.normal(size=len(names)) for names in rows[g]] for g in rows}
    traces = []
    for epoch in range(EPOCHS):
        weights = {g: [np.exp(way * epoch) for way in ways[g]] for g in rows}
        shares = {g: [(w / w.sum()).tolist() for w in weights[g]] for g in rows}
        every = [np.array(row) for g in rows for row in shares[g]]
        traces.append(
            {
                "after": 0,
                "probabilities": shares,
                "edges": {g: [f"{a}→{b}" for a, b in wiring(space.groups[g]).edges] for g in rows},
                "operations": {g: [list(names) for names in rows[g]] for g in rows},
                "entropy": float(np.mean([-(row * np.log(row)).sum() for row in every])),
                "expected_latency_us": 400.0 - 30 * epoch if latency else None,
                "train_loss": 2.0 / (1 + epoch),
                "valid_loss": 2.1 / (1 + epoch),
            }
        )
    return traces


def _row(space: CellSpace, seed: int = 0) -> Row:
    tokens = sample_tokens(space.automaton(), np.random.default_rng(seed))
    return Row(tokens, space.canonical_tokens(tokens), Measurement.of("trained"), 0.0, 0)


def _figures(space: CellSpace, latency: bool = True) -> dict[str, Figure]:
    summary = {"traces": _traces(space, latency), "measured_latencies": [[EPOCHS - 1, 0.27]]}
    return {figure.name: figure for figure in gradient_figures(summary)}


@pytest.mark.parametrize("name", SPACES)
def test_probabilities_are_drawn_edge_by_edge(name: str) -> None:  # B20
    space = _space(name)
    figure = _figures(space)["probabilities"]
    edges = sum(len(wiring(cell).edges) for cell in space.groups.values())
    operations = [n for c in space.groups.values() for row in wiring(c).operations for n in row]
    assert len(figure.rows) == EPOCHS * len(operations)
    assert all(0 <= row[-1] <= 1 for row in figure.rows)
    for layout in figure.layouts:
        titles = [mark for mark in layout.marks if "strong" in mark.role]
        assert len(titles) == min(edges, PANELS)
        for mark in layout.marks:
            corners = re.findall(r"[ML]([\d.-]+) ([\d.-]+)", mark.d)
            assert all(0 <= float(x) <= layout.width for x, _ in corners)
            assert all(0 <= float(y) <= layout.height for _, y in corners)
    assert ("more edges are in the data" in figure.caption) == (edges > PANELS)


def test_entropy_falls_and_latency_is_beside_what_was_measured() -> None:  # G22
    figures = _figures(_space("nb201-cell"))
    assert set(figures) == {"probabilities", "entropy", "losses", "expected"}
    entropies = [row[2] for row in figures["entropy"].rows]
    assert entropies[0] == pytest.approx(np.log(5))
    assert entropies == sorted(entropies, reverse=True)
    latencies = figures["expected"].rows
    assert [row[0] for row in latencies].count("measured") == 1
    assert latencies[-1][1:] == (EPOCHS - 1, pytest.approx(270.0))
    assert "expected" not in _figures(_space("nb201-cell"), latency=False)
    assert gradient_figures({"traces": []}) == gradient_figures({}) == []


@pytest.mark.parametrize("name", SPACES)
def test_a_genotype_has_an_arc_for_every_edge_that_runs(name: str) -> None:
    space = _space(name)
    for seed in range(5):
        row = _row(space, seed)
        cells = genotype(space, row)
        assert cells is not None and set(cells) == set(space.groups)
        figure = genotype_figure({"genotype": cells})
        assert figure is not None
        edges = [edge for cell in cells.values() for edge in cell["edges"]]
        assert len(figure.rows) == len(edges) > 0
        for layout in figure.layouts:
            assert sum(mark.role.startswith("arc") for mark in layout.marks) == len(edges)
            assert all(0 <= mark.y <= layout.height for mark in layout.marks)
        for target in {target for _, target, _ in edges}:
            assert all(source < target for source, end, _ in edges if end == target)
    assert genotype_figure({"genotype": None}) is None


def test_chains_have_no_genotype() -> None:
    tokens = TINY.sample(np.random.default_rng(0)).tokens
    assert genotype(TINY, Row(tokens, tokens, Measurement.of("trained"), 0.0, 0)) is None


def test_what_was_told_stands_where_it_was_told(tiny_problem: Problem) -> None:
    ledger = Ledger(ByTokens(), tiny_problem, 6)
    rng, table = np.random.default_rng(0), TINY.automaton()
    networks = [TINY.architecture(sample_tokens(table, rng)) for _ in range(4)]
    ledger.evaluate(networks[:1])
    ledger.trace(0, entropy=1.0)
    ledger.evaluate(networks[1:2])
    ledger.trace(1, entropy=0.5)
    ledger.evaluate(networks[2:])
    told = told_by(ledger)
    assert [trace["entropy"] for trace in told["traces"]] == [1.0, 0.5]
    assert [before for before, _ in told["measured_latencies"]] == [0, 1, 1]


def test_of_several_supernets_that_of_the_best_evaluation_is_told(tiny_problem: Problem) -> None:
    ledger = Ledger(ByTokens(), tiny_problem, 6)
    rng, table = np.random.default_rng(0), TINY.automaton()
    networks = [TINY.architecture(sample_tokens(table, rng)) for _ in range(3)]
    for restart, network in enumerate(networks):
        for epoch in range(2):
            ledger.trace(2 * restart + epoch, restart=restart, entropy=float(10 * restart + epoch))
        ledger.evaluate([network])
    best = ledger.rows.index(ledger.best)
    told = told_by(ledger)
    assert told["restarts"] == (best + 1, 3)
    assert [trace["entropy"] for trace in told["traces"]] == [10.0 * best, 10.0 * best + 1]
    assert [before for before, _ in told["measured_latencies"]] == [1]


def test_of_a_search_that_tells_nothing_nothing_is_told(tiny_problem: Problem) -> None:
    ledger = Ledger(ByTokens(), tiny_problem, 6)
    ledger.trace(0, entropy=1.0)
    assert told_by(ledger) == {}
    ledger = Ledger(ByTokens(), tiny_problem, 6)
    ledger.evaluate([TINY.sample(np.random.default_rng(0))])
    assert told_by(ledger) == {}


def test_the_caption_says_which_supernet_it_is() -> None:
    summary = {"traces": _traces(_space("nb201-cell")), "restarts": (3, 4)}
    assert "Supernet 3 of 4" in gradient_figures(summary)[0].caption


@pytest.mark.parametrize("name", SPACES)
def test_the_page_holds_the_figures_and_their_data(name: str) -> None:
    space = _space(name)
    summary = make_summary() | {
        "traces": _traces(space),
        "measured_latencies": [[EPOCHS - 1, 0.27]],
        "genotype": genotype(space, _row(space)),
    }
    page = Page(render_html(summary))
    found = downloads(page)
    for figure in ("genotype", "probabilities", "entropy", "losses", "expected"):
        assert len(csv_rows(found[f"{figure}.csv"])) > 1
    assert not Page(render_html(make_summary())).text.count("How undecided it was")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
def test_a_phone_shows_it_without_scrolling_sideways(tmp_path: Path) -> None:
    space = _space("lenna-block")
    summary = make_summary() | {
        "traces": _traces(space),
        "genotype": genotype(space, _row(space)),
    }
    for answer in browse([render_html(summary)], (390, 1280), tmp_path):
        assert answer["wide"] == [], answer["width"]
        assert answer["scroll"] <= answer["width"]
