"""A table of sampled networks as a picture: how good for how many MACs, and how they learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emnas_gym import costs
from emnas_gym.errors import StoreError
from emnas_gym.space import SearchSpace
from emnas_gym.tasks import DIGITS
from predictors.picture_file import picture
from predictors.tables import Table

Array = NDArray[np.float64]
COLOUR, MIDDLE = "#1f5fa8", "#c2571a"
BANDS = ((0.05, 0.95, 0.15), (0.25, 0.75, 0.3))  # quantiles of the curves, and how dark
WINDOW, STEPS, FEWEST = (
    0.12,
    40,
    10,
)  # decades around a point of the running median; points; networks
LIGHT, DARK, MANY = 0.25, 0.6, 2000  # dots of large tables and of small ones


def draw(table: Table, space: SearchSpace, path: Path) -> None:
    """Draws accuracy against MACs, and the curves of all trainings.

    Args:
        table: Trained networks.
        space: Their search space.
        path: The ``.png`` to write.

    Raises:
        StoreError: If the table is of another space.
        BackendMissing: If matplotlib is not there.
    """
    if table.about["space"] != space.fingerprint:
        raise StoreError(f"the table is not of {space.name}; name its space with --space")
    values = table.values()
    macs = [costs.macs(space.build(tokens, DIGITS)) for tokens in values]
    with picture(path, 12, 4.6) as figure:
        left, right = figure.subplots(1, 2)
        _networks(left, np.array(macs, dtype=np.float64), np.array(list(values.values())))
        _curves(right, np.array([row.curve for row in table.trainings]))
        figure.suptitle(f"{space.name} on digits: {len(values):,} networks, really trained")


def _networks(axes: Any, macs: Array, accuracy: Array) -> None:  # noqa: ANN401
    shown = macs > 0
    logs = np.log10(macs[shown])
    dots = (5, LIGHT) if len(logs) > MANY else (12, DARK)
    axes.scatter(macs[shown], accuracy[shown], s=dots[0], alpha=dots[1], color=COLOUR, linewidths=0)
    points = np.linspace(logs.min(), logs.max(), STEPS)
    near = [accuracy[shown][np.abs(logs - x) <= WINDOW] for x in points]
    medians = [np.median(y) if len(y) >= FEWEST else np.nan for y in near]
    axes.plot(10**points, medians, color=MIDDLE, label="median of networks of as many MACs")
    axes.set_xscale("log")
    axes.set_xlabel("MACs")
    axes.set_ylabel("validation accuracy, mean over seeds")
    axes.set_ylim(0, 1.02)
    axes.legend(loc="lower right")


def _curves(axes: Any, curves: Array) -> None:  # noqa: ANN401
    epochs = np.arange(1, curves.shape[1] + 1)
    for low, high, alpha in BANDS:
        ends = np.quantile(curves, (low, high), axis=0)
        label = f"{low:.0%} … {high:.0%} of the trainings"
        axes.fill_between(epochs, *ends, color=COLOUR, alpha=alpha, linewidth=0, label=label)
    axes.plot(epochs, np.median(curves, axis=0), color=MIDDLE, label="median")
    axes.set_xlabel("epoch")
    axes.set_ylabel("validation accuracy")
    axes.set_ylim(0, 1.02)
    axes.legend(loc="lower right")
