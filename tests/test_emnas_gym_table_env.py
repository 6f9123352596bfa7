"""Tables as environments: the optimum is known, noise is replayed, the test is kept apart."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from same_values import assert_same
from table_worlds import small_table
from test_emnas_gym_bench import _trainings
from typer.testing import CliRunner

from agents.cli import app as agents_app
from agents.runs import Plan, make_agent
from emnas_gym.bench_file import BenchTable
from emnas_gym.budgets import Budgets
from emnas_gym.errors import (
    DomainError,
    EmNASError,
    EvaluationError,
    InfeasibleBudgets,
    InvalidArchitecture,
    TableFileError,
    UnknownName,
)
from emnas_gym.ledger import Ledger
from emnas_gym.measurement import Measurement
from emnas_gym.registry import make_evaluator
from emnas_gym.space import load_space
from emnas_gym.table import Metric, Table
from emnas_gym.table_bench import bench_as_table
from emnas_gym.table_env import EmNASTableEnv, table_problem
from emnas_gym.table_file import write_table
from emnas_gym.table_space import TableSpace
from emnas_gym.tasks import DIGITS
from emnas_gym.variation import mutate, neighbours
from emnas_gym.vector_table_env import EmNASVectorTableEnv
from predictors.bench_table import bench_table
from predictors.tables import Table as Collected

RL = {"envs": 4, "steps": 8, "hidden": 16, "width": 4}
AGENTS = {
    "random": {},
    "evolution": {"population": 8, "tournament": 3},
    "reinforce": {"batch": 8, "hidden": 16, "width": 8},
    "ppo": RL | {"minibatch": 16, "epochs": 2},
    "a2c": RL,
    "maskable-ppo": RL | {"minibatch": 16, "epochs": 2},
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_table(small_table(), tmp_path / "small.npz")
    return tmp_path / "small.npz"


def _brute_force(table: Table) -> int:
    """The row of the largest mean validation accuracy among the first rows of the classes."""
    first = sorted(set(table.first_of_class.tolist()))
    mean = table.metrics["long"].valid.mean(axis=1)
    return int(first[int(np.argmax(mean[first]))])


def test_both_checkers_pass_by_its_id(path: Path) -> None:  # B2
    for keywords in ({}, {"device": "board", "observation": "layers", "on_invalid": "penalise"}):
        env = gym.make("EmNASTable-v0", table=str(path), **keywords)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_env(env.unwrapped, skip_render_check=True)


def test_tokens_are_positions_times_operations() -> None:
    space = TableSpace(small_table())
    assert space.num_tokens == 2 + 3 + 2
    cursor = space.automaton().start()
    for position, legal in enumerate([[1, 2], [3, 4, 5], [6, 7]]):
        assert space.automaton().legal(cursor).tolist() == legal, position
        space.automaton().step(cursor, legal[0])
    assert cursor.done
    assert space.encode({"first": "conv", "second": "pool", "third": "a"}) == (2, 5, 6)
    assert space.architecture((2, 5, 6)).words == ("first = conv", "second = pool", "third = a")
    assert space.size() == len(list(space.enumerate())) == 12
    assert len({a.canonical for a in space.enumerate()}) == 9, "classes count as repeats"
    assert len({a.canonical for a in TableSpace(small_table(), False).enumerate()}) == 12


@pytest.mark.parametrize("bad", [(1, 3), (3, 1, 6), (1, 3, 9), (1, 3, 6, 7)])
def test_tokens_that_are_no_architecture(bad: tuple[int, ...]) -> None:
    with pytest.raises(InvalidArchitecture):
        TableSpace(small_table()).architecture(bad)
    with pytest.raises(InvalidArchitecture, match="did you mean third"):
        TableSpace(small_table()).encode({"first": "conv", "second": "pool", "thrid": "a"})


def test_masks_keep_to_what_exists() -> None:
    """Every walk along the masks ends in a row, and every row is walked."""
    table = small_table(incomplete=True)
    space, found = TableSpace(table), set()
    stack: list[tuple[int, ...]] = [()]
    while stack:
        tokens = stack.pop()
        cursor = space.automaton().start()
        for token in tokens:
            space.automaton().step(cursor, token)
        legal = space.automaton().legal(cursor).tolist()
        assert cursor.done or legal, "a dead end"
        stack += [(*tokens, token) for token in legal]
        if cursor.done:
            found.add(tokens)
    assert found == {space.tokens_of(row) for row in range(len(table))}
    assert len(found) == 9


def test_masks_keep_the_budgets_that_the_table_knows() -> None:  # E8
    table = small_table()
    space = TableSpace(table, classes=False)
    kept = {a.tokens for a in space.enumerate(budgets=Budgets(macs=500))}
    assert kept == {space.tokens_of(row) for row in range(5)}
    rng = np.random.default_rng(0)
    assert {space.sample(rng, budgets=Budgets(macs=500)).tokens for _ in range(100)} == kept
    with pytest.raises(InfeasibleBudgets, match="macs = 100"):
        space.automaton(budgets=Budgets(macs=99))


def test_mutants_are_one_choice_away_and_never_the_same_network() -> None:  # C10
    space = TableSpace(small_table())
    rng, table = np.random.default_rng(0), space.automaton()
    for architecture in space.enumerate():
        child = mutate(table, architecture.tokens, rng)
        assert sum(a != b for a, b in zip(child, architecture.tokens, strict=True)) == 1
        assert space.canonical_tokens(child) != architecture.canonical
        for other in neighbours(table, architecture.tokens):
            assert space.distance(other, architecture.tokens) == 1


def test_the_optimum_is_the_argmax_of_all_and_there_alone_regret_is_0() -> None:  # B25
    table = small_table()
    problem, evaluator = table_problem(table)
    best = evaluator.optimum(problem)
    assert best.networks == 9
    assert problem.space.canonical_tokens(best.architecture.tokens) == best.architecture.canonical
    assert evaluator.row(best.architecture) == _brute_force(table)
    regrets = {a.canonical: evaluator.regret(problem, a) for a in problem.space.enumerate()}
    assert [key for key, regret in regrets.items() if regret == 0] == [best.architecture.canonical]
    assert min(regrets.values()) == 0
    assert evaluator.top(problem, 100) == pytest.approx(best.reward - max(regrets.values()))
    above = [best.reward - r >= evaluator.top(problem, 34) for r in regrets.values()]
    assert sum(above) == 3, "a third of nine networks"
    with pytest.raises(DomainError):
        evaluator.top(problem, 0)


def test_what_breaks_a_budget_is_no_optimum() -> None:
    problem, evaluator = table_problem(small_table(), device="edge", budgets={"latency_ms": 1.3})
    best = evaluator.optimum(problem)
    result = evaluator.evaluate([best.architecture])[0]
    assert isinstance(result, Measurement)
    assert result.latency_ms is not None
    assert result.latency_ms <= 1.3
    worst = max(problem.space.enumerate(), key=lambda a: evaluator.regret(problem, a))
    assert evaluator.regret(problem, worst) == best.reward - problem.reward.illegal
    with pytest.raises(InfeasibleBudgets):
        table = small_table()
        strict, other = table_problem(table, device="edge", budgets={"latency_ms": 0.1})
        other.optimum(strict)


def test_noise_is_replayed_from_the_trials() -> None:
    table = small_table(trials=3)
    networks = list(TableSpace(table, False).enumerate())

    def accuracies(**keywords: int) -> list[float]:
        _, evaluator = table_problem(table, classes=False, **keywords)
        results = evaluator.evaluate(networks)
        return [r.accuracy or 0.0 for r in results if isinstance(r, Measurement)]

    valid = table.metrics["long"].valid
    trials = [accuracies(trial=k) for k in range(3)]
    assert np.array_equal(np.array(trials).T, valid)
    assert accuracies() == pytest.approx(np.mean(trials, axis=0))
    assert accuracies(noise_seed=5) == accuracies(noise_seed=5)
    drawn = np.array([accuracies(noise_seed=seed) for seed in range(40)])
    for row in range(len(networks)):
        assert set(drawn[:, row]) == set(valid[row]), "every trial appears, and nothing else"
    for bad in ({"trial": 3}, {"trial": -1}, {"trial": 0, "noise_seed": 1}):
        with pytest.raises(DomainError):
            table_problem(table, **bad)  # type: ignore[arg-type]


def test_a_device_that_cannot_run_an_architecture_gives_an_error() -> None:
    problem, evaluator = table_problem(small_table(), device="edge", classes=False)
    results = evaluator.evaluate(list(problem.space.enumerate()))
    assert [isinstance(r, EvaluationError) for r in results] == [row == 3 for row in range(12)]
    lame = problem.space.architecture(problem.space.tokens_of(3))  # type: ignore[attr-defined]
    assert Ledger(evaluator, problem, 1).reward(results[3]) == problem.reward.illegal
    assert evaluator.regret(problem, lame) > 0
    with pytest.raises(UnknownName, match="did you mean board"):
        table_problem(small_table(), device="bord")
    with pytest.raises(UnknownName, match="did you mean long"):
        table_problem(small_table(), metric="lon")


def test_an_episode_reports_regret_and_test_only_at_its_end(path: Path) -> None:
    env = gym.make(
        "EmNASTable-v0", table=str(path), device="board", noise_seed=1, render_mode="ansi"
    )
    unwrapped = env.unwrapped
    assert isinstance(unwrapped, EmNASTableEnv)
    table, evaluator = small_table(), unwrapped.table_evaluator
    rng = np.random.default_rng(0)
    for _ in range(20):
        _, info = env.reset()
        over = False
        while not over:
            assert not {"regret", "report_test_accuracy", "simulated_seconds"} & set(info)
            action = rng.choice(np.flatnonzero(info["action_mask"]))
            _, reward, over, _, info = env.step(action)
        network = unwrapped.problem.space.architecture(info["architecture"].tolist())
        row = evaluator.row(network)
        assert info["regret"] == evaluator.regret(unwrapped.problem, network) >= 0
        assert info["report_test_accuracy"] == table.metrics["long"].test[row].mean()
        assert info["simulated_seconds"] == table.metrics["long"].seconds[row]  # type: ignore[index]
        assert info["measurement"]["accuracy"] in table.metrics["long"].valid[row]
        assert f"reward {reward:.4f}" in env.render()  # type: ignore[operator]


def test_a_metric_without_test_or_seconds_reports_none(path: Path) -> None:
    env = gym.make("EmNASTable-v0", table=str(path), metric="short")
    _, info = env.reset(seed=0)
    for _ in range(3):
        *_, info = env.step(int(np.flatnonzero(info["action_mask"])[0]))
    assert "regret" in info
    assert not {"report_test_accuracy", "simulated_seconds"} & set(info)
    _, evaluator = table_problem(path, metric="short")
    with pytest.raises(DomainError, match="test/short"):
        evaluator.test_accuracies(next(evaluator.space.enumerate()))


@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.parametrize("incomplete", [False, True])
def test_every_agent_finds_the_optimum(name: str, incomplete: bool) -> None:  # B25
    problem, evaluator = table_problem(small_table(incomplete), device="board")
    ledger = Ledger(evaluator, problem, 150)
    make_agent(name, **AGENTS[name]).search(problem, ledger, 0)
    best = problem.space.architecture(ledger.best.tokens)
    assert evaluator.regret(problem, best) == 0
    assert ledger.best.reward == evaluator.optimum(problem).reward
    assert ledger.distinct <= evaluator.optimum(problem).networks


def test_evaluators_of_layers_say_that_a_table_has_none() -> None:
    problem, _ = table_problem(small_table(), device="board")
    with pytest.raises((DomainError, InvalidArchitecture)):
        make_evaluator("surrogate", problem).evaluate([next(problem.space.enumerate())])
    with pytest.raises(InvalidArchitecture, match="not layers"):
        next(problem.space.enumerate()).graph(problem.task)


def test_an_evaluator_answers_for_its_own_table_alone() -> None:
    _, evaluator = table_problem(small_table())
    other = TableSpace(replace(small_table(), name="other"))
    with pytest.raises(DomainError, match="not of the table"):
        evaluator.evaluate([next(other.enumerate())])
    changed = small_table()
    long = changed.metrics["long"]
    metrics = {**changed.metrics, "long": Metric(long.valid / 2, long.test)}
    assert TableSpace(replace(changed, metrics=metrics)) != evaluator.space


@pytest.fixture(scope="module")
def bench() -> BenchTable:
    small = replace(load_space("emnas-bench-8"), max_layers=3)
    collected = Collected(tuple(_trainings()), {}, (), {"recipe": "{}"})
    return bench_table(collected, small, DIGITS, (359, 360))


def test_our_own_bench_is_a_table_too(bench: BenchTable) -> None:
    table = bench_as_table(bench)
    problem, evaluator = table_problem(table, classes=False)
    assert len(table) == len(bench.tokens) == problem.space.size()
    space = load_space("emnas-bench-8")
    best = evaluator.optimum(problem).architecture
    row = int(bench.valid_accuracy.mean(axis=1).argmax())
    words = [space.describe(t) for t in bench.networks()[row] if t != space.end_token]
    found = [word.split(" = ")[1] for word in best.words]
    assert [word for word in found if word != "none"] == words
    assert evaluator.test_accuracies(best) == bench.test_accuracy[row].tolist()


def test_a_bench_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emnas_gym.table_env.shipped_bench", lambda: tmp_path / "bench.npz")
    with pytest.raises(TableFileError, match=r"bench\.npz: .*not in this installation"):
        gym.make("EmNASTable-v0")


def test_the_command_searches_a_table(path: Path, tmp_path: Path) -> None:
    command = ["search", "--env", "EmNASTable-v0", "--agent", "random", "--evaluations", "60"]
    options = ["--table", str(path), "--device", "board", "--out", str(tmp_path / "run"), "--json"]
    done = CliRunner().invoke(agents_app, [*command, *options])
    assert done.exit_code == 0, done.output
    problem, evaluator = table_problem(path, device="board")
    best = json.loads(done.stdout)["best"]
    assert best["reward"] == evaluator.optimum(problem).reward
    assert best["layers"] == list(problem.space.architecture(best["tokens"]).words)
    for wrong in (["--evaluator", "surrogate"], ["--task", "digits"]):
        done = CliRunner().invoke(agents_app, [*command, *options, *wrong])
        assert "brings its own" in str(done.exception)
    done = CliRunner().invoke(agents_app, ["search", "--table", "x.csv"])
    assert "searches no table" in str(done.exception)
    with pytest.raises(EmNASError, match="cannot be trained"):
        Plan(env="EmNASTable-v0", table=str(path)).evaluator_name()


@pytest.mark.parametrize("mode", ["SAME_STEP", "NEXT_STEP"])
@pytest.mark.parametrize(
    "keywords",
    [
        {},
        {"device": "board", "noise_seed": 3, "classes": False},
        {"device": "edge", "budgets": {"macs": 900}, "on_invalid": "end"},  # one cannot run there
        {"metric": "short", "on_invalid": "penalise", "observation": "onehot"},
    ],
)
@pytest.mark.parametrize("incomplete", [False, True])
def test_many_at_once_equal_single_environments(
    incomplete: bool, keywords: dict[str, Any], mode: str
) -> None:  # B25, D6
    table = small_table(incomplete)
    sync = SyncVectorEnv(
        [lambda: EmNASTableEnv(table, **keywords)] * 6, autoreset_mode=AutoresetMode[mode]
    )
    native = EmNASVectorTableEnv(6, table, **keywords, autoreset_mode=mode.lower())
    assert_same(sync.reset(seed=1), native.reset(seed=1))
    rng, regrets = np.random.default_rng(0), 0
    for _ in range(60):
        actions = native.sample(rng)
        wrong = rng.random(6) < 0.05
        actions[wrong] = rng.integers(0, native.single_action_space.n, wrong.sum())  # type: ignore[attr-defined]
        wanted, found = sync.step(actions), native.step(actions)
        assert_same(wanted, found)
        told = found[4].get("final_info", found[4])
        regrets += int(told.get("_regret", np.zeros(6)).sum())
    assert regrets > 50


def test_the_id_makes_many_and_they_do_not_draw(path: Path) -> None:
    made = gym.make_vec("EmNASTable-v0", 3, "vector_entry_point", table=str(path))
    assert isinstance(made.unwrapped, EmNASVectorTableEnv)
    with pytest.raises(UnknownName, match="ansi"):
        EmNASVectorTableEnv(2, str(path), render_mode="ansi")
