"""What searches share whose supernet mixes all operations: curvature, and decided edges."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from agents.differentiable.curvature import dominant_eigenvalue
from agents.differentiable.early_stop import CurvatureStop
from agents.differentiable.ground import Ground
from agents.differentiable.supernet_search import SupernetSearch
from agents.differentiable.supernet_weights import Mixtures
from predictors.lenna.expected import ExpectedLatency
from predictors.supernet.mixed_edge import statistics_kept
from predictors.supernet.mixture import Mixture
from predictors.supernet.wiring import Mask


class MixedSearch(SupernetSearch):
    """A search whose supernet is differentiable twice in its architecture parameters.

    Attributes:
        kept: Of every group the operations that are still there, bool (edges, operations). An edge
            of which one is left has it with weight 1.
    """

    def __init__(
        self, ground: Ground, config: Any, seed: int, latency: ExpectedLatency | None = None  # noqa: ANN401
    ) -> None:  # fmt: skip
        super().__init__(ground, config, seed, latency)
        self.kept: dict[str, Mask] = {g: w.offered.copy() for g, w in self.net.wirings.items()}
        self._curvatures = CurvatureStop(config.curvature_window, config.curvature_ratio)

    def judged(self) -> Mixtures:
        """The mixture itself."""
        return self.mixtures(self.alphas.detached())

    def restricted(self, mixtures: Mixtures) -> Mixtures:
        """The mixtures with what is `kept` alone."""
        return {
            group: self._restricted(mixture, self.kept[group], self.net.wirings[group].offered)
            for group, mixture in mixtures.items()
        }

    @staticmethod
    def _restricted(mixture: Mixture, kept: Mask, offered: Mask) -> Mixture:
        if (kept == offered).all():
            return mixture
        alone = torch.from_numpy(kept & (kept.sum(axis=1, keepdims=True) == 1))
        weights = mixture.weights.masked_fill(torch.from_numpy(~kept), 0.0)
        return replace(
            mixture, weights=weights.masked_fill(alone, 1.0), computed=mixture.computed & kept
        )

    # ---------------------------------------------------------------------------- curvature

    def back_to(self) -> int | None:
        """By the curvature, if that is the rule."""
        if self.config.stop != "curvature":
            return super().back_to()
        return self._curvatures.told(self.epoch - 1, self.curvature())

    def cost(self) -> int:
        """With the images by which the curvature is found."""
        learns = self.epoch >= self.config.warm_up
        watched = self.config.stop == "curvature" and learns
        return super().cost() + (self.curvature_images() if watched else 0)

    def curvature(self) -> float:
        """Dominant eigenvalue of the Hessian of L_valid in the parameters of operations.

        On one batch of the half of the architecture, always the same one.
        """
        rows = self._watched_rows()
        self.images += self.config.curvature_steps * len(rows)
        with statistics_kept(self.net):
            loss = self.loss(self.batch(rows), self.mixtures(self.alphas))
            tensors = list(self.alphas.operations.values())
            return dominant_eigenvalue(loss, tensors, self.config.curvature_steps, self.generator)

    def curvature_images(self) -> int:
        """Images that `curvature` puts through the supernet: once, and once more in every step."""
        return len(self._watched_rows()) * (1 + int(self.config.curvature_steps))

    def _watched_rows(self) -> np.ndarray:
        return self.architecture_rows[: self.config.batch_size]
