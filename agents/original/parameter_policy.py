"""A policy that chooses a layer parameter by parameter: kind, filters, kernel and so on."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.original.lstm_policy import HIDDEN, LSTMPolicy
from agents.original.masked_policy import ILLEGAL, zeroed
from emnas_gym.encodings import detail_table
from emnas_gym.problem import Problem
from emnas_gym.token_space import TokenSpace

LEAST = 1e-30  # so that the logarithm of what is masked has a gradient


class ParameterPolicy(LSTMPolicy):
    """One distribution for each parameter of a layer, drawn in turn; the product is π(token).

    A value of a parameter is legal where it leads, with the values chosen before it, to a legal
    token; so what is drawn always is one. With m the mass of the legal tokens that a value leads to
    (1 each at the start, but for the end token) and z its logit,

        π(value | values before) = m · e^z / Σ over legal values of m' · e^z'.

    Tokens with equal details share their mass.

    Args:
        problem: Space and lengths.
        width: Width of embeddings.
    """

    def __init__(self, problem: Problem, width: int) -> None:
        super().__init__(problem, width, by_id=False)
        self.levels = [torch.from_numpy(level) for level in levels_of(problem.space)]
        self.values = [torch.from_numpy(value) for value in values_of(problem.space, self.levels)]
        sizes = [int(value.max()) + 1 for value in self.values]
        self.heads = nn.ModuleList(zeroed(nn.Linear(HIDDEN, size)) for size in sizes)

    def distribution(self, latent: Tensor, mask: Tensor, placed: int) -> Tensor:
        """Log-probabilities of the legal tokens, shape (B, K + 1)."""
        mass = mask * self.offset(mask, placed).exp()
        parent_of = torch.zeros(mask.shape[1], dtype=torch.long)
        total = torch.zeros_like(mass)
        for level, value, head in zip(self.levels, self.values, self.heads, strict=True):
            weight = _summed(mass, level) * head(latent)[:, value].clamp(-30.0, 30.0).exp()
            parent = torch.zeros_like(value).scatter_(0, level, parent_of)
            siblings = _summed(weight, parent)[:, parent]
            total = total + _log(weight / siblings.clamp(min=LEAST))[:, level]
            parent_of = level
        total = total + _log(mass / _summed(mass, parent_of)[:, parent_of].clamp(min=LEAST))
        return total.masked_fill(~mask, ILLEGAL).log_softmax(dim=1)


def _log(values: Tensor) -> Tensor:
    return values.clamp(min=LEAST).log()


def _summed(values: Tensor, groups: Tensor) -> Tensor:
    """Sums over the entries of each group, shape (B, groups)."""
    sums = values.new_zeros(len(values), int(groups.max()) + 1)
    return sums.index_add(1, groups, values)


def levels_of(space: TokenSpace) -> list[NDArray[np.int64]]:
    """For each parameter: a number for every token, equal where it and all before it are equal.

    Parameters that are equal for all tokens are left out.
    """
    told = _telling(space)
    prefixes = [told[:, : n + 1] for n in range(told.shape[1])]
    return [np.unique(rows, axis=0, return_inverse=True)[1].ravel() for rows in prefixes]


def values_of(space: TokenSpace, levels: list[Tensor]) -> list[NDArray[np.int64]]:
    """For each parameter: the index of its value for each group of tokens of `levels_of`."""
    found = []
    for column, level in zip(_telling(space).T, levels, strict=True):
        index = np.unique(column, return_inverse=True)[1].ravel()
        values = np.zeros(int(level.max()) + 1, dtype=np.int64)
        values[level.numpy()] = index
        found.append(values)
    return found


def _telling(space: TokenSpace) -> NDArray[np.float32]:
    """The details of all tokens that are not equal for all of them, shape (K + 1, parameters)."""
    details = detail_table(space)
    return details[:, [len(np.unique(column)) > 1 for column in details[1:].T]]
