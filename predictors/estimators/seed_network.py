"""The predictor of the original search system, re-implemented: every figure of ours stands beside.

Dense layers with relu on every position of a one-hot sequence, flattened, dense layers on the
whole; mean squared error, Adam, no early stopping (amirhpd/emnas, its notebooks of surrogates).
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from emnas_gym.models.base import Array, rounded
from emnas_gym.models.position_network import Layer, PositionNetwork
from predictors.estimators.base import on_link
from predictors.estimators.matrix import MatrixEstimator
from predictors.training import one_thread

EACH = (64, 64, 32, 32, 32, 16, 16, 8)  # units on every position
AFTER = (8, 16, 16, 32, 32, 32, 64)  # units on the whole
DROPOUT = 0.2  # after either part
KERAS_EPSILON = 1e-7  # of Adam; that of torch is smaller


class SeedNetworkRegressor(MatrixEstimator):
    """39,441 parameters on 5 positions of 383 classes, 40,081 on 15.

    Args:
        positions: Positions of a row of ``positions · classes`` columns.
        epochs: Passes over the rows.
        batch_size: Rows a step.
        learning_rate: Of Adam.
        link: Scale of the target; the original has ``"identity"``.
        seed: Decides initial weights, order and dropout.
    """

    def __init__(
        self,
        positions: int = 1,
        epochs: int = 200,
        batch_size: int = 32,
        learning_rate: float = 1e-3,
        link: str = "identity",
        seed: int = 0,
    ) -> None:
        self.positions = positions
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.link = link
        self.seed = seed

    def _fitted(self, x: Array, y: Array) -> PositionNetwork:
        if x.shape[1] % self.positions:
            raise ValueError(f"{x.shape[1]} feature(s) are not {self.positions} equal positions")
        targets = torch.tensor(on_link(self.link, y), dtype=torch.float32)
        inputs = torch.tensor(x.reshape(len(x), self.positions, -1), dtype=torch.float32)
        with one_thread(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = SeedNetwork(self.positions, inputs.shape[2])
            self._train(network, inputs, targets)
        each, after = network.layers()
        return PositionNetwork(each, after, self.positions, self.link)

    def _train(self, network: SeedNetwork, inputs: Tensor, targets: Tensor) -> None:
        optimiser = torch.optim.Adam(
            network.parameters(), lr=self.learning_rate, eps=KERAS_EPSILON, foreach=True
        )
        for _ in range(self.epochs):
            for rows in torch.split(torch.randperm(len(inputs)), self.batch_size):
                loss = ((network(inputs[rows]) - targets[rows]) ** 2).mean()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401
        """Scikit-learn's tags: so deep and narrow a network often stays at the mean."""
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True
        return tags


class SeedNetwork(nn.Module):
    """The network in torch; its input is (N, positions, classes)."""

    def __init__(self, positions: int, classes: int) -> None:
        super().__init__()
        self.each = _dense((classes, *EACH), last_relu=True)
        self.after = _dense((positions * EACH[-1], *AFTER, 1), last_relu=False)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of shape (N,)."""
        hidden = torch.dropout(self.each(x), DROPOUT, self.training).flatten(1)
        whole = torch.dropout(self.after[:-1](hidden), DROPOUT, self.training)
        score: Tensor = self.after[-1](whole)[:, 0]
        return score

    def layers(self) -> tuple[tuple[Layer, ...], tuple[Layer, ...]]:
        """Weights (inputs, outputs) and biases of both parts."""
        return _arrays(self.each), _arrays(self.after)


def _dense(widths: tuple[int, ...], *, last_relu: bool) -> nn.Sequential:
    """Dense layers with relu between them, started as Keras does (Glorot & Bengio 2010)."""
    modules: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layer = nn.Linear(before, after)
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
        modules += [layer, nn.ReLU()]
    return nn.Sequential(*(modules if last_relu else modules[:-1]))


def _arrays(part: nn.Sequential) -> tuple[Layer, ...]:
    layers = [module for module in part if isinstance(module, nn.Linear)]
    weights = [np.asarray(layer.weight.detach().numpy().T) for layer in layers]
    biases = [np.asarray(layer.bias.detach().numpy()) for layer in layers]
    return tuple((rounded(w), rounded(b)) for w, b in zip(weights, biases, strict=True))
