"""The networks of the original, parameter for parameter, with the initial values of their time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

HIDDEN = 100
KERAS_EPSILON = 1e-7


def dense(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer with Glorot-uniform weights and biases of 0."""
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class DenseStack(nn.Module):
    """Dense layers with ReLU, and at the end logits of several rows.

    The original put one softmax over all rows together and divided each row by its sum; that is
    the softmax of each row, which is taken here, since it cannot underflow.

    Args:
        inputs: Raw integers that come in.
        widths: Of the hidden layers.
        rows: Distributions that come out.
        classes: Classes of each.
    """

    def __init__(self, inputs: int, widths: Sequence[int], rows: int, classes: int) -> None:
        super().__init__()
        self.rows, self.classes = rows, classes
        sizes = [inputs, *widths]
        layers = [dense(a, b) for a, b in itertools.pairwise(sizes)]
        self.hidden = nn.ModuleList(layers)
        self.output = dense(sizes[-1], rows * classes)

    def forward(self, sequences: Tensor) -> Tensor:
        """Probabilities, shape (B, rows, classes), of raw integers, shape (B, inputs)."""
        values = sequences
        for layer in self.hidden:
            values = layer(values).relu()
        logits: Tensor = self.output(values).reshape(-1, self.rows, self.classes)
        return logits.softmax(dim=-1)


class OneBiasLSTM(nn.Module):
    """An LSTM layer with a single bias for each gate, that of the forget gate starting at 1.

    Args:
        inputs: Width of what comes in.
        hidden: Width of the state.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.empty(4 * hidden, inputs))
        self.recurrent = nn.Parameter(torch.empty(4 * hidden, hidden))
        self.bias = nn.Parameter(torch.zeros(4 * hidden))
        nn.init.xavier_uniform_(self.kernel)
        nn.init.orthogonal_(self.recurrent)
        with torch.no_grad():
            self.bias[hidden : 2 * hidden] = 1.0

    def forward(self, inputs: Tensor) -> Tensor:
        """States after each step, shape (B, T, hidden), of inputs (B, T, F)."""
        hidden = self.recurrent.shape[1]
        state = inputs.new_zeros(len(inputs), hidden)
        cell, states = state, []
        for t in range(inputs.shape[1]):
            gates = inputs[:, t] @ self.kernel.T + state @ self.recurrent.T + self.bias
            enter, forget, value, leave = gates.chunk(4, dim=1)
            cell = forget.sigmoid() * cell + enter.sigmoid() * value.tanh()
            state = leave.sigmoid() * cell.tanh()
            states.append(state)
        return torch.stack(states, dim=1)


class OneStepLSTM(nn.Module):
    """Two LSTM layers that get the whole sequence as the features of a single time step.

    Args:
        inputs: Raw integers that come in.
        classes: Classes of the distribution that comes out.
    """

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.first = OneBiasLSTM(inputs, HIDDEN)
        self.second = OneBiasLSTM(HIDDEN, HIDDEN)
        self.output = dense(HIDDEN, classes)

    def forward(self, sequences: Tensor) -> Tensor:
        """Probabilities of the next token, shape (B, classes), of raw integers (B, inputs)."""
        states = self.second(self.first(sequences[:, None]))
        probabilities: Tensor = self.output(states[:, -1]).softmax(dim=-1)
        return probabilities


class DecayingAdam:
    """Adam whose step size falls as lr / (1 + decay · steps), each gradient clipped by itself.

    Args:
        parameters: What is learned.
        learning_rate: Of the first step.
        decay: How fast it falls; 0 keeps it.
        clip: Largest norm of the gradient of each single tensor; none if None.
    """

    def __init__(
        self,
        parameters: Iterator[nn.Parameter],
        learning_rate: float,
        decay: float = 0.0,
        clip: float | None = None,
    ) -> None:
        self.parameters = list(parameters)
        self.adam = torch.optim.Adam(self.parameters, learning_rate, eps=KERAS_EPSILON)
        self.learning_rate, self.decay, self.clip, self.steps = learning_rate, decay, clip, 0

    def step(self, loss: Tensor) -> None:
        """One step down the gradient of a loss."""
        self.adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if self.clip is not None:
            for parameter in self.parameters:
                torch.nn.utils.clip_grad_norm_([parameter], self.clip)
        for group in self.adam.param_groups:
            group["lr"] = self.learning_rate / (1.0 + self.decay * self.steps)
        self.adam.step()
        self.steps += 1
