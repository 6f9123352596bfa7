"""Weight decay that is tuned by its gradient on images that the weights do not see."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class WeightDecay:
    """The decay δ of one step ago, made better (Luketina et al. 2016, the T1–T2 method).

    After a step w' = w - η(∇L_train + δw + …) the loss on other images changes with δ by

        dL_valid/dδ = -η ∇L_valid(w') · w

    where what w itself owes to earlier δ is left out. Adam descends in log δ, which keeps δ > 0.

    Args:
        optimiser: SGD of the weights; the decay of its groups is changed.
        rate: Of Adam.
    """

    def __init__(self, optimiser: torch.optim.SGD, rate: float) -> None:
        self._groups = optimiser.param_groups
        self._weights: list[Tensor] = [w for group in self._groups for w in group["params"]]
        first = float(self._groups[0]["weight_decay"])
        self._log = torch.tensor(math.log(first), dtype=torch.float64, requires_grad=True)
        self._adam = torch.optim.Adam([self._log], rate)
        self._before: list[Tensor] = []
        self._rate = 0.0

    @property
    def value(self) -> float:
        """δ."""
        return float(self._groups[0]["weight_decay"])

    def remember(self) -> None:
        """To be called right before a step of the optimiser."""
        self._before = [weight.detach().clone() for weight in self._weights]
        self._rate = float(self._groups[0]["lr"])

    def hypergradient(self, gradients: Sequence[Tensor]) -> float:
        """dL_valid/dδ.

        Args:
            gradients: ∇L_valid of every weight after the step.
        """
        pairs = zip(gradients, self._before, strict=True)
        return -self._rate * float(sum((g.double() * w.double()).sum() for g, w in pairs))

    def update(self, valid_loss: Callable[[], Tensor]) -> None:
        """One step of log δ; none before the weights have made one.

        Args:
            valid_loss: Makes the loss of the other images at the present weights.
        """
        if not self._before:
            return
        gradients = torch.autograd.grad(valid_loss(), self._weights, materialize_grads=True)
        self._log.grad = torch.tensor(self.value * self.hypergradient(gradients)).double()
        self._adam.step()
        for group in self._groups:
            group["weight_decay"] = math.exp(self._log.item())
