"""Times models on this machine, all of them in turns, so that drift hits them alike.

A shared machine drifts more slowly than one model is measured; short measurements one after the
other therefore compare the hours, not the models. Here every round times every model for a short
block, and the tenth percentile of the blocks counts: it is the speed without the neighbours.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from hardware.interpreter import Model
from hardware.program import Array


@dataclass(frozen=True)
class Protocol:
    """How latencies are measured.

    Attributes:
        rounds: Blocks of each model, spread over the whole measurement.
        block_ms: Least length of one block.
        warmup: Runs before the first block.
        model_seconds: Rounds end early once a model has taken so long on the average.
        threads: Threads of the interpreter.
        processes: Fresh processes that repeat everything; the fastest counts.
    """

    rounds: int = 100
    block_ms: float = 0.5
    warmup: int = 10
    model_seconds: float = 5.0
    threads: int = 1
    processes: int = 1


LEAST_ROUNDS = 3


@dataclass(frozen=True)
class Timing:
    """Latency of one model on this machine.

    Attributes:
        block_ms: Mean time of a run in each block.
        runs: Inferences in each block.
        threads: Threads of the interpreter.
        seconds: Wall time of all blocks.
    """

    block_ms: tuple[float, ...]
    runs: int
    threads: int
    seconds: float

    @property
    def latency_ms(self) -> float:
        """Tenth percentile of the blocks; what is reported."""
        return self._percentile(10)

    @property
    def median_ms(self) -> float:
        """Median of the blocks."""
        return self._percentile(50)

    @property
    def spread(self) -> float:
        """Ninetieth minus tenth percentile, divided by the median."""
        return (self._percentile(90) - self._percentile(10)) / self.median_ms

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return len(self.block_ms)

    def _percentile(self, percent: float) -> float:
        return float(np.percentile(self.block_ms, percent))


def time_models(contents: Sequence[bytes], protocol: Protocol) -> list[Timing]:
    """Times models against each other.

    Args:
        contents: .tflite files.
        protocol: How.

    Returns:
        One timing for each file, in their order.

    Raises:
        ModelFileError: If a file cannot be run.
    """
    if protocol.processes <= 1:
        return _time_here(contents, protocol)
    context = multiprocessing.get_context("spawn")
    repeats = []
    for _ in range(protocol.processes):
        with ProcessPoolExecutor(1, context) as pool:
            repeats.append(pool.submit(_time_here, contents, protocol).result())
    return [min(each, key=lambda t: t.latency_ms) for each in zip(*repeats, strict=True)]


def _time_here(contents: Sequence[bytes], protocol: Protocol) -> list[Timing]:
    models = [Model(content, threads=protocol.threads) for content in contents]
    runs = [_warm_up(model, protocol) for model in models]
    deadline = time.perf_counter() + protocol.model_seconds * len(models)
    rounds: list[list[float]] = []
    while len(rounds) < protocol.rounds:
        rounds.append([_block(model, n) for model, n in zip(models, runs, strict=True)])
        if len(rounds) >= LEAST_ROUNDS and time.perf_counter() > deadline:
            break
    columns = np.array(rounds).T
    return [_summary(column, n, protocol.threads) for column, n in zip(columns, runs, strict=True)]


def _warm_up(model: Model, protocol: Protocol) -> int:
    """Runs the model until its caches are warm; returns how many runs make a block."""
    fastest = float("inf")
    end = time.perf_counter() + protocol.model_seconds / 5
    for _ in range(max(1, protocol.warmup)):
        fastest = min(fastest, _block(model, 1))
        if time.perf_counter() > end:
            break
    return max(1, round(protocol.block_ms / fastest))


def _block(model: Model, runs: int) -> float:
    """Mean milliseconds of some runs."""
    start = time.perf_counter_ns()
    for _ in range(runs):
        model.invoke()
    return (time.perf_counter_ns() - start) / (runs * 1e6)


def _summary(blocks: Array, runs: int, threads: int) -> Timing:
    seconds = float(blocks.sum()) * runs / 1e3
    return Timing(tuple(float(block) for block in blocks), runs, threads, seconds)
