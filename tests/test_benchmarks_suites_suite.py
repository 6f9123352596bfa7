"""Suites: files that say what they mean, tables of what runs found, winners that are verified."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import BUDGETS, TINY, ByTokens

from agents.runs import make_agent
from benchmarks.setup import Setup, make_setup
from benchmarks.suites.environment import describe
from benchmarks.suites.suite import Entry, Environment, Suite, load_suite, suite_names
from benchmarks.winners.verify import Verification, Verifier, winners
from emnas_gym.errors import (
    DatasetError,
    EmNASError,
    EvaluationError,
    InfeasibleBudgets,
    StoreError,
    UnknownName,
)
from emnas_gym.history import Row
from emnas_gym.ledger import Ledger
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.registry import TABLES
from predictors.datasets import Dataset, digits
from predictors.trained import TrainedEvaluator
from predictors.training import Recipe

GOOD = """
name = "mine"
title = "Mine"
evaluations = 50
seeds = 3

[[environments]]
label = "digits"
env = "EmNAS-v0"

[[environments]]
label = "tight digits"
env = "EmNAS-v0"
evaluations = 20
keywords = { budgets = { ram_bytes = 6000 } }

[[agents]]
label = "random"
agent = "random"

[[agents]]
label = "slow evolution"
agent = "evolution"
only = ["digits"]
options = { population = 20 }
"""

# ------------------------------------------------------------------------------------------ files


def _write(folder: Path, text: str | bytes) -> str:
    path = folder / "mine.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_a_suite_of_the_users_own(tmp_path: Path) -> None:  # B25
    suite = load_suite(_write(tmp_path, GOOD))
    environments = (
        Environment("digits", "EmNAS-v0", 50),
        Environment("tight digits", "EmNAS-v0", 20, {"budgets": {"ram_bytes": 6000}}),
    )
    slow = Entry("slow evolution", "evolution", {"population": 20}, ("digits",))
    assert suite == Suite("mine", "Mine", 3, environments, (Entry("random", "random"), slow))
    assert list(suite.runs())[:3] == [
        ("digits", "random", 0), ("digits", "slow evolution", 0), ("tight digits", "random", 0),
    ]  # fmt: skip
    assert len(list(suite.runs())) == 9
    changed = load_suite(_write(tmp_path, GOOD), seeds=2, evaluations=7)
    assert changed.seeds == 2
    assert [one.evaluations for one in changed.environments] == [7, 7]
    assert Suite.from_json(json.loads(json.dumps(suite.to_json()))) == suite


def test_the_suites_of_the_project_can_be_run() -> None:
    assert {"first", "nb201-histories", "own"} <= set(suite_names())
    for name in suite_names():
        suite = load_suite(name)
        assert suite.name == name
        assert {entry.agent for entry in suite.agents} <= set(TABLES["agent"])
        assert suite.seeds >= 10, "every comparison has ten seeds or more"
    for name in ("first", "own"):
        described = [describe(one, 20) for one in load_suite(name).environments]
        assert all(one["problem"]["lengths"] == [4, 15] for one in described)
        samplers = {entry.options.get("sampler") for entry in load_suite(name).agents}
        assert samplers >= {None, "walk"}, "where lengths differ, both samplers are shown"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds = 3", "sedes = 3", "mine.toml: unknown key 'sedes': did you mean seeds"),
        ("seeds = 3", "", "mine.toml: seeds is missing"),
        ("seeds = 3", "seeds = 0", "seeds is a whole number from 1 to 10000, not 0"),
        ("seeds = 3", 'seeds = "3"', "seeds is a whole number from 1 to 10000, not '3'"),
        ("seeds = 3", "seeds = true", "seeds is a whole number"),
        ("seeds = 3", "seeds = 3\nseeds = 4", "mine.toml: is not TOML"),
        ("seeds = 3", "seeds = ", "mine.toml: is not TOML"),
        ("seeds = 3", "seeds = 3\nverify_seeds = -1", "verify_seeds is a whole number from 0"),
        ("seeds = 3", "seeds = 3\nreference = 1.5", "reference is a whole number from 0"),
        ("evaluations = 50", "evaluations = 5.5", "evaluations is a whole number from 1"),
        ("evaluations = 50", "", "'digits': evaluations is missing, here and for the whole"),
        ("evaluations = 20", "evaluations = -1", "'tight digits': evaluations is a whole number"),
        ('title = "Mine"', "title = 3", "title is a text, not 3"),
        ('env = "EmNAS-v0"', "", r"\[\[environments\]\]: env is missing"),
        ('env = "EmNAS-v0"', "env = 5", "'digits': env is a text, not 5"),
        ("keywords = {", "keywrods = {", "unknown key 'keywrods': did you mean keywords"),
        ("{ budgets = { ram_bytes = 6000 } }", "5", "keywords is a table, not 5"),
        ("ram_bytes = 6000", "ram_bytes = nan", "keywords are plain finite values"),
        ("ram_bytes = 6000", "ram_bytes = 2025-01-01", "keywords are plain finite values"),
        ("keywords = {", 'keywords = { observation = "ids", ', "observation is not the suite's"),
        ('"tight digits"', '"Digits"', "labels are distinct"),
        ("slow evolution", "random", "labels are distinct"),
        ("keywords = { budgets = { ram_bytes = 6000 } }\n", "", None),
        ('agent = "random"', 'agent = "evolution"', "'digits' has no agent 'random': random sea"),
        ('agent = "random"', 'agent = "random"\nonly = ["digits"]', "'tight digits' has no agent"),
        ('only = ["digits"]', 'only = ["digit"]', "no environment 'digit': did you mean digits"),
        ('only = ["digits"]', 'only = ["digits", "digits"]', "names an environment twice"),
        ('only = ["digits"]', 'only = "digits"', "only is a list of labels"),
        ("options = {", "optoins = {", "unknown key 'optoins': did you mean options"),
        ('agent = "evolution"', "", r"\[\[agents\]\]: agent is missing"),
        ('agent = "evolution"', "agent = 5", "5 is no name"),
        ("options = { population = 20 }", "options = 20", "'slow evolution': options is a table"),
        ("slow evolution", "../elsewhere", "cannot be the name of a folder"),
        ("slow evolution", "a/b", "cannot be the name of a folder"),
        ("slow evolution", "a\\\\b", "cannot be the name of a folder"),
        ("slow evolution", "x" * 65, "cannot be the name of a folder"),
        ("slow evolution", "ends ", "cannot be the name of a folder"),
        ("tight digits", "..", "cannot be the name of a folder"),
        ("slow evolution", "verified.json", "is the name of a file of the runner"),
        ("slow evolution", "Weights", "is the name of a file of the runner"),
        ('name = "mine"', 'name = ".."', "cannot be the name of a folder"),
        ('name = "mine"', "name = 3", "3 is no name"),
        (GOOD[GOOD.index("[[agents]]") :], "", "agents is missing"),
        ("[[agents]]", "[[agent]]", "unknown key 'agent': did you mean agents"),
    ],
)
def test_a_mistake_names_file_and_key(
    tmp_path: Path, old: str, new: str, message: str | None
) -> None:
    assert old in GOOD
    path = _write(tmp_path, GOOD.replace(old, new, 1))
    if message is None:  # the same environment with another budget of evaluations is another one
        assert len(load_suite(path).environments) == 2
        return
    with pytest.raises(EmNASError, match=message) as raised:
        load_suite(path)
    assert "mine.toml" in str(raised.value)


@pytest.mark.parametrize("table", ["agents", "environments"])
@pytest.mark.parametrize("value", ["5", "[]", "[5]", "{}"])
def test_tables_that_are_none(tmp_path: Path, table: str, value: str) -> None:
    other = {"agents": "environments", "environments": "agents"}[table]
    start = {"agents": "[[agents]]", "environments": "[[environments]]"}[other]
    part = GOOD[GOOD.index(start) :].split("\n\n")[0]
    text = f'name = "mine"\nseeds = 1\nevaluations = 5\n{table} = {value}\n{part}'
    with pytest.raises(EmNASError, match=rf"{table} is one or more \[\[{table}\]\] tables"):
        load_suite(_write(tmp_path, text))


def test_the_same_agent_or_environment_twice_is_refused(tmp_path: Path) -> None:
    twice = '\n[[agents]]\nlabel = "again"\nagent = "random"\n'
    with pytest.raises(EmNASError, match="'random' and 'again' are the same; remove one"):
        load_suite(_write(tmp_path, GOOD + twice))
    same = '\n[[environments]]\nlabel = "too"\nenv = "EmNAS-v0"\n'
    with pytest.raises(EmNASError, match="'digits' and 'too' are the same; remove one"):
        load_suite(_write(tmp_path, GOOD + same))


def test_files_that_are_no_suites(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="unknown suite 'frist': did you mean first"):
        load_suite("frist")
    with pytest.raises(UnknownName, match="unknown suite"):
        load_suite(str(tmp_path / "nothing.toml"))
    with pytest.raises(EmNASError, match="is not TOML"):
        load_suite(_write(tmp_path, b"\xff\xfe not text"))
    with pytest.raises(EmNASError, match="is larger than"):
        load_suite(_write(tmp_path, b"#" * (1 << 20) + b"\n"))
    with pytest.raises(EmNASError, match="is not TOML"):
        load_suite(_write(tmp_path, "a = " + "[" * 100_000))
    with pytest.raises(EmNASError, match="seeds is a whole number from 1 to 10000, not 0"):
        load_suite("first", seeds=0)


# ----------------------------------------------------------------------------------------- verify


def _rows(problem: Problem, tokens: list[tuple[int, ...]], results: list[Any]) -> list[Row]:
    rows = []
    for one, result in zip(tokens, results, strict=True):
        reward = (
            problem.reward.illegal
            if isinstance(result, EvaluationError)
            else problem.reward(result)[0]
        )
        rows.append(Row(one, TINY.canonical_tokens(one), result, reward, 1))
    return rows


def test_winners_are_distinct_measured_and_within_all_budgets() -> None:  # E8
    problem = Problem.make(TINY, budgets={"latency_ms": 2.0})

    def measured(accuracy: float, latency: float = 1.0, **more: Any) -> Measurement:
        return Measurement.of("host", accuracy=accuracy, latency_ms=latency, **more)

    tokens = [(1, 9), (2, 9), (3, 9), (4, 9), (5, 9), (1, 4, 9), (1, 5, 9), (1, 1, 9)]
    results = [
        measured(0.5), measured(0.9), measured(0.99, 2.1), measured(0.7), measured(0.7),
        measured(0.98, feasible=False), EvaluationError("gone"), measured(0.6),
    ]  # fmt: skip
    rows = _rows(problem, tokens, results)
    assert [row.tokens for row in winners(rows, problem, 3)] == [(2, 9), (4, 9), (1, 1, 9)]
    assert len(winners(rows, problem, 99)) == 4
    assert winners([], problem, 3) == []


def _few() -> Dataset:
    data = digits()
    return replace(data, train_x=data.train_x[:128], train_y=data.train_y[:128])


class Counting(TrainedEvaluator):
    """Counts the networks that it really trains."""

    trained = 0

    def train(self, batch: Any, seeds: Any) -> Any:
        self.trained += len(batch)
        return super().train(batch, seeds)


def test_verification_reads_the_test_part_and_is_remembered(tmp_path: Path) -> None:  # E1, D1
    problem = Problem.make(TINY, budgets=BUDGETS)
    ledger = Ledger(ByTokens(), problem, 3)
    ledger.evaluate([TINY.architecture(tokens) for tokens in ((1, 9), (2, 9), (1, 9))])
    trainer = Counting(_few(), Recipe(epochs=1), workers=1)
    verifier = Verifier(trainer, problem, (0, 4), tmp_path / "verified.json")
    steps: list[int] = []
    results = verifier.verify(ledger.rows, lambda: steps.append(1))
    assert trainer.trained == 2, "a repeat is not trained again"
    assert len(steps) == 3
    assert results[0] == results[2]
    for row, result in zip(ledger.rows, results, strict=True):
        assert isinstance(result, Verification)
        graph = TINY.build(row.tokens, digits().task)
        direct = trainer.train([TINY.architecture(row.tokens)], (0, 4))[0]
        assert not isinstance(direct, EvaluationError)
        assert result.test == tuple(direct.test_accuracies)
        assert isinstance(row.result, Measurement)
        latency = row.result.latency_ms
        expected = Measurement.of("board", accuracy=result.mean, latency_ms=latency)
        assert result.reward == problem.reward(expected)[0], "of the mean test accuracy"
        assert result.best_seed == (0, 4)[int(np.argmax(result.valid))]
        with np.load(verifier.weights_path(row), allow_pickle=False) as weights:
            assert {n: w.shape for n, w in weights.items()} == graph.weight_shapes()
            assert all(np.array_equal(weights[n], w) for n, w in direct.best.weights.items())
    again = Counting(_few(), Recipe(epochs=1), workers=1)
    assert Verifier(again, problem, (0, 4), verifier.path).verify(ledger.rows) == results
    assert again.trained == 0
    other = Verifier(again, problem, (0, 5), verifier.path)
    other.verify(ledger.rows[:1])
    assert again.trained == 1, "with other seeds nothing is known"
    verifier.path.write_text('{"settings": ')
    with pytest.raises(StoreError, match=r"verified.json is damaged .*remove it"):
        Verifier(again, problem, (0, 4), verifier.path)


# ------------------------------------------------------------------------------------------ setup


def test_a_setup_is_as_registered_where_nothing_is_said() -> None:
    setup = make_setup()
    assert setup.problem.budgets == BUDGETS
    assert setup.problem == Problem.make(setup.problem.space, budgets=BUDGETS)
    assert (setup.evaluator, setup.trains) == ("surrogate", False)
    assert setup.images() is digits()


def test_with_a_device_of_the_users_own_its_memory_is_the_budget() -> None:
    setup = make_setup(device="nrf5340")
    assert setup.problem.budgets == setup.problem.device.budgets


def test_a_limit_of_the_users_own_leaves_the_others() -> None:
    setup = make_setup(budgets={"ram_bytes": 6000})
    assert setup.problem.budgets.to_json() == {"ram_bytes": 6000, "flash_bytes": 32768}
    board = make_setup(device="nrf5340", budgets={"ram_bytes": 6000}).problem
    assert board.budgets.flash_bytes == board.device.budgets.flash_bytes


def test_images_of_the_users_own_are_really_trained_on(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (40, 10, 10, 1), dtype=np.uint8)
    np.savez(tmp_path / "own.npz", x=x, y=np.arange(40) % 2)
    setup = make_setup(task=str(tmp_path / "own.npz"))
    assert setup.trains
    assert setup.problem.task.input_shape == (10, 10, 1)
    evaluator = setup.make_evaluator()
    assert "accuracy" in evaluator.provides
    evaluator.close()


def test_setups_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="unknown environment 'EmNAS-v1': did you mean EmNAS-v0"):
        make_setup("EmNAS-v1")
    with pytest.raises(UnknownName, match="unknown environment 'CartPole-v1'"):
        make_setup("CartPole-v1")
    with pytest.raises(InfeasibleBudgets, match="the least of each alone"):
        make_setup(budgets={"ram_bytes": 300})
    with pytest.raises(DatasetError, match="run with --verify 0, or give --task a folder"):
        Setup("EmNASMobile-v0", Problem.make(TINY, "grasp"), "surrogate", None).images()


def test_the_file_of_the_page_is_a_suite(tmp_path: Path) -> None:  # B25
    page = Path(__file__).parents[1] / "docs" / "suites.md"
    text, _ = re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    suite = load_suite(str(tmp_path / "mine.toml"))
    assert suite.name == "mine"
    assert [entry.label for entry in suite.agents] == ["random", "walk", "evolution"]
    for entry in suite.agents:
        make_agent(entry.agent, **entry.options)
    described = describe(suite.environments[0], 0)
    assert described["problem"]["device"] == "stm32f746zg"
