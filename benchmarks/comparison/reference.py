"""What a problem holds, by which runs are judged: all its networks, or many random ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.comparison.known_table import true_rewards
from benchmarks.comparison.run_record import fits
from emnas_gym.architecture import Architecture
from emnas_gym.evaluator import Evaluator, Result
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.space import sample_tokens

SHARES = ("10", "5", "1", "0.1")  # per cent
EVERYTHING = 20_000  # sequences of a space of which every network is measured
CHEAP = {"predicted", "analytic", "table"}  # measured without training or running anything
CHUNK = 256
STREAM = 201_103  # seeds the sample, which is one for all runs


def draw_reference(problem: Problem, evaluator: Evaluator, count: int) -> dict[str, Any] | None:
    """Measures a sample of a problem with the evaluator of the search.

    Of a space of up to 20,000 sequences it is every network, so that thresholds and optimum are
    exact; where a table knows rewards without noise, these count. A sample is drawn with uniform
    length. An evaluator that trains or runs networks is not asked: there is no reference then.

    Args:
        problem: Space, budgets and reward.
        evaluator: What measures.
        count: Networks of a sample; 0 draws none.

    Returns:
        ``networks`` that fit; ``complete``, whether these are all; ``thresholds``: per share in
        per cent the reward from which a network is among the best, None where the sample is too
        small to tell; ``worst`` and ``best`` of each objective, larger being better; ``optimum``
        of a complete one.
    """
    if not count:
        return None
    networks = _networks(problem, count)
    complete = _countable(problem)
    results = zip(networks, _measure(evaluator, networks), strict=False)
    known = {n: m for n, m in results if isinstance(m, Measurement) and fits(problem, m)}
    if not known:
        return None
    kept = list(known.values())
    seen = [problem.reward(measurement)[0] for measurement in kept]
    true = true_rewards(evaluator, problem, list(known))
    rewards = -np.sort([-value for value in (seen if true is None else true)])
    values = np.array([problem.reward.vector(m) for m in kept], dtype=np.float64)
    best = float(rewards[0])
    return {
        "networks": len(kept),
        "complete": complete,
        "thresholds": {share: _threshold(rewards, share) for share in SHARES},
        "worst": values.min(axis=0).tolist(),
        "best": values.max(axis=0).tolist(),
        "optimum": {"reward": best, "interval": [best, best]} if complete else None,
    }


def _countable(problem: Problem) -> bool:
    whole = (problem.space.min_layers, problem.space.max_layers)
    lengths = (problem.min_layers, problem.max_layers) == whole
    return lengths and problem.space.size() <= EVERYTHING


def _networks(problem: Problem, count: int) -> list[Architecture]:
    table = problem.automaton
    if _countable(problem):
        every = problem.space.enumerate(problem.task, table.budgets)
        return list({one.canonical: one for one in every}.values())
    rng = np.random.default_rng(STREAM)
    return [problem.space.architecture(sample_tokens(table, rng)) for _ in range(count)]


def _measure(evaluator: Evaluator, networks: list[Architecture]) -> list[Result]:
    """Results of all; none if the first shows that measuring is dear."""
    results = evaluator.evaluate(networks[:1])
    if any(isinstance(m, Measurement) and not set(m.provenance.values()) <= CHEAP for m in results):
        return []
    for start in range(1, len(networks), CHUNK):
        results += evaluator.evaluate(networks[start : start + CHUNK])
    return results


def _threshold(rewards: NDArray[np.float64], share: str) -> float | None:
    """Reward of the worst of the best so many per cent; rewards fall."""
    number = int(len(rewards) * float(share) / 100 + 1e-9)
    return float(rewards[number - 1]) if number else None
