"""Fits a `BlockNetwork` to rows; scaling comes from the rows that it is given alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from emnas_gym.errors import DatasetError
from predictors.lenna.columns import blocks_of
from predictors.lenna.gates import Array
from predictors.lenna.network import BlockNetwork
from predictors.lenna.network_kinds import make_network
from predictors.training import one_thread

STEPS, LEAST_BATCH = 8, 8


@dataclass(frozen=True)
class Fitting:
    """How a network is fitted.

    Attributes:
        kind: ``"mlp"`` or ``"graph"``.
        width: Units of the hidden layers.
        epochs: Passes over the rows.
        batch_size: Rows a step at most; with few rows an epoch has `STEPS` steps all the same.
        learning_rate: Peak of a one-cycle schedule.
        weight_decay: Decoupled weight decay of AdamW.
        seed: Decides everything.
    """

    kind: str = "mlp"
    width: int = 64
    epochs: int = 150
    batch_size: int = 256
    learning_rate: float = 1e-2
    weight_decay: float = 0.3
    seed: int = 0


HOW = {
    "mlp": Fitting("mlp"),
    "graph": Fitting("graph", epochs=120, learning_rate=2e-2, weight_decay=0.03),
}


def fit_network(
    x: Array, latency_us: Array, how: Fitting = HOW["mlp"], about: Mapping[str, Any] | None = None
) -> BlockNetwork:
    """A network fitted to rows; equal arguments give equal bits.

    Args:
        x: The 167 columns, shape (N, 167).
        latency_us: Shape (N,), above 0.
        how: Its size and how it is fitted.
        about: Where the rows were measured.

    Raises:
        DatasetError: If rows or latencies cannot be used.
    """
    y = np.asarray(latency_us, dtype=np.float64)
    check_rows(x, y)
    reduction, channels, probabilities = blocks_of(x)
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(how.seed)
        network = make_network(how.kind, how.width)
        _scale(network, np.log(channels), np.log(y))
        inputs = (torch.from_numpy(np.array(a)) for a in (reduction, channels, probabilities))
        targets = (torch.from_numpy(np.log(y)) - network.middle) / network.unit
        _train(network, tuple(inputs), targets, how)
    network.channels = (float(channels.min()), float(channels.max()))
    network.types = tuple(kind for kind in (False, True) if kind in reduction)
    network.about = dict(about or {})
    return network.eval()


def _scale(network: BlockNetwork, size: Array, target: Array) -> None:
    """Sets the affine pre-processing."""
    network.centre.fill_(float(size.mean()))
    network.scale.fill_(float(size.std()) or 1.0)
    network.middle.fill_(float(target.mean()))
    network.unit.fill_(float(target.std()) or 1.0)


def _train(
    network: BlockNetwork, inputs: tuple[Tensor, ...], targets: Tensor, how: Fitting
) -> None:
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=how.learning_rate, weight_decay=how.weight_decay
    )
    batch = min(how.batch_size, max(len(targets) // STEPS, LEAST_BATCH))
    steps = how.epochs * -(-len(targets) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, how.learning_rate, total_steps=max(steps, 2)
    )
    for _ in range(how.epochs):
        for rows in torch.split(torch.randperm(len(targets)), batch):
            scores = network.score(*(values[rows] for values in inputs))
            optimiser.zero_grad()
            ((scores - targets[rows]) ** 2).mean().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()


def check_rows(x: Array, y: Array) -> None:
    """Checks rows that a predictor is fitted on.

    Raises:
        DatasetError: If there are less than two, or not one latency above 0 for each.
    """
    if len(x) < 2 or y.shape != (len(x),) or not (np.isfinite(y).all() and (y > 0).all()):
        raise DatasetError(f"{len(x)} rows and latencies of shape {y.shape}, all finite, above 0")
