"""GDAS: one operation an edge is drawn and computed, its gradient reaches all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from agents.differentiable.alphas import Alphas
from agents.differentiable.gradient_agent import GradientAgent
from agents.differentiable.gradient_config import GradientConfig
from agents.differentiable.paths import connected
from agents.differentiable.supernet_search import SupernetSearch
from agents.differentiable.supernet_weights import Batch, Mixtures
from predictors.supernet.mixture import Mixture, one_hot, path, softmax
from predictors.supernet.wiring import Wiring


@dataclass(frozen=True)
class GdasConfig(GradientConfig):
    """Hyperparameters of `Gdas`."""

    epochs: int = 50
    """Passes over the half of the training images that the weights learn from; twice those of a
    search that trains all operations in every step."""

    temperature: float = 10.0
    """Temperature of the softmax in the first epoch."""

    last_temperature: float = 0.1
    """In the last epoch; it falls on a straight line, as in the paper."""

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        self.require(
            0 < self.last_temperature <= self.temperature, "0 < last_temperature ≤ temperature"
        )


class GdasSearch(SupernetSearch):
    """Every edge is o_k(x), k = argmax(α + Gumbel noise); straight-through."""

    @property
    def temperature(self) -> float:
        """τ of this epoch."""
        first, last = self.config.temperature, self.config.last_temperature
        found: float = first + (last - first) * min(self.progress, 1.0)
        return found

    def mixtures(self, alphas: Alphas) -> Mixtures:
        """One operation an edge, with the gradient of the softmax at temperature τ."""
        drawn = {g: self._drawn(a, self.net.wirings[g]) for g, a in alphas.operations.items()}
        return self.guarded(drawn)

    def _drawn(self, parameters: Tensor, wires: Wiring) -> Mixture:
        """Noise is drawn until the operations connect the output."""

        def draw() -> Tensor:
            uniform = torch.rand(parameters.shape, generator=self.generator)
            noise = -torch.log(-torch.log(uniform.clamp(1e-20, 1 - 1e-7)))
            return softmax((parameters + noise) / self.temperature, wires.offered)

        soft = connected(
            draw, wires, lambda p: one_hot(p.detach().argmax(dim=1).numpy(), wires.offered)
        )
        mask = one_hot(soft.detach().argmax(dim=1).numpy(), wires.offered)
        hard = torch.from_numpy(mask).float()
        return path(hard - soft.detach() + soft, mask)

    def architecture_gradient(self, train: Batch, valid: Batch) -> list[Tensor]:
        """∂L_valid/∂α of the one network drawn, through the softmax; plus that of latency."""
        loss = self.with_latency(self.loss(valid, self.mixtures(self.alphas)))
        return list(torch.autograd.grad(loss, self.alphas.tensors, materialize_grads=True))


class Gdas(GradientAgent):
    """Gradient-based search by a differentiable architecture sampler (Dong & Yang 2019, "GDAS").

    In every step one operation an edge is drawn, h = onehot(argmax p̃) with

        p̃ = softmax((α + g) / τ),  g ~ Gumbel(0, 1),

    and nothing else is computed; backwards h counts as p̃. τ falls from epoch to epoch, so that
    p̃ comes close to h. Expected latency is taken of softmax(α), without noise.

    Differs from the paper: noise that draws a disconnected network is drawn anew.
    """

    name: ClassVar[str] = "gdas"
    summary: ClassVar[str] = "Gradient through one drawn path a step, by Gumbel-softmax."
    config_type = GdasConfig
    search_type = GdasSearch
