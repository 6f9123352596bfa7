"""LENNA's predictors under one roof: what each reads of a row, and how it is fitted.

============  =====================================================================================
``alone``     Σ p · L(op), every operation measured alone on the same device: LENNA's baseline
``scaled``    the same times one factor, the median of the training rows
``sum``       Σ p · L(op), with costs not below 0 fitted to the rows; quadratic in the channels
``elastic``   an elastic net on the 168 columns and the logarithm of the channels
``mlp``       a multi-layer perceptron (`predictors.lenna.network_kinds`)
``graph``     a graph network on the block's edges (`predictors.lenna.network_kinds`)
============  =====================================================================================
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Self

import numpy as np

from emnas_gym.errors import UnknownName
from emnas_gym.models.kpu_terms import Terms
from predictors.estimators.additive import AdditiveRegressor
from predictors.estimators.elastic_net import ElasticNetRegressor
from predictors.lenna.columns import EDGES, OPERATIONS, blocks_of, one_hot_type
from predictors.lenna.gates import Array
from predictors.lenna.network_fit import HOW, Fitting, fit_network

Alone = Callable[[bool, int], Array]  # operations alone by type and channels, (15, 11) µs
NAMES = ("alone", "scaled", "sum", "elastic", "mlp", "graph")
LEARNED = ("elastic", "mlp", "graph")
TYPICAL = 100.0  # channels by which powers of the channels are divided


class Contender(ABC):
    """A predictor of latencies from rows."""

    @abstractmethod
    def fit(self, x: Array, y: Array) -> Self:
        """Fits to rows (N, 167) and latencies (N,); scaling comes from these rows alone."""

    @abstractmethod
    def predict(self, x: Array) -> Array:
        """Latencies in microseconds of rows (N, 167), shape (N,)."""


class SumAlone(Contender):
    """Σ p · L(op) of operations that were measured alone; nothing is learned but a factor.

    Args:
        alone: What measures them.
        scales: Whether the training rows say by which factor all are multiplied.
    """

    def __init__(self, alone: Alone, scales: bool) -> None:
        self.alone, self.scales, self.factor = alone, scales, 1.0
        self._known: dict[tuple[bool, int], Array] = {}

    def fit(self, x: Array, y: Array) -> Self:
        """Takes the factor from the rows, if it takes one."""
        self.factor = 1.0
        if self.scales:
            self.factor = float(np.median(y / self.predict(x)))
        return self

    def predict(self, x: Array) -> Array:
        """Sums, times the factor."""
        reduction, channels, probabilities = blocks_of(x)
        blocks = zip(reduction.tolist(), channels.astype(int).tolist(), probabilities, strict=True)
        sums = [float((p * self._costs(kind, width)).sum()) for kind, width, p in blocks]
        return self.factor * np.array(sums)

    def _costs(self, reduction: bool, channels: int) -> Array:
        key = (reduction, channels)
        if key not in self._known:
            self._known[key] = np.nan_to_num(self.alone(*key))
        return self._known[key]


class SumFitted(Contender):
    """Σ p · L(op), with costs not below 0 that are fitted to the rows."""

    def __init__(self) -> None:
        self.estimator = AdditiveRegressor(relative=True)

    def fit(self, x: Array, y: Array) -> Self:
        """Fits a constant, a slope and a square of the channels for each operation and place."""
        self.estimator.fit(block_terms(x), y)
        return self

    def predict(self, x: Array) -> Array:
        """Sums of costs."""
        return self.estimator.predict(block_terms(x))


class Elastic(Contender):
    """An elastic net on the logarithm of the latency."""

    def __init__(self) -> None:
        self.estimator = ElasticNetRegressor(link="log")

    def fit(self, x: Array, y: Array) -> Self:
        """Fits it; penalties are chosen within the rows."""
        self.estimator.fit(flat_features(x), y)
        return self

    def predict(self, x: Array) -> Array:
        """Its predictions."""
        return self.estimator.predict(flat_features(x))


class Network(Contender):
    """A torch module of `predictors.lenna.network`.

    Args:
        how: Its size and how it is fitted.
    """

    def __init__(self, how: Fitting) -> None:
        self.how = how

    def fit(self, x: Array, y: Array) -> Self:
        """Fits it."""
        self.network_ = fit_network(x, y, self.how)
        return self

    def predict(self, x: Array) -> Array:
        """Its predictions; widths beyond those of the rows are taken to be at their end."""
        inside = x.copy()
        inside[:, 1] = np.clip(x[:, 1], *self.network_.channels)
        return self.network_.predict(inside)


def make_contender(name: str, alone: Alone, seed: int = 0) -> Contender:
    """A predictor by name.

    Args:
        name: One of `NAMES`.
        alone: What measures operations alone, for those that need it.
        seed: Decides what is drawn.

    Raises:
        UnknownName: If there is none.
    """
    makers: dict[str, Callable[[], Contender]] = {
        "alone": lambda: SumAlone(alone, scales=False),
        "scaled": lambda: SumAlone(alone, scales=True),
        "sum": SumFitted,
        "elastic": Elastic,
        "mlp": lambda: Network(replace(HOW["mlp"], seed=seed)),
        "graph": lambda: Network(replace(HOW["graph"], seed=seed)),
    }
    if name not in makers:
        raise UnknownName("predictor", name, makers)
    return makers[name]()


def flat_features(x: Array) -> Array:
    """The 168 columns and the logarithm of the channels, shape (N, 169)."""
    return np.concatenate([one_hot_type(x), np.log(x[:, 1:2])], axis=1)


def block_terms(x: Array) -> list[Terms]:
    """How often an operation stands where, by powers of the channels.

    Places are the edges that shrink a map, and the others of each type: there an operation costs
    the same.
    """
    reduction, channels, probabilities = blocks_of(x)
    first = np.array([source == 0 for source, _ in EDGES])
    found: list[Terms] = []
    for kind, width, p in zip(reduction.tolist(), channels.tolist(), probabilities, strict=True):
        places = {"shrinks": p[first].sum(0), "inner": p[~first].sum(0)} if kind else {
            "normal": p.sum(axis=0)
        }  # fmt: skip
        found.append(
            {
                f"{place} {name} c{power}": float(share * (width / TYPICAL) ** power)
                for place, shares in places.items()
                for name, share in zip(OPERATIONS, shares, strict=True)
                for power in range(3)
            }
        )
    return found
