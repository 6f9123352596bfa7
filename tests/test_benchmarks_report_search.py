"""The report: valid, self-contained, escaped, whole where parts are missing."""

from __future__ import annotations

import base64
import copy
import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from invented_search import make_summary
from report_page import CHROMIUM, HOSTILE, Page, browse

pytest.importorskip("jinja2")

from benchmarks.report.charts import Axis, percent_texts, plain_texts
from benchmarks.report.search.figures import reward_figure
from benchmarks.report.search.page import render_html, render_markdown, write_report
from benchmarks.report.search.winner_figures import network_figure
from emnas_gym.problem import Problem
from emnas_gym.rendering.boxes import describe


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    return make_summary()


@pytest.fixture
def summary(whole: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(whole)


def tables(page: Page) -> dict[str, list[list[str]]]:
    """The data of every figure, read back from its download."""
    found = {}
    for link in page.all("a"):
        kind, _, coded = str(link["href"]).partition(",")
        assert kind == "data:text/csv;charset=utf-8;base64"
        rows = csv.reader(io.StringIO(base64.b64decode(coded).decode()))
        found[str(link["download"])] = list(rows)
    return found


def test_report_is_whole_valid_and_needs_nothing_else(
    summary: dict[str, Any], tmp_path: Path
) -> None:
    path = write_report(json.loads(json.dumps(summary)), tmp_path / "new")
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    assert path.name == "report.html"
    assert html.startswith("<!DOCTYPE html>")
    assert not re.search(r"(?:https?:)?//[a-z]", html.replace("http://www.w3.org", ""))
    assert not page.all("script") and not page.all("img") and "url(" not in html
    assert all(str(a["href"]).startswith("data:") for a in [*page.all("a"), *page.all("link")])
    assert len(html) < 1_000_000


def test_every_figure_has_its_data_and_its_command(summary: dict[str, Any]) -> None:
    html = render_html(summary)
    parts = html.split("<figure")[1:]
    assert len(parts) == len(Page(html).all("figure")) == 5
    for part in parts:
        assert part.count("<svg") == 2
        assert 'download="' in part
        assert summary["command"] in part
    data = tables(Page(html))
    assert set(data) == {f"{n}.csv" for n in ("network", "costs", "reward", "pareto", "verified")}
    assert all(len(rows) > 1 and len({len(r) for r in rows}) == 1 for rows in data.values())


def test_data_of_the_curve_is_the_curve(summary: dict[str, Any]) -> None:
    rows = tables(Page(render_html(summary)))["reward.csv"]
    header, body = rows[0], rows[1:]
    assert header[:3] == ["evaluation", "reinforce", "reinforce, best so far"]
    assert [r[1] for r in body] == ["" if v is None else str(v) for v in summary["curve"]]
    best = max(v for v in summary["curve"] if v is not None)
    assert float(body[-1][2]) == best
    assert float(body[-1][4]) == summary["random"]["uniform-length"]["best"]


def test_pareto_front_is_not_beaten(summary: dict[str, Any]) -> None:
    rows = tables(Page(render_html(summary)))["pareto.csv"][1:]
    ours = [(float(x), float(y), front) for name, x, y, front in rows if name == "reinforce"]
    assert len(ours) == len(summary["points"])
    front = [(x, y) for x, y, on in ours if on == "1"]
    assert front
    for x, y in front:
        assert not any(a <= x and b >= y and (a, b) != (x, y) for a, b, _ in ours)


def test_numbers_are_shown_with_their_spread_and_origin(summary: dict[str, Any]) -> None:
    text = Page(render_html(summary)).text.replace("\u00a0", " ")
    chosen = summary["winners"][1]["verified"]
    assert f"{100 * chosen['mean']:.1f} ± {100 * chosen['std']:.1f} %" in text
    assert "≈" in text and "computed from shapes and counts" in text
    assert "3 of 300 evaluations failed." in text
    for value in (summary["export"]["sha256"], "winner.tflite", "winner.h", "14,312 bytes"):
        assert value in text
    for name in ("uniform-length", "walk", "surrogate", "batch_size 16", "numpy 2.4.6"):
        assert name in text


def test_latency_from_a_stopwatch_is_not_marked_as_approximate(summary: dict[str, Any]) -> None:
    for entry in [summary["best"], *summary["winners"]]:
        entry["measurement"]["provenance"]["latency_ms"] = "board"
    text = Page(render_html(summary)).text
    assert "measured on the board" in text
    assert not re.search(r"≈\s*[\d.]+\s*ms", text)


def _hostile(value: Any, key: str = "") -> Any:
    kept = ("op", "provenance", "budgets")
    if isinstance(value, dict):
        return {k: v if k in kept else _hostile(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [_hostile(v, key) for v in value]
    return HOSTILE + value if isinstance(value, str) else value


def test_everything_is_escaped(summary: dict[str, Any]) -> None:
    html = render_html(_hostile(summary))
    page = Page(html)
    assert not page.all("script")
    assert "<script" not in html
    assert page.text.count("<script>alert('x')</script>") > 40
    allowed = {"aria-label", "class", "content", "d", "data-name", "download", "href", "id", "role"}
    allowed |= {"lang", "charset", "name", "rel", "scope", "viewbox", "x", "y"}
    assert {name for _, attrs in page.tags for name in attrs} <= allowed


def test_cells_of_data_never_start_a_formula(summary: dict[str, Any]) -> None:
    summary["agent"]["name"] = "=HYPERLINK(1)"
    data = tables(Page(render_html(summary)))
    assert data["reward.csv"][0][1] == "'=HYPERLINK(1)"
    assert data["pareto.csv"][1][0] == "'=HYPERLINK(1)"


@pytest.mark.parametrize("missing", ["export", "random_verified", "verified", "int8", "all"])
def test_optional_parts_may_be_missing(summary: dict[str, Any], missing: str) -> None:
    for key in ("export", "random_verified"):
        summary[key] = None if missing in (key, "all") else summary[key]
    for entry in summary["winners"]:
        for key in ("verified", "int8"):
            entry[key] = None if missing in (key, "all") else entry[key]
    page = Page(render_html(summary))
    trained = missing not in ("verified", "all")
    assert len(page.all("figure")) == (5 if trained else 4)
    assert ("No winner was trained" in page.text) == (not trained)
    assert ("No file was exported" in page.text) == (missing in ("export", "all"))
    assert render_markdown(summary).count("\n") > 10


def test_bare_summary(summary: dict[str, Any]) -> None:
    """No points, one evaluation, no random search, no graph, no latency, no budgets."""
    known = summary["best"]["measurement"]
    for name in ("latency_ms", "flash_bytes", "ram_bytes", "macs"):
        known.pop(name)
        known["provenance"].pop(name)
    summary |= {"curve": [0.5], "points": [], "random": {}, "notes": [], "export": None}
    summary["winners"] = summary["winners"][:1]
    summary["best"]["graph"] = []
    summary["problem"]["budgets"] = {}
    summary["device"] = {"name": "somewhere", "title": None, "core": "", "clock_mhz": 1}
    summary["versions"] = {}
    page = Page(render_html(summary))
    assert {f["id"] for f in page.all("figure")} == {"reward", "verified"}


def test_failed_and_impossible_values(summary: dict[str, Any]) -> None:
    summary["curve"] = [None, None, float("nan"), 0.5, None, 0.7, float("inf")]
    summary["points"] = [
        [None, 0.5],
        [1.0, None],
        [float("nan"), 1.0],
        [0.0, 0.3],
        [2.0, 0.7],
        None,
    ]
    page = Page(render_html(summary))
    assert "nan" not in "".join(str(p.get("d")) for p in page.all("path"))
    rows = tables(page)["reward.csv"]
    assert [r[2] for r in rows[1:8]] == ["", "", "", "0.5", "0.5", "0.7", "0.7"]
    assert next(r for r in tables(page)["pareto.csv"] if r[0] == "reinforce")[1:3] == ["2.0", "0.7"]


def test_nothing_measured_at_all(summary: dict[str, Any]) -> None:
    summary |= {"curve": [None], "points": [], "random": {}}
    assert reward_figure(summary) is None
    assert Page(render_html(summary)).all("figure")


def test_warnings_say_what_is_wrong(summary: dict[str, Any]) -> None:
    summary["random"]["uniform-length"]["curve"][5] = 2.0
    summary["export"] |= {"int8_accuracy": 0.9, "bytes": 40_000, "flash_bytes": 40_000}
    summary["winners"][1]["verified"] |= {"mean": 0.5}
    text = Page(render_html(summary)).text
    assert "Random search found a network that is as good or better" in text
    assert "exceeds its budget of flash: 39.1 KiB of 32.0 KiB" in text
    assert "Quantisation to int8 cost 7.1 points" in text
    assert "points off its verified one" in text
    assert "below that of random search" in text


def test_every_layer_is_drawn(summary: dict[str, Any]) -> None:
    problem = Problem.make("emnas-mobile-49", task="grasp", device="host")
    tokens = (22, 8, 34, 23, 32, 43, 12, 24, 31, 11, 10, 13, 35, 19, 45, 14)
    tokens += (29, 21, 15, 18, 47, 4, 9, 44, 18, 48, 24, 26, 14, 5, 17, 49)
    summary["best"]["graph"] = describe(problem.space.architecture(tokens).graph(problem.task))
    figure = network_figure(summary)
    assert figure is not None
    count = len(summary["best"]["graph"])
    for layout in figure.layouts:
        blocks = [m for m in layout.marks if m.role.startswith("block ")]
        assert len(blocks) == count == len(figure.rows)
        texts = [m for m in layout.marks if m.text and not m.d]
        assert all(0 <= m.x <= layout.width and 0 <= m.y <= layout.height for m in texts)


def test_axes() -> None:
    axis = Axis(0.2, 1.0, 0, 100)
    assert axis(0.2) == 0 and axis(1.0) == 100 and axis(0.6) == pytest.approx(50)
    assert axis.ticks(4) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert Axis(0.9, 60, 0, 1, log=True).ticks(5) == pytest.approx([1, 2, 5, 10, 20, 50])
    assert plain_texts([0.9, 0.925, 0.95]) == ["0.900", "0.925", "0.950"]
    assert percent_texts([0.5, 0.75]) == ["50 %", "75 %"]


def test_markdown(summary: dict[str, Any]) -> None:
    text = render_markdown(summary)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 3 + 2 + 5
    assert f"| random, uniform-length | {summary['random']['uniform-length']['best']:.4f} |" in text
    summary["agent"]["name"] = "a|b<c>\nd"
    hostile = [line for line in render_markdown(summary).splitlines() if "a\\|b&lt;c> d" in line]
    assert len(hostile) == 1


WIDTHS = (320, 390, 768, 1280)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
def test_no_sideways_scrolling_in_a_browser(summary: dict[str, Any], tmp_path: Path) -> None:
    summary["notes"].append("x" * 400)
    pages = [render_html(summary), render_html(_hostile(summary))]
    for answer in browse(pages, WIDTHS, tmp_path):
        assert answer["client"] == answer["width"], answer
        assert answer["wide"] == [], answer["width"]
        assert answer["scroll"] <= answer["width"]
        assert answer["svgs"] == 5
