"""When the mean latency of a block is known: LENNA's rule, as documented, and one that holds.

LENNA sets the gates again and again, takes the 40 % quantile of a few runs each time, and stops
once the cumulative average has moved by less than 1 % ten times in a row. That a mean moves little
does not say that it is known: one value among n moves it by its deviation over n, while it is
wrong by one standard deviation over the root of n. `confident_label` asks for the latter.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from scipy.stats import t as student

from emnas_gym.errors import EvaluationError
from predictors.lenna.gates import Array, Gates, balanced_gates, draw_gates

QUANTILE = 0.4  # half-way between the median and a fast run: slow outliers do not reach it
FORWARDS = 10  # runs of one reset


class TimedBlock(Protocol):
    """A block of one type and width whose gates can be set."""

    def times_us(self, gates: Gates, forwards: int, rng: np.random.Generator) -> Array:
        """Times of resets, shape (resets, forwards).

        Args:
            gates: Index of each edge's operation, shape (resets, edges).
            forwards: Runs of each.
            rng: Where chance comes from.
        """
        ...


@dataclass(frozen=True)
class CumulativeRule:
    """Stops once the cumulative average has settled.

    Attributes:
        tolerance: A change below this share of the new average is a hit.
        hits: So many in a row end it.
        first: The number of values from which on hits count; the first change needs two.
        cap: So many values end it anyway; None for no end.
    """

    tolerance: float = 0.01
    hits: int = 10
    first: int = 2
    cap: int | None = None


DOCUMENTED = CumulativeRule()  # LENNA's README
COMMITTED = CumulativeRule(hits=15, cap=1000)  # its last code, which takes 20 runs a reset
ANALYSED = CumulativeRule(tolerance=0.005, first=10, cap=1000)  # its analysis script


@dataclass(frozen=True)
class ConfidenceRule:
    """Stops once a confidence interval of the mean is narrow enough.

    Attributes:
        half_width: Half the interval as a share of the mean. At 95 % a label's standard deviation
            is about half of this.
        level: Confidence of Student's interval.
        least: Fewer values than this are never enough: the spread of a few may be small by chance.
        cap: So many values end it anyway.
    """

    half_width: float = 0.025
    level: float = 0.95
    least: int = 8
    cap: int = 10_000


@dataclass(frozen=True)
class Label:
    """The latency of a block, as far as it is known.

    Attributes:
        value: Mean of all values, in their unit.
        values: How many it took.
        settled: Whether the rule was content; False at its cap, or where values ran out.
        averages: The cumulative average after each value.
    """

    value: float
    values: int
    settled: bool
    averages: tuple[float, ...]


def estimate(times: Array) -> Array:
    """The 40 % quantile of the runs of each reset, between two runs where it falls there.

    Args:
        times: Shape (resets, runs).

    Returns:
        Shape (resets,).
    """
    quantiles: Array = np.quantile(times, QUANTILE, axis=1)
    return quantiles


def cumulative_label(values: Iterable[float], rule: CumulativeRule = DOCUMENTED) -> Label:
    """The label that LENNA's rule gives; no value is asked for after it has stopped.

    Args:
        values: One estimate after each reset of the gates.
        rule: When to stop.

    Raises:
        EvaluationError: If there is no value, or one that is not a positive number.
    """
    averages: list[float] = []
    total, hits, settled = 0.0, 0, False
    for count, value in enumerate(_checked(itertools.islice(values, rule.cap)), 1):
        total += value
        averages.append(total / count)
        if count >= max(rule.first, 2):
            change = abs(averages[-1] - averages[-2]) / averages[-1]
            hits = hits + 1 if change < rule.tolerance else 0
        if hits == rule.hits:
            settled = True
            break
    return _label(averages, settled)


def confident_label(
    values: Iterable[float],
    rule: ConfidenceRule = ConfidenceRule(),
) -> Label:
    """The mean of independent values, once its confidence interval is narrow enough.

    Args:
        values: Estimates of independent resets, or means over rounds of `balanced_gates`.
        rule: When to stop.

    Raises:
        EvaluationError: If there is no value, or one that is not a positive number.
    """
    averages: list[float] = []
    mean = squares = 0.0  # squares: sum of squared deviations (Welford, 1962)
    settled = False
    for count, value in enumerate(_checked(itertools.islice(values, rule.cap)), 1):
        before, mean = mean, mean + (value - mean) / count
        squares += (value - before) * (value - mean)
        averages.append(mean)
        if count >= max(rule.least, 2):
            error = math.sqrt(squares / (count - 1) / count)
            if _quantile(rule.level, count - 1) * error <= rule.half_width * mean:
                settled = True
                break
    return _label(averages, settled)


def independent_estimates(
    device: TimedBlock,
    probabilities: Array,
    rng: np.random.Generator,
    forwards: int = FORWARDS,
) -> Iterator[float]:
    """Estimates of a block without end: the gates are reset at random for each."""
    while True:
        gates = draw_gates(rng, probabilities, 1)
        yield float(estimate(device.times_us(gates, forwards, rng))[0])


def balanced_estimates(
    device: TimedBlock,
    probabilities: Array,
    rng: np.random.Generator,
    resets: int,
    forwards: int = FORWARDS,
) -> Iterator[float]:
    """Means over rounds of so many resets in which every edge chooses in proportion.

    Rounds are independent of each other; what is left to chance within one is told by how they
    differ.
    """
    while True:
        gates = balanced_gates(rng, probabilities, resets)
        yield float(estimate(device.times_us(gates, forwards, rng)).mean())


def _checked(values: Iterable[float]) -> Iterator[float]:
    for value in values:
        if not (math.isfinite(value) and value > 0):
            raise EvaluationError(f"a latency of {value} is no measurement")
        yield float(value)


def _label(averages: list[float], settled: bool) -> Label:
    if not averages:
        raise EvaluationError("there is no value to average")
    return Label(averages[-1], len(averages), settled, tuple(averages))


@lru_cache(maxsize=1 << 15)
def _quantile(level: float, freedom: int) -> float:
    return float(student.ppf((1 + level) / 2, freedom))
