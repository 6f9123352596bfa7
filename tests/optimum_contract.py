"""What every agent must do in a world of twelve networks: find the best one, and prefer it."""

from __future__ import annotations

from collections.abc import Callable

from tiny_worlds import in_memory

from agents.base import Agent
from emnas_gym.testing import ScriptedEvaluator, tiny_problem

SEEDS = 20
EVALUATIONS = 60  # repeats counted
PREFERRED = 18  # seeds of twenty after which a policy's favourite is the best network


def check_finds_optimum(make_agent: Callable[[], Agent]) -> None:
    """Checks that an agent finds the best of twelve networks within 60 evaluations, 20 times of 20.

    One that learns must also end with it as its policy's favourite in 18 of these.

    Args:
        make_agent: Makes a fresh agent.

    Raises:
        AssertionError: If it does not.
    """
    problem = tiny_problem()
    optimum = ScriptedEvaluator(problem).optimum_reward
    missed, preferred = [], 0
    for seed in range(SEEDS):
        agent, ledger = make_agent(), in_memory(problem, EVALUATIONS)
        agent.search(problem, ledger, seed)
        if ledger.best.reward != optimum:
            missed.append(seed)
        if agent.learns:
            best = problem.space.canonical_tokens(ledger.best.tokens)
            favourite = agent.favourite(problem)
            preferred += problem.space.canonical_tokens(favourite) == best
    assert not missed, f"the optimum was not found with seeds {missed}"
    assert not agent.learns or preferred >= PREFERRED, f"preferred in {preferred} of {SEEDS}"
