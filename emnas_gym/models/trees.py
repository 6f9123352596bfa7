"""Boosted trees as flat arrays: a fitted model that adds up leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from emnas_gym.errors import SurrogateFileError
from emnas_gym.models.base import Array, FittedModel, check_shape, finite
from emnas_gym.models.ensemble import check_link, unlink

Indices = NDArray[np.int64]
LEAF = -1  # the feature of a node that asks nothing
CHUNK = 256  # networks at a time
_INDICES = ("root", "feature", "left", "right")


@dataclass(frozen=True)
class Trees(FittedModel):
    """A sum over trees on the scale of the link; M nodes of T trees lie in one row.

    Attributes:
        root: First node of every tree, shape (T,).
        feature: Feature that a node asks about, `LEAF` for a leaf, shape (M,).
        threshold: Features up to it go to the left, shape (M,). They are compared as float32.
        left: Node to go to, shape (M,); children stand after their parents.
        right: Node to go to otherwise, shape (M,).
        value: What a leaf adds, shape (M,).
        base: What the sum begins with.
        width: Number of features that it reads.
        link: Scale of the output, one of `emnas_gym.models.ensemble.LINKS`.
    """

    kind: ClassVar[str] = "trees"
    reads: ClassVar[str] = "features"

    root: Indices
    feature: Indices
    threshold: Array
    left: Indices
    right: Indices
    value: Array
    base: float
    width: int
    link: str

    @property
    def columns(self) -> int:
        """Number of features that it reads."""
        return self.width

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Sums of leaves and zeros, each of shape (N,); trees know nothing of their doubt.

        Args:
            x: Features, shape (N, F).
        """
        short = np.asarray(x).astype(np.float32).astype(np.float64)
        parts = [self._scores(short[i : i + CHUNK]) for i in range(0, len(short), CHUNK)]
        return unlink(self.link, np.concatenate([np.zeros(0), *parts])), np.zeros(len(short))

    def _scores(self, x: Array) -> Array:
        at = np.repeat(self.root[None], len(x), axis=0)  # (N, T)
        rows = np.arange(len(x))[:, None]
        while (inner := self.feature[at] != LEAF).any():
            smaller = x[rows, self.feature[at]] <= self.threshold[at]
            at = np.where(inner, np.where(smaller, self.left[at], self.right[at]), at)
        total: Array = self.base + self.value[at].sum(axis=1)
        return total

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All nodes, and where trees begin."""
        indices = {name: getattr(self, name).astype(np.int32) for name in _INDICES}
        return indices | {
            "threshold": self.threshold,
            "value": self.value,
            "base": np.array([self.base]),
        }

    def options(self) -> dict[str, Any]:
        """The link and the number of features."""
        return {"link": self.link, "width": self.width}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], options: Mapping[str, Any]) -> Self:
        """Checks what was read from a file.

        Raises:
            SurrogateFileError: If arrays are missing, do not fit together, are not finite, lead
                outside, or would never come to a leaf.
        """
        values = finite(arrays, [*_INDICES, "threshold", "value", "base"])
        check_shape(values, "base", (1,))
        count, width = values["feature"].size, options.get("width")
        for name in ("feature", "threshold", "left", "right", "value"):
            check_shape(values, name, (count,))
        if any(arrays[name].dtype.kind not in "iu" for name in _INDICES):
            raise SurrogateFileError("indices of nodes and features are whole numbers")
        index = {name: arrays[name].astype(np.int64) for name in _INDICES}
        if type(width) is not int or values["root"].ndim != 1:
            raise SurrogateFileError(f"reads {width!r} features")
        _check_ways(index, count, width)
        return cls(
            **index,
            threshold=values["threshold"],
            value=values["value"],
            base=float(values["base"][0]),
            width=width,
            link=check_link(options.get("link")),
        )


def _check_ways(index: Mapping[str, Indices], count: int, width: int) -> None:
    feature, root = index["feature"], index["root"]
    if ((feature < LEAF) | (feature >= width)).any():
        raise SurrogateFileError(f"a node asks about another feature than 0 to {width - 1}")
    if ((root < 0) | (root >= count)).any():
        raise SurrogateFileError(f"a tree begins outside its {count} nodes")
    inner = np.flatnonzero(feature != LEAF)
    for name in ("left", "right"):
        child = index[name][inner]
        if ((child <= inner) | (child >= count)).any():
            raise SurrogateFileError(f"a {name} child does not stand after its parent")
