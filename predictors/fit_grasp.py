"""Task `grasp` on `emnas-382`: measured latencies and accuracy from the original's tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emnas_gym.space import load_space
from emnas_gym.surrogate_file import Model, Surrogate
from emnas_gym.tasks import GRASP
from predictors.emnas_tables import SOURCE, hardware_rows
from predictors.fitted import Figures, surrogate
from predictors.grasp_study import SEED, SPACE, accuracies, accuracy_rows, described, study
from predictors.latency_fit import Details, fit_latency, predict_latency
from predictors.metrics import agreement, errors
from predictors.splits import Indices, of_the_original

Array = NDArray[np.float64]
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


def _fit_accuracy() -> Surrogate:
    done = study()
    return surrogate(
        "accuracy",
        load_space(SPACE),
        GRASP,
        done.model,
        what="grasp",
        source=f"dataset_3 and variable_length of {SOURCE}, grasp verification, half data set",
        held_out=accuracy_figures(done.model),
        chosen_by={
            f"{name}: {kind}, {table}": value
            for table in done.of_table
            for name, scores in done.scores(table).items()
            for kind, value in scores.items()
        },
        note=ACCURACY_NOTE,
    )


def accuracy_figures(model: Model) -> Figures:
    """Errors on the test rows of both of the original's splits, beside the original's own."""
    train, test = accuracy_rows()
    known = accuracies([row for rows in train.values() for row in rows])
    figures: Figures = {"n_train": len(known)}
    for name, rows in test.items():
        measured = accuracies(rows)
        figures[name] = agreement(model.predict(described(rows))[0], measured) | {
            "seed_mae": SEED[name]["mae"],
            "mean_predictor_mae": errors(np.full(len(rows), known.mean()), measured)["mae"],
            "n_test": len(rows),
        }
    return figures
