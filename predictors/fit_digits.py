"""Task `digits` on `emnas-382`: accuracy and measured latencies from our own table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emnas_gym import costs
from emnas_gym.graph import LayerGraph
from emnas_gym.space import SearchSpace, load_space
from emnas_gym.surrogate_file import Model, Surrogate
from emnas_gym.tasks import DIGITS
from predictors.accuracy_fit import SEARCHED, fit_accuracy, layers_of, predict
from predictors.collect_costs import MEASURES
from predictors.distill import Lessons, compare, distil
from predictors.estimators.pooled import PooledRegressor
from predictors.fitted import Figures, surrogate
from predictors.latency_fit import fit_relative_latency, predict_latency
from predictors.metrics import agreement, errors, noise_floor, ranks, top
from predictors.splits import Indices, by_architecture
from predictors.store import Tokens
from predictors.tables import Table, packed_path, unpack

Array = NDArray[np.float64]
SPACE = "emnas-382"
DETAILS = ((), ("sigmoid",))
STUDENT = PooledRegressor(width=32, inner=192, hidden=48, epochs=40)  # narrow: its table is cached
LESSONS = Lessons()
COMPARED: dict[str, Any] = {"seeds": (1, 2, 3), "size": 500, "best": 50}  # `distill.compare`
NOTE = (
    "Distilled: a small network on sums of layers, fitted on what a slow ensemble (the teacher) "
    "says of networks that nobody trained, and on the measured ones. The teacher was fitted on the "
    "same training networks, and its class was chosen by cross-validation."
)


def committed(space: str = SPACE) -> Table:
    """The committed table of a space."""
    return unpack(packed_path(space, DIGITS.name))


def fit(table: Table | None = None) -> list[Surrogate]:
    """Fits accuracy, and the latency of every device that was measured, on training networks.

    Args:
        table: The table; the committed one if None.
    """
    table = table or committed()
    return [_fit_accuracy(table), *fit_latencies(table, SPACE, "digits")]


def _counted(
    count: Callable[[LayerGraph], int], space: SearchSpace, networks: Sequence[Tokens]
) -> Array:
    return np.array([count(space.build(tokens, DIGITS)) for tokens in networks], dtype=np.float64)


def labels(table: Table) -> tuple[list[Tokens], Array]:
    """Networks, and their validation accuracy averaged over all seeds."""
    known = table.accuracies()
    return list(known), np.array([np.mean(values) for values in known.values()])


def split(space: SearchSpace, networks: Sequence[Tokens]) -> tuple[Indices, Indices]:
    """Indices of the training and of the held-out networks."""
    return by_architecture([space.canonical_tokens(tokens) for tokens in networks])


def _fit_accuracy(table: Table) -> Surrogate:
    space = load_space(SPACE)
    networks, accuracy = labels(table)
    train, _ = split(space, networks)
    layers = layers_of(space, DIGITS, [networks[i] for i in train])
    teacher, scores = fit_accuracy(layers, accuracy[train], SEARCHED, parts=3)
    measured = ([networks[i] for i in train], accuracy[train])
    model = distil(space, DIGITS, teacher, measured, STUDENT, LESSONS)
    of_teacher = accuracy_figures(teacher, table)
    kept = ("mae", "rmse", "tau", "spearman", "top_tenth")
    return surrogate(
        "accuracy",
        space,
        DIGITS,
        model,
        what="digits",
        source="our own table of trained networks, predictors/tables/emnas-382_digits.npz",
        held_out={
            **accuracy_figures(model, table),
            "teacher": {"kind": teacher.kind, **{name: of_teacher[name] for name in kept}},
            "student_and_teacher": compare(space, DIGITS, teacher, model, **COMPARED),
        },
        chosen_by=scores,
        note=NOTE,
    )


def accuracy_figures(model: Model, table: Table | None = None, name: str = SPACE) -> Figures:
    """Agreement on held-out networks, beside baselines and the noise of the labels.

    Args:
        model: Predicts accuracy.
        table: Trained networks; the committed ones if None.
        name: Of their search space.
    """
    space, table = load_space(name), table or committed(name)
    networks, accuracy = labels(table)
    train, test = split(space, networks)
    held, measured = [networks[i] for i in test], accuracy[test]
    predicted = predict(model, layers_of(space, DIGITS, held))
    middle = np.full(len(test), np.median(accuracy[train]))
    repeats = [values for values in table.accuracies().values() if len(values) >= 5]
    figures: dict[str, Any] = {
        **agreement(predicted, measured),
        "top_tenth": top(predicted, measured),
        "baselines": {
            "median": errors(middle, measured),
            "params": ranks(_counted(costs.params, space, held), measured),
            "macs": ranks(_counted(costs.macs, space, held), measured),
        },
        "n_train": len(train),
        "n_test": len(test),
    }
    if repeats:
        figures["noise_floor"] = noise_floor([values[:5] for values in repeats])
    return figures


def _latencies(table: Table, device: str) -> tuple[list[Tokens], Array]:
    rows = {t: v["latency_ms"] for t, v in table.costs[device].items() if "latency_ms" in v}
    return list(rows), np.array(list(rows.values()))


def fit_latencies(
    table: Table, name: str, what: str, max_macs: int | None = None
) -> list[Surrogate]:
    """Fits the latency of every device that was measured, on training networks.

    Args:
        table: Networks and their costs.
        name: Of their search space.
        what: Argument of `python -m predictors fit --what` that asks for it.
        max_macs: Multiply-accumulates of the largest, where only smaller ones were drawn.
    """
    devices = [device for device in MEASURES if table.costs.get(device)]
    return [_fit_latency(table, name, device, what, max_macs) for device in devices]


def _fit_latency(
    table: Table, name: str, device: str, what: str, max_macs: int | None
) -> Surrogate:
    space = load_space(name)
    networks, latency = _latencies(table, device)
    train, _ = split(space, networks)
    part = [networks[i] for i in train]
    model, scores = fit_relative_latency(space, DIGITS, part, latency[train], DETAILS)
    where = table.about.get("host", "this machine") if device == "host" else "Arm Vela"
    return surrogate(
        "latency_ms",
        space,
        DIGITS,
        model,
        what=what,
        source=f"our own table, measured on: {where}",
        held_out=latency_figures(model, device, table, name),
        chosen_by=scores,
        device=device,
        max_macs=max_macs,
    )


def latency_figures(
    model: Model, device: str, table: Table | None = None, name: str = SPACE
) -> Figures:
    """Agreement on held-out networks, beside the median and MACs alone.

    Args:
        model: Predicts latency.
        device: Where it was measured.
        table: Measured networks; the committed ones if None.
        name: Of their search space.
    """
    space, table = load_space(name), table or committed(name)
    networks, latency = _latencies(table, device)
    train, test = split(space, networks)
    held, measured = [networks[i] for i in test], latency[test]
    predicted = predict_latency(model, space, DIGITS, held)
    middle = np.full(len(test), np.median(latency[train]))
    found = agreement(predicted, measured)
    return {
        "mae_ms": found["mae"],
        "rmse_ms": found["rmse"],
        "tau": found["tau"],
        "spearman": found["spearman"],
        "relative": float(np.abs(predicted / measured - 1).mean()),
        "median_predictor_mae_ms": errors(middle, measured)["mae"],
        "macs_tau": ranks(_counted(costs.macs, space, held), measured)["tau"],
        "n_train": len(train),
        "n_test": len(test),
    }
