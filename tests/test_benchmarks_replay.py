"""Results are replayed from their tokens and seed; whatever was changed in them is found."""

from __future__ import annotations

import io
import json
import re
import sqlite3
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import gradient_worlds
import gymnasium as gym
import pytest
from conftest import BUDGETS, TINY
from rich.console import Console
from tiny_worlds import DOZEN
from typer.testing import CliRunner

from agents.runs import Plan, make_agent, open_ledger
from benchmarks.cli import app
from benchmarks.replay.files import read_claims
from benchmarks.replay.history import read_history, spent_on_training
from benchmarks.replay.record import Record
from benchmarks.replay.tolerance import EXACT, tolerance_of, training_noise
from benchmarks.replay.validate import Demand, Verdict, processor_name, same_here, validate
from benchmarks.replay.world import Given
from benchmarks.search import SearchOptions, run_search
from benchmarks.setup import make_setup
from benchmarks.versions import versions
from benchmarks.winners.verify import Verification, Verifier, full_recipe, winners
from emnas_gym import REGISTERED
from emnas_gym.architecture import Architecture
from emnas_gym.errors import StoreError
from emnas_gym.evaluator import Evaluator, Result
from emnas_gym.ledger import Ledger
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.registry import make_evaluator
from emnas_gym.testing import ScriptedEvaluator
from predictors.datasets import digits
from predictors.trained import TrainedEvaluator
from predictors.training import Recipe

Change = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search of 40 evaluations, its winner really trained with two seeds."""
    folder = tmp_path_factory.mktemp("searched")
    options = SearchOptions("evolution", 40, 3, 0, folder, tensorboard=False)
    setup = make_setup()
    summary = run_search(setup, options, Console(file=io.StringIO()))
    trainer = TrainedEvaluator(setup.images(), full_recipe(), workers=1)
    verifier = Verifier(trainer, setup.problem, (0, 1), folder / "verified.json")
    rows = read_history(folder / "history.sqlite")[1]
    outcome = verifier.verify(winners(rows, setup.problem, 1))[0]
    assert isinstance(outcome, Verification)
    summary["winners"][0]["verified"] = outcome.to_json()
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    return folder


def _check(path: Path, demand: Demand | None = None, top: int = 5) -> list[Verdict]:
    return validate(read_claims(path, top)[0], demand or Demand())


def _changed(folder: Path, tmp_path: Path, change: Change, history: bool = True) -> Path:
    """The summary with something changed in it, beside the history or alone."""
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    change(summary)
    (tmp_path / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    if history:
        (tmp_path / "history.sqlite").write_bytes((folder / "history.sqlite").read_bytes())
    return tmp_path / "summary.json"


def _edited(source: Path, path: Path, statement: str, *values: object) -> Path:
    """A history with something done to it."""
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    path.write_bytes(source.read_bytes())
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(statement, values)
    return path


def _reasons(verdicts: list[Verdict]) -> dict[str, str]:
    """Reasons of what failed, by check."""
    return {verdict.check: verdict.reason for verdict in verdicts if not verdict.held}


# ---------------------------------------------------------------------------- what holds


def test_a_search_holds_to_the_bit_its_trainings_and_its_agent_included(searched: Path) -> None:
    demand = Demand(verified=True, search=True, exact=True)
    verdicts = _check(searched / "summary.json", demand)
    assert [v.check for v in verdicts[:4]] == ["reward", "record", "verified", "search"]
    assert all(verdict.held for verdict in verdicts)
    assert all(v.replayed == v.recorded for v in verdicts if v.replayed is not None)
    assert len([v for v in verdicts if v.check == "reward"]) == 5


def test_every_evaluation_of_a_history_and_of_its_lines_holds(
    searched: Path, tmp_path: Path
) -> None:
    path = searched / "history.sqlite"
    before = path.read_bytes(), sorted(p.name for p in searched.iterdir())
    verdicts = _check(path, top=0)
    assert (path.read_bytes(), sorted(p.name for p in searched.iterdir())) == before
    assert len(verdicts) > 30
    assert all(verdict.held for verdict in verdicts)
    (tmp_path / "history.sqlite").write_bytes(path.read_bytes())
    _write_lines(path, tmp_path / "evaluations.jsonl")
    lines = _check(tmp_path / "evaluations.jsonl", top=0)
    assert {v.recorded for v in lines} == {v.recorded for v in verdicts}
    assert all(verdict.held for verdict in lines)


def _write_lines(history: Path, path: Path) -> None:
    rows = [
        {"tokens": row.tokens, "reward": row.reward, "batch": row.batch} | row.result.to_json()
        for row in read_history(history)[1]
        if isinstance(row.result, Measurement)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_the_command_says_what_held_and_ends_with_1_where_something_did_not(
    searched: Path, tmp_path: Path
) -> None:
    good = CliRunner().invoke(app, ["validate", str(searched / "summary.json")])
    assert good.exit_code == 0
    assert "10 of 10 checks held" in good.stdout

    def change(summary: dict[str, Any]) -> None:
        summary["winners"][0]["reward"] += 1e-9

    path = _changed(searched, tmp_path, change, history=False)
    bad = CliRunner().invoke(app, ["validate", str(path), "--json"])
    assert bad.exit_code == 1
    found = json.loads(bad.stdout)
    assert not found["held"]
    assert [check["held"] for check in found["checks"]] == [False, True, True, True, True]


# ---------------------------------------------------------------------------- what was changed


def _reward(summary: dict[str, Any]) -> None:
    summary["winners"][0]["reward"] += 0.01


def _reward_and_accuracy(summary: dict[str, Any]) -> None:
    winner = summary["winners"][0]
    factor = winner["terms"]["latency_factor"]
    winner["measurement"]["accuracy"] += 0.005
    winner["reward"] = winner["measurement"]["accuracy"] * factor


def _tokens(summary: dict[str, Any]) -> None:
    one, other = summary["winners"][:2]
    one["tokens"] = other["tokens"]


def _cut(summary: dict[str, Any]) -> None:
    summary["winners"][0]["tokens"].pop()


def _longer(summary: dict[str, Any]) -> None:
    summary["winners"][0]["tokens"].append(1)


def _illegal(summary: dict[str, Any]) -> None:
    summary["winners"][0]["tokens"][0] = 382


def _outside(summary: dict[str, Any]) -> None:
    summary["winners"][0]["tokens"][0] = -(2**70)


def _space(summary: dict[str, Any]) -> None:
    summary["problem"]["space_fingerprint"] = "0" * 16


def _other_space(summary: dict[str, Any]) -> None:
    summary["problem"]["space"] = "emnas-mobile-49"


def _code(summary: dict[str, Any]) -> None:
    summary["evaluator"] = "antigravity:geohash"


def _unknown(summary: dict[str, Any]) -> None:
    summary["evaluator"] = "nobody"


def _no_lengths(summary: dict[str, Any]) -> None:
    del summary["problem"]["lengths"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_reward, "contradicts itself: its measurement is worth"),
        (_reward_and_accuracy, "accuracy is .* in the file, .* here"),
        (_tokens, "accuracy is .* in the file"),
        (_cut, "not finished after its"),
        (_longer, "ends at token"),
        (_illegal, "token 382 at position 0 is illegal"),
        (_outside, "outside 0 … 382"),
        (_space, "another version, space emnas-382: space_fingerprint is '0{16}' in the file, '"),
        (_other_space, "another version, space emnas-mobile-49: .*space_fingerprint is"),
        (_code, "code that a file names is not run"),
        (_unknown, "nothing here is called 'nobody'"),
        (_no_lengths, "describes no problem"),
    ],
)
def test_what_was_changed_is_named(
    searched: Path, tmp_path: Path, change: Change, words: str
) -> None:
    failed = [v for v in _check(_changed(searched, tmp_path, change, False)) if not v.held]
    assert failed
    assert failed[0].winner == "winner 1"
    assert re.search(words, failed[0].reason), failed[0].reason
    assert "antigravity" not in sys.modules


def test_another_seed_is_told_by_the_record_and_by_the_agent(
    searched: Path, tmp_path: Path
) -> None:
    def swap(summary: dict[str, Any]) -> None:
        summary["seed"] = 4

    path = _changed(searched, tmp_path, swap)
    reasons = _reasons(_check(path, Demand(search=True)))
    assert set(reasons) == {"record", "search"}
    assert "the seed is 4 in the file, 3 in" in reasons["record"]
    assert "the agent does not repeat its run" in reasons["search"]


def test_a_winner_that_the_record_does_not_know_is_told(searched: Path, tmp_path: Path) -> None:
    path = _changed(searched, tmp_path, lambda summary: None)
    where = "DELETE FROM evaluations WHERE reward > 0.8"
    _edited(searched / "history.sqlite", tmp_path / "history.sqlite", where)
    assert "no evaluation in" in _reasons(_check(path))["record"]


def test_trainings_that_were_not_so_are_told(searched: Path, tmp_path: Path) -> None:
    def swap(summary: dict[str, Any]) -> None:
        verified = summary["winners"][0]["verified"]
        verified["accuracy"].reverse()

    path = _changed(searched, tmp_path, swap, history=False)
    exact = _reasons(_check(path, Demand(verified=True, exact=True)))
    assert "trained here, the test accuracies are" in exact["verified"]


def test_another_surrogate_is_named(searched: Path, tmp_path: Path) -> None:
    path = _changed(searched, tmp_path, lambda summary: None)
    old = json.dumps({"emnas-382_digits_accuracy": "00c0ffee00c0ffee"})
    statement = "UPDATE about SET value = ? WHERE key = 'rests_on'"
    _edited(searched / "history.sqlite", tmp_path / "history.sqlite", statement, old)
    reasons = _reasons(_check(path))
    assert "emnas-382_digits_accuracy is '00c0ffee00c0ffee' in the file, '" in reasons["reward"]


# -------------------------------------------------------------------------- trained winners

ONE = Recipe(epochs=1, init_images=32, attempts=1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history of three networks that were trained for one epoch."""
    path = tmp_path_factory.mktemp("trained") / "history.sqlite"
    problem = Problem.make(budgets=BUDGETS)
    evaluator = make_evaluator([TrainedEvaluator(digits(), ONE, workers=1)], problem)
    agent = make_agent("random", batch=1)
    about = {"agent": agent.name, "config": agent.config.to_json(), "seed": 0}
    ledger = Ledger(evaluator, problem, 3, path, about | {"evaluator": "trained"})
    agent.search(problem, ledger, 0)
    ledger.close()
    return path


def test_a_trained_winner_is_trained_again_by_the_recorded_recipe(trained: Path) -> None:
    verdicts = _check(trained, Demand(exact=True, search=True))
    assert [verdict.held for verdict in verdicts] == [True] * 4
    assert {verdict.reason for verdict in verdicts[::2]} == {"equal bits"}


@pytest.mark.parametrize(("shift", "holds"), [(0.004, True), (0.5, False)])
def test_elsewhere_a_trained_winner_may_differ_by_the_noise_of_trainings(
    trained: Path, tmp_path: Path, shift: float, holds: bool
) -> None:
    claim = read_claims(trained, 1)[0][0]
    measured = dict(claim.measurement) | {"accuracy": claim.measurement["accuracy"] + shift}
    reward = claim.reward * measured["accuracy"] / claim.measurement["accuracy"]
    statement = "UPDATE evaluations SET measurement=?, reward=? WHERE tokens=?"
    values = (json.dumps(measured), reward, " ".join(map(str, claim.tokens)))
    path = _edited(trained, tmp_path / "history.sqlite", statement, *values)
    verdict = _check(path, top=0)
    mine = next(v for v in verdict if v.recorded == reward)
    assert mine.held is holds, mine.reason
    assert "3 deviations of the difference of two trainings" in mine.reason
    assert not next(v for v in _check(path, Demand(exact=True), 0) if v.recorded == reward).held


def test_tolerances_are_the_noise_that_was_measured() -> None:
    good, poor = training_noise(0.97), training_noise(0.5)
    assert 0.005 < good < 0.012
    assert poor > good
    told = {"accuracy": 0.97, "latency_ms": 2.0}
    trained = told | {"provenance": {"accuracy": "trained", "latency_ms": "analytic"}}
    assert tolerance_of(trained, exact=False).margins == {
        "accuracy": pytest.approx(3 * 2**0.5 * good)
    }
    assert tolerance_of(trained, exact=True) == EXACT
    timed = told | {"provenance": {"accuracy": "predicted", "latency_ms": "host"}}
    assert tolerance_of(timed, exact=True).margins == {"latency_ms": pytest.approx(0.2)}


def test_only_the_same_machine_and_versions_owe_equal_bits() -> None:
    mine = {"versions": versions(), "machine": {"cpu": processor_name()}}
    assert same_here(Record(Path("x"), {}, "trained", **mine)) is bool(processor_name())
    other = mine | {"versions": versions() | {"torch": "0.1"}}
    assert not same_here(Record(Path("x"), {}, "trained", **other))
    assert not same_here(Record(Path("x"), {}, "trained", versions=versions()))


# ------------------------------------------------------------------ suites, own code and spaces


def _suite(folder: Path, env: str, keywords: dict[str, Any], **changes: Any) -> Path:
    """A suite's result of one run, its winner found by random search."""
    run = folder / "here" / "random" / "seed-5"
    problem = gym.make(env, **keywords).unwrapped.problem  # type: ignore[attr-defined]
    plan = Plan(env)
    assert plan.problem() == problem or keywords
    ledger = open_ledger(plan, agent := make_agent("random"), 20, 5, run / "history.sqlite")
    agent.search(plan.problem(), ledger, 5)
    ledger.close()
    best = ledger.best
    assert isinstance(best.result, Measurement)
    winner = {
        "tokens": list(best.tokens),
        "reward": best.reward,
        "measurement": best.result.to_json(),
    }
    row = {"env": "here", "agent": "random", "seed": 5, "winner": winner, "verified": None}
    world = {"label": "here", "env": env, "keywords": keywords, "evaluator": "surrogate"}
    result = {
        "format": 2,
        "suite": "one",
        "finished": False,
        "missing": [{"env": "here", "agent": "random", "seed": 6}],
        "versions": versions(),
        "machine": {"cpu": processor_name()},
        "environments": [world | {"problem": problem.to_json()}],
        "runs": [row | changes],
    }
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    return folder / "result.json"


def test_an_unfinished_suite_holds_as_far_as_it_went(tmp_path: Path) -> None:
    path = _suite(tmp_path, "EmNAS-v0", {})
    claims, notes = read_claims(path, 5)
    assert notes == ["the suite is not finished: 1 runs are missing"]
    verdicts = validate(claims, Demand(search=True))
    assert [(v.winner, v.check, v.held) for v in verdicts] == [
        ("here / random / seed 5", check, True) for check in ("reward", "record", "search")
    ]
    lines = tmp_path / "here" / "random" / "seed-5" / "evaluations.jsonl"
    _write_lines(lines.with_name("history.sqlite"), lines)
    lines.with_name("history.sqlite").unlink()
    assert all(verdict.held for verdict in _check(lines)), "the suite's result says in what"


def test_labels_never_lead_out_of_the_folder(tmp_path: Path) -> None:
    path = _suite(tmp_path, "EmNAS-v0", {}, agent="../../..")
    with pytest.raises(StoreError, match="cannot be the name of a folder"):
        read_claims(path, 5)


def test_only_environments_of_ours_are_made(tmp_path: Path) -> None:
    """An id such as module:name makes Gymnasium import the module."""
    path = _suite(tmp_path, "EmNAS-v0", {})
    data = json.loads(path.read_text(encoding="utf-8"))
    data["environments"][0]["env"] = "antigravity:EmNAS-v0"
    path.write_text(json.dumps(data), encoding="utf-8")
    assert "unknown environment" in _check(path)[0].reason
    assert "antigravity" not in sys.modules


def test_an_environment_of_another_kind_is_made_by_its_id(tmp_path: Path) -> None:
    entry = "emnas_gym:EmNASEnv"  # the same class by another path: what else is registered
    gym.register("EmNASOther-v0", entry_point=entry, kwargs=REGISTERED["EmNAS-v0"])
    try:
        path = _suite(tmp_path, "EmNASOther-v0", {"on_invalid": "end"})
        assert all(verdict.held for verdict in _check(path))
        data = json.loads(path.read_text(encoding="utf-8"))
        for keywords, words in (
            ({"device": "host"}, "another version, problem: .*device is 'stm32f446re' in the file"),
            ({"wrong": 1}, "does not take"),
            ({"evaluator": ["antigravity:geohash"]}, "code that a file names is not run"),
        ):
            data["environments"][0]["keywords"] = keywords
            path.write_text(json.dumps(data), encoding="utf-8")
            assert re.search(words, _check(path)[0].reason)
    finally:
        del gym.registry["EmNASOther-v0"]


class Own(Evaluator):
    """An evaluator of a user's own."""

    provides = frozenset({"accuracy"})

    @classmethod
    def for_problem(cls, problem: Problem) -> Own:
        return cls()

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        return [Measurement.of("predicted", accuracy=0.5) for _ in batch]


def test_a_users_own_space_and_evaluator_are_named_by_the_user(tmp_path: Path) -> None:
    toml = tmp_path / "dozen.toml"
    toml.write_text(DOZEN, encoding="utf-8")
    problem = Problem.make(toml)
    name = f"{__name__}:Own"
    path = tmp_path / "history.sqlite"
    agent = make_agent("random", batch=2)
    about = {"agent": "random", "config": agent.config.to_json(), "seed": 0, "evaluator": name}
    ledger = Ledger(make_evaluator(name, problem), problem, 4, path, about)
    agent.search(problem, ledger, 0)
    ledger.close()
    assert "unknown space 'dozen'" in _check(path)[0].reason
    given = Given(space=toml)
    assert "say so by --evaluator" in _check(path, Demand(given=given))[0].reason
    given = Given(name, toml)
    assert all(v.held for v in _check(path, Demand(search=True, given=given)))


def test_a_search_that_was_charged_for_supernets_is_repeated(tmp_path: Path) -> None:
    """What it paid for them is a part of its budget, though no evaluation stands for it."""
    pytest.importorskip("torch", reason="needs torch")
    space = gradient_worlds.cell_space(tmp_path)
    problem, name, path = Problem.make(space), f"{__name__}:Own", tmp_path / "history.sqlite"
    agent = make_agent("darts", epochs=2, warm_up=1, batch_size=256)
    about = {"agent": "darts", "config": agent.config.to_json(), "seed": 0, "evaluator": name}
    ledger = Ledger(make_evaluator(name, problem), problem, 4, path, about)
    agent.search(problem, ledger, 0)
    assert (ledger.count, ledger.allowed) == (3, 3)
    ledger.close()
    assert spent_on_training(path) == 1
    verdicts = _check(path, Demand(search=True, given=Given(name, Path(space.source))))
    assert {v.check for v in verdicts} >= {"reward", "search"}
    assert all(v.held for v in verdicts)


# ------------------------------------------------------------------------- damaged and hostile


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "damaged or cut off"),
        ('{"winners": [', "damaged or cut off"),
        ("[]", "is a table"),
        ("[" * 100_000, "damaged or cut off"),
        ('{"winners": NaN}', "NaN stands"),
        ("{}", "neither a search's summary.json nor"),
        ('{"agents": {}}', "older version"),
        ('{"winners": [], "problem": {}, "evaluator": "surrogate", "seed": 0}', "no winner"),
        ('{"winners": [3], "problem": {}, "evaluator": "surrogate", "seed": 0}', "is a table"),
        ('{"winners": [], "problem": {}, "evaluator": 7, "seed": 0}', "is a name, not 7"),
        ('{"winners": [], "problem": 1}', "problem: is a table, not 1"),
        ('{"format": 2, "finished": true, "environments": 3}', "is a list, not 3"),
    ],
)
def test_damaged_results_are_explained(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "result.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(StoreError, match=words):
        read_claims(path, 5)


@pytest.mark.parametrize(
    ("tokens", "reward"), [([], 1.0), ("abc", 1.0), ([1.5], 1.0), ([True], 1.0), ([1], "1")]
)
def test_winners_of_wrong_types_are_refused(tmp_path: Path, tokens: Any, reward: Any) -> None:
    winner = {"tokens": tokens, "reward": reward}
    data = {"winners": [winner], "problem": {}, "evaluator": "surrogate", "seed": 0}
    (tmp_path / "summary.json").write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(StoreError, match=r"winners\[0\]"):
        read_claims(tmp_path / "summary.json", 5)


def test_an_interrupted_run_holds_up_to_its_last_whole_line(searched: Path, tmp_path: Path) -> None:
    (tmp_path / "history.sqlite").write_bytes((searched / "history.sqlite").read_bytes())
    path = tmp_path / "evaluations.jsonl"
    _write_lines(searched / "history.sqlite", path)
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole[:-40], encoding="utf-8")
    claims, notes = read_claims(path, 0)
    assert len(notes) == 1
    assert "is cut off" in notes[0]
    assert all(verdict.held for verdict in validate(claims, Demand()))
    path.write_text(whole.replace("}", "", 1), encoding="utf-8")
    with pytest.raises(StoreError, match="line 1: damaged"):
        read_claims(path, 0)
    (tmp_path / "history.sqlite").unlink()
    with pytest.raises(StoreError, match="stands alone"):
        read_claims(path, 0)


def test_databases_that_are_no_history_are_refused(searched: Path, tmp_path: Path) -> None:
    content = (searched / "history.sqlite").read_bytes()
    path = tmp_path / "history.sqlite"
    for damaged in (b"", b"junk" * 2000, content[: len(content) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(StoreError, match="history.sqlite"):
            _check(path)
    for hostile in (
        "CREATE VIEW slow AS SELECT 1",
        "CREATE TRIGGER t AFTER INSERT ON about BEGIN SELECT 1; END",
        "DROP TABLE evaluations",
    ):
        _edited(searched / "history.sqlite", path, hostile)
        with pytest.raises(StoreError, match="no history of a search"):
            _check(path)
    for wrong in ("reward = 'high'", "reward = 9e999", "tokens = ''", "tokens = 'a b'"):
        _edited(searched / "history.sqlite", path, f"UPDATE evaluations SET {wrong}")
        with pytest.raises(StoreError, match="history.sqlite"):
            _check(path)


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({"epochs": 1}, "a recipe has epochs"),
        (ONE.to_json() | {"epochs": 10**9}, "epochs = 1000000000"),
        (ONE.to_json() | {"learning_rate": "fast"}, "learning_rate = 'fast'"),
        ("none", "a recipe has epochs"),
    ],
)
def test_a_hostile_recipe_is_refused(
    trained: Path, tmp_path: Path, recipe: Any, words: str
) -> None:
    text = json.dumps({"recipe": recipe, "seeds": 1})
    statement = "UPDATE about SET value = ? WHERE key = 'rests_on'"
    path = _edited(trained, tmp_path / "history.sqlite", statement, text)
    assert words in _check(path)[0].reason


def test_tiny_is_a_space_without_a_file(tmp_path: Path) -> None:
    """A space that only ever was an object cannot be rebuilt, and says so."""
    assert TINY.name == "tiny"
    path = tmp_path / "history.sqlite"
    problem = Problem.make(TINY, budgets=BUDGETS)
    about = {"agent": "random", "config": {}, "seed": 0, "evaluator": "surrogate"}
    ledger = Ledger(ScriptedEvaluator(problem), problem, 2, path, about)
    make_agent("random").search(problem, ledger, 0)
    ledger.close()
    assert "unknown space 'tiny'" in _check(path)[0].reason
