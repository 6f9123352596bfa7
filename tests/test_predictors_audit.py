"""Audits: what is verified, what is answered, what is corrected, and that runs repeat."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from agents.evolution import RegularisedEvolution
from agents.random_search import RandomSearch
from emnas_gym.architecture import Architecture
from emnas_gym.errors import DomainError, EvaluationError, EvaluationStopped, StoreError
from emnas_gym.evaluator import Evaluator, Result
from emnas_gym.history import Row
from emnas_gym.ledger import Ledger
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.registry import make_evaluator, resolve
from emnas_gym.surrogate import SurrogateEvaluator
from emnas_gym.testing import check_evaluator
from predictors.audit import AuditedEvaluator, AuditOptions
from predictors.audit_effect import WORLDS, effect, labels, trained
from predictors.audit_report import draw, markdown
from predictors.audit_rows import AuditRow, AuditRows, bias
from predictors.audit_study import ARMS, TRUTHS, TableTruth, climb, distinct_best, run
from predictors.correction import Correction, Verified

NEVER = AuditOptions(kappa=0.0, every=0, best=False, budget=0.0)


class Truth(Evaluator):
    """A smooth accuracy that the surrogate does not know, and how often it was asked."""

    provides = frozenset({"accuracy"})

    def __init__(self, fails: bool = False, stops_after: int = 10**9) -> None:
        self.asked, self.fails, self.stops_after = 0, fails, stops_after

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        if self.asked + len(batch) > self.stops_after:
            raise EvaluationStopped("the disk is full", [None] * len(batch))
        self.asked += len(batch)
        return [self.measure(architecture) for architecture in batch]

    def measure(self, architecture: Architecture) -> Result:
        if self.fails:
            return EvaluationError("does not train")
        return Measurement.of("trained", accuracy=0.9 / len(architecture.tokens))


@pytest.fixture(scope="module")
def surrogate(problem: Problem) -> SurrogateEvaluator:
    return SurrogateEvaluator.for_problem(problem)


@pytest.fixture
def networks(problem: Problem) -> list[Architecture]:
    rng = np.random.default_rng(3)
    drawn = [problem.space.sample(rng, problem.task, problem.budgets) for _ in range(30)]
    return list({a.canonical: a for a in drawn}.values())


def audited(
    surrogate: SurrogateEvaluator, problem: Problem, truth: Evaluator | None = None,
    path: Path | None = None, **options: float,
) -> AuditedEvaluator:  # fmt: skip
    chosen = AuditOptions(**{"warm_up": 0} | options)  # type: ignore[arg-type]
    return AuditedEvaluator(surrogate, truth or Truth(), problem, chosen, path)


def accuracies(results: Sequence[Result]) -> list[float]:
    return [r.accuracy for r in results if isinstance(r, Measurement) and r.accuracy is not None]


@pytest.mark.parametrize("kappa", [0.0, 0.5, 2.0])
def test_the_answer_is_the_mean_less_kappa_deviations(
    kappa: float, surrogate: SurrogateEvaluator, problem: Problem, networks: list[Architecture]
) -> None:  # B18
    mean, deviation = surrogate.predict(networks)
    wanted = np.clip(mean - kappa * deviation, 0.0, 1.0)
    assert deviation.max() > 0.01
    answers = audited(surrogate, problem, kappa=kappa, every=3).evaluate(networks)
    np.testing.assert_allclose(accuracies(answers), wanted, atol=2e-9)


def test_only_the_accuracy_is_touched(networks: list[Architecture]) -> None:
    problem = Problem.make(device="ethos-u55-128")
    surrogate = SurrogateEvaluator.for_problem(problem)
    answers = audited(surrogate, problem, kappa=1.0).evaluate(networks)
    for plain, answer in zip(surrogate.evaluate(networks), answers, strict=True):
        assert isinstance(plain, Measurement)
        assert isinstance(answer, Measurement)
        assert (answer.latency_ms, answer.feasible) == (plain.latency_ms, plain.feasible)
    assert surrogate.domain == audited(surrogate, problem).domain


def test_every_kth_network_and_every_new_best_is_verified(
    surrogate: SurrogateEvaluator, problem: Problem, networks: list[Architecture]
) -> None:
    evaluator = audited(surrogate, problem, every=4, budget=100.0, kappa=0.0)
    evaluator.evaluate(networks)
    stack = make_evaluator("surrogate", problem)
    rewards = [problem.reward(m)[0] for m in stack.evaluate(networks) if isinstance(m, Measurement)]
    best = [i for i, reward in enumerate(rewards) if reward > max(rewards[:i], default=-np.inf)]
    wanted = sorted({*best, *range(3, len(networks), 4)})
    assert [row.index for row in evaluator.rows if row.asked] == wanted
    assert [row.index for row in evaluator.rows if row.best] == best
    assert len(best) > 2


@pytest.mark.parametrize(("budget", "cost", "count"), [(3.0, 1.0, 3), (1.0, 0.3, 3), (0.0, 1.0, 0)])
def test_the_budget_of_verifications_is_kept_exactly(
    budget: float, cost: float, count: int,
    surrogate: SurrogateEvaluator, problem: Problem, networks: list[Architecture],
) -> None:  # fmt: skip
    truth = Truth()
    evaluator = audited(surrogate, problem, truth, every=1, budget=budget, cost=cost)
    evaluator.evaluate(networks)
    evaluator.verify(networks)
    assert truth.asked == count
    assert evaluator.spent_equivalents == pytest.approx(count * cost)
    assert not evaluator.affordable


def test_without_a_correction_it_only_reports(
    surrogate: SurrogateEvaluator, problem: Problem, networks: list[Architecture]
) -> None:
    silent, reporting = audited(surrogate, problem), audited(surrogate, problem, every=2)
    assert reporting.evaluate(networks) == silent.evaluate(networks)
    assert reporting.repeatable
    check_evaluator(audited(surrogate, problem, every=2, budget=4.0), networks[:4])
    verified = [row for row in reporting.rows if row.verified is not None]
    errors = [row.predicted - row.verified for row in verified]  # type: ignore[operator]
    mean, _, count = bias(reporting.rows)
    assert (mean, count) == (pytest.approx(np.mean(errors)), len(verified))
    assert f"{mean:+.4f}" in reporting.remarks()[0]
    assert "none of" in audited(surrogate, problem, every=0, best=False).remarks()[0]


def test_a_verified_network_is_answered_with_its_truth(
    surrogate: SurrogateEvaluator, problem: Problem, networks: list[Architecture]
) -> None:
    truth = Truth()
    evaluator = audited(surrogate, problem, truth, every=5, best=False, refit=1, budget=9.0)
    assert not evaluator.repeatable
    first = evaluator.evaluate(networks)
    for row, architecture, answer in zip(evaluator.rows, networks, first, strict=True):
        assert isinstance(answer, Measurement)
        true = truth.measure(architecture)
        assert isinstance(true, Measurement)
        assert (answer.accuracy == true.accuracy) == row.asked == ((row.index + 1) % 5 == 0)
        assert answer.provenance["accuracy"] == ("trained" if row.asked else "predicted")
    later = evaluator.verify(networks[:1])
    assert later[0].verified == 0.9 / len(networks[0].tokens)
    again = evaluator.evaluate(networks)
    assert accuracies(again)[0] == later[0].verified
    assert again[1:] == first[1:]
    with pytest.raises(EvaluationError, match="evaluate it first"):
        audited(surrogate, problem).verify(networks[:1])


def test_a_correction_brings_predictions_nearer_to_the_truth(
    surrogate: SurrogateEvaluator, problem: Problem
) -> None:
    rng = np.random.default_rng(5)
    drawn = [problem.space.sample(rng, problem.task, problem.budgets) for _ in range(240)]
    early, late = drawn[:120], drawn[120:]
    true = [0.9 / len(a.tokens) for a in late]
    errors = {}
    for refit in (0, 10):
        evaluator = audited(
            surrogate, problem, kappa=0.0, every=3, best=False, budget=40.0, refit=refit
        )
        evaluator.evaluate(early)
        errors[refit] = np.abs(np.array(accuracies(evaluator.evaluate(late))) - true).mean()
    assert errors[10] < 0.7 * errors[0]


def test_the_correction_knows_what_it_was_told_and_doubts_less_there() -> None:
    rng = np.random.default_rng(0)
    x, mean, deviation = rng.normal(size=(12, 4)), np.full(12, 0.5), np.full(12, 0.1)
    untouched = Correction().apply(x, mean, deviation)
    assert (untouched[0] is mean) and (untouched[1] is deviation)
    told = Correction([Verified(x[i], 0.5, 0.1, 0.8) for i in range(3)])
    corrected, doubt = told.apply(np.concatenate([x[:3], x[:1] + 50.0]), mean[:4], deviation[:4])
    assert (np.abs(corrected[:3] - 0.8) < 0.02).all()
    assert corrected[3] < 0.75
    assert (doubt[:3] < 0.05).all()
    assert doubt[3] > 0.08


def test_a_network_that_the_truth_cannot_measure(
    surrogate: SurrogateEvaluator, problem: Problem, networks: list[Architecture]
) -> None:
    reporting = audited(surrogate, problem, Truth(fails=True), every=1, budget=2.0)
    assert len(accuracies(reporting.evaluate(networks))) == len(networks)
    correcting = audited(surrogate, problem, Truth(fails=True), every=1, budget=2.0, refit=1)
    results = correcting.evaluate(networks)
    assert [isinstance(r, EvaluationError) for r in results[:3]] == [True, True, False]
    assert correcting.spent_equivalents == 2.0
    with pytest.raises(DomainError, match="provides no accuracy"):
        audited(surrogate, problem, resolve("evaluator", "analytic").for_problem(problem))


def test_a_truth_that_stops_loses_nothing(
    surrogate: SurrogateEvaluator, problem: Problem, networks: list[Architecture], tmp_path: Path
) -> None:
    options = {"every": 2, "best": False, "refit": 1, "budget": 99.0, "kappa": 0.0}
    whole = audited(surrogate, problem, **options).evaluate(networks)
    path = tmp_path / "audit.jsonl"
    with pytest.raises(EvaluationStopped) as stopped:
        audited(surrogate, problem, Truth(stops_after=3), path, **options).evaluate(networks)
    assert stopped.value.results[:7] == whole[:7]
    assert stopped.value.results[7:] == [None] * (len(networks) - 7)
    assert audited(surrogate, problem, Truth(), path, **options).evaluate(networks) == whole


def _search(evaluator: Evaluator, problem: Problem, path: Path | None, cut: int = 0) -> list[Row]:
    seen: list[Row] = []

    def watch(row: Row) -> None:
        seen.append(row)
        if len(seen) == cut:
            raise KeyboardInterrupt

    ledger = Ledger(make_evaluator([evaluator], problem), problem, 90, path, watch=watch)
    agent = RegularisedEvolution.with_options(population=20, tournament=5)
    try:
        agent.search(problem, ledger, 0)
    except KeyboardInterrupt:
        assert cut
    finally:
        ledger.close()
    return ledger.rows


ACTIVE = {"every": 7, "warm_up": 10, "refit": 2, "budget": 12.0, "kappa": 1.0}


@pytest.mark.parametrize("cut", [15, 43, 71])
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(
    cut: int, surrogate: SurrogateEvaluator, problem: Problem, tmp_path: Path
) -> None:
    whole_truth, truth = Truth(), Truth()
    straight = audited(surrogate, problem, whole_truth, tmp_path / "whole.jsonl", **ACTIVE)
    whole = _search(straight, problem, None)
    path, history = tmp_path / "audit.jsonl", tmp_path / "history.sqlite"
    _search(audited(surrogate, problem, truth, path, **ACTIVE), problem, history, cut)
    again = audited(surrogate, problem, truth, path, **ACTIVE)
    assert _search(again, problem, history) == whole
    assert again.rows == straight.rows
    assert truth.asked == whole_truth.asked > 8
    assert _search(audited(surrogate, problem, Truth(), None, **ACTIVE), problem, None) == whole


def test_a_file_of_another_audit_or_a_damaged_one_is_refused(
    surrogate: SurrogateEvaluator, problem: Problem, networks: list[Architecture], tmp_path: Path
) -> None:
    path = tmp_path / "audit.jsonl"
    evaluator = audited(surrogate, problem, None, path, **ACTIVE)
    evaluator.evaluate(networks)
    with pytest.raises(StoreError, match="another audit"):
        audited(surrogate, problem, None, path, **ACTIVE | {"kappa": 2.0})
    text = path.read_text(encoding="utf-8")
    path.write_text(text[:-9], encoding="utf-8")  # as after kill -9: the last line is not whole
    cut = audited(surrogate, problem, None, path, **ACTIVE)
    assert cut.rows == evaluator.rows[:-1]
    cut.evaluate(networks)
    assert cut.rows == evaluator.rows
    lines = text.splitlines()
    for wrong in ("", "[]\n", "\n".join([*lines[:2], *lines[3:]]) + "\n", lines[0] + "\n{}\n"):
        path.write_text(wrong, encoding="utf-8")
        with pytest.raises(StoreError):
            audited(surrogate, problem, None, path, **ACTIVE)


def test_rows_in_memory_and_bias() -> None:
    rows = AuditRows()
    for i, (predicted, verified) in enumerate([(0.9, 0.7), (0.8, None), (0.6, 0.5)]):
        asked = verified is not None
        rows.append(AuditRow(i, (i,), predicted, 0.1, predicted, verified, asked, False, 0.5))
    mean, error, count = bias(rows.rows)
    assert (mean, count) == (pytest.approx(0.15), 2)
    assert error == pytest.approx(0.05)
    assert bias([])[2] == 0


def test_options_are_checked() -> None:
    for wrong in ({"kappa": -1.0}, {"every": -1}, {"cost": 0.0}, {"budget": float("nan")}):
        with pytest.raises(EvaluationError, match="below 0"):
            AuditOptions(**wrong)  # type: ignore[arg-type]


def test_environments_and_agents_take_it(surrogate: SurrogateEvaluator, problem: Problem) -> None:
    evaluator = audited(surrogate, problem, every=5, refit=2)
    env = gym.make("EmNAS-v0", evaluator=["analytic", evaluator])
    env.reset(seed=0)
    done = False
    for _ in range(20):
        legal = np.flatnonzero(env.unwrapped.action_masks())  # type: ignore[attr-defined]
        _, _, done, _, _ = env.step(int(legal[0]))
        if done:
            break
    assert done
    assert len(evaluator.rows) == 1
    ledger = Ledger(make_evaluator([evaluator], problem), problem, 20)
    RandomSearch().search(problem, ledger, 0)
    assert ledger.count == 20
    assert "audit:" in ledger.remarks()[0]


# ------------------------------------------------------------------------------------ the effect


def test_the_table_knows_its_networks_alone(problem: Problem) -> None:
    known = labels()
    truth = TableTruth(dict(list(known.items())[:2]))
    batch = [problem.space.architecture(tokens) for tokens in list(known)[:3]]
    results = truth.evaluate(batch)
    assert accuracies(results) == list(known.values())[:2]
    assert isinstance(results[2], EvaluationError)


def test_a_climb_beats_its_own_first_networks(
    surrogate: SurrogateEvaluator, problem: Problem
) -> None:
    ledger = Ledger(make_evaluator([surrogate], problem), problem, 300)
    climb(problem, ledger, np.random.default_rng(0))
    assert ledger.count == 300
    best = distinct_best(ledger.rows, 5)
    assert len({row.canonical for row in best}) == 5
    assert best[0].reward == ledger.best.reward
    assert ledger.best.reward > max(row.reward for row in ledger.rows[:100])


def test_arms_use_no_more_truth_than_they_may(
    surrogate: SurrogateEvaluator, problem: Problem
) -> None:
    for name in ("plain", "active", "active, finalists", "truth alone"):
        arm = ARMS[name]
        arm, truth = replace(arm, evaluations=min(arm.evaluations, 150)), Truth()
        outcome = run(arm, problem, surrogate, truth, climb, 0)
        assert outcome.truths <= TRUTHS
        assert outcome.truths == {"plain": 1, "active": outcome.truths}.get(name, TRUTHS)
        assert outcome.course[-1][0] < 150
        assert truth.asked >= outcome.truths
    assert run(arm, problem, surrogate, Truth(), climb, 0) == outcome


@pytest.mark.slow
def test_the_effect_is_measured_and_shown(tmp_path: Path) -> None:
    name = next(iter(WORLDS))
    figures = effect(name, 2)
    assert set(figures) < set(ARMS)
    assert figures["plain"]["gain"] == [0.0, 0.0, 0.0]
    page = markdown({name: figures}, None)
    assert f"## {name}" in page
    draw({name: figures}, tmp_path / "audit.png")
    assert (tmp_path / "audit.png").read_bytes()[:4] == b"\x89PNG"
    json.dumps(figures, allow_nan=False)


@pytest.mark.slow
def test_winners_are_really_trained() -> None:
    pytest.importorskip("torch", reason="needs torch")
    figures = trained(1, winners=1)
    assert 0.5 < figures["plain"]["verified"][1] < 1.2
