"""An estimator of networks that either learn or stay at chance: both parts from one network."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Parameter, functional

from emnas_gym.features import lengths_of
from emnas_gym.models.base import rounded
from emnas_gym.models.ensemble import MARGIN, link
from emnas_gym.models.recurrent import RecurrentEnsemble
from emnas_gym.models.two_part import TwoPart, with_signals
from predictors.estimators.base import Estimator, on_link
from predictors.estimators.recurrent import checked_layers
from predictors.training import one_thread

Array = NDArray[np.float64]
MARGIN_OF_CHANCE = 0.05  # a network that is no more than this above chance has not learned


@dataclass(eq=False, repr=False)
class TwoPartRegressor(Estimator):
    """Recurrent networks with two outputs: whether a network learns, and what it then reaches.

    A label is at chance or well above it. A regression on such labels predicts what never happens;
    here the likelihood of having learned, the error of those that did and the error of the
    prediction are minimised together.

    Args:
        state: Width of the state.
        hidden: Width of the layer between state and outputs.
        members: Networks, trained side by side, each with its own initialisation and dropout.
        dropout: Share of the state and of the hidden layer that is left out while training.
        weight_decay: Decoupled weight decay of AdamW.
        learning_rate: Peak of a one-cycle schedule.
        epochs: Passes over the rows.
        batch_size: Rows a step.
        chance: Accuracy of a network that has not learned.
        sharpness: Of the prediction, see `TwoPart`.
        seed: Decides everything.
    """

    state: int = 32
    hidden: int = 32
    members: int = 4
    dropout: float = 0.3
    weight_decay: float = 0.5
    learning_rate: float = 4e-3
    epochs: int = 30
    batch_size: int = 48
    chance: float = 0.5
    sharpness: float = 1.0
    seed: int = 0
    model_: TwoPart = field(init=False)

    def fit(self, x: Array, y: Array) -> Self:
        """Fits both parts; equal arguments give equal bits.

        Args:
            x: (N, L, F) layers, zeros after the output layer.
            y: (N,) accuracies, 0 … 1.

        Raises:
            ValueError: If shapes do not fit, a value is not finite, or not at least two networks
                learned and one did not.
        """
        x, y = self._checked(x), on_link("identity", y)
        if len(x) != len(y):
            raise ValueError(f"{len(x)} networks and {len(y)} accuracies")
        learned = y > self.chance + MARGIN_OF_CHANCE
        if learned.sum() < 2 or learned.all():
            raise ValueError(f"{learned.sum()} of {len(y)} networks learned; needs both outcomes")
        rows, lengths = with_signals(x), lengths_of(x)
        there = rows[np.arange(x.shape[1]) < lengths[:, None]]
        centre, scale = there.mean(axis=0), there.std(axis=0)
        scale = np.where(scale > 1e-9, scale, 1.0)
        targets = _Targets.of(y, learned)
        with one_thread(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            inputs = torch.tensor((rows - centre) / scale, dtype=torch.float32)
            network = self._train(inputs, torch.from_numpy(lengths), targets)
        arrays = {"centre": centre, "scale": scale, **network.arrays()}
        self.model_ = self._model(arrays, targets)
        self.model_ = replace(
            self.model_,
            spread=_size((self.model_.outcomes(x)[1] - y)[learned]),
            chance_spread=_size(y[~learned] - targets.chance),
        )
        return self

    def _checked(self, x: Any) -> Array:  # noqa: ANN401
        return checked_layers(x)

    def _model(self, arrays: dict[str, NDArray[Any]], targets: _Targets) -> TwoPart:
        scales = ((1.0, 0.0), (targets.scale, targets.middle))
        parts = []
        for i, (scale, middle) in enumerate(scales):
            own = {
                "out": arrays["out"][:, :, i : i + 1] * scale,
                "out_bias": arrays["out_bias"][:, :, i : i + 1] * scale + middle,
            }
            named = {name: rounded(np.asarray(v)) for name, v in (arrays | own).items()}
            parts.append(RecurrentEnsemble(**named, link="logit"))
        return TwoPart(
            parts[0],
            parts[1],
            chance=targets.chance,
            spread=0.0,
            chance_spread=0.0,
            sharpness=self.sharpness,
        )

    def _train(self, inputs: Tensor, lengths: Tensor, targets: _Targets) -> _Members:
        members = _Members(inputs.shape[2], self.state, self.hidden, self.members)
        decay: list[dict[str, Any]] = [
            {"params": [p for name, p in members.named_parameters() if "bias" not in name]},
            {
                "params": [p for name, p in members.named_parameters() if "bias" in name],
                "weight_decay": 0.0,
            },
        ]
        optimiser = torch.optim.AdamW(decay, lr=self.learning_rate, weight_decay=self.weight_decay)
        steps = -(-len(inputs) // self.batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, self.learning_rate, total_steps=self.epochs * steps
        )
        for _ in range(self.epochs):
            for part in torch.randperm(len(inputs)).split(self.batch_size):  # type: ignore[no-untyped-call]
                rows = part[torch.argsort(-lengths[part], stable=True)]
                outputs = members(inputs[rows], lengths[rows], self.dropout)
                loss = targets.loss(outputs, rows)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(members.parameters(), self.members**0.5)
                optimiser.step()
                schedule.step()
        return members


def _size(off: Array) -> float:
    """Root mean square."""
    return float(np.sqrt((off**2).mean()))


class _Targets:
    """What is learned, and how far outputs are from it."""

    def __init__(self, y: Array, learned: NDArray[np.bool_]) -> None:
        scores = link("logit", y)
        self.chance = float(np.median(y[~learned]))
        self.middle, self.scale = float(scores[learned].mean()), float(scores[learned].std()) or 1.0
        self._deviation = float(y.std())
        self._y = torch.tensor(y, dtype=torch.float32)
        self._scores = torch.tensor((scores - self.middle) / self.scale, dtype=torch.float32)
        self._learned = torch.tensor(learned, dtype=torch.float32)

    @classmethod
    def of(cls, y: Array, learned: NDArray[np.bool_]) -> Self:
        """Targets of (N,) accuracies, of which some are of networks that learned."""
        return cls(y, learned)

    def loss(self, outputs: Tensor, rows: Tensor) -> Tensor:
        """Sum over members of the mean over rows; outputs (members, rows, 2)."""
        logit, score = outputs[..., 0], outputs[..., 1]
        learned = self._learned[rows].expand_as(logit)
        unsure = functional.binary_cross_entropy_with_logits(logit, learned, reduction="none")
        wrong = learned * (score - self._scores[rows]) ** 2
        reached = (1 + 2 * MARGIN) * torch.sigmoid(self.middle + self.scale * score) - MARGIN
        mean = self.chance + torch.sigmoid(logit) * (reached - self.chance)
        off = ((mean - self._y[rows]) / self._deviation) ** 2
        return (unsure + wrong + off).mean(dim=1).sum()


class _Members(torch.nn.Module):
    """Gated recurrent networks side by side; names and shapes are those of `RecurrentEnsemble`."""

    def __init__(self, features: int, state: int, hidden: int, members: int) -> None:
        super().__init__()
        self.state = state
        self.read, self.read_bias = _layer(members, features, 3 * state)
        self.keep, self.keep_bias = _layer(members, state, 3 * state)
        self.between, self.between_bias = _layer(members, state, hidden)
        self.out, self.out_bias = _layer(members, hidden, 2)

    def forward(self, layers: Tensor, lengths: Tensor, dropout: float) -> Tensor:
        """Outputs of shape (members, N, 2); rows are sorted, the longest first."""
        width, count = self.state, len(layers)
        state = layers.new_zeros(len(self.keep), count, width)
        for step in range(int(lengths[0])):
            running = int((lengths > step).sum())
            own = state[:, :running]
            read = layers[:running, step] @ self.read + self.read_bias
            keep = own @ self.keep + self.keep_bias
            gates = torch.sigmoid(read[..., : 2 * width] + keep[..., : 2 * width])
            candidate = torch.tanh(
                read[..., 2 * width :] + gates[..., :width] * keep[..., 2 * width :]
            )
            moved = candidate + gates[..., width:] * (own - candidate)
            state = moved if running == count else torch.cat([moved, state[:, running:]], dim=1)
        last = torch.dropout(state, dropout, True)
        hidden = torch.dropout(torch.tanh(last @ self.between + self.between_bias), dropout, True)
        outputs: Tensor = hidden @ self.out + self.out_bias
        return outputs

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Weights and biases by name."""
        return {name: p.detach().numpy() for name, p in self.named_parameters()}


def _layer(members: int, before: int, after: int) -> tuple[Parameter, Parameter]:
    weight = torch.randn(members, before, after) / before**0.5
    return Parameter(weight), Parameter(torch.zeros(members, 1, after))
