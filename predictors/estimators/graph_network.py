"""A graph network with a global node, trained on values or on the order of pairs."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emnas_gym.errors import DatasetError
from emnas_gym.graph_encoding import Graphs
from emnas_gym.models.base import Array, rounded
from emnas_gym.models.ensemble import link
from emnas_gym.models.graph_network import DIRECTIONS, GraphNetwork, propagation, with_global
from predictors.estimators.base import Estimator
from predictors.estimators.pairwise import pairwise_loss
from predictors.training import one_thread

LOSSES = ("mse", "pairwise")


class GraphNetworkRegressor(Estimator):
    """Graph convolutions with layer norm, read out at a node that hears all others (BRP-NAS).

    Args:
        width: Width of every layer.
        layers: Graph convolutions.
        members: Networks of the ensemble, each with its own start and order of the rows.
        loss: ``"mse"``, or ``"pairwise"``: then predictions are scores whose order matters.
        link: Scale of the target: ``"identity"``, ``"log"`` or ``"logit"``.
        dropout: Share of the read-out that is left out while training.
        weight_decay: Decoupled weight decay of AdamW.
        learning_rate: Peak of a one-cycle schedule.
        epochs: Passes over the rows.
        batch_size: Rows a step.
        seed: Decides everything.
    """

    def __init__(
        self,
        width: int = 48,
        layers: int = 3,
        members: int = 3,
        loss: str = "mse",
        link: str = "identity",
        dropout: float = 0.1,
        weight_decay: float = 0.02,
        learning_rate: float = 5e-3,
        epochs: int = 80,
        batch_size: int = 32,
        seed: int = 0,
    ) -> None:
        self.width = width
        self.layers = layers
        self.members = members
        self.loss = loss
        self.link = link
        self.dropout = dropout
        self.weight_decay = weight_decay
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch_size = batch_size
        self.seed = seed

    def fit(self, x: Graphs, y: Array) -> Self:
        """Fits the ensemble; equal arguments give equal bits.

        Args:
            x: N graphs.
            y: Targets on their own scale, shape (N,).

        Raises:
            DatasetError: If there are less than two graphs, or not one finite target for each.
            ValueError: If the loss is unknown.
        """
        if len(x) < 2 or y.shape != (len(x),) or not np.isfinite(y).all():
            raise DatasetError(f"{len(x)} graphs and targets of shape {y.shape}")
        if self.loss not in LOSSES:
            raise ValueError(f"the loss is one of {LOSSES}, not {self.loss!r}")
        rows = x.nodes[x.mask]
        spread = rows.std(axis=0)
        centre, scale = rounded(rows.mean(axis=0)), rounded(np.where(spread > 1e-9, spread, 1.0))
        typical = rounded(np.array(x.mask.sum(axis=1).mean()))
        nodes = torch.tensor(with_global(x, centre, scale), dtype=torch.float32)
        hears = torch.tensor(propagation(x, float(typical)), dtype=torch.float32)
        targets, middle, unit = self._targets(y)
        with one_thread(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = _Network(self.members, nodes.shape[2], self.width, self.layers, self.dropout)
            self._train(network, nodes, hears, torch.tensor(targets, dtype=torch.float32))
        self.network_ = network.eval()
        self.model_ = network.exported(
            {"centre": centre, "scale": scale, "typical_nodes": typical},
            self.link if self.loss == "mse" else "identity",
            (middle, unit),
        )
        return self

    def _targets(self, y: Array) -> tuple[Array, float, float]:
        """Standardised targets, and what brings a network's output back to their scale."""
        values = y if self.link == "identity" else link(self.link, y)
        middle, unit = float(values.mean()), float(values.std()) or 1.0
        standard = (values - middle) / unit
        return standard, *((middle, unit) if self.loss == "mse" else (0.0, 1.0))

    def _train(self, network: _Network, nodes: Tensor, hears: Tensor, targets: Tensor) -> None:
        optimiser = torch.optim.AdamW(
            network.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay
        )
        steps = -(-len(nodes) // self.batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, self.learning_rate, total_steps=self.epochs * steps
        )
        for _ in range(self.epochs):
            order = torch.randperm(len(nodes))
            for rows in torch.split(order, self.batch_size):
                outputs = network(nodes[rows], hears[:, rows])
                optimiser.zero_grad()
                self._loss(outputs, targets[rows]).backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                schedule.step()

    def _loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Sum over members, so that each learns as it would alone."""
        if self.loss == "pairwise":
            return pairwise_loss(outputs, targets)
        return ((outputs - targets) ** 2).mean(dim=1).sum()


class _Network(nn.Module):
    """All members side by side; as `GraphNetwork`, in torch."""

    def __init__(
        self, members: int, features: int, width: int, layers: int, dropout: float
    ) -> None:
        super().__init__()
        sizes = [features, *[width] * (layers - 1)]
        directions = len(DIRECTIONS)
        self.weights = nn.ParameterList(
            torch.randn(members, directions, before, width) / (before * directions) ** 0.5
            for before in sizes
        )
        self.gains = nn.ParameterList(torch.ones(members, width) for _ in sizes)
        self.shifts = nn.ParameterList(torch.zeros(members, width) for _ in sizes)
        self.out = nn.Parameter(torch.randn(members, width) / width**0.5)
        self.out_bias = nn.Parameter(torch.zeros(members))
        self.dropout = nn.Dropout(dropout)

    def forward(self, nodes: Tensor, hears: Tensor) -> Tensor:
        """Outputs of shape (M, N) from (N, V + 1, F + 1) and (D, N, V + 1, V + 1)."""
        hidden = nodes[None]
        for weight, gain, shift in zip(self.weights, self.gains, self.shifts, strict=True):
            sent = torch.stack([m @ (hidden @ weight[:, i, None]) for i, m in enumerate(hears)])
            normal = nn.functional.layer_norm(sent.sum(dim=0), gain.shape[1:])
            hidden = torch.relu(normal * gain[:, None, None] + shift[:, None, None])
        last = self.dropout(hidden[:, :, -1])
        return torch.einsum("mnh,mh->mn", last, self.out) + self.out_bias[:, None]

    def exported(
        self, about: dict[str, Array], link: str, scale: tuple[float, float]
    ) -> GraphNetwork:
        """The numpy form, whose output is on the scale of the link."""
        middle, unit = scale
        return GraphNetwork(
            **about,
            weights=tuple(map(_array, self.weights)),
            gains=tuple(map(_array, self.gains)),
            shifts=tuple(map(_array, self.shifts)),
            out=rounded(_array(self.out) * unit),
            out_bias=rounded(_array(self.out_bias) * unit + middle),
            link=link,
        )


def _array(parameter: Any) -> NDArray[np.float64]:  # noqa: ANN401
    return rounded(parameter.detach().numpy())
