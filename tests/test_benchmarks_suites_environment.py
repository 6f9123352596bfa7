"""Environments of suites: keywords, tables that are missing, references, optima and regret."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from small_suites import (
    NOISY,
    WHOLLY_KNOWN,
    EveryNetwork,
    NoisyTable,
    few_draws,
    run_here,
    small_suite,
)

from benchmarks.comparison.reference import draw_reference
from benchmarks.comparison.run_record import findings, to_top
from benchmarks.suites.environment import describe, open_environment
from benchmarks.suites.suite import Entry, Environment
from emnas_gym.analytic import AnalyticEvaluator
from emnas_gym.architecture import Architecture
from emnas_gym.errors import DatasetError, EmNASError, EvaluationError, StoreError, UnknownName
from emnas_gym.evaluator import Result
from emnas_gym.measurement import Measurement

pytestmark = pytest.mark.usefixtures(few_draws.__name__)


def test_keywords_reach_the_environment() -> None:  # E18
    keywords = {"device": "rp2040", "budgets": {"ram_bytes": 6000}, "reward": "linear"}
    env = open_environment(Environment("other", "EmNAS-v0", 10, keywords))
    assert (env.problem.device.name, env.problem.reward.name) == ("rp2040", "linear")
    assert env.problem.budgets.to_json() == {"ram_bytes": 6000}
    described = describe(Environment("other", "EmNAS-v0", 10, keywords), 0)
    assert (described["evaluator"], described["reference"]) == ("surrogate", None)
    assert described["objectives"][1] == {"field": "latency_ms", "better": "lower"}


@pytest.mark.parametrize(
    ("env", "keywords", "error", "message"),
    [
        ("EmNAS-v9", {}, UnknownName, "unknown environment 'EmNAS-v9': did you mean EmNAS-v0"),
        ("CartPole-v1", {}, UnknownName, "unknown environment"),
        ("EmNAS-v0", {"budget": {}}, UnknownName, "'one'.*'budget': did you mean budgets"),
        ("EmNAS-v0", {"device": "nrf"}, UnknownName, "unknown device"),
        ("EmNAS-v0", {"task": "no/such.npz"}, EmNASError, "no/such"),
        ("EmNAS-v0", {"min_layers": "four"}, EmNASError, "lengths are whole numbers"),
        ("EmNAS-v0", {"budgets": 5}, EmNASError, "budgets are a mapping"),
    ],
)
def test_keywords_that_cannot_be(
    env: str, keywords: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        open_environment(Environment("one", env, 10, keywords))


def test_a_missing_table_says_which_command_makes_it(tmp_path: Path) -> None:
    lacking = Environment("t", "EmNAS-v0", 5, {"space": "emnas-382"}, prepare="make it so")
    open_environment(lacking).close()  # the command is only told where it is needed
    from benchmarks.suites.environment import _check_table

    where = str(tmp_path / "t.npz")
    with pytest.raises(StoreError, match=r"t.npz is not there; make it first: make it so"):
        _check_table(replace(lacking, keywords={"table": where}), {})
    (tmp_path / "t.npz").touch()
    _check_table(replace(lacking, keywords={"table": where}), {})
    _check_table(replace(lacking, keywords={"table": "bench"}), {})


def test_nothing_is_verified_where_nothing_can_be_trained() -> None:
    mobile = Environment("mobile", "EmNASMobile-v0", 5, verify_seeds=1)
    with pytest.raises(DatasetError, match="'mobile': the task 'grasp' has no images"):
        describe(mobile, 0)
    assert describe(replace(mobile, verify_seeds=0), 0)["env"] == "EmNASMobile-v0"


def test_of_a_small_space_every_network_is_the_reference() -> None:
    env = open_environment(WHOLLY_KNOWN)
    found = describe(WHOLLY_KNOWN, 50)
    every = EveryNetwork(env.problem)
    networks = [env.problem.space.architecture(tokens) for tokens in every.networks]
    measured = [m for m in every.evaluate(networks) if isinstance(m, Measurement)]
    best = max(env.problem.reward(m)[0] for m in measured)
    assert found["reference"]["complete"]
    assert found["reference"]["networks"] == len(every.networks)
    assert found["optimum"] == {"reward": best, "interval": [best, best]}
    thresholds = list(found["reference"]["thresholds"].values())
    assert thresholds == sorted(thresholds)
    assert found["reference"]["thresholds"]["0.1"] <= best
    noisy = replace(WHOLLY_KNOWN, keywords=WHOLLY_KNOWN.keywords | {"max_layers": "$seed"})
    with pytest.raises(EmNASError):
        open_environment(noisy, seed=0)
    assert open_environment(noisy, seed=3).problem.max_layers == 3, "the run's seed is put in"


def test_regret_is_what_the_winner_lacks(tmp_path: Path) -> None:  # B25
    suite = small_suite(
        seeds=2, evaluations=60, environments=(WHOLLY_KNOWN,),
        agents=(Entry("random", "random"), Entry("evolution", "evolution", {"population": 10})),
    )  # fmt: skip
    result = run_here(suite, tmp_path)
    best = result["environments"][0]["optimum"]["reward"]
    for run in result["runs"]:
        assert run["regret"] == pytest.approx(best - run["winner"]["reward"])
        assert run["regret"] >= 0
        assert run["trainings"] == run["distinct"], "every network of the table was trained"
        top = result["environments"][0]["reference"]["thresholds"]
        for share, at in run["to_top"].items():
            reached = [n for n, value in run["curve"] if value >= top[share]]
            assert at == (min(reached) if reached else None)


def test_of_a_noisy_table_regret_and_test_are_those_without_noise(tmp_path: Path) -> None:  # D1
    suite = small_suite(seeds=1, evaluations=60, environments=(NOISY,))
    result = run_here(suite, tmp_path)
    problem = open_environment(NOISY).problem
    table = NoisyTable(problem)
    rewards = table.rewards(problem)
    assert result["environments"][0]["optimum"]["reward"] == rewards.max()
    thresholds = result["environments"][0]["reference"]["thresholds"]
    ranked = sorted(rewards, reverse=True)
    assert thresholds == {s: ranked[int(len(ranked) * float(s) / 100) - 1] for s in thresholds}
    for run in result["runs"]:
        winner = problem.space.architecture(run["winner"]["tokens"])
        assert run["regret"] == rewards.max() - rewards[table.row(winner)]
        assert [run["test"]] == table.test_accuracies(winner)
        assert run["test_regret"] == table.test_regret(winner)
        folder = tmp_path / "small" / "noisy" / run["agent"] / "seed-0"
        lines = (folder / "evaluations.jsonl").read_text(encoding="utf-8").splitlines()
        asked = [problem.space.architecture(json.loads(line)["tokens"]) for line in lines]
        rows = {one.canonical: table.row(one) for one in asked}
        assert run["simulated_seconds"] == sum(10.0 + row for row in rows.values())
        assert run["trainings"] == len(rows)
        true = [rewards[table.row(one)] for one in asked]
        for share, at in run["to_top"].items():
            reached = [n for n, value in enumerate(true, 1) if value >= thresholds[share]]
            assert at == (reached[0] if reached else None)


def test_a_reference_is_the_same_for_all_and_asks_nothing_dear() -> None:
    env = open_environment(Environment("digits", "EmNAS-v0", 5))
    first, again = (draw_reference(env.problem, env.evaluator, 40) for _ in range(2))
    assert first == again
    assert first is not None
    assert (first["networks"], first["complete"], first["optimum"]) == (40, False, None)
    assert first["thresholds"]["1"] is None, "forty networks do not tell the best one in a hundred"
    assert all(low < high for low, high in zip(first["worst"], first["best"], strict=True))

    class Dear(AnalyticEvaluator):
        asked = 0

        def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
            self.asked += len(batch)
            return [Measurement.of("trained", accuracy=0.5, latency_ms=1.0) for _ in batch]

    dear = Dear.for_problem(env.problem)
    assert draw_reference(env.problem, dear, 40) is None
    assert dear.asked == 1


def test_a_run_without_an_evaluation_is_no_run() -> None:
    env = open_environment(Environment("digits", "EmNAS-v0", 5))
    with pytest.raises(EvaluationError, match="nothing was evaluated"):
        findings([], env.problem, {"optimum": None, "reference": None})
    thresholds = {"10": 0.4, "1": 0.9, "0.5": 0.95, "0.1": None}
    found = to_top([[1, 0.5], [7, 0.9]], {"thresholds": thresholds})
    assert found == {"10": 1, "1": 7, "0.5": None}, "one share never reached, one not known"
