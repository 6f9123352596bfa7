"""Other ways to write tokens down: one-hot rows and a matrix of layer details, both invertible."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emnas_gym.errors import InvalidArchitecture
from emnas_gym.token_space import TokenSpace


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


def onehot(space: TokenSpace, tokens: Sequence[int], length: int) -> NDArray[np.float32]:
    """One-hot rows, shape (length, K + 1); a position without a layer is class 0.

    Raises:
        InvalidArchitecture: If a token is none of the space, or there are too many.
    """
    table = np.eye(space.num_tokens + 1, dtype=np.float32)
    return _look_up(table, space, tokens, length)


def from_onehot(rows: NDArray[np.float32]) -> tuple[int, ...]:
    """The tokens of one-hot rows.

    Raises:
        InvalidArchitecture: If a row is not one-hot, or a layer follows "no layer".
    """
    if rows.ndim != 2 or not ((rows == 0) | (rows == 1)).all() or (rows.sum(axis=1) != 1).any():
        raise InvalidArchitecture("every row has exactly one 1 and else 0")
    return _without_padding(rows.argmax(axis=1))


def layer_matrix(space: TokenSpace, tokens: Sequence[int], length: int) -> NDArray[np.float32]:
    """Details of every layer, shape (length, F); see `detail_table`.

    Raises:
        InvalidArchitecture: If a token is none of the space, or there are too many.
    """
    return _look_up(detail_table(space), space, tokens, length)


def from_layer_matrix(space: TokenSpace, matrix: NDArray[np.float32]) -> tuple[int, ...]:
    """The tokens of a layer matrix; of ids with equal details the smallest.

    Raises:
        InvalidArchitecture: If a row is no layer of the space.
    """
    table = detail_table(space)
    index = {row.tobytes(): token for token, row in reversed(list(enumerate(table)))}
    try:
        tokens = [index[row.tobytes()] for row in np.ascontiguousarray(matrix, dtype=np.float32)]
    except KeyError as error:
        raise InvalidArchitecture(f"a row is no layer of {space.name}") from error
    return _without_padding(np.array(tokens))


def detail_table(space: TokenSpace) -> NDArray[np.float32]:
    """The details of every token id, shape (K + 1, F), a fresh array; row 0 is zero.

    Of layers they are `emnas_gym.layers.DETAILS`, of a table the position and the operation.
    """
    return space.details.copy()


def _look_up(
    table: NDArray[np.float32], space: TokenSpace, tokens: Sequence[int], length: int
) -> NDArray[np.float32]:
    row = padded(tokens, length)
    if row.min(initial=0) < 0 or row.max(initial=0) > space.num_tokens:
        raise InvalidArchitecture(f"{space.name} has tokens 1 to {space.num_tokens}, not {row}")
    rows: NDArray[np.float32] = table[row]
    return rows


def _without_padding(row: NDArray[np.int64]) -> tuple[int, ...]:
    count = int(np.count_nonzero(row))
    if row[:count].min(initial=1) == 0:
        raise InvalidArchitecture("a layer follows a position without a layer")
    return tuple(int(token) for token in row[:count])
