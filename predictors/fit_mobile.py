"""Task `grasp` on `emnas-mobile-49`: K210 latency, accuracy, and whether a network runs at all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emnas_gym.models.additive import AdditiveCosts
from emnas_gym.space import load_space
from emnas_gym.surrogate_file import Predictor, Surrogate
from emnas_gym.tasks import GRASP
from predictors.accuracy_fit import FEW, Layers, fit_accuracy, layers_of, predict
from predictors.emnas_tables import SOURCE, Row, read_table, repeated_readings
from predictors.fitted import Figures, surrogate
from predictors.latency_fit import fit_latency, predict_latency
from predictors.metrics import agreement, errors
from predictors.splits import of_the_original

Array = NDArray[np.float64]
SPACE = "emnas-mobile-49"
DEVICE = "sipeed-maix-bit"
DETAILS = ((), ("small",), ("parity",), ("small", "parity"), ("kpu",))
SEED_LATENCY_MAE_MS = 270.0  # of the original on the measured rows of the same test part
SEED_SPEARMAN = {"latency": 0.42, "accuracy": 0.32}  # there as well
WINNERS_MS = {  # the original's own networks outside the table, measured by it on the board
    (8, 41, 8, 29, 21, 21, 38, 9, 34, 23, 29, 49): 95.06,
    (6, 41, 7, 43, 4, 16, 25, 39, 49): 21.87,
}
LENGTH_NOTE = (
    "The table has 12 to 32 tokens. The space begins at 8, and 8 to 11 are allowed: the latency is "
    "a sum over steps, and shorter networks lie inside the ranges of every step that were seen. "
    "One network of 9 tokens was measured; see outside_the_table."
)


def fit() -> list[Surrogate]:
    """Fits the three surrogates on the training rows of the original's split.

    Raises:
        DatasetError: If the table is missing.
    """
    return [_fit_latency(), _fit_accuracy(), _fit_feasible()]


def _parts() -> tuple[list[Row], list[Row]]:
    rows = read_table("dataset_7")
    train, test = of_the_original(len(rows))
    return [rows[i] for i in train], [rows[i] for i in test]


def _ran(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row.runs]


def _read_anew(rows: list[Row]) -> list[Row]:
    """Networks that ran, without those whose latency is that of another network."""
    repeated = repeated_readings(read_table("dataset_7"))
    return [row for row in _ran(rows) if row.model_id not in repeated]


def _latencies(rows: list[Row]) -> Array:
    return np.array([row.sipeed_latency_ms for row in rows], dtype=np.float64)


def _accuracies(rows: list[Row]) -> Array:
    return np.array([row.accuracy for row in rows], dtype=np.float64)


def _layers(rows: list[Row]) -> Layers:
    return layers_of(load_space(SPACE), GRASP, [row.tokens for row in rows])


def _fit_latency() -> Surrogate:
    space, train = load_space(SPACE), _read_anew(_parts()[0])
    tokens = [row.tokens for row in train]
    model, scores = fit_latency(space, GRASP, tokens, _latencies(train), DETAILS)
    return surrogate(
        "latency_ms",
        space,
        GRASP,
        model,
        what="mobile",
        source=f"dataset_7 of {SOURCE}, Sipeed Maix Bit, mean of 20 runs, networks that ran "
        "and whose reading is not that of the network before",
        held_out=latency_figures(model),
        chosen_by=scores,
        device=DEVICE,
        note=LENGTH_NOTE,
    )


def latency_figures(model: AdditiveCosts) -> Figures:
    """Errors on the measured test rows, and on two networks outside the table.

    ``read_anew`` is about the test rows whose latency is their own (`repeated_readings`).
    """
    space = load_space(SPACE)
    train, test = _read_anew(_parts()[0]), _ran(_parts()[1])
    own = _read_anew(test)
    measured = _latencies(test)
    found = agreement(predict_latency(model, space, GRASP, [r.tokens for r in test]), measured)
    middle = np.full(len(test), np.median(_latencies(train)))
    outside = predict_latency(model, space, GRASP, list(WINNERS_MS))
    anew = predict_latency(model, space, GRASP, [r.tokens for r in own])
    return {
        "mae_ms": found["mae"],
        "rmse_ms": found["rmse"],
        "tau": found["tau"],
        "spearman": found["spearman"],
        "median_predictor_mae_ms": errors(middle, measured)["mae"],
        "read_anew": agreement(anew, _latencies(own)) | {"n_test": len(own)},
        "seed_mae_ms": SEED_LATENCY_MAE_MS,
        "seed_spearman": SEED_SPEARMAN["latency"],
        "outside_the_table": [
            {"tokens": len(tokens), "predicted_ms": float(p), "measured_ms": ms}
            for (tokens, ms), p in zip(WINNERS_MS.items(), outside, strict=True)
        ],
        "n_train": len(train),
        "n_test": len(test),
    }


def _fit_accuracy() -> Surrogate:
    train = _ran(_parts()[0])
    model, scores = fit_accuracy(_layers(train), _accuracies(train), FEW)
    return surrogate(
        "accuracy",
        load_space(SPACE),
        GRASP,
        model,
        what="mobile",
        source=f"dataset_7 of {SOURCE}, grasp verification, half data set, 8 epochs",
        held_out=accuracy_figures(model),
        chosen_by=scores,
        note="Labels exist only for networks that ran on the K210. " + LENGTH_NOTE,
    )


def accuracy_figures(model: Predictor) -> Figures:
    """Errors on the measured test rows."""
    train, test = (_ran(part) for part in _parts())
    measured = _accuracies(test)
    predicted = predict(model, _layers(test))
    middle = np.full(len(test), np.median(_accuracies(train)))
    return agreement(predicted, measured) | {
        "median_predictor_mae": errors(middle, measured)["mae"],
        "seed_spearman": SEED_SPEARMAN["accuracy"],
        "n_train": len(train),
        "n_test": len(test),
    }


def _fit_feasible() -> Surrogate:
    train = _parts()[0]
    ran = np.array([float(row.runs) for row in train])
    model, scores = fit_accuracy(_layers(train), ran, FEW, yes_or_no=True)
    return surrogate(
        "feasible",
        load_space(SPACE),
        GRASP,
        model,
        what="mobile",
        source=f"dataset_7 of {SOURCE}: converted within three minutes, fitted the K210, and ran",
        held_out=feasible_figures(model),
        chosen_by=scores,
        device=DEVICE,
        note=LENGTH_NOTE,
    )


def feasible_figures(model: Predictor) -> Figures:
    """How often the test rows are told apart rightly."""
    train, test = _parts()
    ran = np.array([row.runs for row in test])
    said = predict(model, _layers(test)) >= 0.5
    majority = np.mean([row.runs for row in train]) >= 0.5
    return {
        "right": float((said == ran).mean()),
        "right_of_those_that_ran": float(said[ran].mean()),
        "right_of_those_that_did_not": float((~said[~ran]).mean()),
        "majority_right": float((ran == majority).mean()),
        "n_train": len(train),
        "n_test": len(test),
    }
