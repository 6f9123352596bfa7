"""Other ways to write tokens down: one-hot rows and a matrix of layer details, both invertible."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emnas_gym.errors import InvalidArchitecture
from emnas_gym.grammar import Grammar
from emnas_gym.layers import CHOICES, KINDS, LayerSpec

COLUMNS = (
    "kind", "filters", "units", "kernel", "stride", "padding", "activation",
    "batch_norm", "head", "rate", "pad_top", "pad_bottom", "pad_left", "pad_right",
)  # fmt: skip


def padded(tokens: Sequence[int], length: int) -> NDArray[np.int64]:
    """Tokens filled up with 0 ("no layer"), shape (length,).

    Raises:
        InvalidArchitecture: If there are more tokens than positions.
    """
    if len(tokens) > length:
        raise InvalidArchitecture(f"{len(tokens)} tokens do not fit {length} positions")
    row = np.zeros(length, dtype=np.int64)
    row[: len(tokens)] = tokens
    return row


def onehot(grammar: Grammar, tokens: Sequence[int], length: int) -> NDArray[np.float32]:
    """One-hot rows, shape (length, K + 1); a position without a layer is class 0.

    Raises:
        InvalidArchitecture: If a token is none of the space, or there are too many.
    """
    table = np.eye(grammar.num_tokens + 1, dtype=np.float32)
    return _look_up(table, grammar, tokens, length)


def from_onehot(rows: NDArray[np.float32]) -> tuple[int, ...]:
    """The tokens of one-hot rows.

    Raises:
        InvalidArchitecture: If a row is not one-hot, or a layer follows "no layer".
    """
    if rows.ndim != 2 or not ((rows == 0) | (rows == 1)).all() or (rows.sum(axis=1) != 1).any():
        raise InvalidArchitecture("every row has exactly one 1 and else 0")
    return _without_padding(rows.argmax(axis=1))


def layer_matrix(grammar: Grammar, tokens: Sequence[int], length: int) -> NDArray[np.float32]:
    """Details of every layer, shape (length, `COLUMNS`); names are 1, 2, …; 0 is "not there".

    Raises:
        InvalidArchitecture: If a token is none of the space, or there are too many.
    """
    return _look_up(detail_table(grammar), grammar, tokens, length)


def from_layer_matrix(grammar: Grammar, matrix: NDArray[np.float32]) -> tuple[int, ...]:
    """The tokens of a layer matrix; of ids with equal layers the smallest.

    Raises:
        InvalidArchitecture: If a row is no layer of the space.
    """
    table = detail_table(grammar)
    index = {row.tobytes(): token for token, row in reversed(list(enumerate(table)))}
    try:
        tokens = [index[row.tobytes()] for row in np.ascontiguousarray(matrix, dtype=np.float32)]
    except KeyError as error:
        raise InvalidArchitecture(f"a row is no layer of {grammar.name}") from error
    return _without_padding(np.array(tokens))


def detail_table(grammar: Grammar) -> NDArray[np.float32]:
    """The details of every token id, shape (K + 1, `COLUMNS`); row 0 is zero."""
    rows = [np.zeros(len(COLUMNS)), *(np.array(_details(spec)) for spec in grammar.specs)]
    return np.stack(rows).astype(np.float32)


def _details(spec: LayerSpec) -> list[float]:
    return [
        KINDS.index(spec.kind) + 1,
        spec.filters,
        spec.units,
        spec.kernel,
        spec.stride,
        _ordinal("padding", spec.padding),
        _ordinal("activation", spec.activation),
        float(spec.batch_norm),
        _ordinal("head", spec.head),
        spec.rate,
        *spec.pads,
    ]


def _look_up(
    table: NDArray[np.float32], grammar: Grammar, tokens: Sequence[int], length: int
) -> NDArray[np.float32]:
    row = padded(tokens, length)
    if row.min(initial=0) < 0 or row.max(initial=0) > grammar.num_tokens:
        raise InvalidArchitecture(f"{grammar.name} has tokens 1 to {grammar.num_tokens}, not {row}")
    rows: NDArray[np.float32] = table[row]
    return rows


def _ordinal(field: str, value: str) -> int:
    return CHOICES[field].index(value) + 1 if value else 0


def _without_padding(row: NDArray[np.int64]) -> tuple[int, ...]:
    count = int(np.count_nonzero(row))
    if row[:count].min(initial=1) == 0:
        raise InvalidArchitecture("a layer follows a position without a layer")
    return tuple(int(token) for token in row[:count])
