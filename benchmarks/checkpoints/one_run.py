"""One run: an agent searches a world, and what would be delivered at each checkpoint is told."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.runs import make_agent
from benchmarks.checkpoints.known_tables import open_world
from benchmarks.checkpoints.protocol import Contestant, World
from emnas_gym.errors import EvaluationError
from emnas_gym.history import Row
from emnas_gym.ledger import Ledger
from emnas_gym.table_evaluator import TableEvaluator


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        seed: Of the run.
        values: Reported accuracy in percent of the network that looks best so far, one value a
            checkpoint.
        wall_s: Seconds of the clock.
        cpu_s: Seconds of the processor.
    """

    seed: int
    values: tuple[float, ...]
    wall_s: float
    cpu_s: float


def run_once(
    world: World, contestant: Contestant, checkpoints: Sequence[int], seed: int
) -> Outcome:
    """Lets an agent search as far as the last checkpoint.

    Raises:
        EvaluationError: If it evaluated nothing.
        EmNASError: If the world or the agent cannot be made.
    """
    problem, evaluator = open_world(world)
    agent = make_agent(contestant.agent, **contestant.options)
    ledger = Ledger(evaluator, problem, checkpoints[-1])
    try:
        wall, cpu = time.perf_counter(), time.process_time()
        agent.search(problem, ledger, seed)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        values = _delivered(ledger.rows, evaluator)[_at(checkpoints, ledger)]
    finally:
        ledger.history.close()
    return Outcome(seed, tuple(values.tolist()), wall, cpu)


def _delivered(rows: Sequence[Row], evaluator: TableEvaluator) -> NDArray[np.float64]:
    """Reported accuracy of the first of the best so far, after every evaluation; in percent."""
    rewards = np.array([row.reward for row in rows])
    leading = np.r_[True, rewards[1:] > np.maximum.accumulate(rewards)[:-1]]
    leader = np.maximum.accumulate(np.where(leading, np.arange(len(rows)), 0))
    space = evaluator.space
    reported = {
        i: float(np.mean(evaluator.test_accuracies(space.architecture(rows[i].tokens))))
        for i in np.flatnonzero(leading).tolist()
    }
    return np.array([100.0 * reported[i] for i in leader.tolist()])


def _at(checkpoints: Sequence[int], ledger: Ledger) -> list[int]:
    """Indices of rows; an agent that ended early keeps what it had."""
    if not ledger.rows:
        raise EvaluationError("the agent evaluated nothing")
    return [min(checkpoint, len(ledger.rows)) - 1 for checkpoint in checkpoints]
