"""What every fit hands over: surrogates with what they rest on, and their held-out figures."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from emnas_gym.grammar import Grammar
from emnas_gym.surrogate_file import Model, Surrogate
from emnas_gym.tasks import Task
from predictors.metrics import rounded

Figures = dict[str, Any]
PACKAGES = ("numpy", "scipy", "scikit-learn", "torch")


def surrogate(
    field: str,
    space: Grammar,
    task: Task,
    model: Model,
    *,
    what: str,
    source: str,
    held_out: Figures,
    chosen_by: Mapping[str, float],
    device: str | None = None,
    note: str = "",
    max_macs: int | None = None,
) -> Surrogate:
    """A surrogate for all lengths of a space.

    Args:
        field: What it predicts.
        space: The search space.
        task: The task.
        model: The fitted model.
        what: Argument of `python -m predictors fit --what` that makes it.
        source: Where the measured values come from.
        held_out: Figures on rows that the fit has not seen.
        chosen_by: Cross-validated score of every candidate, smaller is better.
        device: Name of the device, where the field depends on one.
        note: What a reader must know besides.
        max_macs: Multiply-accumulates of the largest networks, where only smaller ones were drawn.
    """
    about = {
        "source": source,
        "command": f"python -m predictors fit --what {what}",
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in PACKAGES},
        "chosen_by_cross_validation": rounded(dict(chosen_by)),
        "held_out": rounded(held_out),
        "note": note,
    }
    lengths = (space.min_layers, space.max_layers)
    return Surrogate(
        field,
        space.name,
        space.fingerprint,
        task.name,
        task.input_shape,
        task.classes,
        device,
        lengths,
        model,
        about,
        max_macs=max_macs,
    )
