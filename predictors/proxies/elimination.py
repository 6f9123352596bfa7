"""Stops what will not win: the rule, and what it saves and loses on curves that are known whole.

After Baker et al. 2017: from some epoch on a training is stopped once the probability that it ends
at or below the best so far is high enough.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from predictors.proxies.curves import CurveExtrapolator
from predictors.proxies.known_curves import KnownCurves

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Rule:
    """When a training is stopped.

    Attributes:
        first: Epochs after which it is asked for the first time; then after each.
        probability: Least probability of ending at or below the bound.
        rank: The bound is the rank-th best accuracy so far; 1 is the best.
        spared: Trainings at the beginning that are never stopped.
    """

    first: int = 4
    probability: float = 0.99
    rank: int = 1
    spared: int = 5


@dataclass
class Finished:
    """Accuracies of the trainings that went on to their last epoch.

    Attributes:
        accuracies: Ascending.
    """

    accuracies: list[float] = field(default_factory=list)

    def add(self, accuracy: float) -> None:
        """Notes one more."""
        bisect.insort(self.accuracies, accuracy)

    def bound(self, rule: Rule) -> float | None:
        """What a training has to exceed; None as long as none is stopped."""
        if len(self.accuracies) < max(rule.rank, rule.spared):
            return None
        return self.accuracies[-rule.rank]


@dataclass(frozen=True)
class Told:
    """What a search learns of a network.

    Attributes:
        accuracy: After the last epoch, measured or predicted.
        epochs: Epochs trained.
        finished: Whether it was trained to its end.
    """

    accuracy: float
    epochs: int
    finished: bool


@dataclass(frozen=True)
class Savings:
    """What a rule did in one search.

    Attributes:
        saved: Share of all epochs that were not trained.
        kept: Whether a network of the best final accuracy was trained to its end.
        regret: Best final accuracy of all less that of those trained to their end.
        stopped: Share of the networks that were stopped.
    """

    saved: float
    kept: bool
    regret: float
    stopped: float


class Replay:
    """Searches replayed on curves that are known whole: no training is needed.

    Args:
        extrapolator: Fitted on curves of other networks.
        known: The curves that searches draw from.
        rule: When to stop.
    """

    def __init__(self, extrapolator: CurveExtrapolator, known: KnownCurves, rule: Rule) -> None:
        self.extrapolator, self.known, self.rule = extrapolator, known, rule
        self.asked = range(rule.first, known.curves.shape[1])
        self._final = {
            epoch: extrapolator.predict(known.curves[:, :epoch], known.described)[0]
            for epoch in self.asked
        }

    def tell(self, order: Iterable[int]) -> list[Told]:
        """Replays one search and tells what it learns of each network.

        Args:
            order: Indices of the networks in the order in which they are trained.
        """
        finished, told = Finished(), []
        for network in order:
            epochs = self._stops(network, finished.bound(self.rule))
            if epochs is None:
                accuracy = float(self.known.curves[network, -1])
                finished.add(accuracy)
                told.append(Told(accuracy, self.known.curves.shape[1], True))
            else:
                told.append(Told(float(self._final[epochs][network]), epochs, False))
        return told

    def search(self, order: Sequence[int]) -> Savings:
        """Replays one search.

        Args:
            order: Indices of the networks in the order in which they are trained.
        """
        told = self.tell(order)
        best = float(self.known.curves[list(order), -1].max())
        found = max(one.accuracy for one in told if one.finished)
        return Savings(
            saved=1 - float(np.mean([one.epochs for one in told])) / self.known.curves.shape[1],
            kept=found == best,
            regret=best - found,
            stopped=1 - float(np.mean([one.finished for one in told])),
        )

    def _stops(self, network: int, bound: float | None) -> int | None:
        """After how many epochs a network is stopped; None if it is not."""
        if bound is None:
            return None
        for epoch in self.asked:
            predicted = self._final[epoch][network : network + 1]
            if self.extrapolator.below(epoch, predicted, bound)[0] >= self.rule.probability:
                return epoch
        return None


def replayed(replay: Replay, searches: int, length: int, seed: int = 0) -> list[Savings]:
    """Random searches of distinct networks, each in an order of its own."""
    rng, count = np.random.default_rng(seed), len(replay.known.networks)
    return [
        replay.search(rng.choice(count, min(length, count), replace=False).tolist())
        for _ in range(searches)
    ]
