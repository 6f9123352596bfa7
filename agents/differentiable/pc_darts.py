"""PC-DARTS: operations see a part of the channels, and edges into a node share one weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from agents.differentiable.alphas import Alphas
from agents.differentiable.gradient_agent import GradientAgent
from agents.differentiable.gradient_config import MixedConfig
from agents.differentiable.mixed_search import MixedSearch
from agents.differentiable.supernet_weights import Batch, Mixtures
from predictors.supernet.mixture import soft


@dataclass(frozen=True)
class PCDartsConfig(MixedConfig):
    """Hyperparameters of `PCDarts`."""

    warm_up: int = 8
    """Epochs, the first ones, in which the weights learn alone; the paper has 15 of 50."""

    divisor: int = 4
    """K: operations see 1/K of the channels, the rest goes past them."""

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        self.require(self.divisor >= 1, "divisor is 1 or more")


class PCDartsSearch(MixedSearch):
    """Every edge is β · [Σ_o softmax(α)_o · o(x of 1/K of the channels), the rest of x]."""

    with_edges: ClassVar[bool] = True

    def mixtures(self, alphas: Alphas) -> Mixtures:
        """All operations, weighted, and factors of the edges."""
        shares, factors = alphas.probabilities(), alphas.factors()
        assert factors is not None
        found = {
            group: soft(p, self.net.wirings[group].offered).with_edges(factors[group])
            for group, p in shares.items()
        }
        return self.guarded(self.restricted(found))

    def architecture_gradient(self, train: Batch, valid: Batch) -> list[Tensor]:
        """∂L_valid/∂(α, β); plus that of latency."""
        loss = self.with_latency(self.loss(valid, self.mixtures(self.alphas)))
        return list(torch.autograd.grad(loss, self.alphas.tensors, materialize_grads=True))


class PCDarts(GradientAgent):
    """Partially connected DARTS (Xu et al. 2020, "PC-DARTS").

    Only 1/K of the channels passes the operations of an edge, which costs 1/K of the memory and
    keeps operations without weights from winning at once; the rest goes past, and channels are
    shuffled. Since other channels are seen than will be, edges have weights of their own,

        β_ij = exp(b_ij) / Σ_i' exp(b_i'j),   node j = Σ_i β_ij · edge_ij(x_i),

    and strengths are β times softmax(α). Where nodes choose what they read, the product decides.
    First order.
    """

    name: ClassVar[str] = "pc-darts"
    summary: ClassVar[str] = "DARTS on a part of the channels, with weights of edges."
    config_type = PCDartsConfig
    search_type = PCDartsSearch
