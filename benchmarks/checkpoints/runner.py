"""Computes the runs of a protocol that are not there yet, several processes at a time."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import asdict, dataclass
from typing import Any

from rich.progress import Progress, TaskID

from agents.runs import make_agent
from benchmarks.checkpoints.known_tables import open_world
from benchmarks.checkpoints.one_run import Outcome, run_once
from benchmarks.checkpoints.protocol import Contestant, Protocol, World
from benchmarks.checkpoints.store import RunStore
from benchmarks.suites.execution import use_one_thread
from predictors.workers import ended_on_error, make_pool

PILOT = 5  # runs by whose median seconds the number of runs is decided
CHUNK_S = 10.0  # CPU seconds that one call of a worker takes, about


@dataclass(frozen=True)
class Cell:
    """An agent in a world: everything that decides its runs but the seed.

    Attributes:
        world: What is searched.
        contestant: Who searches.
        checkpoints: Evaluations.
        key: All of it as text, all hyperparameters included.
    """

    world: World
    contestant: Contestant
    checkpoints: tuple[int, ...]
    key: str

    @property
    def stored_as(self) -> str:
        """The key of its runs: of the table as it is, not only of its name.

        Raises:
            EmNASError: If the world cannot be made.
        """
        return f"{open_world(self.world)[0].space.fingerprint} {self.key}"


def cells_of(protocol: Protocol) -> list[Cell]:
    """All cells, by agent and then by world.

    Raises:
        EmNASError: If an agent cannot be made.
    """
    return [
        Cell(world, one, protocol.checkpoints, _key(world, one, protocol.checkpoints))
        for one in protocol.agents
        for world in protocol.worlds
    ]


def _key(world: World, contestant: Contestant, checkpoints: Sequence[int]) -> str:
    agent = make_agent(contestant.agent, **contestant.options)
    about: dict[str, Any] = {
        "agent": contestant.agent,
        "config": agent.config.to_json(),
        "world": asdict(world),
        "checkpoints": list(checkpoints),
    }
    return json.dumps(about, sort_keys=True)


def compute(
    protocol: Protocol,
    cells: Sequence[Cell],
    store: RunStore,
    workers: int,
    progress: Progress,
    executor: Executor | None = None,
) -> None:
    """Computes what is missing; interrupted, it goes on from what is stored.

    Args:
        protocol: Says how many runs an agent has.
        cells: Which ones.
        store: Where outcomes are and go.
        workers: Processes; 0 is one a core.
        progress: For the bar.
        executor: Does the runs instead of processes of their own.

    Raises:
        EmNASError: If a run cannot be done; what others have stored stays.
    """
    todo = [cell for cell in cells if _missing(protocol, cell, store)]
    if not todo:
        return
    bar = progress.add_task(protocol.name, total=_total(protocol, todo, store))
    if executor is not None:
        _work(protocol, todo, store, executor, progress, bar)
        return
    pool = make_pool(workers or os.cpu_count() or 1, use_one_thread, ())
    with ended_on_error(pool):
        _work(protocol, todo, store, pool, progress, bar)
    pool.shutdown()


def is_whole(protocol: Protocol, cell: Cell, store: RunStore) -> bool:
    """Whether a cell has all of its runs."""
    return not _missing(protocol, cell, store)


def needed(protocol: Protocol, cell: Cell, outcomes: Sequence[Outcome]) -> int:
    """Runs that a cell has once it is whole; as many as a pilot has while nobody knows."""
    if cell.contestant.runs:
        return cell.contestant.runs
    if len(outcomes) < PILOT:
        return PILOT
    return max(protocol.runs_of(cell.contestant, pilot_seconds(outcomes)), PILOT)


def pilot_seconds(outcomes: Sequence[Outcome]) -> float:
    """CPU seconds of a run, by which the number of runs is decided once and for all."""
    return statistics.median(one.cpu_s for one in outcomes[:PILOT])


def _missing(protocol: Protocol, cell: Cell, store: RunStore) -> list[int]:
    """Seeds that are to be run, as far as is known now."""
    outcomes = store.outcomes(cell.stored_as)
    there = {one.seed for one in outcomes}
    return [seed for seed in range(needed(protocol, cell, outcomes)) if seed not in there]


def _total(protocol: Protocol, cells: Sequence[Cell], store: RunStore) -> int:
    return sum(len(_missing(protocol, cell, store)) for cell in cells)


def _work(
    protocol: Protocol,
    cells: Sequence[Cell],
    store: RunStore,
    pool: Executor,
    progress: Progress,
    bar: TaskID,
) -> None:
    open_: dict[Future[list[Outcome]], Cell] = {}
    waiting = {cell.key: 0 for cell in cells}

    def begin(cell: Cell) -> int:
        """Sends off what a cell lacks; tells how many runs that is."""
        seeds = _missing(protocol, cell, store)
        for chunk in _chunks(seeds, store.outcomes(cell.stored_as)):
            open_[pool.submit(run_some, cell, chunk)] = cell
            waiting[cell.key] += 1
        return len(seeds)

    for cell in cells:
        begin(cell)
    while open_:
        for future in wait(open_, return_when=FIRST_COMPLETED).done:
            cell, outcomes = open_.pop(future), future.result()
            store.add(cell.stored_as, outcomes)
            waiting[cell.key] -= 1
            progress.advance(bar, len(outcomes))
            if not waiting[cell.key] and (more := begin(cell)):
                total = progress.tasks[progress.task_ids.index(bar)].total or 0
                progress.update(bar, total=total + more)


def _chunks(seeds: Sequence[int], known: Sequence[Outcome]) -> Iterator[tuple[int, ...]]:
    """Seeds in parts of about equal time; a pilot is one part."""
    seconds = pilot_seconds(known) if known else CHUNK_S / PILOT
    size = max(int(CHUNK_S / max(seconds, 1e-3)), 1)
    for start in range(0, len(seeds), size):
        yield tuple(seeds[start : start + size])


def run_some(cell: Cell, seeds: Sequence[int]) -> list[Outcome]:
    """The runs of some seeds of a cell; what a worker does.

    Raises:
        EmNASError: If a run cannot be done.
    """
    return [run_once(cell.world, cell.contestant, cell.checkpoints, seed) for seed in seeds]
