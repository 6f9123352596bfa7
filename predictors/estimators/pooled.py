"""An estimator of gated sums over layers: order counts as in a recurrent one, and it is fast."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from emnas_gym.features import lengths_of
from emnas_gym.models.base import Array, rounded
from emnas_gym.models.pooled import LARGEST, LIMIT, PooledNetwork, on_grid
from predictors.estimators.base import Estimator, on_link
from predictors.estimators.recurrent import checked_layers
from predictors.training import one_thread

DOUBT_SHARE = 0.1  # of the loss: how far off the deviation is, beside the score
Rows = NDArray[np.int64]


@dataclass(eq=False, repr=False)
class PooledRegressor(Estimator):
    """A gated sum over layers with a small network on it (`emnas_gym.models.pooled`).

    It learns as well as a recurrent ensemble where it has many more rows than were measured: it is
    meant to be fitted on what such an ensemble says of networks that nobody trained
    (`predictors.distill`).

    Args:
        width: Values of the sum.
        inner: Width of the layer that reads a layer.
        hidden: Width of both layers between sum and output.
        dropout: Share of the sum and of the last hidden layer left out while training.
        weight_decay: Decoupled weight decay of AdamW.
        learning_rate: Peak of a one-cycle schedule.
        epochs: Passes over the rows.
        batch_size: Rows a step.
        link: Scale of the target, ``"logit"``, ``"log"`` or ``"identity"``.
        seed: Decides everything.
    """

    width: int = 64
    inner: int = 64
    hidden: int = 64
    dropout: float = 0.0
    weight_decay: float = 0.01
    learning_rate: float = 4e-3
    epochs: int = 20
    batch_size: int = 256
    link: str = "logit"
    seed: int = 0
    model_: PooledNetwork = field(init=False)

    def fit(self, x: Array, y: Array) -> Self:
        """Fits the network; equal arguments give equal bits.

        Args:
            x: (N, L, F) layers, zeros after the output layer.
            y: (N,) targets on their own scale.

        Raises:
            ValueError: If shapes do not fit, or a value cannot be used.
        """
        x, targets = self._checked(x), on_link(self.link, y)
        if len(x) != len(targets) or not len(x):
            raise ValueError(f"{len(x)} networks and {len(targets)} targets")
        there = np.arange(x.shape[1]) < lengths_of(x)[:, None]
        layers, which = np.unique(x[there], axis=0, return_inverse=True)
        rows = np.zeros(there.shape, dtype=np.int64)
        rows[there] = which.ravel() + 1
        nothing = np.zeros((1, x.shape[2]))
        return self.fit_rows(np.concatenate([nothing, layers]), rows, targets)

    def fit_rows(
        self, layers: Array, rows: Rows, scores: Array, doubts: Array | None = None
    ) -> Self:
        """Fits on networks that share layers, which are given once.

        Args:
            layers: (R, F); row 0 is no layer.
            rows: (N, L), the layers of each network in their order, 0 after the end.
            scores: (N,) targets on the scale of the link.
            doubts: (N,) deviations there, which are learned as well; None where they are unknown.
        """
        seen = layers[rows[rows > 0]]
        centre, scale = rounded(seen.mean(axis=0)), rounded(seen.std(axis=0))
        scale = np.where(scale > 1e-6, scale, 1.0)
        goals = scores[:, None]
        if doubts is not None:
            goals = np.stack([scores, np.log(np.maximum(doubts, 1e-3))], axis=1)
        middle, spread = goals.mean(axis=0), goals.std(axis=0)
        spread = np.where(spread > 1e-9, spread, 1.0)
        with one_thread(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = _Network(layers.shape[1], self.inner, self.width, self.hidden, len(middle))
            self._train(
                network,
                torch.tensor((layers - centre) / scale, dtype=torch.float32),
                torch.from_numpy(rows),
                torch.tensor((goals - middle) / spread, dtype=torch.float32),
            )
        arrays = network.arrays(middle, spread)
        self.model_ = PooledNetwork(centre=centre, scale=scale, link=self.link, **arrays)
        return self

    def _checked(self, x: Any) -> Array:  # noqa: ANN401
        return checked_layers(x)

    def _train(self, network: _Network, layers: Tensor, rows: Tensor, goals: Tensor) -> None:
        optimiser = torch.optim.AdamW(
            network.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay
        )
        steps = -(-len(rows) // self.batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, self.learning_rate, total_steps=self.epochs * steps
        )
        share = torch.tensor([1.0, DOUBT_SHARE])[: goals.shape[1]]
        for _ in range(self.epochs):
            order = torch.randperm(len(rows))
            for first in range(0, len(order), self.batch_size):
                some = order[first : first + self.batch_size]
                said = network(layers, rows[some], self.dropout)
                loss = ((said - goals[some]) ** 2 * share).mean(dim=0).sum()
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimiser.step()
                schedule.step()


class _Network(nn.Module):
    """The network of `PooledNetwork` in torch."""

    def __init__(self, features: int, inner: int, width: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.width = width
        self.read = nn.Linear(features, inner)
        self.gate = nn.Linear(inner, 2 * width)
        self.first = nn.Linear(width, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, outputs)
        with torch.no_grad():
            self.gate.bias[:width].add_(1.0)  # a new sum remembers

    def forward(self, layers: Tensor, rows: Tensor, dropout: float = 0.0) -> Tensor:
        """Outputs of shape (N, outputs) of standardised layers (R, F) and rows (N, L)."""
        met, which = torch.unique(rows, return_inverse=True)
        both = self.gate(_active(self.read(layers[met].clamp(-LIMIT, LIMIT))))
        said, proposal = both.split(self.width, dim=1)
        keep = 0.5 + 0.5 * said * torch.rsqrt(1.0 + said**2)
        there = (met > 0)[:, None]
        add = torch.where(there, (1.0 - keep) * proposal, 0.0)
        keep = torch.where(there, keep, 1.0)
        state = self._summed(keep, add, which)
        hidden = functional.dropout(state, dropout)
        hidden = _active(self.second(_active(self.first(hidden))))
        found: Tensor = self.out(functional.dropout(hidden, dropout))
        return found

    def _summed(self, keep: Tensor, add: Tensor, which: Tensor) -> Tensor:
        state = torch.zeros(len(which), self.width)
        for place in which.T:
            state = keep[place] * state + add[place]
        return state.clamp(-LIMIT, LIMIT)

    def arrays(self, middle: Array, spread: Array) -> dict[str, Array]:
        """Weights as (inputs, outputs), the outputs on their own scale, all on the grid."""
        found: dict[str, Array] = {}
        for name, part in self.named_children():
            weight, bias = (p.detach().numpy().astype(np.float64) for p in part.parameters())
            if name == "out":
                weight, bias = weight * spread[:, None], bias * spread + middle
            found |= {name: on_grid(weight.T, LARGEST), f"{name}_bias": on_grid(bias, LARGEST)}
        return {name: np.ascontiguousarray(value) for name, value in found.items()}


def _active(hidden: Tensor) -> Tensor:
    return hidden.clamp(0.0, LIMIT)
