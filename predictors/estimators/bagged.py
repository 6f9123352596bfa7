"""A small ensemble with uncertainty, of any estimator."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone

from emnas_gym.models.base import Array
from emnas_gym.models.mixture import Mixture
from predictors.estimators.base import Estimator
from predictors.estimators.composite import CompositeEstimator
from predictors.estimators.selection import take
from predictors.estimators.trees import TreesRegressor


class BaggedRegressor(CompositeEstimator):
    """Members that each see another resampling of the rows (Breiman 1996, "Bagging predictors").

    The standard deviation is that of the mixture: how far members lie apart, and what they say of
    their own doubt. A member with a ``seed`` gets another one each time.

    Args:
        estimator: What is fitted several times; boosted trees if None.
        members: How often.
        share: Rows that a member sees, drawn without repeats; 1 draws as many as there are, with
            repeats.
        seed: Decides the rows.
    """

    def __init__(
        self,
        estimator: Estimator | None = None,
        members: int = 5,
        share: float = 0.8,
        seed: int = 0,
    ) -> None:
        self.estimator = estimator
        self.members = members
        self.share = share
        self.seed = seed

    def _fitted(self, x: Any, y: Array) -> Mixture:  # noqa: ANN401
        rng = np.random.default_rng(self.seed)
        models = tuple(
            self._member(i).fit(take(x, rows), y[rows]).model_
            for i, rows in enumerate(self._draw(rng, len(y)) for _ in range(self.members))
        )
        return Mixture(models, np.full(self.members, 1 / self.members))

    def _draw(self, rng: np.random.Generator, rows: int) -> Any:  # noqa: ANN401
        repeats = self.share >= 1
        size = rows if repeats else max(round(self.share * rows), 1)
        return np.sort(rng.choice(rows, size, replace=repeats))

    def _member(self, place: int) -> Estimator:
        plain = TreesRegressor(trees=100) if self.estimator is None else self.estimator
        member: Estimator = clone(plain)
        if "seed" in member.get_params(deep=False):
            member.set_params(seed=member.get_params(deep=False)["seed"] + place)
        return member
