"""Portraits: real runs that resume, figures that follow from them, pictures, and the page."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from agents.cli import app as agents_app
from benchmarks.cli import app
from benchmarks.comparison.significance import holm, p_greater
from benchmarks.portraits import command
from benchmarks.portraits.command import Settings, portray
from benchmarks.portraits.figures import checkpoints, read_figures, text_of
from benchmarks.portraits.page import page_text, picture_lines, result_line
from benchmarks.portraits.picture import COLOURS, PORTRAIT, draw_portrait
from benchmarks.portraits.runs import Run, RunFile, Sitter, World, search
from emnas_gym.errors import EmNASError, StoreError, UnknownName
from emnas_gym.ledger import Ledger
from emnas_gym.registry import resolve, reward_driven
from emnas_gym.testing import check_agent

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "agents.md"
NAMES = sorted(reward_driven())
SECTION = re.compile(r"^### `([\w-]+)`\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
FEW = 20  # evaluations of the runs here


@pytest.fixture(scope="module")
def world() -> World:
    return World.whole_table()


def _portray(folder: Path, world: World, names: tuple[str, ...], **changes: Any) -> dict[str, Any]:
    settings = Settings(
        folder / "out", folder / "runs", **({"seeds": 3, "evaluations": FEW} | changes)
    )
    return portray([Sitter.of(name) for name in names], settings, world=world)


def _image(path: Path) -> Any:
    image = pytest.importorskip("PIL.Image", reason="needs pillow")
    with image.open(path) as picture:
        picture.load()
        return picture


# ------------------------------------------------------------------------------------------- runs


def test_a_run_is_what_the_table_says(world: World) -> None:  # B25
    """Rewards are those of the networks asked for, and repeats are known by their behaviour."""
    agent = resolve("agent", "random").with_options()
    run = search(world, agent, seed=4, evaluations=150)
    ledger = Ledger(world.evaluator, world.problem, 150)
    agent.search(world.problem, ledger, 4)
    assert run.rewards == tuple(round(row.reward, 6) for row in ledger.rows)
    assert run.repeats.count(False) == ledger.distinct < 150
    best = run.best_so_far(150)
    assert np.array_equal(best, [max(run.rewards[: n + 1]) for n in range(150)])
    assert best[-1] <= world.optimum


def test_the_optimum_is_that_of_the_card(world: World) -> None:
    card = (ROOT / "docs" / "bench.md").read_text(encoding="utf-8")
    (line,) = (line for line in card.splitlines() if line.startswith("| `ethos-u55-128`"))
    assert f"| {world.optimum:.4f} (" in line


def test_a_run_that_ends_early_keeps_its_best() -> None:
    run = Run(0, (0.2, 0.5, 0.1), (False, False, False))
    assert run.best_so_far(5).tolist() == [0.2, 0.5, 0.5, 0.5, 0.5]
    assert run.best_so_far(2).tolist() == [0.2, 0.5]


def test_an_interrupted_command_ends_with_the_same_files(tmp_path: Path, world: World) -> None:
    names, whole, cut = ("evolution", "annealing"), tmp_path / "whole", tmp_path / "cut"
    _portray(whole, world, names)

    def stop(name: str) -> None:
        if name == "evolution":
            raise KeyboardInterrupt

    settings = Settings(cut / "out", cut / "runs", 3, FEW)
    with pytest.raises(KeyboardInterrupt):
        portray([Sitter.of(name) for name in names], settings, stop, world)
    assert not (cut / "out").exists()
    stored = cut / "runs" / "evolution.jsonl"
    assert len(stored.read_text().splitlines()) == 2, "the run that was over is kept"
    with stored.open("a") as file:
        file.write('{"seed": 1, "rewards": [0.')  # as a process that was killed leaves it
    _portray(cut, world, names)
    for path in sorted((whole / "out").rglob("*.*")):
        same = cut / "out" / path.relative_to(whole / "out")
        assert path.read_bytes() == same.read_bytes(), path


def test_stored_runs_are_not_searched_again_unless_they_are_to_be(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _portray(tmp_path, world, ("evolution",))
    with monkeypatch.context() as nothing:
        nothing.setattr("benchmarks.portraits.runs.search", _never)
        assert _portray(tmp_path, world, ("evolution",)) == first
        with pytest.raises(AssertionError, match="searched"):
            _portray(tmp_path, world, ("evolution",), fresh=True)
    assert _portray(tmp_path, world, ("evolution",), fresh=True) == first


def _never(*_: Any) -> Run:
    raise AssertionError("searched")


HEAD = '{"agent": "random"}'
LINE = '{"seed": 0, "rewards": [0.1], "repeats": [0]}'


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda head, line: f"{HEAD}\n", "of another search"),
        (lambda head, line: f"{head}\nnonsense\n", "damaged"),
        (lambda head, line: f"{head}\n[1, 2]\n", "damaged"),
        (lambda head, line: head + "\n" + LINE.replace("[0]", "[0, 1]") + "\n", "do not fit"),
        (lambda head, line: head + "\n" + LINE.replace("0.1", "NaN") + "\n", "no number"),
        (lambda head, line: head + "\n" + LINE.replace("[0.1]", "[]") + "\n", "do not fit"),
        (lambda head, line: "\xff", "damaged"),
    ],
)
def test_damaged_or_foreign_runs_are_refused(
    tmp_path: Path, world: World, change: Callable[[str, str], str], said: str
) -> None:
    sitter = Sitter.of("random")
    path = RunFile(tmp_path, sitter, world, FEW).path
    head = path.read_text().strip()
    path.write_text(change(head, LINE), encoding="latin-1")
    with pytest.raises(StoreError, match=said):
        RunFile(tmp_path, sitter, world, FEW)
    assert RunFile(tmp_path, sitter, world, FEW, fresh=True).run(0).seed == 0


def test_runs_of_other_lengths_are_refused(tmp_path: Path, world: World) -> None:
    RunFile(tmp_path, Sitter.of("random"), world, FEW)
    with pytest.raises(StoreError, match="another search"):
        RunFile(tmp_path, Sitter.of("random"), world, FEW + 1)


# ---------------------------------------------------------------------------------------- figures


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, world: World) -> tuple[Path, dict[str, Any]]:
    """A folder of figures and pictures of three agents, and the figures."""
    folder = tmp_path_factory.mktemp("portraits")
    return folder, _portray(folder, world, ("evolution", "local-search"))


def test_figures_follow_from_the_rewards(made: tuple[Path, dict[str, Any]], world: World) -> None:
    folder, figures = made
    assert read_figures(folder / "out" / "agents.json") == figures
    agents, end = figures["agents"], str(FEW)
    p_values = {
        name: p_greater(one["best"][end], agents["random"]["best"][end])
        for name, one in agents.items()
        if name != "random"
    }
    assert set(p_values) == {"evolution", "local-search"}
    for name, one in agents.items():
        runs = RunFile(folder / "runs", Sitter.of(name), world, FEW)
        assert one["best"][end] == [max(runs.run(seed).rewards) for seed in range(3)]
        low, mean, high = one["mean"][end]
        assert low <= mean <= high
        assert mean == pytest.approx(np.mean(one["best"][end]), abs=1e-6)
        assert one["regret"] == pytest.approx(world.optimum - mean, abs=2e-6)
    for name, corrected in holm(p_values).items():
        assert agents[name]["p"] == pytest.approx(p_values[name], rel=1e-3)
        assert agents[name]["p_holm"] == pytest.approx(corrected, rel=1e-3)


def test_others_of_the_file_stay_and_are_tested_anew(tmp_path: Path, world: World) -> None:
    before = _portray(tmp_path, world, ("evolution",))["agents"]["evolution"]
    after = _portray(tmp_path, world, ("annealing",))["agents"]
    assert list(after) == ["annealing", "evolution", "random"]
    assert after["evolution"]["best"] == before["best"]
    expected = min(1.0, 2 * min(after[name]["p"] for name in ("annealing", "evolution")))
    smaller = min(after[name]["p_holm"] for name in ("annealing", "evolution"))
    assert smaller == pytest.approx(expected, rel=1e-3)
    with pytest.raises(StoreError, match="--out"):
        _portray(tmp_path, world, ("annealing",), evaluations=FEW + 1)


def _without_head(figures: dict[str, Any]) -> None:
    del figures["optimum"]


def _better_mean(figures: dict[str, Any]) -> None:
    figures["agents"]["evolution"]["mean"][str(FEW)][1] += 0.01


def _better_p(figures: dict[str, Any]) -> None:
    figures["agents"]["evolution"]["p_holm"] = 1e-9


def _missing_seed(figures: dict[str, Any]) -> None:
    figures["agents"]["evolution"]["best"][str(FEW)].pop()


def _above_optimum(figures: dict[str, Any]) -> None:
    figures["agents"]["evolution"]["best"][str(FEW)][0] = figures["optimum"] + 0.1


def _no_baseline(figures: dict[str, Any]) -> None:
    del figures["agents"]["random"]


def _text_for_agents(figures: dict[str, Any]) -> None:
    figures["agents"] = "all"


@pytest.mark.parametrize(
    "damage",
    [
        _without_head,
        _better_mean,
        _better_p,
        _missing_seed,
        _above_optimum,
        _no_baseline,
        _text_for_agents,
    ],
)
def test_damaged_figures_are_refused(
    tmp_path: Path, made: tuple[Path, dict[str, Any]], damage: Callable[[dict[str, Any]], None]
) -> None:
    figures = json.loads(text_of(made[1]))
    damage(figures)
    path = tmp_path / "agents.json"
    path.write_text(json.dumps(figures), encoding="utf-8")
    with pytest.raises(StoreError, match="damaged"):
        read_figures(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"seeds": 3}', "\x00", '{"agents": '])
def test_files_of_something_else_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "agents.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StoreError, match="benchmarks portraits"):
        read_figures(path)
    with pytest.raises(StoreError):
        read_figures(tmp_path / "nowhere.json")


# --------------------------------------------------------------------------------------- pictures


def test_pictures_can_be_read_and_are_small(made: tuple[Path, dict[str, Any]]) -> None:
    folder = made[0] / "out" / "images" / "agents"
    assert {path.stem for path in folder.iterdir()} == {
        "evolution",
        "local-search",
        "overview",
        "random",
    }
    for name in ("evolution", "random"):
        picture = _image(folder / f"{name}.png")
        assert (picture.format, picture.size) == ("PNG", PORTRAIT)
        assert 10 < len(picture.convert("RGB").getcolors()) <= COLOURS
        assert (folder / f"{name}.png").stat().st_size < 25_000


def test_pictures_show_their_agent(
    made: tuple[Path, dict[str, Any]], tmp_path: Path, world: World
) -> None:
    """Other runs give another picture, the same runs the same one."""
    files = {
        n: RunFile(made[0] / "runs", Sitter.of(n), world, FEW) for n in ("random", "evolution")
    }
    runs = {name: [file.run(seed) for seed in range(3)] for name, file in files.items()}
    drawn = made[0] / "out" / "images" / "agents" / "evolution.png"
    for some, same in ((runs["evolution"], True), (runs["evolution"][::-1], False)):
        draw_portrait("evolution", some, runs["random"], world.optimum, tmp_path / "one.png")
        assert ((tmp_path / "one.png").read_bytes() == drawn.read_bytes()) is same


# ---------------------------------------------------------------------------------------- command


def test_unknown_and_unfit_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="evolution"):
        Sitter.of("evolutoin")
    with pytest.raises(EmNASError, match="name a picture"):
        Sitter.of("test_benchmarks_portraits:Unnamed")
    with pytest.raises(EmNASError, match="registered agent"):
        Sitter.of("test_benchmarks_portraits:Impostor")
    ended = CliRunner().invoke(app, ["portraits", "evolutoin", "--out", str(tmp_path)])
    assert isinstance(ended.exception, UnknownName)


class Unnamed(resolve("agent", "random")):  # type: ignore[misc]
    name = "../random"


class Impostor(resolve("agent", "random")):  # type: ignore[misc]
    name = "evolution"


def test_the_command_prints_its_figures_as_json(tmp_path: Path) -> None:
    words = ["portraits", "random", "--seeds", "2", "--evaluations", "10", "--json"]
    folders = ["--out", str(tmp_path / "out"), "--runs", str(tmp_path / "runs")]
    ended = CliRunner().invoke(app, [*words, *folders])
    assert ended.exit_code == 0, ended.output
    figures = json.loads(ended.stdout)
    assert figures == read_figures(tmp_path / "out" / "agents.json")
    assert figures["agents"]["random"]["p"] is None
    assert not (tmp_path / "out" / "agents.md").exists(), "a page needs all agents"


def test_slow_agents_have_fewer_seeds() -> None:
    settings = Settings(Path(), Path(), 30)
    assert set(command.SLOW) < set(NAMES)
    assert settings.seeds_of("gp") == 10
    assert settings.seeds_of("evolution") == 30
    assert Settings(Path(), Path(), 5).seeds_of("gp") == 5


# ------------------------------------------------------------------------------------------- page


@pytest.fixture(scope="module")
def sections() -> dict[str, str]:
    return dict(SECTION.findall(PAGE.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    return read_figures(PAGE.with_suffix(".json"))


def test_the_page_is_that_of_its_figures(published: dict[str, Any]) -> None:
    """Every number and every word of it: what the template makes of agents.json, as registered."""
    assert sorted(published["agents"]) == NAMES
    assert PAGE.read_text(encoding="utf-8") == page_text(published)


@pytest.mark.parametrize("name", ["random", "evolution", "local-search", "network-policy"])
def test_published_figures_are_those_of_real_runs(
    name: str, published: dict[str, Any], world: World
) -> None:
    """Agents in numpy alone search again, and reach what stands in the file."""
    assert published["problem"] == world.problem.to_json()
    assert published["optimum"] == world.optimum
    one, at = published["agents"][name], published["evaluations"]
    for seed in (0, len(one["seeds"]) - 1):
        run = search(world, resolve("agent", name).with_options(), seed, at)
        best = {str(n): run.best_so_far(at)[n - 1] for n in checkpoints(at)}
        assert {n: values[seed] for n, values in one["best"].items()} == best
        assert one["distinct"][seed] == run.repeats.count(False)


@pytest.mark.parametrize("name", NAMES)
def test_every_agent_has_its_section(
    name: str, sections: dict[str, str], published: dict[str, Any]
) -> None:
    text = sections[name]
    assert picture_lines(name) in text
    assert result_line(published, name) in text
    assert re.search(r"^```\n.+?^```$", text, re.MULTILINE | re.DOTALL), "an equation"
    picture = ROOT / "docs" / "images" / "agents" / f"{name}.png"
    assert _image(picture).size == PORTRAIT
    assert picture.stat().st_size < 25_000
    row = re.search(rf"^\| \[`{name}`\]\(#{name}\) \|.*$", PAGE.read_text("utf-8"), re.MULTILINE)
    learns = "yes" if resolve("agent", name).learns else "no"
    assert row is not None
    assert row[0].endswith(f"| {learns} |")


def test_the_page_has_no_agent_that_is_not_registered(sections: dict[str, str]) -> None:
    pictures = {path.stem for path in (ROOT / "docs" / "images" / "agents").glob("*.png")}
    assert sorted(sections) == NAMES == sorted(pictures - {"overview"})
    assert "overview" in pictures


def test_the_page_names_the_tuned_options_that_are_shipped() -> None:
    text = PAGE.read_text(encoding="utf-8")
    told = text.split("**Tuned options.**")[1].split("The files in")[0]
    shipped = (ROOT / "agents" / "tuned").glob("*.toml")
    assert set(re.findall(r"`([\w-]+)`[,.]", told)) == {path.stem for path in shipped}


def test_a_result_line_says_what_the_figures_say() -> None:
    one = {"seeds": [0, 1], "mean": {"20": [0.9, 0.95, 1.0]}, "optimum_found": 1, "p_holm": 0.2}
    base = one | {"mean": {"20": [0.8, 0.85, 0.9]}, "optimum_found": 0, "p_holm": None}
    figures = {"evaluations": 20, "agents": {"evolution": one, "random": base}}
    assert result_line(figures, "evolution") == (
        "After 20 evaluations 0.9500 (0.9000 … 1.0000), the optimum in 1 of 2 seeds; random search "
        "0.8500, the optimum in 0 of 2 seeds: not shown to be better (p = 0.200, Holm)."
    )
    one["p_holm"] = 0.0004
    assert "better (p < 0.001, Holm)." in result_line(figures, "evolution")
    assert result_line(figures, "random").endswith("0 of 2 seeds.")


# --------------------------------------------------------------------------------- bring your own


@pytest.fixture
def template(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    monkeypatch.delitem(sys.modules, "agent_template", raising=False)
    return resolve("agent", "agent_template:MyAgent")


def test_the_template_is_short_and_keeps_the_rules(template: Any) -> None:
    text = (ROOT / "examples" / "agent_template.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 30
    assert f"in {len(text.splitlines())} lines" in PAGE.read_text(encoding="utf-8")
    check_agent(template.with_options)
    check_agent(lambda: template.with_options(explore=1.0))


def test_the_commands_of_the_page_run_as_printed(
    template: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = re.findall(r"^    PYTHONPATH=examples python -m (.+)$", PAGE.read_text("utf-8"), re.M)
    assert [line.split()[0] for line in printed] == ["agents", "benchmarks"]
    monkeypatch.chdir(tmp_path)  # for what they write
    for line in printed:
        door, *words = shlex.split(line)
        ended = CliRunner().invoke({"agents": agents_app, "benchmarks": app}[door], words)
        assert ended.exit_code == 0, ended.output
    assert (tmp_path / "runs" / "mine" / "history.sqlite").exists()
    figures = read_figures(tmp_path / "runs" / "portrait" / "agents.json")
    assert set(figures["agents"]) == {"my-agent", "random"}
    picture = tmp_path / "runs" / "portrait" / "images" / "agents" / "my-agent.png"
    assert _image(picture).size == PORTRAIT
