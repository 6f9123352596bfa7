"""Figures of a latency predictor on rows that it has not seen, as every required row shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student
from sklearn.ensemble import ExtraTreesRegressor

from emnas_gym.models.additive import AdditiveCosts
from emnas_gym.models.kpu_terms import Terms
from predictors.choice import out_of_fold
from predictors.estimators.additive import AdditiveRegressor, term_matrix
from predictors.fitted import Figures
from predictors.latency_fit import Details, Options, absolute, fit_terms, predict_terms
from predictors.metrics import agreement
from predictors.splits import Indices, folds

Array = NDArray[np.float64]
SURE = 0.95  # of an interval
LARGEST_CORRECTION = 0.5  # natural logarithm


@dataclass(frozen=True)
class Measured:
    """A table of networks, ready to be fitted.

    Attributes:
        terms: Sets of details to choose from, and with each the terms of all networks.
        latency_ms: What was measured, shape (N,).
    """

    terms: Options
    latency_ms: Array

    def part(self, rows: Indices) -> Measured:
        """Some of the networks."""
        terms = {d: [x[i] for i in rows] for d, x in self.terms.items()}
        return Measured(terms, self.latency_ms[rows])

    def fit(self, parts: int = 10) -> tuple[AdditiveCosts, dict[str, float]]:
        """The best sum on these networks, and the cross-validated scores of all."""
        return fit_terms(self.terms, self.latency_ms, parts)

    def predict(self, model: AdditiveCosts) -> Array:
        """Predictions for these networks, shape (N,)."""
        return predict_terms(model, self.terms[model.details])


def held_out(predicted: Array, measured: Array) -> Figures:
    """Errors, ranks, and shares of predictions that lie near what was measured."""
    found = agreement(predicted, measured)
    off = np.abs(predicted / measured - 1)
    return {
        "mae": found["mae"],
        "mse": float(((predicted - measured) ** 2).mean()),
        "tau": found["tau"],
        "spearman": found["spearman"],
        "within_10pct": float((off <= 0.1).mean()),
        "within_20pct": float((off <= 0.2).mean()),
    }


def interval(values: Sequence[float]) -> list[float]:
    """Mean of a few repeats between the ends of its 95 % interval (Student's t)."""
    mean, n = float(np.mean(values)), len(values)
    half = float(student.ppf((1 + SURE) / 2, n - 1) * np.std(values, ddof=1) / np.sqrt(n))
    return [mean - half, mean, mean + half]


def random_splits(table: Measured, repeats: int = 5, share: float = 0.1) -> Figures:
    """Errors on random splits, the choice of terms made anew in each.

    Args:
        table: All networks.
        repeats: Splits.
        share: Of the networks that are held out.
    """
    rng = np.random.default_rng(0)
    figures = []
    for _ in range(repeats):
        order = rng.permutation(len(table.latency_ms))
        held, train = np.split(order, [round(share * len(order))])
        model, _ = table.part(train).fit(parts=3)
        test = table.part(held)
        figures.append(held_out(test.predict(model), test.latency_ms))
    how = f"{repeats} random splits of {1 - share:.0%} / {share:.0%}, choices by 3-fold inside each"
    return {name: interval([f[name] for f in figures]) for name in ("mae", "tau")} | {"how": how}


def corrected_by_trees(table: Measured, details: Details) -> float:
    """Cross-validated error of a sum whose ratio to the truth is learnt by a forest.

    What the forest reads are the shares of the kinds of work in the sum, and its logarithm. It is
    trained on sums that had not seen the network either.
    """
    terms, y = table.terms[details], table.latency_ms

    def sums(train: Indices, held: Indices) -> Array:
        model = AdditiveRegressor(details).fit([terms[i] for i in train], y[train]).model_
        return predict_terms(model, [terms[i] for i in held])

    def fit_predict(train: Indices, held: Indices) -> Array:
        unseen = np.zeros(len(train))
        for fit, rest in folds(len(train), 5, seed=1):
            unseen[rest] = sums(train[fit], train[rest])
        model = AdditiveRegressor(details).fit([terms[i] for i in train], y[train]).model_
        off = np.log(y[train] / np.maximum(unseen, 1e-3))
        forest = ExtraTreesRegressor(50, min_samples_leaf=5, random_state=0)
        forest.fit(
            _shares(model, [terms[i] for i in train]),
            off.clip(-LARGEST_CORRECTION, LARGEST_CORRECTION),
        )
        asked = [terms[i] for i in held]
        corrected: Array = predict_terms(model, asked) * np.exp(
            forest.predict(_shares(model, asked))
        )
        return corrected

    return absolute(out_of_fold(fit_predict, len(y)), y)


def _shares(model: AdditiveCosts, terms: Sequence[Terms]) -> Array:
    names = sorted(model.costs)
    spent = term_matrix(terms, names) * [model.costs[n] for n in names]
    kinds = [name.split(":")[0] for name in names]
    total = np.maximum(spent.sum(axis=1, keepdims=True), 1e-9)
    of_kinds = [spent[:, [k == kind for k in kinds]].sum(axis=1) for kind in sorted(set(kinds))]
    return np.column_stack([*(column / total[:, 0] for column in of_kinds), np.log(total)])
