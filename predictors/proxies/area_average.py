"""Smaller images without a library: each new pixel is the average of the area it covers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def area_averaged(images: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Shrinks images, each new pixel the mean of the old ones weighted by the area they share.

    Args:
        images: (N, H, W, C).
        height: New height, at most H.
        width: New width, at most W.
    """
    rows, columns = _shares(images.shape[1], height), _shares(images.shape[2], width)
    small = np.einsum("hH,nHWc,wW->nhwc", rows, images, columns, optimize=True)
    return np.asarray(small, dtype=np.float32)


def _shares(old: int, new: int) -> NDArray[np.float64]:
    """How much of each new pixel each old one covers, shape (new, old); rows add up to one."""
    edges, at = np.arange(new + 1) * old / new, np.arange(old)
    low = np.maximum(edges[:-1, None], at)
    high = np.minimum(edges[1:, None], at + 1)
    shared: NDArray[np.float64] = np.maximum(high - low, 0) * new / old
    return shared
