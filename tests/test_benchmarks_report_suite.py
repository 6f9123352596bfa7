"""The report of a suite: whole, self-contained, escaped; its downloads are what is drawn."""

from __future__ import annotations

import copy
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from invented_search import make_summary
from measured_suite import measured_suite
from report_page import CHROMIUM, HOSTILE, Page, browse, csv_rows, downloads

pytest.importorskip("jinja2")

from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.report.lines import APART, spread
from benchmarks.report.search.page import render_html, render_markdown
from benchmarks.report.suite.contest import COLOURS, agent_roles, contests
from benchmarks.report.suite.figures import median_reached
from benchmarks.report.suite.findings import headline
from benchmarks.report.suite.markdown_tables import suite_markdown
from benchmarks.report.suite.page import render_suite, write_suite_report
from benchmarks.report.suite.trade_figures import front
from benchmarks.suites.checked_fields import DEPTH, ResultError
from benchmarks.suites.result import LARGEST_FILE, check_result, load_result

ROOT = Path(__file__).parent.parent
STYLES = ROOT / "benchmarks/report/templates"
CSS = "".join((STYLES / f"{name}.css").read_text("utf-8") for name in ("series", "suite"))


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    """What a runner wrote, as it is read back."""
    return dict(json.loads(json.dumps(measured_suite(verify=1))))


@pytest.fixture
def result(whole: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(whole)


@pytest.fixture(scope="module")
def page(whole: dict[str, Any]) -> Page:
    return Page(render_suite(whole))


@pytest.fixture(scope="module")
def data(page: Page) -> dict[str, list[list[str]]]:
    files = downloads(page)
    return {name: csv_rows(text) for name, text in files.items() if name.endswith(".csv")}


def by(rows: list[list[str]], *columns: str) -> list[tuple[Any, ...]]:
    """Some columns of a table; what is a number as a number."""
    places = [rows[0].index(name) for name in columns]
    return [tuple(_number(row[i]) for i in places) for row in rows[1:]]


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


# --------------------------------------------------------------------------------- the whole page


def test_the_page_needs_nothing_else(result: dict[str, Any], tmp_path: Path) -> None:
    path = write_suite_report(result, tmp_path / "new")
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    assert path.name == "report.html" and html.startswith("<!DOCTYPE html>")
    assert not re.search(r"(?:https?:)?//[a-z]", html)
    assert not page.all("script") and not page.all("img") and "url(" not in html
    links = [str(a["href"]) for a in [*page.all("a"), *page.all("link")]]
    assert all(link.startswith(("data:", "#")) for link in links)
    names = {str(attrs["id"]) for _, attrs in page.tags if "id" in attrs}
    assert {link[1:] for link in links if link.startswith("#")} <= names
    assert "default-src 'none'" in html
    assert len(html) < 3_000_000


def test_every_figure_has_its_data_its_command_and_words_for_it(
    result: dict[str, Any], page: Page, data: dict[str, list[list[str]]]
) -> None:
    ids = [str(figure["id"]) for figure in page.all("figure")]
    assert len(ids) == len(set(ids))
    for i in (1, 2, 3):
        mine = {name.split("-", 1)[1] for name in ids if name.startswith(f"{i}-")}
        kinds = {re.sub(r"^(digits-on-an?-(cortex-m4|rp2040)|small)-", "", name) for name in mine}
        assert kinds == {
            "leaderboard", "curves", "profile", "improvement", "tops", "cost", "hypervolume",
            "pareto-latency-ms", "pareto-flash-bytes",
            *(["regret"] if i == 2 else []), *(["verified"] if i == 1 else []),
        }  # fmt: skip
    assert {f"{name}.csv" for name in ids} | {"runs.csv"} == set(data)
    assert all(len(rows) > 1 and len({len(r) for r in rows}) == 1 for rows in data.values())
    for part in render_suite(result).split("<figure")[1:]:
        assert part.count("<svg") == 2 and result["command"] in part
    labels = [str(svg["aria-label"]) for svg in page.all("svg")]
    assert all(svg["role"] == "img" for svg in page.all("svg"))
    assert all(any(e["label"] in text for e in result["environments"]) for text in labels[::2][1:3])


def test_no_number_of_a_picture_is_missing_or_infinite(page: Page) -> None:
    drawn = " ".join(str(path.get("d")) for path in page.all("path"))
    assert "nan" not in drawn and "inf" not in drawn and "None" not in drawn


# ------------------------------------------------------------------- downloads are what is plotted


def test_downloads_parse_back_to_the_curves_and_profiles(
    result: dict[str, Any], data: dict[str, list[list[str]]]
) -> None:
    kinds = (
        ("curves", "curves", "evaluations", "mean"),
        ("profiles", "profile", "reward", "share"),
    )
    for contest, (part, name, axis, middle) in itertools.product(contests(result), kinds):
        table = result[part][contest.label]
        rows = by(data[f"{contest.name}-{name}.csv"], "agent", axis, middle, "low", "high")
        for label, band in table["agents"].items():
            columns = (table[axis], band[middle], band["low"], band["high"])
            assert [row[1:] for row in rows if row[0] == label] == list(zip(*columns, strict=True))


def test_regret_is_the_optimum_less_the_curve(
    result: dict[str, Any], data: dict[str, list[list[str]]]
) -> None:
    optimum = result["environments"][1]["optimum"]["reward"]
    curves = result["curves"]["small"]["agents"]
    rows = by(data["2-small-regret.csv"], "agent", "regret", "low", "high")
    for label, band in curves.items():
        found = np.array([row[1:] for row in rows if row[0] == label])
        expected = optimum - np.array([band["mean"], band["high"], band["low"]]).T
        assert np.array_equal(found, expected)
    assert all(row[1] >= -1e-12 for row in rows)


def test_downloads_have_every_run(result: dict[str, Any], data: dict[str, list[list[str]]]) -> None:
    runs = by(data["runs.csv"], "env", "agent", "seed", "best", "cpu_seconds")
    assert runs == [
        (r["env"], r["agent"], r["seed"], r["best"], r["cpu_seconds"]) for r in result["runs"]
    ]
    for contest in contests(result):
        best = by(data[f"{contest.name}-leaderboard.csv"], "agent", "seed", "best_reward")
        wall = by(data[f"{contest.name}-cost.csv"], "agent", "seed", "wall_seconds")
        tops = by(data[f"{contest.name}-tops.csv"], "agent", "seed", "best_percent", "evaluations")
        for run in contest.runs:
            assert (run["agent"], run["seed"], run["best"]) in best
            assert (run["agent"], run["seed"], run["seconds"]) in wall
            for share, at in run["to_top"].items():
                assert (run["agent"], run["seed"], float(share), "" if at is None else at) in tops


def test_probability_of_improvement_and_verified_rewards_parse_back(
    result: dict[str, Any], data: dict[str, list[list[str]]]
) -> None:
    first = contests(result)[0]
    found = by(data[f"{first.name}-improvement.csv"], "agent", "probability", "low", "high")
    assert {row[0] for row in found} == {"walk", "evolution"}
    for label, *numbers in found:
        known = result["statistics"][first.label][label]["probability_of_improvement"]
        assert numbers == [known["value"], *known["interval"]]
    pairs = by(data[f"{first.name}-verified.csv"], "predicted_reward", "verified_reward")
    truth = [run["verified"] for run in first.runs if run["verified"]]
    assert sorted(pairs) == sorted((t["predicted_reward"], t["reward"]) for t in truth)


def test_no_member_of_a_front_is_beaten_and_no_hypervolume_falls(  # E7
    result: dict[str, Any], data: dict[str, list[list[str]]]
) -> None:
    for contest in contests(result):
        for field in ("latency_ms", "flash_bytes"):
            rows = data[f"{contest.name}-pareto-{field.replace('_', '-')}.csv"]
            found = by(rows, "agent", field, "accuracy", "on_front")
            networks = sum(len(run["front"]) for run in contest.runs)
            assert len(found) == networks
            for label in contest.ranked:
                mine = np.array([row[1:3] for row in found if row[0] == label])
                on = np.array([row[1:3] for row in found if row[0] == label and row[3] == 1])
                for x, y in on:
                    better = (mine[:, 0] <= x) & (mine[:, 1] >= y)
                    assert (mine[better] == (x, y)).all()
        volumes = by(data[f"{contest.name}-hypervolume.csv"], "agent", "evaluations", "hypervolume")
        for label in contest.ranked:
            values = [v for a, _, v in volumes if a == label]
            assert values == sorted(values) and values[-1] > 0
            last = [run["hypervolume"][-1][1] for run in contest.of(label)]
            assert values[-1] == pytest.approx(np.mean(last))


def test_fronts_of_every_direction() -> None:
    spots = [(0, x, y) for x, y in itertools.product((1.0, 2.0, 3.0), (1.0, 2.0))] + [(0, 2.0, 3.0)]
    up, down = {"better": "higher"}, {"better": "lower"}
    assert front(spots, down, up) == [(1.0, 2.0), (2.0, 3.0)]
    assert front(spots, up, up) == [(3.0, 2.0), (2.0, 3.0)]
    assert front(spots, down, down) == [(1.0, 1.0)]
    assert front(spots, up, down) == [(3.0, 1.0)]


# ------------------------------------------------------------------------------- words and tables


def test_a_run_that_never_gets_there_counts_as_endless() -> None:
    assert median_reached([3, None, 5]) == 5.0
    assert median_reached([3, 4, 5, None]) == 4.5
    assert median_reached([3, None, None]) is None
    assert median_reached([3, None]) is None and median_reached([]) is None


def test_headline_follows_the_statistics(result: dict[str, Any]) -> None:
    def say() -> str:
        return headline(result, contests(result))

    rows = [row for env in result["statistics"].values() for row in env.values()]
    for row in rows:
        row["better_than_baseline"] = False
    assert say() == "No agent beats random by more than chance"
    result["statistics"]["small"]["evolution"]["better_than_baseline"] = True
    assert say() == "evolution beats random by more than chance on 1 of 3 problems"
    for env in result["statistics"].values():
        env["evolution"]["better_than_baseline"] = True
    assert say() == "evolution beats random by more than chance on all 3 problems"
    result["runs"] = []
    assert say() == "No run has finished yet"


def test_page_shows_numbers_with_intervals_costs_machine_and_versions(  # B26
    result: dict[str, Any], page: Page
) -> None:
    text = page.text
    for env, agents in result["statistics"].items():
        for row in agents.values():
            low, high = row["interval"]
            assert f"{row['mean']:.4f}" in text and f"{low:.4f}–{high:.4f}" in text, env
    for name in ("wall time", "CPU time", "evaluations", "trainings", "last tenth"):
        assert name in text
    assert result["machine"]["cpu"] in text and f"numpy {result['versions']['numpy']}" in text
    assert "Only 4 seeds" in text


def test_page_says_whether_another_device_has_another_best_network(  # E18
    result: dict[str, Any],
) -> None:
    best = {
        env: max((r for r in result["runs"] if r["env"] == env), key=lambda r: r["best"])
        for env in ("digits on a Cortex-M4", "digits on an RP2040")
    }
    one, other = best.values()
    told = "The best network found is {} on stm32f446re and rp2040."
    alike = one["winner"]["tokens"] == other["winner"]["tokens"]
    assert told.format("the same" if alike else "not the same") in Page(render_suite(result)).text
    one["winner"]["tokens"] = [1] if alike else other["winner"]["tokens"]
    changed = Page(render_suite(result)).text
    assert told.format("not the same" if alike else "the same") in changed


def test_page_warns_where_trained_winners_do_not_keep_the_lead(result: dict[str, Any]) -> None:
    row = result["statistics"]["digits on a Cortex-M4"]["evolution"]
    row |= {"better_than_baseline": True, "verified_p_holm": 0.4}
    result["predicted_verified"]["digits on a Cortex-M4"]["spearman"] = 0.1
    text = Page(render_suite(result)).text
    assert "“evolution” beats random; really trained, the winners do not" in text
    assert "hardly rank alike (Spearman 0.10)" in text


def test_markdown_tables_are_the_numbers(result: dict[str, Any]) -> None:
    lines = suite_markdown(result).splitlines()
    for env, agents in result["statistics"].items():
        start = lines.index(f"**{env}**")
        header, _, *rows = lines[start + 2 : start + 4 + len(agents)]
        names = [cell.strip() for cell in header.strip("|").split("|")]
        assert len(rows) == len(agents)
        means = []
        for line in rows:
            cells = dict(zip(names, [c.strip() for c in line.strip("|").split("|")], strict=True))
            row = agents[cells["agent"].removesuffix(" (baseline)")]
            means.append(row["mean"])
            low, high = row["interval"]
            assert cells["best reward"] == f"{row['mean']:.4f} ({low:.4f}–{high:.4f})"
            assert cells["larger than chance"].startswith(
                "**▲ yes**" if row["better_than_baseline"] else ("no", "–")
            )
        assert means == sorted((row["mean"] for row in agents.values()), reverse=True)
    assert f"`{result['command']}`" in lines
    assert_tables_are_even(lines)


def assert_tables_are_even(lines: list[str]) -> None:
    """Every row of a Markdown table has as many cells as its head."""
    tables = [list(g) for k, g in itertools.groupby(lines, lambda x: x.startswith("|")) if k]
    assert len(tables) >= 4
    for table in tables:
        assert len({re.sub(r"\\\|", "", line).count("|") for line in table}) == 1


def test_a_single_environment_needs_no_overview(result: dict[str, Any]) -> None:
    kept = result["environments"][1:2]
    result |= {"environments": kept, "runs": [r for r in result["runs"] if r["env"] == "small"]}
    for part in ("statistics", "profiles", "curves", "predicted_verified"):
        result[part] = {"small": result[part]["small"]}
    page = Page(render_suite(result))
    assert "All environments" not in page.text and not page.all("nav")
    assert "**small**" not in suite_markdown(result)


# ------------------------------------------------------------------------------------ interrupted


def interrupt(result: dict[str, Any], keep: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The result with some runs missing, and what cannot be known without them left out."""
    gone = [run for run in result["runs"] if not keep(run)]
    missing = [{key: run[key] for key in ("env", "agent", "seed")} for run in gone]
    kept = [run for run in result["runs"] if keep(run)]
    there = {(run["env"], run["agent"]) for run in kept}
    for env, agents in result["statistics"].items():
        result["statistics"][env] = {k: v for k, v in agents.items() if (env, k) in there}
    for part in ("curves", "profiles"):
        for env, table in result[part].items():
            table["agents"] = {k: v for k, v in table["agents"].items() if (env, k) in there}
    return result | {"finished": False, "runs": kept, "missing": missing}


def test_an_interrupted_suite_says_so_before_all_else(result: dict[str, Any]) -> None:
    result = interrupt(result, lambda run: run["agent"] != "walk" or run["seed"] < 2)
    html = render_suite(result)
    page = Page(html)
    assert html.index("Interrupted") < html.index("<h1>")
    assert "6 of 36 runs are missing" in page.text
    assert "walk on small: seeds 2, 3" in page.text
    assert "6 of 36 runs are missing" in suite_markdown(result)
    assert "30 of 36" in page.text


@pytest.mark.parametrize("left", ["no agent", "no environment", "nothing"])
def test_a_report_is_written_of_whatever_is_there(result: dict[str, Any], left: str) -> None:
    kept = {
        "no agent": lambda run: run["agent"] != "evolution",
        "no environment": lambda run: run["env"] != "small",
        "nothing": lambda run: False,
    }
    result = interrupt(result, kept[left])
    page = Page(render_suite(result))
    figures = {str(figure["id"])[0] for figure in page.all("figure")}
    assert figures == {"no agent": set("123"), "no environment": set("13"), "nothing": set()}[left]
    assert "This suite is not finished" in page.text
    assert "This suite is not finished" in suite_markdown(result)


def test_a_single_seed_of_a_single_evaluation(result: dict[str, Any]) -> None:
    """Nothing varies: no axis may collapse."""
    result |= {"runs": [r for r in result["runs"] if r["seed"] == 0], "seeds": 1}
    for run in result["runs"]:
        run |= {"evaluations": 1, "distinct": 1, "best": 0.5, "curve": [[1, 0.5]], "front": []}
        run |= {"hypervolume": [[1, 0.0]], "seconds": 0.0, "to_top": {}, "verified": None}
    for environment in result["environments"]:
        environment |= {"evaluations": 1, "optimum": {"reward": 0.5, "interval": None}}
    for env in result["statistics"]:
        one = {"mean": [0.5], "low": [0.5], "high": [0.5]}
        labels = result["statistics"][env]
        result["curves"][env] = {"evaluations": [1], "agents": {label: one for label in labels}}
        result["profiles"][env] = None
        for row in labels.values():
            row |= {"n": 1, "mean": 0.5, "interval": [0.5, 0.5], "p": None, "p_holm": None}
    page = Page(render_suite(result))
    drawn = " ".join(str(path.get("d")) for path in page.all("path"))
    assert page.all("figure") and "nan" not in drawn and "inf" not in drawn


# ---------------------------------------------------------------------------- what is not trusted


def hostile(value: Any, key: str = "") -> Any:
    """The result with every free text hostile, labels and keys included."""
    if isinstance(value, dict):
        kept = key in ("to_top", "provenance")
        text = key in ("statistics", "profiles", "curves", "predicted_verified", "versions")
        text |= key in ("machine", "keywords", "agents", "options") or key in LABELS
        inner = {
            (HOSTILE + k if text and not kept and k not in FIXED else k): hostile(v, k)
            for k, v in value.items()
        }
        return inner
    if isinstance(value, list):
        return [hostile(v, key) for v in value]
    fixed = key in ("better", "field", "latency_ms", "accuracy")
    return HOSTILE + value if isinstance(value, str) and not fixed else value


LABELS = ("digits on a Cortex-M4", "small", "digits on an RP2040")
FIXED = {"evaluations", "reward", "agents", "pearson", "spearman", "tau", "n", "label", "agent",
         "options", "summary"}  # fmt: skip


def test_everything_is_escaped(result: dict[str, Any]) -> None:
    spoiled = check_result(hostile(result))
    html = render_suite(spoiled)
    page = Page(html)
    assert "<script" not in html and not page.all("script")
    assert page.text.count("<script>alert('x')</script>") > 100
    allowed = {"aria-label", "class", "content", "d", "data-name", "download", "href", "id", "role"}
    allowed |= {"lang", "charset", "name", "rel", "scope", "viewbox", "x", "y", "tabindex"}
    allowed |= {"http-equiv"}
    assert {name for _, attrs in page.tags for name in attrs} <= allowed
    ids = [str(attrs["id"]) for _, attrs in page.tags if "id" in attrs]
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in ids)
    text = suite_markdown(spoiled)
    assert "<script" not in text
    assert_tables_are_even(text.splitlines())


def test_cells_of_downloads_never_start_a_formula(result: dict[str, Any]) -> None:
    text = json.dumps(result).replace('"walk"', '"=HYPERLINK(1)"')
    files = downloads(Page(render_suite(json.loads(text))))
    for name, content in files.items():
        if name.endswith(".csv"):
            assert not re.search(r"(?m)(^|,)=HYPERLINK", content), name
    assert "'=HYPERLINK(1)" in files["1-digits-on-a-cortex-m4-leaderboard.csv"]


DAMAGES: list[tuple[str, Callable[[dict[str, Any]], Any], str]] = [
    ("no format", lambda r: r.pop("format"), "format: 2 is read here, not null"),
    ("another format", lambda r: r.update(format=1), "format: 2 is read here, not 1"),
    ("no runs", lambda r: r.pop("runs"), "runs is missing"),
    ("runs as text", lambda r: r.update(runs="x"), "runs: a list is expected, not 'x'"),
    ("a run lacks best", lambda r: r["runs"][3].pop("best"), "runs[3].best is missing"),
    ("best as text", lambda r: r["runs"][3].update(best="1"), "runs[3].best: a number"),
    ("best as truth", lambda r: r["runs"][3].update(best=True), "runs[3].best: a number"),
    ("a huge number", lambda r: r["runs"][0].update(best=10**400), "runs[0].best:"),
    ("no environment", lambda r: r.update(environments=[]), "environments: 1 to 200"),
    ("twice an agent", lambda r: r["agents"].append(r["agents"][0]), "agents: the label 'random'"),
    ("twice a run", lambda r: r["runs"].append(r["runs"][0]), "seed 0 of 'random' is there twice"),
    ("foreign agent", lambda r: r["runs"][0].update(agent="me"), "runs[0].agent: 'me' is no label"),
    ("foreign baseline", lambda r: r.update(baseline="me"), "baseline: 'me'"),
    ("foreign statistics", lambda r: r["statistics"].update(me={}), "statistics['me']"),
    (
        "a short band",
        lambda r: r["curves"]["small"]["agents"]["walk"]["low"].pop(),
        "curves['small'].agents['walk'].low:",
    ),
    ("time runs back", lambda r: r["runs"][0]["curve"].reverse(), "runs[0].curve: evaluations do"),
    (
        "a direction",
        lambda r: r["environments"][0]["objectives"][0].update(better="hihger"),
        "environments[0].objectives[0].better: 'hihger' is unknown: did you mean higher?",
    ),
    (
        "a front of words",
        lambda r: r["runs"][0]["front"][0].update(accuracy="good"),
        "runs[0].front[0].accuracy: a number",
    ),
    (
        "a share of words",
        lambda r: r["runs"][0]["to_top"].update(most=3),
        "runs[0].to_top['most']: a share",
    ),
    ("negative time", lambda r: r["runs"][0].update(seconds=-1.0), "runs[0].seconds: -1 lies"),
    ("a p of two", lambda r: r["statistics"]["small"]["walk"].update(p=2), "lies outside 0 to 1"),
    ("a long label", lambda r: r["agents"][0].update(label="x" * 101), "agents[0].label: a text"),
    ("versions a list", lambda r: r.update(versions=[]), "versions: a table"),
    ("deep", lambda r: r["machine"].update(cpu=_deep(DEPTH + 1)), "nested deeper"),
]


def _deep(levels: int) -> Any:
    return [_deep(levels - 1)] if levels else 0


@pytest.mark.parametrize("name, damage, told", DAMAGES, ids=[d[0] for d in DAMAGES])
def test_damage_is_named(
    result: dict[str, Any],
    tmp_path: Path,
    name: str,
    damage: Callable[[dict[str, Any]], Any],
    told: str,
) -> None:
    damage(result)
    path = tmp_path / "result.json"
    path.write_text(json.dumps(result), encoding="utf-8")
    with pytest.raises(ResultError) as caught:
        load_result(tmp_path)
    assert told in str(caught.value) and str(path) in str(caught.value), name


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1, 2]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"format": NaN}', b'"x"'],
)
def test_what_is_no_result_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "result.json").write_bytes(content)
    with pytest.raises(ResultError, match=re.escape("result.json")):
        load_result(tmp_path)


def test_an_absurd_size_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "result.json").open("wb") as file:
        file.truncate(LARGEST_FILE + 1)
    with pytest.raises(ResultError, match="268,435,457 bytes"):
        load_result(tmp_path)


def test_a_sound_result_is_read_as_it_is(result: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(json.dumps(result), encoding="utf-8")
    assert load_result(tmp_path) == result


def test_the_command_writes_the_page_and_the_tables(result: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(json.dumps(result), encoding="utf-8")

    def call(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["report", str(tmp_path), *arguments])

    printed = call("--markdown", "-")
    assert (printed.exit_code, printed.stdout) == (0, suite_markdown(result))
    assert not (tmp_path / "report.html").exists()
    assert call().exit_code == 0
    assert Page((tmp_path / "report.html").read_text(encoding="utf-8")).all("figure")
    assert call("--markdown", str(tmp_path / "tables.md")).exit_code == 0
    assert (tmp_path / "tables.md").read_text(encoding="utf-8") == suite_markdown(result)


def test_the_command_still_reports_a_search(tmp_path: Path) -> None:
    summary = make_summary()
    path = tmp_path / "summary.json"
    path.write_text(json.dumps(summary), encoding="utf-8")
    summary = json.loads(path.read_text(encoding="utf-8"))
    assert CliRunner().invoke(app, ["report", str(tmp_path)]).exit_code == 0
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == render_html(summary)
    printed = CliRunner().invoke(app, ["report", str(tmp_path), "--markdown", "-"])
    assert printed.stdout == render_markdown(summary)


def test_the_door_refuses_a_damaged_result_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("{}", encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks", "report", str(tmp_path)]
    failed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert failed.returncode == 2 and "format: 2 is read here" in failed.stderr
    assert "Traceback" not in failed.stderr


# ---------------------------------------------------------------------------------- how it is seen


def test_each_agent_has_one_colour_and_the_baseline_is_grey() -> None:
    labels = [f"agent {i}" for i in range(15)]
    roles = agent_roles(labels, "agent 3")
    assert roles["agent 3"] == "series base" and len(set(roles.values())) == 15
    assert roles["agent 0"] == "series s0" and roles["agent 4"] == "series s3"
    assert roles["agent 7"] == "series s0 dash1"


def _palettes() -> dict[str, list[str]]:
    """Colours of light, dark and print, the baseline's first."""
    names = ["base", *(f"s{i}" for i in range(COLOURS))]
    found = [re.findall(rf"--{name}: (#[0-9a-f]{{6}});", CSS) for name in names]
    assert all(len(values) == 3 for values in found)
    themes = zip(("light", "dark", "print"), zip(*found, strict=True), strict=True)
    return {theme: list(colours) for theme, colours in themes}


def _linear(colour: str) -> np.ndarray:
    share = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def _oklab(rgb: np.ndarray) -> np.ndarray:
    """Ottosson's perceptual coordinates (2020) of linear sRGB."""
    cones = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
             [0.0883024619, 0.2817188376, 0.6299787005]]  # fmt: skip
    mix = [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
           [0.0259040371, 0.7827717662, -0.8086757660]]  # fmt: skip
    return np.array(mix) @ np.cbrt(np.array(cones) @ np.clip(rgb, 0, 1))


VISION = {  # Machado, Oliveira and Fernandes, 2009: severity 1, on linear sRGB
    "usual": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                   [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                     [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                   [0.004733, 0.691367, 0.303900]],
}  # fmt: skip


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_colours_are_told_apart_and_stand_out(theme: str, vision: str) -> None:
    colours = _palettes()[theme]
    seen = [_oklab(np.array(VISION[vision]) @ _linear(colour)) for colour in colours]
    apart = min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(seen, 2))
    assert apart > 0.06  # about three just noticeable differences
    weights = np.array([0.2126, 0.7152, 0.0722])
    panel = 0.05 + weights @ _linear("#101b17" if theme == "dark" else "#ffffff")
    for colour in colours:
        own = 0.05 + weights @ _linear(colour)
        assert max(own, panel) / min(own, panel) >= 3.0  # WCAG 2.1, 1.4.11


def test_names_beside_lines_do_not_touch_and_keep_their_order() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        wanted = list(rng.uniform(12, 300, rng.integers(1, 12)))
        placed = spread(wanted, 16, 320)
        ranked = np.array(placed)[np.argsort(wanted)]
        assert (np.diff(ranked) >= APART - 1e-6).all()
        assert ranked[0] >= 16 - 1e-9
    assert spread([100.0, 200.0], 0, 300) == [100.0, 200.0]


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
def test_a_browser_shows_it_without_sideways_scrolling(
    result: dict[str, Any], tmp_path: Path
) -> None:
    cut = interrupt(copy.deepcopy(result), lambda run: run["seed"] < 3)
    pages = [render_suite(result), render_suite(hostile(result)), render_suite(cut)]
    counts = {len(Page(html).all("figure")) for html in pages}
    grounds = {}
    for dark in (False, True):
        answers = browse(pages, (390, 1280), tmp_path, dark)
        for answer in answers:
            assert answer["client"] == answer["width"], answer
            assert answer["wide"] == [], answer["width"]
            assert answer["scroll"] <= answer["width"]
            assert answer["cut"] == [], answer["width"]
            assert answer["svgs"] in counts
            assert min(answer["letters"]) > 11  # pixels, on a phone as well
        grounds[dark] = {answer["ground"] for answer in answers}
    assert grounds == {False: {"rgb(241, 245, 243)"}, True: {"rgb(10, 18, 15)"}}
