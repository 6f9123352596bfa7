"""How well curves are continued, and what stopping by that saves: figures on held-out networks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emnas_gym.space import load_space
from emnas_gym.tasks import DIGITS
from predictors.fitted import Figures
from predictors.proxies.curves import CurveExtrapolator, r_squared
from predictors.proxies.early_stopped import from_table, learned_from
from predictors.proxies.elimination import Replay, Rule, replayed
from predictors.proxies.known_curves import KnownCurves, known_curves
from predictors.proxies.power_laws import continued
from predictors.splits import folds

SPACE = "emnas-382"
SEEN = 4  # epochs, a quarter of 15
SEARCHES, LENGTH = 40, 80
BY_LAW = 150  # held-out curves that laws are fitted to, which takes a while
STUDENT = 2.776  # 97.5 % quantile with the four degrees of freedom of five folds


def curve_figures() -> Figures:
    """R² of the accuracy after the last epoch, predicted after a quarter of them (D11, D12).

    ``repeated`` comes from five folds of the curves that the shipped extrapolator learns from, as
    [low, mean, high] of the mean with 95 %; ``test`` from the held-out networks, by models of all
    of these curves.
    """
    space = load_space(SPACE)
    known, held = learned_from(space, DIGITS), known_curves(space, DIGITS, test=True)
    parts = list(folds(len(known.networks), 5))
    learned = from_table(space, DIGITS)
    laws = held.part(range(min(BY_LAW, len(held.networks))))
    far = np.array([continued(c[:SEEN], held.curves.shape[1]).accuracy for c in laws.curves])
    return {
        "epochs_seen": SEEN,
        "epochs": held.curves.shape[1],
        "n_train": len(known.networks),
        "n_test": len(held.networks),
        "chosen": learned.chosen,
        "tried_mse": learned.tried,
        "test": {
            "curve and architecture": _r2(known, held, True),
            "curve alone": _r2(known, held, False),
            "power laws": r_squared(far, laws.curves[:, -1]),
            "last value": r_squared(held.curves[:, SEEN - 1], held.curves[:, -1]),
        },
        "n_power_laws": len(far),
        "repeated": {
            name: interval([_r2(known.part(a), known.part(b), described) for a, b in parts])
            for name, described in (("curve and architecture", True), ("curve alone", False))
        },
    }


def _r2(known: KnownCurves, held: KnownCurves, described: bool) -> float:
    learned = CurveExtrapolator(known.curves, known.described if described else None)
    rows = held.described if described else None
    return r_squared(learned.predict(held.curves[:, :SEEN], rows)[0], held.curves[:, -1])


def interval(values: Sequence[float]) -> list[float]:
    """Mean of five values with the 95 % interval of the mean, as [low, mean, high]."""
    mean = float(np.mean(values))
    half = STUDENT * float(np.std(values, ddof=1)) / np.sqrt(len(values))
    return [mean - half, mean, mean + half]


def elimination_figures() -> Figures:
    """What early elimination saves and loses in random searches of held-out networks (D13)."""
    space = load_space(SPACE)
    held, rule = known_curves(space, DIGITS, test=True), Rule()
    found = replayed(Replay(from_table(space, DIGITS), held, rule), SEARCHES, LENGTH)
    return {
        "searches": SEARCHES,
        "networks_each": LENGTH,
        "rule": {"first": rule.first, "probability": rule.probability, "rank": rule.rank},
        "saved": resampled([one.saved for one in found]),
        "kept": resampled([float(one.kept) for one in found]),
        "regret": resampled([one.regret for one in found]),
        "stopped": resampled([one.stopped for one in found]),
    }


def resampled(values: Sequence[float] | NDArray[np.float64], count: int = 400) -> list[float]:
    """Mean with the 95 % interval of resamples of the searches, as [low, mean, high]."""
    rng, known = np.random.default_rng(0), np.asarray(values)
    means = rng.choice(known, (count, len(known))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return [float(low), float(known.mean()), float(high)]
