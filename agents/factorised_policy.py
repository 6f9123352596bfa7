"""A policy whose action is factorised into the fields of a layer, one head a field."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.token_policy import ILLEGAL, TokenPolicy
from emnas_gym.encodings import detail_table
from emnas_gym.problem import Problem
from emnas_gym.token_space import TokenSpace

Ints = NDArray[np.int64]


def fields_of(space: TokenSpace) -> tuple[Ints, list[int]]:
    """The fields of every token as numbers of their values, and how many values each field has.

    Fields that tell no tokens apart which those before it do not tell apart are left out. The last
    one numbers tokens that agree in all others (such as twice the same layer), if there are any.

    Returns:
        Shape (K + 1, fields), row 0 is of no token; the number of values of each field.
    """
    details = detail_table(space)[1:]
    columns, told = [np.zeros(len(details), dtype=np.int64)], 1
    for detail in details.T:
        column = np.unique(detail, return_inverse=True)[1].ravel().astype(np.int64)
        count = len(np.unique(np.stack([*columns, column], axis=1), axis=0))
        if count > told:
            columns.append(column)
            told = count
    if told < len(details):
        columns.append(_number_among_equals(np.stack(columns, axis=1)))
    values = np.stack(columns[1:] or columns, axis=1)
    sizes = [int(n) + 1 for n in values.max(axis=0)]
    return np.concatenate([np.zeros((1, len(sizes)), dtype=np.int64), values]), sizes


def _number_among_equals(rows: Ints) -> Ints:
    """For each row how many equal rows stand before it."""
    seen: dict[tuple[int, ...], int] = {}
    numbers = np.zeros(len(rows), dtype=np.int64)
    for i, row in enumerate(map(tuple, rows.tolist())):
        numbers[i] = seen.get(row, 0)
        seen[row] = numbers[i] + 1
    return numbers


class FactorisedPolicy(TokenPolicy):
    """π(token) = Π π(field | fields before it), each head over the values that are still legal.

    The heads are read in order: kind, filters, …, as the details of the space stand. Head j scores
    the values v of field j by w_v · (state + Σ embeddings of the values chosen before).
    Its softmax runs over the values v for which a legal token with the fields so far and v exists,
    so that every product of choices is one legal token, and Σ π over the legal tokens is 1 exactly.
    A fixed offset within each head makes all legal tokens equally likely at the start, the end
    token aside, whose offset makes lengths about uniform.

    Args:
        problem: Space and lengths.
        hidden: Width of the recurrent state.
        width: Width of embeddings.
        cell: ``"gru"`` or ``"lstm"``.
    """

    choices: Tensor  # (K + 1, fields) int64

    def __init__(self, problem: Problem, hidden: int, width: int, cell: str = "lstm") -> None:
        super().__init__(problem, hidden, width, cell)
        del self.key, self.own_key, self.query
        choices, self.sizes = fields_of(problem.space)
        self.register_buffer("choices", torch.from_numpy(choices))
        self._number_prefixes(choices)
        self.chosen = nn.ModuleList(nn.Embedding(size, hidden) for size in self.sizes[:-1])
        self.heads = nn.ModuleList(nn.Linear(hidden, size) for size in self.sizes)
        for head in self.heads:
            assert isinstance(head, nn.Linear)
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        for embedding in self.chosen:
            assert isinstance(embedding, nn.Embedding)
            nn.init.normal_(embedding.weight, std=0.1)

    def _number_prefixes(self, choices: Ints) -> None:
        """Numbers of the distinct beginnings (first j fields) of all tokens, for each j."""
        self._before: list[Tensor] = []  # (K + 1,): beginning of length j of each token
        self._firsts: list[Tensor] = []  # (beginnings,): one token of each
        for j in range(choices.shape[1] + 1):
            _, first, inverse = np.unique(
                choices[1:, :j] if j else np.zeros((len(choices) - 1, 1), dtype=np.int64),
                axis=0,
                return_index=True,
                return_inverse=True,
            )
            numbers = np.concatenate([[0], inverse.ravel()])
            self._before.append(torch.from_numpy(numbers.astype(np.int64)))
            self._firsts.append(torch.from_numpy(first.astype(np.int64) + 1))

    def step(self, last: Tensor, state: Tensor, mask: Tensor, placed: int) -> tuple[Tensor, Tensor]:
        """Reads one token and gives the distribution of the next; see `TokenPolicy.step`."""
        state = self._read(last, state)
        return self.log_probs(state[:, : self.hidden], mask, placed), state

    def log_probs(self, output: Tensor, mask: Tensor, placed: int) -> Tensor:
        """Log-probabilities of all tokens, a product over the heads, shape (B, K + 1).

        Args:
            output: Of the recurrent cell, (B, H).
            mask: Legal tokens, (B, K + 1); where 0 alone is, it is certain.
            placed: Number of layers placed.
        """
        weights = self._start_weights(mask, placed)  # (B, K + 1)
        total = torch.zeros_like(weights)
        chosen = output.new_zeros(1, self.hidden)  # (beginnings of length j, H)
        for j, head in enumerate(self.heads):
            assert isinstance(head, nn.Linear)
            scores = head(output)[:, None] + chosen @ head.weight.T  # (B, beginnings, values)
            total = total + self._head(j, scores, weights)
            if j < len(self.chosen):
                firsts = self._firsts[j + 1]
                parent, value = self._before[j][firsts], self.choices[firsts, j]
                chosen = chosen[parent] + self.chosen[j](value)
        over = mask[:, 0]
        total = total.masked_fill(~mask, ILLEGAL)
        certain = torch.full_like(total, ILLEGAL)
        certain[:, 0] = 0.0
        return torch.where(over[:, None], certain, total)

    def _start_weights(self, mask: Tensor, placed: int) -> Tensor:
        """Weights of the tokens at the start: legal ones alike, the end token by its offset."""
        weights = mask.to(self.features.dtype)
        end = self.end_token
        if end:
            others = (mask.sum(dim=1) - mask[:, end].long()).clamp(min=1)
            share = self.end_offset[placed].exp() * others
            weights = weights.clone()
            weights[:, end] = weights[:, end] * share
        weights[:, 0] = 0.0
        return weights

    def _head(self, j: int, scores: Tensor, weights: Tensor) -> Tensor:
        """Log π(field j | fields before) of every token, (B, K + 1); 0 where nothing is legal.

        Args:
            j: Number of the field.
            scores: Of the values of the field after each beginning, (B, beginnings, values).
            weights: Weights of the tokens at the start.
        """
        before, after = self._before[j], self._before[j + 1]
        firsts = self._firsts[j + 1]
        mass = weights.new_zeros(len(weights), len(firsts)).index_add(1, after, weights)
        value, parent = self.choices[firsts, j], before[firsts]
        legal = mass > 0
        logits = scores[:, parent, value] + mass.clamp(min=1e-30).log()
        logits = logits.masked_fill(~legal, ILLEGAL)
        top = logits.new_full((len(logits), scores.shape[1]), ILLEGAL)
        index = parent.expand(len(logits), -1)
        top = top.scatter_reduce(1, index, logits.detach(), "amax")
        parts = (logits - top[:, parent]).exp() * legal
        sums = parts.new_zeros(top.shape).index_add(1, parent, parts)
        log_sums = sums.clamp(min=1e-30).log()
        chances = (logits - top[:, parent] - log_sums[:, parent]).masked_fill(~legal, 0.0)
        return chances[:, after]
