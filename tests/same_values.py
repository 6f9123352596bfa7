"""Whether two nests of arrays and dictionaries hold the same, types included."""

from __future__ import annotations

from typing import Any

import numpy as np


def assert_same(one: Any, other: Any, where: str = "") -> None:
    """Equal nests of arrays and dictionaries, dtypes and shapes included."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), (where, one.keys() ^ other.keys())
        for key in one:
            assert_same(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, (list, tuple)):
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{where}[{i}]")
    elif isinstance(one, np.ndarray):
        assert (one.dtype, one.shape) == (other.dtype, other.shape), where
        if one.dtype == object:
            for i, (a, b) in enumerate(zip(one, other, strict=True)):
                assert_same(a, b, f"{where}[{i}]")
        else:
            assert np.array_equal(one, other), where
    else:
        assert type(one) is type(other), where
        assert one == other, where
