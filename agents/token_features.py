"""What is known of every token before anything is learned: its layer's details as numbers.

Networks that see a token through its details learn about 3×3 convolutions, not about token 117.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emnas_gym.encodings import detail_table
from emnas_gym.token_space import TokenSpace


def token_features(space: TokenSpace) -> NDArray[np.float32]:
    """Features of every token id, equal for tokens of equal behaviour; row 0 is zero.

    Each detail (kind, filters, kernel, stride, padding, activation, units, ...) is given twice: as
    one indicator a value, so that a linear layer can weigh every value for itself, and as a number
    from 0 to 1 on a logarithmic scale, so that neighbouring sizes look alike.

    Returns:
        Shape (K + 1, features).
    """
    details = detail_table(space)[list(space.canonical_token)]
    columns = [_features(column) for column in details.T if len(np.unique(column)) > 1]
    features = np.concatenate(columns, axis=1)
    features[0] = 0.0
    return features.astype(np.float32)


def _features(column: NDArray[np.float32]) -> NDArray[np.float32]:
    values = np.unique(column[column != 0])
    indicators = (column[:, None] == values[None]).astype(np.float32)
    size = np.log1p(column) / np.log1p(column.max())
    return np.concatenate([indicators, size[:, None]], axis=1)
