"""Task `grasp` on `emnas-382`: K210 latency and accuracy from the original's tables."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emnas_gym.layer_costs import AdditiveCosts
from emnas_gym.space import load_space
from emnas_gym.surrogate_file import Predictor, Surrogate
from emnas_gym.tasks import GRASP
from predictors.accuracy_fit import FEW, fit_accuracy, layers_of, predict
from predictors.emnas_tables import SOURCE, Row, k210_rows, read_table
from predictors.fitted import Figures, surrogate
from predictors.latency_fit import fit_latency, predict_latency
from predictors.metrics import agreement, errors
from predictors.splits import of_the_original

Array = NDArray[np.float64]
SPACE = "emnas-382"
DEVICE = "sipeed-maix-bit"
DETAILS = ((), ("sigmoid",), ("sigmoid", "cache"), ("sigmoid", "cache", "parity"))
SEED_K210_MAE_MS = 125.655  # of the original on the same test rows, specs of its last commit
SEED_ACCURACY_MAE = {"fixed": 0.0957, "variable": 0.0826}
LATENCY_NOTE = (
    "Measured on networks of 6 tokens only. Other lengths are sums of the costs of the same kinds "
    "of layers, which nobody measured; above 2,000 ms nothing was fitted."
)
ACCURACY_NOTE = (
    "Labels are validation accuracies after the last of 3 to 5 epochs, rounded to 0.01; half of "
    "the networks are at chance because they were hardly trained, not because they are bad."
)


def fit() -> list[Surrogate]:
    """Fits both surrogates on the training rows of the original's splits.

    Raises:
        DatasetError: If a table is missing.
    """
    return [fit_k210_latency(), _fit_accuracy()]


def _latencies(rows: list[Row]) -> Array:
    return np.array([row.sipeed_latency_ms for row in rows], dtype=np.float64)


def fit_k210_latency() -> Surrogate:
    """Fits the K210 latency on the 860 training rows of the original's split."""
    space, rows = load_space(SPACE), k210_rows()
    train, _ = of_the_original(len(rows))
    part = [rows[i] for i in train]
    tokens = [row.tokens for row in part]
    model, scores = fit_latency(space, GRASP, tokens, _latencies(part), DETAILS)
    return surrogate(
        "latency_ms",
        space,
        GRASP,
        model,
        what="grasp",
        source=f"dataset_3 of {SOURCE}, Sipeed Maix Bit, mean of 20 runs",
        held_out=latency_figures(model),
        chosen_by=scores,
        device=DEVICE,
        note=LATENCY_NOTE,
    )


def latency_figures(model: AdditiveCosts) -> Figures:
    """Errors on the 96 test rows of the original's split, beside the original's own."""
    space, rows = load_space(SPACE), k210_rows()
    train, test = of_the_original(len(rows))
    held = [rows[i] for i in test]
    measured = _latencies(held)
    predicted = predict_latency(model, space, GRASP, [row.tokens for row in held])
    found = agreement(predicted, measured)
    middle = np.full(len(test), np.median(_latencies([rows[i] for i in train])))
    return {
        "mae_ms": found["mae"],
        "rmse_ms": found["rmse"],
        "median_absolute_ms": float(np.median(np.abs(predicted - measured))),
        "tau": found["tau"],
        "spearman": found["spearman"],
        "seed_mae_ms": SEED_K210_MAE_MS,
        "median_predictor_mae_ms": errors(middle, measured)["mae"],
        "n_train": len(train),
        "n_test": len(test),
    }


def _accuracy_rows() -> tuple[list[Row], dict[str, list[Row]]]:
    """Training rows of both tables together, and the test rows of each."""
    tables = {
        "fixed": [row for row in read_table("dataset_3") if row.accuracy is not None],
        "variable": read_table("variable_length"),
    }
    space = load_space(SPACE)
    train: list[Row] = []
    test: dict[str, list[Row]] = {}
    for name, rows in tables.items():
        first, second = of_the_original(len(rows))
        train += [rows[i] for i in first]
        test[name] = [rows[i] for i in second]
    held = {space.canonical_tokens(row.tokens) for rows in test.values() for row in rows}
    return [row for row in train if space.canonical_tokens(row.tokens) not in held], test


def _accuracies(rows: list[Row]) -> Array:
    return np.array([row.accuracy for row in rows], dtype=np.float64)


def _fit_accuracy() -> Surrogate:
    space = load_space(SPACE)
    train, _ = _accuracy_rows()
    layers = layers_of(space, GRASP, [row.tokens for row in train])
    model, scores = fit_accuracy(layers, _accuracies(train), FEW)
    return surrogate(
        "accuracy",
        space,
        GRASP,
        model,
        what="grasp",
        source=f"dataset_3 and variable_length of {SOURCE}, grasp verification, half data set",
        held_out=accuracy_figures(model),
        chosen_by=scores,
        note=ACCURACY_NOTE,
    )


def accuracy_figures(model: Predictor) -> Figures:
    """Errors on the test rows of both of the original's splits, beside the original's own."""
    space = load_space(SPACE)
    train, test = _accuracy_rows()
    mean = float(_accuracies(train).mean())
    figures: Figures = {"n_train": len(train)}
    for name, rows in test.items():
        measured = _accuracies(rows)
        predicted = predict(model, layers_of(space, GRASP, [row.tokens for row in rows]))
        figures[name] = agreement(predicted, measured) | {
            "seed_mae": SEED_ACCURACY_MAE[name],
            "mean_predictor_mae": errors(np.full(len(rows), mean), measured)["mae"],
            "n_test": len(rows),
        }
    return figures
