"""What the agents themselves take: time of a thousand evaluations that cost next to nothing.

All take turns on two worlds: the enumerated table, every network of which is looked up, and the
chains of the default space, scored by a formula. Networks come out of the same ledger for all, so
that the line of random search is what the ledger and the world take, and the rest is the agent's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from agents.runs import make_agent
from benchmarks.suites.machine import machine
from benchmarks.throughput.stopwatch import Contestant, Times, median, one_thread, race
from emnas_gym.architecture import Architecture
from emnas_gym.errors import BudgetSpent
from emnas_gym.evaluator import Evaluator, Result
from emnas_gym.history import Row
from emnas_gym.ledger import Ledger
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.registry import make_evaluator, reward_driven

THOUSAND = 1000


class FormulaAccuracy(Evaluator):
    """An accuracy for any network, by a formula: many 3×3 layers are good, long ones are not."""

    provides = frozenset({"accuracy"})

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        return [Measurement.of("predicted", accuracy=_formula(network)) for network in batch]


def _formula(network: Architecture) -> float:
    layers = network.layers
    return 0.2 + 0.6 * sum(layer.kernel == 3 for layer in layers) / len(layers) - 0.01 * len(layers)


@dataclass(frozen=True)
class World:
    """What is searched.

    Attributes:
        problem: Space, task, device, budgets and reward.
        evaluator: Measures; it is asked anew in every run, each of which has a ledger of its own.
    """

    problem: Problem
    evaluator: Evaluator


def table() -> World:
    """Every network of a small space, looked up."""
    problem = Problem.make("emnas-bench-8")
    return World(problem, make_evaluator("bench", problem))


def chain() -> World:
    """The default space, scored by a formula; costs follow from shapes."""
    problem = Problem.make()
    return World(problem, make_evaluator(["analytic", FormulaAccuracy()], problem))


WORLDS: dict[str, Callable[[], World]] = {"table": table, "chain": chain}


class Pace:
    """One agent in one world, run again and again.

    The first run ends after some seconds, if its evaluations do not end it sooner; as many as it
    came to are what all later ones take.

    Args:
        agent: Registered name; its hyperparameters are the defaults.
        world: What it searches.
        evaluations: Most of one run.
        seconds: Most of the first run, by the clock.
        advance: Called with the agent's name after each run.
    """

    def __init__(
        self,
        agent: str,
        world: World,
        evaluations: int,
        seconds: float,
        advance: Callable[[str], None],
    ) -> None:
        self.evaluations = evaluations
        self._agent, self._world = agent, world
        self._seconds, self._advance = seconds, advance
        self._runs, self._end = 0, float("inf")

    def contestant(self) -> Contestant:
        """This one, to be timed beside others."""
        return Contestant(self._prepare, self._work)

    def _prepare(self) -> None:
        if self._runs == 0:
            self._end = time.perf_counter() + self._seconds
        self._runs += 1

    def _work(self) -> int:
        problem = self._world.problem
        ledger = Ledger(self._world.evaluator, problem, self.evaluations, watch=self._watch)
        make_agent(self._agent).search(problem, ledger, self._runs)
        self.evaluations, self._end = ledger.count, float("inf")
        self._advance(self._agent)
        return ledger.count

    def _watch(self, row: Row) -> None:
        if time.perf_counter() > self._end:
            raise BudgetSpent("the first run took its time")


def chosen_agents(only: Sequence[str]) -> list[str]:
    """The agents that are measured: those named, or all that need nothing but rewards.

    Raises:
        UnknownName: If there is no such agent.
        BackendMissing: If something that one needs is not installed.
    """
    found = list(dict.fromkeys(only)) or sorted(reward_driven())
    for name in found:
        make_agent(name)
    return found


def runs_of(agents: Sequence[str], rounds: int) -> int:
    """How often `cost` calls ``advance``: every agent, in two worlds, once more to begin with."""
    return len(agents) * len(WORLDS) * (rounds + 1)


def cost(
    agents: Sequence[str],
    evaluations: int,
    rounds: int,
    seconds: float,
    advance: Callable[[str], None],
) -> dict[str, Any]:
    """Measures agents, all of them once a round, on one thread.

    Args:
        agents: Names, as `chosen_agents` gives them.
        evaluations: Of one run, repeats counted.
        rounds: Rounds that count; one before them warms up, and sets how many evaluations a slow
            agent gets.
        seconds: Of an agent in one world in that first round; one that is not ready by then runs
            with as many evaluations as it came to.
        advance: Called with the name of an agent after each of its runs.

    Returns:
        ``agents``: by name and world ``wall_s`` and ``cpu_s``, seconds of 1,000 evaluations by the
        clock and of processor time, the medians over rounds; ``evaluations`` of one run, and
        ``runs``. ``machine``: on what.
    """
    paces = {
        (agent, label): Pace(agent, world, evaluations, seconds, advance)
        for label, world in [(label, make()) for label, make in WORLDS.items()]
        for agent in agents
    }
    with one_thread():
        times = race(
            {" ".join(key): pace.contestant() for key, pace in paces.items()}, rounds, lambda: None
        )
    found: dict[str, dict[str, Any]] = {agent: {} for agent in agents}
    for (agent, label), pace in paces.items():
        found[agent][label] = _seconds(times[f"{agent} {label}"]) | {
            "evaluations": pace.evaluations,
            "runs": rounds,
        }
    return {"agents": found, "machine": machine()}


def _seconds(times: Times) -> dict[str, float]:
    """Medians of the seconds that 1,000 evaluations take at the speeds of the rounds."""
    return {
        "wall_s": median([THOUSAND / speed for speed in times.wall]),
        "cpu_s": median([THOUSAND / speed for speed in times.cpu]),
    }
