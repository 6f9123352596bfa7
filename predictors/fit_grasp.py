"""Task `grasp` on `emnas-382`: measured latencies and accuracy from the original's tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emnas_gym.space import load_space
from emnas_gym.surrogate_file import Model, Predictor, Surrogate
from emnas_gym.tasks import GRASP
from predictors.accuracy_fit import FEW, fit_accuracy, layers_of, predict
from predictors.emnas_tables import SOURCE, Row, hardware_rows, read_table
from predictors.fitted import Figures, surrogate
from predictors.latency_fit import Details, fit_latency, predict_latency
from predictors.metrics import agreement, errors
from predictors.splits import Indices, of_the_original

Array = NDArray[np.float64]
SPACE = "emnas-382"
SEED_ACCURACY_MAE = {"fixed": 0.0957, "variable": 0.0826}  # of the original on the same test rows
LATENCY_NOTE = (
    "Measured on networks of 6 tokens only. Other lengths are sums of the costs of the same kinds "
    "of work, which nobody measured; above the limit of the original nothing was fitted."
)
ACCURACY_NOTE = (
    "Labels are validation accuracies after the last of 3 to 5 epochs, rounded to 0.01; half of "
    "the networks are at chance because they were hardly trained, not because they are bad."
)


@dataclass(frozen=True)
class Board:
    """How one column of latencies was measured.

    Attributes:
        column: Field of a row.
        limit_ms: The original left slower networks out.
        how: How it was measured.
        details: Sets of details to choose from.
        seed_mae_ms: Error of the original on the same test rows.
    """

    column: str
    limit_ms: float
    how: str
    details: tuple[Details, ...]
    seed_mae_ms: float


BOARDS = {
    "sipeed-maix-bit": Board(
        "sipeed_latency_ms",
        2000.0,
        "Sipeed Maix Bit, mean of 20 runs",
        (
            (),
            ("sigmoid",),
            ("sigmoid", "cache"),
            ("sigmoid", "cache", "parity"),
            ("kpu",),
            ("kpu", "cache"),
        ),
        125.655,
    ),
    "jevois": Board(
        "jevois_latency_ms",
        100.0,
        "JeVois camera, whole milliseconds read off by hand",
        ((), ("sigmoid",), ("patches",), ("sigmoid", "patches")),
        3.80,
    ),
}


def fit() -> list[Surrogate]:
    """Fits all surrogates on the training rows of the original's splits.

    Raises:
        DatasetError: If a table is missing.
    """
    return [*(fit_board(device) for device in BOARDS), _fit_accuracy()]


def board_rows(board: Board) -> tuple[list[tuple[int, ...]], Array, Indices, Indices]:
    """Tokens, latencies, and the indices of the original's training and test rows."""
    rows = hardware_rows(board.column, board.limit_ms)
    measured = np.array([getattr(row, board.column) for row in rows], dtype=np.float64)
    return [row.tokens for row in rows], measured, *of_the_original(len(rows))


def fit_board(device: str) -> Surrogate:
    """Fits the latency of one board.

    Args:
        device: A name of `BOARDS`.
    """
    space, board = load_space(SPACE), BOARDS[device]
    tokens, measured, train, _ = board_rows(board)
    part = [tokens[i] for i in train]
    model, scores = fit_latency(space, GRASP, part, measured[train], board.details)
    return surrogate(
        "latency_ms",
        space,
        GRASP,
        model,
        what="grasp",
        source=f"dataset_3 of {SOURCE}, {board.how}",
        held_out=latency_figures(model, device),
        chosen_by=scores,
        device=device,
        note=LATENCY_NOTE,
    )


def latency_figures(model: Model, device: str) -> Figures:
    """Errors on the test rows of the original's split, beside the original's own."""
    board = BOARDS[device]
    tokens, measured, train, test = board_rows(board)
    held = measured[test]
    predicted = predict_latency(model, load_space(SPACE), GRASP, [tokens[i] for i in test])
    middle = np.full(len(test), np.median(measured[train]))
    found = agreement(predicted, held)
    return {
        "mae_ms": found["mae"],
        "rmse_ms": found["rmse"],
        "median_absolute_ms": float(np.median(np.abs(predicted - held))),
        "tau": found["tau"],
        "spearman": found["spearman"],
        "seed_mae_ms": board.seed_mae_ms,
        "median_predictor_mae_ms": errors(middle, held)["mae"],
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


def _accuracies(rows: Sequence[Row]) -> Array:
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
