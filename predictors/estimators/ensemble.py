"""Estimators with scikit-learn's rules whose fitted form is a numpy model that can be shipped."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from emnas_gym.models.base import Array, rounded
from emnas_gym.models.ensemble import Ensemble
from predictors.estimators.base import on_link
from predictors.estimators.matrix import MatrixEstimator
from predictors.training import one_thread


@dataclass(eq=False, repr=False)
class EnsembleRegressor(MatrixEstimator):
    """An ensemble of small tanh networks, trained side by side with dropout and weight decay.

    Args:
        hidden: Widths of the hidden layers; none is a linear model.
        members: Networks; each sees its own resampling of the rows and its own initialisation.
        dropout: Share of features and hidden units that are left out while training.
        weight_decay: Decoupled weight decay of AdamW.
        learning_rate: Peak of a one-cycle schedule.
        epochs: Passes over the rows.
        batch_size: Rows a step.
        link: Scale of the target, ``"logit"``, ``"log"`` or ``"identity"``.
        seed: Decides everything.
    """

    hidden: tuple[int, ...] = (64, 64)
    members: int = 5
    dropout: float = 0.1
    weight_decay: float = 0.05
    learning_rate: float = 3e-3
    epochs: int = 60
    batch_size: int = 64
    link: str = "logit"
    seed: int = 0
    model_: Ensemble = field(init=False)

    def _fitted(self, x: Array, y: Array) -> Ensemble:
        targets = on_link(self.link, y)
        centre, scale = x.mean(axis=0), x.std(axis=0)
        scale = np.where(scale > 1e-9, scale, 1.0)
        standard = (x - centre) / scale
        with one_thread(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            weights, biases = self._train(standard, targets)
        return Ensemble(
            centre=rounded(centre),
            scale=rounded(scale),
            low=rounded(standard.min(axis=0)),
            high=rounded(standard.max(axis=0)),
            weights=tuple(rounded(w.detach().numpy()) for w in weights),
            biases=tuple(rounded(b.detach().numpy()) for b in biases),
            link=self.link,
        )

    @property
    def ensemble_(self) -> Ensemble:
        """The fitted model under its former name."""
        return self.model_

    def _train(self, x: Array, y: Array) -> tuple[list[Tensor], list[Tensor]]:
        inputs, targets = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
        middle, spread = targets.mean(), spread_of(targets)
        targets = (targets - middle) / spread
        weights, biases = self._start(x.shape[1])
        decay: list[dict[str, Any]] = [{"params": weights}, {"params": biases, "weight_decay": 0.0}]
        optimiser = torch.optim.AdamW(decay, lr=self.learning_rate, weight_decay=self.weight_decay)
        steps = -(-len(x) // self.batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, self.learning_rate, total_steps=self.epochs * steps
        )
        for _ in range(self.epochs):
            order = torch.stack([torch.randperm(len(x)) for _ in range(self.members)])
            for rows in torch.split(order, self.batch_size, dim=1):
                output = self._forward(inputs[rows], weights, biases)
                loss = ((output - targets[rows]) ** 2).mean(dim=1).sum()
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                schedule.step()
        with torch.no_grad():
            weights[-1].mul_(spread)
            biases[-1].mul_(spread).add_(middle)
        return weights, biases

    def _start(self, features: int) -> tuple[list[Tensor], list[Tensor]]:
        widths = (features, *self.hidden, 1)
        weights, biases = [], []
        for before, after in itertools.pairwise(widths):
            weight = torch.randn(self.members, before, after) / before**0.5
            weights.append(weight.requires_grad_())
            biases.append(torch.zeros(self.members, 1, after).requires_grad_())
        return weights, biases

    def _forward(self, hidden: Tensor, weights: list[Tensor], biases: list[Tensor]) -> Tensor:
        for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            hidden = torch.dropout(torch.tanh(hidden) if i else hidden, self.dropout, True)
            hidden = hidden @ weight + bias
        return hidden[:, :, 0]


def spread_of(targets: Tensor) -> Tensor:
    """Deviation of the targets; 1 where they do not vary, or there is one alone."""
    spread = targets.std() if len(targets) > 1 else torch.zeros(())
    return spread if spread > 0 else torch.ones(())
