"""A Gaussian process on features, exported with the rows that it remembers."""

from __future__ import annotations

import math
import warnings

import numpy as np
from scipy.linalg import solve_triangular
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Kernel, Matern, WhiteKernel

from emnas_gym.models.base import Array
from emnas_gym.models.gaussian import SMOOTHNESS, GaussianProcess
from predictors.estimators.base import on_link
from predictors.estimators.matrix import MatrixEstimator, standard_scale


class GaussianRegressor(MatrixEstimator):
    """A Matérn or RBF kernel with noise, its parameters by maximum likelihood.

    Args:
        smoothness: ν of Matérn's kernel: 0.5, 1.5, 2.5, or infinite for the RBF kernel.
        each: Whether every feature has a length scale of its own.
        rows: Training rows that it remembers at most; of more, so many are drawn.
        restarts: Further starts of the search for parameters.
        link: Scale of the target, ``"identity"``, ``"logit"`` or ``"log"``.
        seed: Decides which rows are drawn, and the starts.
    """

    def __init__(
        self,
        smoothness: float = 2.5,
        each: bool = False,
        rows: int = 1000,
        restarts: int = 0,
        link: str = "identity",
        seed: int = 0,
    ) -> None:
        self.smoothness = smoothness
        self.each = each
        self.rows = rows
        self.restarts = restarts
        self.link = link
        self.seed = seed

    def _fitted(self, x: Array, y: Array) -> GaussianProcess:
        if self.smoothness not in SMOOTHNESS:
            raise ValueError(f"the smoothness is one of {SMOOTHNESS}, not {self.smoothness!r}")
        target = on_link(self.link, y)
        if len(x) > self.rows:
            drawn = np.sort(np.random.default_rng(self.seed).permutation(len(x))[: self.rows])
            x, target = x[drawn], target[drawn]
        centre, scale = standard_scale(x)
        middle, spread = float(target.mean()), float(target.std()) or 1.0
        process = GaussianProcessRegressor(
            self._kernel(x.shape[1]), n_restarts_optimizer=self.restarts, random_state=self.seed
        )
        with warnings.catch_warnings():  # a length or a noise at its bound is no failure
            warnings.simplefilter("ignore", ConvergenceWarning)
            process.fit((x - centre) / scale, (target - middle) / spread)
        return self._exported(process, centre, scale, middle, spread)

    def _kernel(self, width: int) -> Kernel:
        start = math.sqrt(width)
        length = np.full(width, start) if self.each else start
        near = Matern(length, (1e-2 * start, 1e3 * start), nu=self.smoothness)
        return ConstantKernel(1.0, (1e-3, 1e3)) * near + WhiteKernel(0.1, (1e-6, 1e1))

    def _exported(
        self,
        process: GaussianProcessRegressor,
        centre: Array,
        scale: Array,
        middle: float,
        spread: float,
    ) -> GaussianProcess:
        near, noise = process.kernel_.k1, process.kernel_.k2
        length = np.broadcast_to(near.k2.length_scale, centre.shape).astype(np.float64)
        factor = process.L_
        return GaussianProcess(
            centre=centre,
            scale=scale,
            rows=process.X_train_ / length,
            length=length,
            alpha=process.alpha_,
            inverse=solve_triangular(factor, np.eye(len(factor)), lower=True),
            amplitude=float(near.k1.constant_value),
            noise=float(noise.noise_level),
            middle=middle,
            spread=spread,
            smoothness=float(self.smoothness),
            link=self.link,
        )
