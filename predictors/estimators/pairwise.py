"""Ranking from pairs: which of two networks is better is all that a search asks.

BRP-NAS (Dudziak et al. 2020, arXiv 2007.08668) learns the binary relation between two networks;
here the relation is the difference of two scores, so that it is transitive and one score a network
is enough (RankNet, Burges et al. 2005).
"""

from __future__ import annotations

from typing import Self

import numpy as np
import torch
from sklearn.isotonic import IsotonicRegression
from sklearn.utils.validation import validate_data
from torch import Tensor, nn

from emnas_gym.models.base import Array, rounded
from emnas_gym.models.ranking import Ranking
from predictors.estimators.base import Estimator
from predictors.training import one_thread

LOSSES = ("pairwise", "mse")


def pairwise_loss(scores: Tensor, targets: Tensor) -> Tensor:
    """Logistic loss of every pair whose order is known, its mean summed over the members.

    Args:
        scores: Shape (M, N).
        targets: Shape (N,), or (M, N) where the members see different rows; ties say nothing.
    """
    better = targets[..., :, None] > targets[..., None, :]
    difference = scores[:, :, None] - scores[:, None, :]
    pairs = better.sum(dim=(-1, -2)).clamp(min=1)
    lost = nn.functional.softplus(-difference) * better
    return (lost.sum(dim=(-1, -2)) / pairs).sum()


class PairwiseRanker(Estimator):
    """An ensemble of scorers with one hidden layer, trained on all pairs of the rows.

    Args:
        hidden: Width of the hidden layer.
        members: Scorers, each with its own start.
        loss: ``"pairwise"``; ``"mse"`` trains the same scorer on the values, to compare.
        calibrate: Whether scores are brought to the values' scale by isotonic regression;
            predictions are bare scores otherwise.
        dropout: Share of hidden units that are left out while training.
        weight_decay: Decoupled weight decay of AdamW.
        learning_rate: Peak of a one-cycle schedule.
        steps: Steps of the optimiser, each on all pairs.
        seed: Decides everything.
    """

    def __init__(
        self,
        hidden: int = 64,
        members: int = 5,
        loss: str = "pairwise",
        calibrate: bool = True,
        dropout: float = 0.1,
        weight_decay: float = 0.05,
        learning_rate: float = 1e-2,
        steps: int = 200,
        seed: int = 0,
    ) -> None:
        self.hidden = hidden
        self.members = members
        self.loss = loss
        self.calibrate = calibrate
        self.dropout = dropout
        self.weight_decay = weight_decay
        self.learning_rate = learning_rate
        self.steps = steps
        self.seed = seed

    def fit(self, x: Array, y: Array) -> Self:
        """Fits the scorers; equal arguments give equal bits.

        Args:
            x: Features, shape (N, F); all N² pairs are held in memory.
            y: Values whose order is learnt, shape (N,).

        Raises:
            ValueError: If the loss is unknown, or the input is no finite matrix.
        """
        if self.loss not in LOSSES:
            raise ValueError(f"the loss is one of {LOSSES}, not {self.loss!r}")
        x, y = validate_data(self, x, y, dtype=np.float64, y_numeric=True, ensure_min_samples=2)
        spread = x.std(axis=0)
        centre, scale = rounded(x.mean(axis=0)), rounded(np.where(spread > 1e-9, spread, 1.0))
        inputs = torch.tensor((x - centre) / scale, dtype=torch.float32)
        targets = torch.tensor((y - y.mean()) / (y.std() or 1.0), dtype=torch.float32)
        with one_thread(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            between, bias, out = self._train(inputs, targets)
        layers = {"between": between, "between_bias": bias, "out": out}
        arrays = {name: rounded(value.detach().numpy()) for name, value in layers.items()}
        bare = Ranking(centre, scale, **arrays, knots=np.zeros(0), values=np.zeros(0))
        curve = _curve(bare.predict(x)[0], y) if self.calibrate else (np.zeros(0), np.zeros(0))
        self.model_ = Ranking(centre, scale, **arrays, knots=curve[0], values=curve[1])
        return self

    def _checked(self, x: Array) -> Array:
        checked: Array = validate_data(self, x, dtype=np.float64, reset=False)
        return checked

    def _train(self, inputs: Tensor, targets: Tensor) -> list[Tensor]:
        features = inputs.shape[1]
        weights = [
            torch.randn(self.members, features, self.hidden) / features**0.5,
            torch.zeros(self.members, 1, self.hidden),
            torch.randn(self.members, self.hidden, 1) / self.hidden**0.5,
        ]
        for weight in weights:
            weight.requires_grad_()
        optimiser = torch.optim.AdamW(
            weights, lr=self.learning_rate, weight_decay=self.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, self.learning_rate, total_steps=self.steps
        )
        between, bias, out = weights
        for _ in range(self.steps):
            hidden = torch.dropout(torch.tanh(inputs @ between + bias), self.dropout, True)
            loss = self._loss((hidden @ out)[:, :, 0], targets)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
        return weights

    def _loss(self, scores: Tensor, targets: Tensor) -> Tensor:
        if self.loss == "pairwise":
            return pairwise_loss(scores, targets)
        return ((scores - targets) ** 2).mean(dim=1).sum()


def _curve(scores: Array, y: Array) -> tuple[Array, Array]:
    """Knots and values of the rising curve nearest to the values (isotonic regression)."""
    curve = IsotonicRegression(out_of_bounds="clip").fit(scores, y)
    knots, first = np.unique(rounded(curve.X_thresholds_), return_index=True)
    return knots, np.maximum.accumulate(rounded(curve.y_thresholds_)[first])
