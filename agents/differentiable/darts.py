"""DARTS: all operations of an edge mixed by a softmax, weights and architecture in turns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from agents.differentiable.alphas import Alphas
from agents.differentiable.gradient_agent import GradientAgent
from agents.differentiable.gradient_config import MixedConfig
from agents.differentiable.mixed_search import MixedSearch
from agents.differentiable.supernet_weights import Batch, Mixtures
from agents.differentiable.unrolled import Step, unrolled_gradient
from predictors.supernet.mixed_edge import statistics_kept
from predictors.supernet.mixture import soft


@dataclass(frozen=True)
class DartsConfig(MixedConfig):
    """Hyperparameters of `Darts`."""

    order: int = 1
    """1: the architecture learns at the weights as they are; 2: at the weights after one step of
    theirs, which costs four times as much."""

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        self.require(self.order in (1, 2), "order is 1 or 2")


class DartsSearch(MixedSearch):
    """Every edge is Σ_o softmax(α)_o · o(x)."""

    def mixtures(self, alphas: Alphas) -> Mixtures:
        """All operations, weighted."""
        shares = alphas.probabilities()
        found = {group: soft(p, self.net.wirings[group].offered) for group, p in shares.items()}
        return self.guarded(self.restricted(found))

    def architecture_gradient(self, train: Batch, valid: Batch) -> list[Tensor]:
        """∂L_valid(w, α)/∂α, or ∂L_valid(w - ξ∇L_train(w, α), α)/∂α; plus that of latency."""
        if self.config.order == 2:
            return self._second_order(train, valid)
        loss = self.with_latency(self.loss(valid, self.mixtures(self.alphas)))
        return list(torch.autograd.grad(loss, self.alphas.tensors, materialize_grads=True))

    def _second_order(self, train: Batch, valid: Batch) -> list[Tensor]:
        def loss(batch: Batch, weights: dict[str, Tensor]) -> Tensor:
            self.images += len(batch.x)
            given = batch.x, self.mixtures(self.alphas)
            return functional.cross_entropy(
                torch.func.functional_call(self.net, weights, given), batch.y
            )

        (group,) = self.optimiser.param_groups
        states = {name: self.optimiser.state[w] for name, w in self.weights.items()}
        velocity = {n: s["momentum_buffer"] for n, s in states.items() if "momentum_buffer" in s}
        step = Step(group["lr"], group["momentum"], group["weight_decay"], velocity)
        with statistics_kept(self.net):  # the steps ahead are never taken
            return unrolled_gradient(
                lambda weights: loss(train, dict(weights)),
                lambda weights: self.with_latency(loss(valid, dict(weights))),
                self.weights,
                self.alphas.tensors,
                step,
            )

    def architecture_images(self, train: int, valid: int) -> int:
        """The second order reads the images of the weights three times more."""
        further = 3 * train if self.config.order == 2 else 0
        return super().architecture_images(train, valid) + further


class Darts(GradientAgent):
    """Differentiable architecture search (Liu, Simonyan & Yang 2019, "DARTS").

    The supernet computes Σ_o softmax(α)_o · o(x) on every edge. In every step α descends L_valid on
    one half of the training images, then the weights descend L_train on the other. With order=2 the
    gradient of α looks through one step of the weights,

        ∇_α L_valid(w', α) - ξ (∇_α L_train(w⁺, α) - ∇_α L_train(w⁻, α)) / 2ε,

    w± = w ± ε ∇_{w'} L_valid(w', α). The strongest operations are the genotype, which the ledger
    measures; a new supernet begins, until nothing is left.

    Differs from the paper: the genotype's operations may be ``none`` where the space has it, and a
    network that would be disconnected or break the budgets gives way to the nearest that does not.
    """

    name: ClassVar[str] = "darts"
    summary: ClassVar[str] = "Gradient descent on a softmax over operations, first or second order."
    config_type = DartsConfig
    search_type = DartsSearch
