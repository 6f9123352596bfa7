"""Gradient-boosted trees, exported to flat arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.ensemble import GradientBoostingRegressor

from emnas_gym.models.base import Array
from emnas_gym.models.trees import LEAF, Trees
from predictors.estimators.base import on_link
from predictors.estimators.matrix import MatrixEstimator


class TreesRegressor(MatrixEstimator):
    """Scikit-learn's gradient boosting (Friedman 2001) on the scale of the link.

    Args:
        trees: Number of trees.
        depth: Questions on the way to a leaf, at most.
        learning_rate: Share of each tree that is added.
        rows: Share of the rows that each tree sees.
        columns: Share of the features that each question chooses from.
        leaf: Least rows of a leaf.
        loss: ``"squared_error"``, ``"absolute_error"`` or ``"huber"`` (LENNA's).
        link: Scale of the target, ``"identity"``, ``"logit"`` or ``"log"``.
        seed: Decides rows and columns.
    """

    least_rows = 2

    def __init__(
        self,
        trees: int = 300,
        depth: int = 4,
        learning_rate: float = 0.05,
        rows: float = 0.7,
        columns: float = 0.3,
        leaf: int = 3,
        loss: str = "squared_error",
        link: str = "identity",
        seed: int = 0,
    ) -> None:
        self.trees = trees
        self.depth = depth
        self.learning_rate = learning_rate
        self.rows = rows
        self.columns = columns
        self.leaf = leaf
        self.loss = loss
        self.link = link
        self.seed = seed

    def _fitted(self, x: Array, y: Array) -> Trees:
        boosting = GradientBoostingRegressor(
            n_estimators=self.trees,
            max_depth=self.depth,
            learning_rate=self.learning_rate,
            subsample=self.rows,
            max_features=self.columns,
            min_samples_leaf=self.leaf,
            loss=self.loss,
            random_state=self.seed,
        )
        boosting.fit(x, on_link(self.link, y))
        return exported(boosting, x.shape[1], self.link)


def exported(boosting: GradientBoostingRegressor, width: int, link: str) -> Trees:
    """The arrays of fitted trees.

    Args:
        boosting: Fitted by scikit-learn.
        width: Number of features.
        link: Scale on which it was fitted.
    """
    trees: list[Any] = [stage[0].tree_ for stage in boosting.estimators_]
    first = np.cumsum([0, *(tree.node_count for tree in trees)])
    inner = np.concatenate([tree.children_left >= 0 for tree in trees])

    def ways(name: str) -> np.ndarray[Any, np.dtype[np.int64]]:
        moved = [getattr(tree, name) + start for tree, start in zip(trees, first, strict=False)]
        return np.where(inner, np.concatenate(moved), 0).astype(np.int64)

    feature = np.concatenate([tree.feature for tree in trees])
    threshold = np.concatenate([tree.threshold for tree in trees])
    return Trees(
        root=first[:-1].astype(np.int64),
        feature=np.where(inner, feature, LEAF).astype(np.int64),
        threshold=np.where(inner, threshold, 0.0),
        left=ways("children_left"),
        right=ways("children_right"),
        value=boosting.learning_rate * np.concatenate([tree.value[:, 0, 0] for tree in trees]),
        base=float(np.ravel(boosting.init_.constant_)[0]),
        width=width,
        link=link,
    )
