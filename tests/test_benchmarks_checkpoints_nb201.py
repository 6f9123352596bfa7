"""What is published of NAS-Bench-201: whole, of the settings that stand, and where it has to be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.checkpoints.protocol import Protocol, find_protocol, load_protocol
from benchmarks.checkpoints.runner import cells_of
from benchmarks.checkpoints.summary import digest, figures, known_cells, read_summary
from benchmarks.checkpoints.tables import markdown

DOCS = Path(__file__).parents[1] / "docs"
KNOWN = {  # after 100 evaluations, oracle: CIFAR-10 and CIFAR-100, in percent
    "random": (93.85, 71.57),
    "known-reinforce": (93.90, 71.75),
    "known-evolution": (94.17, 72.71),
    "known-local-search": (94.30, 73.39),
}
REACHED = [  # agent, evaluations, CIFAR-10 and CIFAR-100, oracle
    ("network-policy", "100", 94.35, 73.42),
    ("network-policy", "50", 94.25, 73.0),
    ("cartographer", "30", 94.35, 73.45),
    ("cartographer", "50", 94.37, 73.51),
]


@pytest.fixture(scope="module")
def protocol() -> Protocol:
    path = find_protocol("nb201")
    assert path is not None
    return load_protocol(path)


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    found = read_summary(DOCS / "nb201.json")
    assert found is not None
    return dict(found)


def test_nothing_is_left_to_compute(protocol: Protocol, published: dict[str, Any]) -> None:  # B25
    """Every agent in every world, by the settings that are registered now, with enough runs."""
    cells = cells_of(protocol)
    known = known_cells(protocol, cells, published)
    assert [c.contestant.label for c in cells if c.key not in known] == []
    assert {cell["key"] for cell in published["cells"]} == {digest(c.key) for c in cells}
    for cell in published["cells"]:
        runs = {point["runs"] for point in cell["points"].values()}
        agent = next(a for a in protocol.agents if a.label == cell["agent"])
        assert min(runs) >= protocol.runs_of(agent, cell["pilot_s"])


def test_the_page_is_that_of_its_figures(published: dict[str, Any]) -> None:
    assert (DOCS / "nb201.md").read_text(encoding="utf-8") == markdown(published)


@pytest.mark.parametrize("agent", KNOWN)
@pytest.mark.parametrize("dataset", [0, 1])
def test_ours_are_the_known_figures(agent: str, dataset: int, published: dict[str, Any]) -> None:
    """Three combined errors, those of the known means taken to be as large as ours."""  # B1, B16
    point = figures(published)[("c10", "c100")[dataset]]["oracle"][agent]["100"]
    combined = point["sd"] * (2 / point["runs"]) ** 0.5
    assert abs(point["mean"] - KNOWN[agent][dataset]) < 3 * combined


@pytest.mark.parametrize(("agent", "at", "c10", "c100"), REACHED)
def test_our_best_reach_what_they_have_to(
    agent: str, at: str, c10: float, c100: float, published: dict[str, Any]
) -> None:  # B23
    found = figures(published)
    assert round(found["c10"]["oracle"][agent][at]["mean"], 2) >= c10
    assert round(found["c100"]["oracle"][agent][at]["mean"], 2) >= c100


@pytest.mark.parametrize("agent", ["network-policy", "cartographer"])
def test_what_is_good_with_an_oracle_holds_without(agent: str, published: dict[str, Any]) -> None:
    """Better than random search, and than evolution, by what is honestly delivered."""
    cells = {(c["world"], c["agent"]): c["points"]["100"] for c in published["cells"]}
    for world in ("c10-honest", "c100-honest"):
        assert cells[world, agent]["p_holm"] < 0.001
        assert cells[world, agent]["mean"] > cells[world, "known-evolution"]["mean"]
