"""The gradient of an architecture through one step of the weights: second-order DARTS."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]
Loss = Callable[[Weights], Tensor]  # of weights; architecture parameters are the ones that learn
RADIUS = 0.01  # of the finite difference, in lengths of ∇L_valid, as in the paper


@dataclass(frozen=True)
class Step:
    """One step of SGD, as the optimiser of the weights takes it.

    Attributes:
        rate: ξ.
        momentum: Factor of the velocity.
        decay: Weight decay.
        velocity: Of every weight what the optimiser remembers; nothing before its first step.
    """

    rate: float
    momentum: float
    decay: float
    velocity: Weights

    def of(self, name: str, weight: Tensor, gradient: Tensor) -> Tensor:
        """The weight after the step."""
        moved = gradient + self.decay * weight
        if name in self.velocity:
            moved = moved + self.momentum * self.velocity[name]
        return weight - self.rate * moved


def unrolled_gradient(
    train_loss: Loss, valid_loss: Loss, weights: Weights, alphas: Sequence[Tensor], step: Step
) -> list[Tensor]:
    """∂L_valid(w', α)/∂α with w' = w - ξ(∇_w L_train(w, α) + …).

    The second term of the chain rule, -ξ ∇²_{α,w} L_train · ∇_{w'} L_valid, is a finite difference
    of ∇_α L_train (Liu et al. 2019, equations 7 and 8).

    Args:
        train_loss: L_train of weights.
        valid_loss: L_valid of weights.
        weights: w, by name, without a graph.
        alphas: Architecture parameters of which both losses are made.
        step: The step of the weights.

    Returns:
        The gradient of each of ``alphas``.
    """
    leaves = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
    found = _gradient(train_loss(leaves), list(leaves.values()))
    ahead = {
        name: step.of(name, weight.detach(), gradient).requires_grad_()
        for (name, weight), gradient in zip(weights.items(), found, strict=True)
    }
    both = _gradient(valid_loss(ahead), [*alphas, *ahead.values()])
    first, direction = both[: len(alphas)], both[len(alphas) :]
    length = float(torch.sqrt(sum((d.square().sum() for d in direction), torch.zeros(()))))
    if length == 0:
        return first
    radius = RADIUS / length
    ends = []
    for sign in (1.0, -1.0):
        moved = {
            name: weight.detach() + sign * radius * d
            for (name, weight), d in zip(weights.items(), direction, strict=True)
        }
        ends.append(_gradient(train_loss(moved), list(alphas)))
    return [
        a - step.rate * (plus - minus) / (2 * radius)
        for a, plus, minus in zip(first, *ends, strict=True)
    ]


def _gradient(loss: Tensor, tensors: list[Tensor]) -> list[Tensor]:
    return list(torch.autograd.grad(loss, tensors, materialize_grads=True))
