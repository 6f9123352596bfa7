"""A fitted Gaussian process: rows that were seen, and how near a network is to each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from emnas_gym.errors import SurrogateFileError
from emnas_gym.models.base import Array, FittedModel, check_shape, finite
from emnas_gym.models.ensemble import check_link, off_link

SMOOTHNESS = (0.5, 1.5, 2.5, math.inf)  # ν of Matérn's kernel; infinite is the RBF kernel
CHUNK = 1 << 22  # differences of features at a time
_SCALARS = ("amplitude", "noise", "middle", "spread")


@dataclass(frozen=True)
class GaussianProcess(FittedModel):
    """Posterior mean and deviation on the scale of the link (Rasmussen & Williams 2006, 2.2).

    Attributes:
        centre: Mean of every feature, shape (F,).
        scale: Deviation of every feature, shape (F,).
        rows: Standardised training rows, each feature divided by its length scale, shape (M, F).
        length: Length scale of every feature, shape (F,).
        alpha: (K + noise)⁻¹ y, shape (M,).
        inverse: Inverse of the lower Cholesky factor of K + noise, shape (M, M).
        amplitude: Variance of the process.
        noise: Variance of what is measured around it.
        middle: Mean of the training targets on the scale of the link.
        spread: Their deviation.
        smoothness: One of `SMOOTHNESS`.
        link: Scale of the output, one of `emnas_gym.models.ensemble.LINKS`.
    """

    kind: ClassVar[str] = "gaussian"
    reads: ClassVar[str] = "features"

    centre: Array
    scale: Array
    rows: Array
    length: Array
    alpha: Array
    inverse: Array
    amplitude: float
    noise: float
    middle: float
    spread: float
    smoothness: float
    link: str

    @property
    def columns(self) -> int:
        """Number of features that it reads."""
        return len(self.centre)

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Posterior mean, and deviation of a new measurement, each of shape (N,).

        Args:
            x: Features, shape (N, F).
        """
        step = max(CHUNK // self.rows.size, 1)
        parts = [self._posterior(x[i : i + step]) for i in range(0, len(x), step)]
        empty = np.zeros(0)
        mean = np.concatenate([empty, *(part[0] for part in parts)])
        variance = np.concatenate([empty, *(part[1] for part in parts)])
        score, deviation = self.middle + self.spread * mean, self.spread * np.sqrt(variance)
        return off_link(self.link, score, deviation)

    def _posterior(self, x: Array) -> tuple[Array, Array]:
        near = self._near((x - self.centre) / self.scale / self.length)  # (N, M)
        explained = ((near @ self.inverse.T) ** 2).sum(axis=1)
        return near @ self.alpha, np.maximum(self.amplitude + self.noise - explained, 0.0)

    def _near(self, x: Array) -> Array:
        """Covariances with the training rows, shape (N, M)."""
        square = ((x[:, None] - self.rows[None]) ** 2).sum(axis=2)
        if math.isinf(self.smoothness):
            return self.amplitude * np.asarray(np.exp(-0.5 * square))
        d = np.sqrt(2 * self.smoothness * square)
        polynomial = {0.5: 1.0, 1.5: 1.0 + d, 2.5: 1.0 + d + d**2 / 3}[self.smoothness]
        return self.amplitude * np.asarray(polynomial * np.exp(-d))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Rows, weights and the parameters of the kernel."""
        named = {n: getattr(self, n) for n in ("centre", "scale", "rows", "length", "alpha")}
        scalars = np.array([getattr(self, name) for name in _SCALARS])
        return named | {"inverse": self.inverse, "scalars": scalars}

    def options(self) -> dict[str, Any]:
        """The link and the place of the smoothness in `SMOOTHNESS`."""
        return {"link": self.link, "smoothness": SMOOTHNESS.index(self.smoothness)}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], options: Mapping[str, Any]) -> Self:
        """Checks what was read from a file.

        Raises:
            SurrogateFileError: If arrays are missing, do not fit together, or are not finite.
        """
        names = ("centre", "scale", "rows", "length", "alpha", "inverse")
        values = finite(arrays, [*names, "scalars"])
        if values["rows"].ndim != 2 or not values["rows"].size:
            raise SurrogateFileError(f"rows has shape {values['rows'].shape}")
        count, width = values["rows"].shape
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("centre", "scale", "length"), (width,))
        shapes |= {"alpha": (count,), "inverse": (count, count), "scalars": (len(_SCALARS),)}
        for name, shape in shapes.items():
            check_shape(values, name, shape)
        scalars: dict[str, Any] = dict(zip(_SCALARS, values["scalars"].tolist(), strict=True))
        positive = [*values["scale"], *values["length"], scalars["spread"], scalars["amplitude"]]
        if min(positive) <= 0 or scalars["noise"] < 0:
            raise SurrogateFileError("a scale, a length or a variance is not above 0")
        place = options.get("smoothness")
        if type(place) is not int or not 0 <= place < len(SMOOTHNESS):
            raise SurrogateFileError(f"has the smoothness {place!r}")
        named: dict[str, Any] = {name: values[name] for name in names} | scalars
        return cls(**named, smoothness=SMOOTHNESS[place], link=check_link(options.get("link")))
