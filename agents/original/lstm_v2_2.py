"""lstm_v2_2: the details of the sequence before in, one distribution per layer out."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from agents.original.masked_policy import MaskedPolicy, State, zeroed
from agents.original.original_agent import MendedAgent
from emnas_gym.problem import Problem

HIDDEN = 100


class MatrixPolicy(MaskedPolicy):
    """One pass of an LSTM over the layers of the sequence before gives every layer's latent.

    The latent of a layer is shifted by a linear function, at first 0, of the layer just placed.

    Args:
        problem: Space and lengths.
        width: Width of queries and keys.
    """

    def __init__(self, problem: Problem, width: int) -> None:
        super().__init__(problem, width, HIDDEN)
        size = self.features.shape[1]
        self.read = nn.LSTM(size + self.length, HIDDEN, batch_first=True)
        self.after = zeroed(nn.Linear(size, HIDDEN))

    def start(self, context: Tensor) -> State:
        """The latents of all layers, shape (B, T, HIDDEN)."""
        places = torch.eye(self.length).expand(len(context), -1, -1)
        return (self.read(torch.cat([self.features[context], places], dim=2))[0],)

    def advance(self, last: Tensor, state: State, placed: int) -> tuple[Tensor, State]:
        """The latent of this layer, shifted by the layer before."""
        return state[0][:, placed] + torch.tanh(self.after(self.features[last])), state


class LSTMV22(MendedAgent):
    """EMNAS lstm_v2_2: one forward pass gives one distribution per layer.

    Its input is the best sequence so far; one play is one decision, ∇ log π(a) · (r − b) / σ.
    Built after the README of EMNAS (2021), whose notebook is not to be had; it has no original
    form.
    """

    name: ClassVar[str] = "lstm-v2-2"
    summary: ClassVar[str] = "EMNAS lstm_v2_2 after its README: one distribution per layer."
    from_best: ClassVar[bool] = True

    def _policy(self, problem: Problem) -> MaskedPolicy:
        return MatrixPolicy(problem, self.config.width)
