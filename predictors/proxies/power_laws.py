"""Partial learning curves continued by laws with an asymptote, fitted and averaged.

The families are those of Domhan et al. 2015 ("Speeding up automatic hyperparameter optimization of
deep neural networks by extrapolation of learning curves") that rise to a limit. Nothing is learned
from other curves: this is the baseline that a learned extrapolation has to beat.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from emnas_gym.errors import EmNASError

Array = NDArray[np.float64]
LEAST_SPREAD = 1e-4  # of a fit, so that an exact one does not weigh infinitely
LEAST_POINTS = 2


@dataclass(frozen=True)
class Law:
    """A family of curves.

    Attributes:
        name: Of the family.
        value: (epochs (N,), parameters (P,)) → accuracies (N,).
        low: Least parameters.
        high: Greatest parameters.
        starts: Where fits begin; the best end counts.
    """

    name: str
    value: Callable[[Array, Array], Array]
    low: tuple[float, ...]
    high: tuple[float, ...]
    starts: tuple[tuple[float, ...], ...]


LAWS = (
    Law(  # c − a n^−α
        "pow3",
        lambda n, p: p[0] - p[1] * n ** -p[2],
        (0, 0, 0.01),
        (1, 2, 5),
        ((0.9, 0.8, 0.5), (0.5, 0.4, 1.0)),
    ),
    Law(  # c − (a n + b)^−α
        "pow4",
        lambda n, p: p[0] - (p[1] * n + p[2]) ** -p[3],
        (0, 0.01, 0.5, 0.01),
        (1, 50, 50, 5),
        ((0.9, 1.0, 1.0, 1.0),),
    ),
    Law(  # c − exp(−a n − b)
        "exp3",
        lambda n, p: p[0] - np.exp(-p[1] * n - p[2]),
        (0, 1e-3, -0.7),
        (1, 5, 5),
        ((0.9, 0.3, 0.1),),
    ),
    Law(  # c / (1 + (n / e^b)^−a)
        "log power",
        lambda n, p: p[0] / (1 + (n / np.exp(p[1])) ** -p[2]),
        (0, -3, 0.05),
        (1, 5, 8),
        ((0.9, 1.0, 1.5),),
    ),
    Law(  # c − (c − b) exp(−(κ n)^δ)
        "Weibull",
        lambda n, p: p[0] - (p[0] - p[1]) * np.exp(-((p[2] * n) ** p[3])),
        (0, 0, 1e-3, 0.1),
        (1, 1, 5, 5),
        ((0.9, 0.1, 0.3, 1.0),),
    ),
)


@dataclass(frozen=True)
class Continued:
    """A curve continued.

    Attributes:
        accuracy: At the epoch asked for, 0 … 1.
        deviation: How far the families lie apart and from the points, a standard deviation.
        fits: Family → (accuracy at the epoch asked for, root mean squared error of the fit).
    """

    accuracy: float
    deviation: float
    fits: dict[str, tuple[float, float]]


def continued(curve: Sequence[float], epoch: int, laws: Sequence[Law] = LAWS) -> Continued:
    """Continues a curve.

    Each family is fitted by weighted least squares within bounds, epoch n of m with weight n / m:
    what came last counts most. Families are averaged with weights 1 / error² of their fits.

    Args:
        curve: Accuracies after epochs 1, 2, …, at least two.
        epoch: The epoch asked for, counted from 1.
        laws: The families.

    Raises:
        EmNASError: If there are fewer than two points or one is not finite.
    """
    points = np.asarray(curve, dtype=np.float64)
    if len(points) < LEAST_POINTS or not np.isfinite(points).all():
        raise EmNASError(f"a curve of {len(points)} finite points is needed, at least two")
    fits = {law.name: _fit(law, points, epoch) for law in laws}
    values = np.array([value for value, _ in fits.values()])
    errors = np.array([max(error, LEAST_SPREAD) for _, error in fits.values()])
    weights = errors**-2 / (errors**-2).sum()
    mean = float(weights @ values)
    spread = float(np.sqrt(weights @ ((values - mean) ** 2 + errors**2)))
    return Continued(mean, spread, fits)


def _fit(law: Law, points: Array, epoch: int) -> tuple[float, float]:
    """What a family says of the epoch, and the error of its fit."""
    n = np.arange(1, len(points) + 1, dtype=np.float64)
    weights = np.sqrt(n / n[-1])

    def off(parameters: Array) -> Array:
        return np.asarray(weights * (law.value(n, parameters) - points))

    ends = [
        least_squares(
            off,
            start,
            bounds=(law.low, law.high),
            x_scale="jac",
            max_nfev=200,
        )
        for start in law.starts
    ]
    best = min(ends, key=lambda end: float(end.cost))
    error = float(np.sqrt((best.fun**2).sum() / (weights**2).sum()))
    value = float(law.value(np.array([float(epoch)]), best.x)[0])
    return float(np.clip(value, 0.0, 1.0)), error
