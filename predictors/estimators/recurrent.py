"""A recurrent estimator that reads a network layer by layer, as the network itself computes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emnas_gym.features import LAYER, lengths_of
from emnas_gym.models.base import Array, rounded
from emnas_gym.models.recurrent import RecurrentEnsemble
from predictors.estimators.base import Estimator, on_link
from predictors.training import one_thread


def checked_layers(x: Any) -> Array:  # noqa: ANN401
    """Layers of networks, shape (N, L, F).

    Raises:
        ValueError: If they have another shape, are not finite, or a network has no layer.
    """
    layers = np.asarray(x, dtype=np.float64)
    if layers.ndim != 3 or layers.shape[2] != len(LAYER) or not np.isfinite(layers).all():
        raise ValueError(f"layers are finite, of shape (N, L, {len(LAYER)}), not {layers.shape}")
    if not lengths_of(layers).all():
        raise ValueError("a network has no layer at all")
    return layers


@dataclass(eq=False, repr=False)
class RecurrentRegressor(Estimator):
    """An ensemble of gated recurrent units with a small network on the last state.

    Args:
        state: Width of the state.
        hidden: Width of the layer between state and output.
        members: Networks, each with its own initialisation and order of the rows.
        dropout: Share of the state and of the hidden layer that is left out while training.
        weight_decay: Decoupled weight decay of AdamW.
        learning_rate: Peak of a one-cycle schedule.
        epochs: Passes over the rows.
        batch_size: Rows a step.
        link: Scale of the target, ``"logit"``, ``"log"`` or ``"identity"``.
        seed: Decides everything.
    """

    state: int = 32
    hidden: int = 32
    members: int = 5
    dropout: float = 0.1
    weight_decay: float = 0.2
    learning_rate: float = 4e-3
    epochs: int = 50
    batch_size: int = 48
    link: str = "logit"
    seed: int = 0
    model_: RecurrentEnsemble = field(init=False)

    def fit(self, x: Array, y: Array) -> Self:
        """Fits the ensemble; equal arguments give equal bits.

        Args:
            x: (N, L, F) layers, zeros after the output layer.
            y: (N,) targets on their own scale.

        Raises:
            ValueError: If shapes do not fit, or a value cannot be used.
        """
        x, targets = self._checked(x), on_link(self.link, y)
        if len(x) != len(targets) or not len(x):
            raise ValueError(f"{len(x)} networks and {len(targets)} targets")
        lengths = lengths_of(x)
        rows = x[np.arange(x.shape[1]) < lengths[:, None]]
        centre, scale = rows.mean(axis=0), rows.std(axis=0)
        scale = np.where(scale > 1e-9, scale, 1.0)
        middle, spread = targets.mean(), targets.std() or 1.0
        inputs = torch.tensor((x - centre) / scale, dtype=torch.float32)
        goals = torch.tensor((targets - middle) / spread, dtype=torch.float32)
        with one_thread(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            ends = torch.from_numpy(lengths)
            members = [self._train(inputs, ends, goals) for _ in range(self.members)]
        arrays = [member.arrays(float(middle), float(spread)) for member in members]
        stacked = {name: np.stack([a[name] for a in arrays]) for name in arrays[0]}
        self.model_ = RecurrentEnsemble(
            centre=rounded(centre),
            scale=rounded(scale),
            link=self.link,
            **{name: rounded(values) for name, values in stacked.items()},
        )
        return self

    @property
    def ensemble_(self) -> RecurrentEnsemble:
        """The fitted model under its former name."""
        return self.model_

    def _checked(self, x: Any) -> Array:  # noqa: ANN401
        return checked_layers(x)

    def _train(self, inputs: Tensor, ends: Tensor, goals: Tensor) -> _Member:
        member = _Member(inputs.shape[2], self.state, self.hidden, self.dropout)
        optimiser = torch.optim.AdamW(
            member.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay
        )
        steps = -(-len(inputs) // self.batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, self.learning_rate, total_steps=self.epochs * steps
        )
        for _ in range(self.epochs):
            order = torch.randperm(len(inputs))
            for first in range(0, len(order), self.batch_size):
                rows = order[first : first + self.batch_size]
                loss = ((member(inputs[rows], ends[rows]) - goals[rows]) ** 2).mean()
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(member.parameters(), 1.0)
                optimiser.step()
                schedule.step()
        return member


class _Member(nn.Module):
    """One recurrent network; its input is standardised layers (N, L, F)."""

    def __init__(self, features: int, state: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.unit = nn.GRU(features, state, batch_first=True)
        self.between = nn.Linear(state, hidden)
        self.out = nn.Linear(hidden, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, layers: Tensor, ends: Tensor) -> Tensor:
        """Outputs of shape (N,)."""
        longest = int(ends.max())
        states, _ = self.unit(layers[:, :longest])
        last = states[torch.arange(len(ends)), ends - 1]
        hidden = torch.tanh(self.between(self.dropout(last)))
        score: Tensor = self.out(self.dropout(hidden))[:, 0]
        return score

    def arrays(self, middle: float, spread: float) -> dict[str, NDArray[Any]]:
        """Weights as (inputs, outputs), the output on the scale of the link."""
        values = {name: p.detach().numpy() for name, p in self.named_parameters()}
        return {
            "read": values["unit.weight_ih_l0"].T,
            "read_bias": values["unit.bias_ih_l0"][None],
            "keep": values["unit.weight_hh_l0"].T,
            "keep_bias": values["unit.bias_hh_l0"][None],
            "between": values["between.weight"].T,
            "between_bias": values["between.bias"][None],
            "out": values["out.weight"].T * spread,
            "out_bias": values["out.bias"][None] * spread + middle,
        }
