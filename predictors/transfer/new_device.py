"""A latency predictor of a user's own board, from a few measurements and from the known devices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from emnas_gym.architecture import Architecture
from emnas_gym.errors import DatasetError, DomainError, UnknownName
from emnas_gym.grammar import Grammar
from emnas_gym.models.base import Array
from emnas_gym.models.kind_sums import kind_sums
from emnas_gym.space import load_space
from emnas_gym.surrogate_file import Surrogate
from emnas_gym.tasks import DIGITS, Task
from predictors.fitted import Figures, surrogate
from predictors.metrics import agreement
from predictors.store import Tokens
from predictors.transfer.adapted import LEAST, METHODS, AdaptedLatency, adapt, learned_prior
from predictors.transfer.known import fit_known
from predictors.transfer.measured import SPACE
from predictors.transfer.worlds import ours

LEAST_SAMPLES = LEAST + 1  # each is left out once
DEFAULT = "chosen"  # by the samples themselves, each left out in turn, among these:
CHOSEN_AMONG = ("scaled", "linear", "weighted")
BASELINE = "median"
COMMAND = "python -m predictors adapt --csv"
Way = Callable[[Array, Array], AdaptedLatency]  # features and latencies of the samples → fitted


def adapt_predictor(
    space: Grammar,
    task: Task,
    device: str,
    tokens: Sequence[Tokens],
    latency_ms: Sequence[float] | Array,
    *,
    method: str = DEFAULT,
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
    if method not in (*METHODS, DEFAULT):
        raise UnknownName("method", method, (*METHODS, DEFAULT))
    x = kind_sums([Architecture(space, tuple(row)) for row in tokens], task)
    ways = _ways(device, len(values))
    held_out = {name: _left_out(way, x, values) for name, way in ways.items()}
    median = np.array([np.median(np.delete(values, i)) for i in range(len(values))])
    errors = {name: _error(found, values) for name, found in {**held_out, BASELINE: median}.items()}
    if method == DEFAULT:
        method = min(CHOSEN_AMONG, key=lambda name: _log_error(held_out[name], values))
    fitted = ways[method](x, values)
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


def _ways(device: str, samples: int) -> dict[str, Way]:
    """Every method, ready to be fitted; what the device itself measured is not known to it."""
    world = ours()
    latency = {name: y for name, y in world.latency_ms.items() if name != device}
    known = fit_known(world.x, latency)
    prior = learned_prior(known, world.x, latency, samples)
    return {name: partial(adapt, known, method=name, prior=prior) for name in METHODS}


def _left_out(way: Way, x: Array, y: Array) -> Array:
    """Prediction of every sample by a fit on the others, shape (n,)."""
    rows = [np.arange(len(y)) != i for i in range(len(y))]
    return np.array([way(x[r], y[r]).predict(x[~r])[0] for r in rows])


def _error(predicted: Array, measured: Array) -> float:
    """Mean absolute error relative to what was measured."""
    return float(np.abs(predicted / measured - 1).mean())


def _log_error(predicted: Array, measured: Array) -> float:
    """Mean distance of the logarithms."""
    return float(np.abs(np.log(predicted / measured)).mean())
