"""Pages of shipped suites: of the agents and seeds that the suites have now, and finished."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.suites.suite import load_suite
from emnas_gym.registry import reward_driven

DOCS = Path(__file__).parents[1] / "docs"
SUITES = ["ablation", "bench-8", "first", "seed-task"]
ORIGINALS = ["controller-v1", "controller-v2", "lstm-v1", "ff-v1", "ff-v2", "ff-v3"]
ROW = re.compile(r"^\| ([a-z0-9 -]+?)(?: \(baseline\))? \| ")


def _rows(suite: str) -> dict[str, str]:
    """The lines of the table of rewards, by label: the first table that has a column of p."""
    text = (DOCS / f"{suite}.md").read_text(encoding="utf-8")
    tables = [part for part in text.split("\n\n") if "larger than chance" in part.split("\n")[0]]
    return {found[1]: line for line in tables[0].splitlines()[2:] if (found := ROW.match(line))}


@pytest.mark.parametrize("suite", SUITES)
def test_a_page_is_of_the_whole_suite_as_it_is_now(suite: str) -> None:  # B25
    loaded = load_suite(suite)
    text = (DOCS / f"{suite}.md").read_text(encoding="utf-8")
    assert "not finished" not in text
    assert set(_rows(suite)) == {one.label for one in loaded.agents}
    assert set(re.findall(r" of (\d+) runs\)", text)) == {str(loaded.seeds)}


def test_bench_8_has_every_agent_and_every_original_form() -> None:  # B1, B23
    suite = load_suite("bench-8")
    assert suite.seeds >= 30
    shown = {(one.agent, bool(one.options.get("faithful"))) for one in suite.agents}
    assert shown == {(name, False) for name in reward_driven()} | {(n, True) for n in ORIGINALS}


def test_mended_agents_beat_random_search_and_original_ones_do_not() -> None:  # B25
    rows = _rows("bench-8")
    own = [*ORIGINALS, "lstm-v2-1", "lstm-v2-2", "lstm-v2-3"]
    for name in own:
        assert "**▲ yes** (p &lt; 0.001)" in rows[name], rows[name]
    for name in ORIGINALS:
        assert "no (p = 1.000)" in rows[f"{name}-faithful"], rows[f"{name}-faithful"]
    for name in ("evolution", "local-search", "network-policy", "cartographer"):
        assert "(optimum 30 of 30)" in rows[name]
