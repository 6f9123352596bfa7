"""A feed-forward policy that gives the distributions of all layers at once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from agents.original.masked_policy import MaskedPolicy, State, zeroed
from emnas_gym.problem import Problem


class RowPolicy(MaskedPolicy):
    """One pass over the sequence before gives a latent for every layer of the next one.

    The layers of one play are not independent of each other: masks follow what was placed, and the
    latent of a layer is shifted by a linear function, at first 0, of the details of the layer just
    placed.

    Args:
        problem: Space and lengths.
        width: Width of queries, keys and latents.
        hidden: Widths of the hidden layers.
    """

    def __init__(self, problem: Problem, width: int, hidden: Sequence[int]) -> None:
        super().__init__(problem, width, width)
        size = self.features.shape[1]
        sizes = [self.length * size, *hidden]
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise(sizes):
            layers += [nn.Linear(a, b), nn.ReLU()]
        self.trunk = nn.Sequential(*layers, nn.Linear(sizes[-1], self.length * width))
        self.after = zeroed(nn.Linear(size, width))

    def start(self, context: Tensor) -> State:
        """The latents of all layers, shape (B, T, width)."""
        latents = self.trunk(self.features[context].flatten(1))
        return (latents.reshape(len(context), self.length, -1).tanh(),)

    def advance(self, last: Tensor, state: State, placed: int) -> tuple[Tensor, State]:
        """The latent of this layer, shifted by the layer before."""
        return state[0][:, placed] + torch.tanh(self.after(self.features[last])), state
