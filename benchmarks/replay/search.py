"""Repeats a search on its own record: an agent with the recorded seed must ask for the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.runs import make_agent
from benchmarks.replay.history import history_copy, read_history, spent_on_training
from benchmarks.replay.record import Reader, Record
from benchmarks.replay.world import Given, OtherVersion, make_problem
from emnas_gym.architecture import Architecture
from emnas_gym.errors import EvaluationStopped, StoreError
from emnas_gym.evaluator import Evaluator, Result
from emnas_gym.ledger import Ledger
from emnas_gym.registry import names


class Silent(Evaluator):
    """Measures nothing: on a whole record the ledger answers everything from its store.

    Args:
        rests_on: What the recorded evaluator rested on.
    """

    provides = frozenset({"accuracy", "latency_ms"})

    def __init__(self, rests_on: Mapping[str, Any]) -> None:
        self._rests_on = dict(rests_on)

    @property
    def rests_on(self) -> dict[str, Any]:
        """As recorded."""
        return self._rests_on

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        raise EvaluationStopped(f"the agent asks for {batch[0]!r}, which the record does not know")


def repeat_search(history: Path, record: Record, seed: int | None, given: Given) -> int:
    """Lets the recorded agent search again; nothing is measured.

    Args:
        history: Its record.
        record: Its world.
        seed: The seed that the result claims; that of the record if None.
        given: What the user says.

    Returns:
        Evaluations that the agent asked for, all as recorded.

    Raises:
        StoreError: If the agent asks otherwise: another seed, another version of it.
        OtherVersion: If the agent is code that only the file names, or the space is another.
    """
    about, rows = read_history(history)
    reader = Reader(history)
    name = reader.name(about, "agent", "about")
    if name not in names("agent"):
        raise OtherVersion(f"{history}: {name!r} is no agent that is registered here")
    if not rows:
        raise StoreError(f"{history}: holds no evaluation")
    agent = make_agent(name, **reader.table(about.get("config", {}), "config"))
    seed = reader.whole(about, "seed", "about") if seed is None else seed
    problem = make_problem(record, given)
    with history_copy(history) as copy:
        count = len(rows) + spent_on_training(copy)
        ledger = Ledger(Silent(about.get("rests_on", {})), problem, count, copy)
        try:
            agent.search(problem, ledger, seed)
            return ledger.count
        except StoreError as error:
            raise StoreError(str(error).replace(str(copy), str(history))) from error
        finally:
            ledger.close()
