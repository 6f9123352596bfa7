"""Suites: files that say what they mean, tables of what runs found, winners that are verified."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import BUDGETS, TINY, ByTokens

from agents.runs import registered
from benchmarks.setup import Setup, make_setup
from benchmarks.statistics import holm, p_greater
from benchmarks.suite import Entry, Suite, load_suite
from benchmarks.suite_run import Run
from benchmarks.suite_table import cells, markdown, tabulate
from benchmarks.verify import Verification, Verifier, winners
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
env = "EmNAS-v0"
evaluations = 50
seeds = 3
baseline = "random"

[[agents]]
label = "random"
agent = "random"

[[agents]]
label = "slow evolution"
agent = "evolution"
options = { population = 20 }
"""

# ------------------------------------------------------------------------------------------ files


def _write(folder: Path, text: str | bytes) -> str:
    path = folder / "mine.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_a_suite_of_the_users_own(tmp_path: Path) -> None:
    suite = load_suite(_write(tmp_path, GOOD))
    assert suite == Suite(
        "mine", "EmNAS-v0", 50, 3, "random", 0,
        (Entry("random", "random"), Entry("slow evolution", "evolution", {"population": 20})),
    )  # fmt: skip
    changed = load_suite(_write(tmp_path, GOOD), seeds=2, evaluations=7)
    assert changed == replace(suite, seeds=2, evaluations=7)


def test_the_suites_of_the_project_can_be_run() -> None:
    folder = Path(__file__).parents[1] / "benchmarks" / "suites"
    names = [path.stem for path in folder.glob("*.toml")]
    assert "first" in names
    for name in names:
        suite = load_suite(name)
        assert suite.name == name
        assert registered(suite.env)
        assert {entry.agent for entry in suite.agents} <= set(TABLES["agent"])
        assert suite.seeds >= 10, "every comparison has ten seeds or more"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds = 3", "sedes = 3", "mine.toml: unknown key 'sedes': did you mean seeds"),
        ("seeds = 3", "", "mine.toml: seeds is missing"),
        ("seeds = 3", "seeds = 0", "seeds is a whole number from 1, not 0"),
        ("seeds = 3", 'seeds = "3"', "seeds is a whole number from 1, not '3'"),
        ("seeds = 3", "seeds = true", "seeds is a whole number"),
        ("evaluations = 50", "evaluations = 5.5", "evaluations is a whole number from 1"),
        ("seeds = 3", "seeds = 3\nverify_seeds = -1", "verify_seeds is a whole number from 0"),
        ("seeds = 3", "seeds = ", "mine.toml: is not TOML"),
        ('baseline = "random"', 'baseline = "chance"', "the baseline is one of them"),
        ("slow evolution", "random", "labels are distinct"),
        ("options = {", "optoins = {", "unknown key 'optoins': did you mean options"),
        ('agent = "evolution"', "", "agent is missing"),
        ('agent = "evolution"', "agent = 5", "5 is no name"),
        ("options = { population = 20 }", "options = 20", "options of 'slow evolution' is a table"),
        ("slow evolution", "../elsewhere", "cannot be the name of a folder"),
        ('name = "mine"', 'name = ".."', "cannot be the name of a folder"),
        ('name = "mine"', "name = 3", "3 is no name"),
        (GOOD[GOOD.index("[[agents]]") :], "agents = 5", r"agents is one or more \[\[agents\]\]"),
        (GOOD[GOOD.index("[[agents]]") :], "agents = []", "the baseline is one of them"),
    ],
)
def test_a_mistake_names_file_and_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(EmNASError, match=message):
        load_suite(_write(tmp_path, GOOD.replace(old, new, 1)))


def test_files_that_are_no_suites(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="unknown suite 'frist': did you mean first"):
        load_suite("frist")
    with pytest.raises(UnknownName, match="unknown suite"):
        load_suite(str(tmp_path / "nothing.toml"))
    with pytest.raises(EmNASError, match="is not TOML"):
        load_suite(_write(tmp_path, b"\xff\xfe not text"))
    with pytest.raises(EmNASError, match="seeds is a whole number from 1, not 0"):
        load_suite("first", seeds=0)


# ------------------------------------------------------------------------------------------ table

LABELS = ("random", "good", "same")


def _suite() -> Suite:
    agents = tuple(Entry(label, "random") for label in LABELS)
    return Suite("mine", "EmNAS-v0", 100, 6, "random", 2, agents)


def _scripted() -> tuple[dict[tuple[str, int], Run], dict[tuple[str, int], Verification]]:
    rng = np.random.default_rng(0)
    runs, verified = {}, {}
    for label in LABELS:
        for seed in range(6):
            best = float(rng.normal(1.0 if label == "good" else 0.8, 0.02))
            runs[label, seed] = Run(label, seed, best, best / 2, 90 + seed, 1000, 10 * seed, 2.0)
            verified[label, seed] = Verification((0.9, 0.8), (0.9, 0.9), best - 0.1, best, 0)
    return runs, verified


def test_a_table_says_which_differences_are_larger_than_chance() -> None:
    runs, verified = _scripted()
    result = tabulate(_suite(), runs, verified)
    assert json.loads(json.dumps(result, allow_nan=False))["suite"] == "mine"
    agents = result["agents"]
    best = {label: [runs[label, seed].best for seed in range(6)] for label in LABELS}
    raw = {label: p_greater(best[label], best["random"]) for label in ("good", "same")}
    assert agents["random"]["p_vs_random"] is None
    for label, p_value in holm(raw).items():
        assert agents[label]["best"] == best[label]
        assert agents[label]["p_vs_random"] == p_value
    assert agents["good"]["p_vs_random"] < 0.01 < agents["same"]["p_vs_random"]
    assert agents["good"]["verified"] == pytest.approx([b - 0.1 for b in best["good"]])
    assert agents["good"]["invalid_share"] == pytest.approx(150 / 6000)
    assert result["correlation_predicted_verified"]["n"] == 18
    assert result["correlation_predicted_verified"]["pearson"] == pytest.approx(1.0)
    low, high = agents["good"]["interval"]
    assert low < np.mean(best["good"]) < high


def test_a_table_without_verification_has_dashes() -> None:
    result = tabulate(_suite(), _scripted()[0], {})
    assert result["correlation_predicted_verified"] is None
    assert "verified" not in result["agents"]["good"]
    rows = cells(result)
    assert [row[0] for row in rows] == list(LABELS)
    assert {len(row) for row in rows} == {11}
    text = markdown(result)
    assert len(text.splitlines()) == 2 + len(LABELS)
    assert all(line.count("|") == 12 for line in text.splitlines())


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
