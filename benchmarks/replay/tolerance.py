"""How far a replayed reward may lie from the recorded one: not at all, or by the noise measured."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from emnas_gym.measurement import FIELDS, Measurement
from emnas_gym.rewards import Reward
from predictors.tables import packed_path, unpack

NEAREST = 30  # networks of the table, trained with several seeds, by which noise is known
DEVIATIONS = 3.0
TIMES = 0.1  # share; fresh processes differ by 0.9 % nine times in ten, a busy machine by more
MEASURED = frozenset({"host", "board", "manual", "emulated-insn", "emulated-time"})


@dataclass(frozen=True)
class Tolerance:
    """Which measured fields may differ, and by how much.

    Attributes:
        margins: Field → absolute margin; empty demands equal bits.
        words: Where the margins come from.
    """

    margins: Mapping[str, float]
    words: str = "equal bits"

    def interval(self, measurement: Mapping[str, Any], reward: Reward) -> tuple[float, float]:
        """Least and largest reward over all corners of the margins.

        Rewards rise or fall in each of their fields, so that the corners bound them.
        """
        values = []
        for sides in itertools.product((-1.0, 1.0), repeat=len(self.margins)):
            moved = dict(measurement)
            for (name, margin), side in zip(self.margins.items(), sides, strict=True):
                moved[name] = measurement[name] + side * margin
                if name == "accuracy":
                    moved[name] = min(max(moved[name], 0.0), 1.0)
            values.append(reward(_measurement(moved))[0])
        return min(values), max(values)


EXACT = Tolerance({})


def tolerance_of(measurement: Mapping[str, Any], exact: bool, trainings: int = 1) -> Tolerance:
    """The tolerance of one recorded measurement.

    Args:
        measurement: Fields and their provenance.
        exact: Whether trainings must give equal bits: on the machine and versions of the file.
        trainings: Over how many the accuracy is a mean.

    Returns:
        Three deviations of the difference of two trainings, for an accuracy that was trained; a
        tenth, for times and counts of devices; nothing for all else.
    """
    margins, words, origin = {}, [], measurement.get("provenance", {})
    for name in FIELDS:
        if name in measurement and origin.get(name) in MEASURED:
            margins[name] = abs(measurement[name]) * TIMES
    if margins:
        words.append(f"times and counts of devices ±{TIMES:.0%}")
    if origin.get("accuracy") == "trained" and not exact:
        noise = training_noise(measurement["accuracy"])
        margins["accuracy"] = DEVIATIONS * math.sqrt(2.0 / trainings) * noise
        words.append(
            f"accuracy ±{margins['accuracy']:.4f}: {DEVIATIONS:g} deviations of the difference of "
            f"two trainings, one's being {noise:.4f}"
        )
    return Tolerance(margins, "; ".join(words)) if margins else EXACT


def training_noise(accuracy: float) -> float:
    """Deviation of validation accuracy between seeds, among networks about as good.

    Args:
        accuracy: Of the network, 0 … 1.

    Returns:
        Pooled over the nearest networks of the shipped table of digits.
    """
    means, variances = _spread()
    nearest = np.argsort(np.abs(means - accuracy), kind="stable")[:NEAREST]
    return float(np.sqrt(variances[nearest].mean()))


@lru_cache(maxsize=1)
def _spread() -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each network that was trained with several seeds."""
    known = unpack(packed_path("emnas-382", "digits")).accuracies()
    several = [values for values in known.values() if len(values) > 1]
    means = np.array([np.mean(values) for values in several])
    return means, np.array([np.var(values, ddof=1) for values in several])


def _measurement(values: Mapping[str, Any]) -> Measurement:
    known = {name: values[name] for name in FIELDS if name in values}
    return Measurement.of("predicted", feasible=values.get("feasible"), **known)


def measured_reward(measurement: Mapping[str, Any], reward: Reward) -> float:
    """The reward of recorded fields.

    Raises:
        EvaluationError: If a field that the reward needs is missing.
    """
    return reward(_measurement(measurement))[0]
