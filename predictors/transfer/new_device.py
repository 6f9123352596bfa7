"""A latency predictor of a user's own board, from a few measurements and from the known devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from emnas_gym.architecture import Architecture
from emnas_gym.errors import DatasetError, DomainError, UnknownName
from emnas_gym.grammar import Grammar
from emnas_gym.models.adapted import Prior
from emnas_gym.models.base import Array
from emnas_gym.models.kind_sums import kind_sums
from emnas_gym.models.known_devices import KnownDevices
from emnas_gym.space import load_space
from emnas_gym.surrogate_file import Surrogate
from emnas_gym.tasks import DIGITS, Task
from predictors.fitted import Figures, surrogate
from predictors.metrics import agreement
from predictors.store import Tokens
from predictors.transfer.adapted import (
    CHOSEN,
    LEAST,
    METHODS,
    adapt,
    learned_prior,
    least_off,
    left_out,
)
from predictors.transfer.known import fit_known
from predictors.transfer.measured import SPACE
from predictors.transfer.worlds import ours

LEAST_SAMPLES = LEAST + 1  # each is left out once
BASELINE = "median"
COMMAND = "python -m predictors adapt --csv"


def adapt_predictor(
    space: Grammar,
    task: Task,
    device: str,
    tokens: Sequence[Tokens],
    latency_ms: Sequence[float] | Array,
    *,
    method: str = CHOSEN,
    source: str = "measured by the user",
) -> Surrogate:
    """Adapts what is known of other devices to a few measurements of a new one.

    Args:
        space: The search space; the one that the known devices measured.
        task: What the networks are for; the one that the known devices measured.
        device: Name of the new device. If it is a known one, nothing is learned from that.
        tokens: Measured networks, at least four.
        latency_ms: What was measured, shape (n,), above 0.
        method: One of `METHODS`, or ``"chosen"``: of the three that learn from known devices the
            one whose logarithms are least off, each sample left out in turn; which of them is best
            depends on how like a known board the new one is.
        source: Where the values come from, for readers of the file.

    Returns:
        A predictor to write with `emnas_gym.surrogate_file.write_surrogate`; ``about`` has the
        error of every method, and of the median, with each sample left out in turn.

    Raises:
        DomainError: If the known devices measured another space or task.
        DatasetError: If there are too few samples, or a latency is not above 0.
        InvalidArchitecture: If tokens break a rule of the space, or cannot be built.
        UnknownName: If there is no such method.
    """
    _check_domain(space, task)
    values = np.asarray(latency_ms, dtype=np.float64)
    if len(tokens) < LEAST_SAMPLES:
        raise DatasetError(f"{len(tokens)} samples; {LEAST_SAMPLES} or more are needed")
    if method not in (*METHODS, CHOSEN):
        raise UnknownName("method", method, (*METHODS, CHOSEN))
    x = kind_sums([Architecture(space, tuple(row)) for row in tokens], task)
    known, prior = _known(device, len(values))
    z, standard, logs = known.log_latency(x), known.standardised(x), np.log(values)
    held_out_logs = {name: left_out(name, z, standard, logs, prior) for name in METHODS}
    held_out = {name: np.exp(found) for name, found in held_out_logs.items()}
    median = np.array([np.median(np.delete(values, i)) for i in range(len(values))])
    errors = {name: _error(found, values) for name, found in {**held_out, BASELINE: median}.items()}
    if method == CHOSEN:
        method = least_off(held_out_logs, logs)
    fitted = adapt(known, x, values, method, prior)
    figures: Figures = {"model": method, "samples": len(values), "devices": fitted.known.names}
    made = surrogate(
        "latency_ms",
        space,
        task,
        fitted.model_,
        what="csv",
        source=source,
        held_out=figures | agreement(held_out[method], values),
        chosen_by=errors,
        device=device,
        note="Errors with each sample left out in turn; of few samples they are uncertain.",
    )
    return replace(made, about={**made.about, "command": COMMAND})


def _check_domain(space: Grammar, task: Task) -> None:
    if (space.fingerprint, task) != (load_space(SPACE).fingerprint, DIGITS):
        raise DomainError(
            f"the known devices measured networks of {SPACE} on {DIGITS.name}, not of {space.name} "
            f"on {task.name}; measure more and use `python -m predictors fit --csv`"
        )


def _known(device: str, samples: int) -> tuple[KnownDevices, Prior]:
    """Models of all devices but this one, and the prior learned from them."""
    world = ours()
    latency = {name: y for name, y in world.latency_ms.items() if name != device}
    known = fit_known(world.x, latency)
    return known, learned_prior(known, world.x, latency, samples)


def _error(predicted: Array, measured: Array) -> float:
    """Mean absolute error relative to what was measured."""
    return float(np.abs(predicted / measured - 1).mean())
