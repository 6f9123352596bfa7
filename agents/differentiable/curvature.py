"""Curvature of a loss: the dominant eigenvalue of its Hessian by power iteration."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def dominant_eigenvalue(
    loss: Tensor, tensors: Sequence[Tensor], steps: int, generator: torch.Generator
) -> float:
    """The eigenvalue of largest absolute value, as its Rayleigh quotient.

    Products of Hessian and vector are exact: Hv = ∂(∂L/∂x · v)/∂x (Pearlmutter 1994).

    Args:
        loss: A scalar that can be differentiated twice.
        tensors: What the Hessian is of, together.
        steps: Of the power iteration.
        generator: Draws the first vector.
    """
    firsts = torch.autograd.grad(loss, tensors, create_graph=True, materialize_grads=True)
    gradient = torch.cat([first.reshape(-1) for first in firsts])
    vector = torch.randn(len(gradient), generator=generator, dtype=torch.float64)
    vector = (vector / vector.norm()).to(gradient.dtype)
    value = 0.0
    for _ in range(steps):
        seconds = torch.autograd.grad(
            gradient @ vector, tensors, retain_graph=True, materialize_grads=True
        )
        product = torch.cat([second.reshape(-1) for second in seconds])
        value, length = float(product @ vector), float(product.norm())
        if length == 0:
            return 0.0
        vector = product / length
    return value
