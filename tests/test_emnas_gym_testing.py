from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import tiny_worlds

from emnas_gym.analytic import AnalyticEvaluator
from emnas_gym.architecture import Architecture
from emnas_gym.errors import BudgetSpent, EvaluationError
from emnas_gym.evaluator import Evaluator, EvaluatorStack, Result
from emnas_gym.ledger import Ledger
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.space import SearchSpace, sample_tokens
from emnas_gym.testing import (
    ScriptedEvaluator,
    check_agent,
    check_evaluator,
    check_search_space,
    tiny_problem,
)

# ---------------------------------------------------------------------------------------- spaces


def test_a_users_space_keeps_them_too(tmp_path: Path) -> None:
    check_search_space(tiny_worlds.dozen(tmp_path).space)
    check_search_space(tiny_problem().space)


def test_a_space_that_draws_what_does_not_fit_is_found(
    tiny: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(tiny.automaton()), "fits", lambda self, tokens: len(tokens) > 3)
    with pytest.raises(AssertionError, match="does not fit"):
        check_search_space(tiny)


# ------------------------------------------------------------------------------------ evaluators


def _networks(problem: Problem, count: int = 6) -> list[Architecture]:
    rng = np.random.default_rng(0)
    tokens = [sample_tokens(problem.automaton, rng) for _ in range(count)]
    return [problem.space.architecture(one) for one in tokens]


def test_evaluators_keep_their_word(problem: Problem, tmp_path: Path) -> None:
    analytic = AnalyticEvaluator(problem.task, problem.device)
    check_evaluator(analytic, _networks(problem))
    check_evaluator(EvaluatorStack([analytic, tiny_worlds.Formula()]), _networks(problem))
    dozen = tiny_worlds.dozen(tmp_path)
    check_evaluator(ScriptedEvaluator(dozen), _networks(dozen))


class _Lying(Evaluator):
    """Provides an accuracy; how it lies is decided by a function of (call, place, network)."""

    provides = frozenset({"accuracy"})

    def __init__(self, measure: Callable[[int, int, Architecture], Result]) -> None:
        self.measure, self.calls = measure, 0

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        self.calls += 1
        return [self.measure(self.calls, i, a) for i, a in enumerate(batch)]


def _accuracy(value: float) -> Measurement:
    return Measurement.of("predicted", accuracy=value)


LIES: list[tuple[str, Callable[[int, int, Architecture], Result]]] = [
    ("two calls differ", lambda call, place, network: _accuracy(1 / (call + 1))),
    ("order of the batch", lambda call, place, network: _accuracy(1 / (place + 1))),
    ("lacks them", lambda call, place, network: Measurement.of("predicted", latency_ms=1.0)),
    ("does not say", lambda *_: Measurement.of("predicted", accuracy=0.5, latency_ms=1.0)),
    ("accuracy = 1.5", lambda *_: _accuracy(1.5)),
    ("accuracy = -0.5", lambda *_: _accuracy(-0.5)),
    ("without saying why", lambda *_: EvaluationError("")),
]


@pytest.mark.parametrize(("answer", "lie"), LIES)
def test_an_evaluator_that_lies_is_found(
    problem: Problem, answer: str, lie: Callable[[int, int, Architecture], Result]
) -> None:
    with pytest.raises(AssertionError, match=answer):
        check_evaluator(_Lying(lie), _networks(problem))


def test_an_evaluator_that_depends_on_the_batch_is_found(problem: Problem) -> None:
    class Batchwise(_Lying):
        def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
            return [_accuracy(1 / len(batch)) for _ in batch]

    with pytest.raises(AssertionError, match="size of the batch"):
        check_evaluator(Batchwise(LIES[0][1]), _networks(problem))


def test_an_evaluator_that_says_it_is_not_repeatable_may_differ(problem: Problem) -> None:
    noisy = _Lying(LIES[0][1])
    noisy.repeatable = False
    check_evaluator(noisy, _networks(problem))


def test_unknown_fields_are_found(problem: Problem) -> None:
    wrong = _Lying(lambda *_: _accuracy(0.5))
    wrong.provides = frozenset({"accurracy"})
    with pytest.raises(AssertionError, match="accurracy"):
        check_evaluator(wrong, _networks(problem))


# ---------------------------------------------------------------------------------------- agents


class _Drawing:
    """Draws single networks; each subclass breaks one promise."""

    def search(self, problem: Problem, ledger: Ledger, seed: int) -> None:
        rng = self.generator(seed)
        try:
            while not ledger.spent:
                tokens = sample_tokens(problem.automaton, rng, "walk")
                ledger.evaluate([problem.space.architecture(tokens)])
        except BudgetSpent:
            return

    def generator(self, seed: int) -> np.random.Generator:
        return np.random.default_rng(seed)


class _Unseeded(_Drawing):
    def generator(self, seed: int) -> np.random.Generator:
        return np.random.default_rng()


class _OneSeed(_Drawing):
    def generator(self, seed: int) -> np.random.Generator:
        return np.random.default_rng(0)


class _Global(_Drawing):
    """Draws from the global generator, which evaluators seed for themselves."""

    def search(self, problem: Problem, ledger: Ledger, seed: int) -> None:
        np.random.seed(seed)
        while not ledger.spent:
            rng = np.random.default_rng(np.random.randint(2**31))
            tokens = sample_tokens(problem.automaton, rng, "walk")
            ledger.evaluate([problem.space.architecture(tokens)])


class _Unstoppable(_Drawing):
    def search(self, problem: Problem, ledger: Ledger, seed: int) -> None:
        try:
            super().search(problem, ledger, seed)
        except KeyboardInterrupt:
            return


class _Lazy(_Drawing):
    """Draws once, and asks for that network again and again."""

    def search(self, problem: Problem, ledger: Ledger, seed: int) -> None:
        rng = np.random.default_rng(seed)
        tokens = sample_tokens(problem.automaton, rng)
        while not ledger.spent:
            ledger.evaluate([problem.space.architecture(tokens)])


class _Early(_Drawing):
    def search(self, problem: Problem, ledger: Ledger, seed: int) -> None:
        tokens = sample_tokens(problem.automaton, np.random.default_rng(seed))
        ledger.evaluate([problem.space.architecture(tokens)])


def test_an_honest_agent_passes() -> None:
    check_agent(_Drawing)


@pytest.mark.parametrize(
    ("agent", "answer"),
    [
        (_Early, "used 1 of 7"),
        (_Unseeded, "two searches with one seed differ, from evaluation"),
        (_OneSeed, "two seeds are the same"),
        (_Unstoppable, "swallows KeyboardInterrupt"),
        (_Lazy, "best reward found"),
        (_Global, "goes another way|best reward found|two seeds"),
    ],
)
def test_an_agent_that_breaks_a_promise_is_found(agent: type[_Drawing], answer: str) -> None:
    with pytest.raises(AssertionError, match=answer):
        check_agent(agent)


def test_the_scripted_world_is_what_brute_force_says(tmp_path: Path) -> None:
    for problem in (tiny_problem(), tiny_worlds.dozen(tmp_path), tiny_worlds.bandit()):
        scripted = ScriptedEvaluator(problem)
        assert tiny_worlds.brute_force(problem) == (scripted.optimum, scripted.optimum_reward)
    assert len(list(tiny_worlds.dozen(tmp_path).space.enumerate())) == 15
    assert len(list(tiny_problem().space.enumerate())) == 12
