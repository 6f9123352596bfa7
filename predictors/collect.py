"""Makes the table: draws networks, really trains them in parallel, resumes after anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emnas_gym import costs
from emnas_gym.budgets import Budgets
from emnas_gym.errors import EvaluationError
from emnas_gym.graph import LayerGraph
from emnas_gym.space import SearchSpace, sample_tokens
from emnas_gym.tasks import Task
from hardware.export import export_int8
from hardware.interpreter import Model
from predictors.datasets import Dataset, load
from predictors.store import TableStore, Tokens, Training
from predictors.training import Recipe, train
from predictors.workers import ended_on_error, make_pool

REPEATED, MORE = 13, 40  # every 13th network, and the last of each 40, is trained with five seeds
SEEDS = 5
EXHAUSTED = 2000  # repeats in a row after which a small space counts as drawn
SPREAD = 4  # of so many candidates, every fourth network is the one of rarest cost


@dataclass(frozen=True)
class Job:
    """One training to do.

    Attributes:
        tokens: Token ids with the end token.
        seed: Seed of the training.
        origin: ``"uniform-length"``, ``"spread"`` or ``"enumerated"``.
    """

    tokens: Tokens
    seed: int
    origin: str


def draw(
    space: SearchSpace, task: Task, count: int, seed: int, max_macs: int | None = None
) -> list[tuple[Tokens, str]]:
    """Draws distinct networks, always the same ones in the same order.

    Every fourth is chosen from four candidates so that the logarithm of its MACs falls where the
    table is emptiest; the others are drawn by ``uniform-length`` alone.

    Args:
        space: The search space.
        task: What they are for.
        count: Number of networks; fewer are drawn from a space that has no more.
        seed: Decides the draw; a larger count begins with the networks of a smaller one.
        max_macs: Only networks of at most so many multiply-accumulates.

    Raises:
        InfeasibleBudgets: If no network has so few.
    """
    rng = np.random.default_rng(seed)
    table = space.automaton(task, Budgets(macs=max_macs))
    drawn: dict[Tokens, tuple[Tokens, str]] = {}
    filled = np.zeros(40)
    repeats = 0  # in a row
    while len(drawn) < count and repeats < EXHAUSTED:
        spread = len(drawn) % SPREAD == SPREAD - 1
        candidates = [sample_tokens(table, rng) for _ in range(SPREAD if spread else 1)]
        bins = [_cost_bin(space, task, tokens, len(filled)) for tokens in candidates]
        chosen = int(np.argmin(filled[bins]))
        key = space.canonical_tokens(candidates[chosen])
        repeats += 1
        if key not in drawn:
            repeats = 0
            filled[bins[chosen]] += 1
            drawn[key] = (candidates[chosen], "spread" if spread else "uniform-length")
    return list(drawn.values())


def _cost_bin(space: SearchSpace, task: Task, tokens: Tokens, bins: int) -> int:
    macs = costs.macs(space.architecture(tokens).graph(task))
    return min(int(4 * np.log10(max(macs, 1))), bins - 1)


def enumerated(space: SearchSpace, task: Task) -> list[tuple[Tokens, str]]:
    """Every distinct network of a small space, in the order of its tokens.

    Raises:
        InfeasibleBudgets: If the space has over a million sequences.
    """
    first = {space.canonical_tokens(a.tokens): a.tokens for a in space.enumerate(task)}
    return [(tokens, "enumerated") for tokens in first.values()]


def jobs(networks: Sequence[tuple[Tokens, str]], seeds: int | None = None) -> Iterator[Job]:
    """The trainings of a table, repeats spread evenly so that an early end has its share.

    Args:
        networks: Tokens and origin of distinct networks.
        seeds: Trainings of every network, a seed after the other; some networks with five and
            the others with one if None, so that the noise is known.
    """
    if seeds is not None:
        for seed in range(seeds):
            yield from (Job(tokens, seed, origin) for tokens, origin in networks)
        return
    for i, (tokens, origin) in enumerate(networks):
        repeated = i % REPEATED == 0 or i % MORE == MORE - 1
        for seed in range(SEEDS if repeated else 1):
            yield Job(tokens, seed, origin)


def collect(
    space: SearchSpace,
    data: Dataset,
    source: str,
    recipe: Recipe,
    todo: list[Job],
    store: TableStore,
    workers: int,
    advance: Callable[[Training | EvaluationError], None],
) -> None:
    """Trains all that is not in the store; Ctrl-C or ``kill -9`` loses at most what is running.

    What an older version trained without measuring the int8 file is trained again, last.

    Args:
        space: The search space.
        data: Images, for their task.
        source: From what a worker loads the same images.
        recipe: How to train.
        todo: The trainings, those done already included.
        store: Where results go, one commit each.
        workers: Parallel processes with one thread each.
        advance: Called after each training.
    """
    open_jobs = iter(left_of(todo, store))
    pool = make_pool(workers, _start_worker, (space, data.task, source, recipe))
    with ended_on_error(pool):
        _drain(pool, open_jobs, store, workers, advance)
    pool.shutdown()


def left_of(todo: Sequence[Job], store: TableStore) -> list[Job]:
    """The trainings that a store lacks, and last those whose int8 file was never measured."""
    done, half_done = store.done(), store.half_done()
    new = [job for job in todo if (job.tokens, job.seed) not in done]
    return new + [job for job in todo if (job.tokens, job.seed) in half_done]


def _drain(
    pool: ProcessPoolExecutor,
    open_jobs: Iterator[Job],
    store: TableStore,
    workers: int,
    advance: Callable[[Training | EvaluationError], None],
) -> None:
    running: dict[Future[Training | EvaluationError], Job] = {}
    while True:
        while len(running) < 2 * workers and (job := next(open_jobs, None)):
            running[pool.submit(_train_job, job)] = job
        if not running:
            return
        finished, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in finished:
            job, result = running.pop(future), future.result()
            if isinstance(result, Training):
                store.add_trainings([result])
            else:
                store.add_failure(job.tokens, job.seed, "train", str(result))
            advance(result)


@dataclass
class _Worker:
    space: SearchSpace
    task: Task
    data: Dataset
    recipe: Recipe


_worker: _Worker | None = None


def _start_worker(space: SearchSpace, task: Task, source: str, recipe: Recipe) -> None:
    global _worker
    _worker = _Worker(space, task, load(source, task.input_shape[0]), recipe)


def _train_job(job: Job) -> Training | EvaluationError:
    assert _worker is not None
    graph = _worker.space.build(job.tokens, _worker.task)
    try:
        result = train(graph, _worker.data, job.seed, _worker.recipe)
    except EvaluationError as error:
        return error
    return Training(
        job.tokens,
        job.seed,
        job.origin,
        result.curve,
        result.test_accuracy,
        result.seconds,
        int8_accuracy(graph, result.weights, _worker.data),
    )


def int8_accuracy(
    graph: LayerGraph, weights: Mapping[str, NDArray[np.float32]], data: Dataset
) -> float:
    """Share of the test part that a network's int8 file classifies rightly.

    Args:
        graph: The network.
        weights: Its trained weights.
        data: Its images, those for calibration included.
    """
    model = Model(export_int8(graph, weights, data.calibration))
    return float((model.run(data.test_x).argmax(axis=1) == data.test_y).mean())
