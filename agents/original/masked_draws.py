"""Sequences drawn from a masked policy in lock-step, new ones where there are any."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from agents.episodes import Episodes, lock_step
from agents.original.masked_policy import MaskedPolicy
from emnas_gym.problem import Problem

Tokens = tuple[int, ...]


@torch.no_grad()
def draw(
    policy: MaskedPolicy,
    problem: Problem,
    context: Tensor,
    count: int,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor]:
    """Draws sequences, all in lock-step; the masks are those of their walks.

    Args:
        policy: Acts.
        problem: What is legal.
        context: The sequence that the policy looks at, shape (T,).
        count: How many.
        generator: Draws the tokens; without one each is the likeliest.

    Returns:
        Tokens filled up with 0, shape (count, T), and masks, shape (count, T, K + 1).
    """
    state = policy.start(context.expand(count, -1))
    return lock_step(policy, state, problem, count, generator)


class Draws:
    """Batches of sequences of one search, of networks that were not drawn before where possible.

    Args:
        problem: What is legal.
        batch: Sequences of a batch.
        tries: How often a batch is drawn for new networks before repeats are accepted.
        generator: Draws the tokens.
    """

    def __init__(
        self, problem: Problem, batch: int, tries: int, generator: torch.Generator
    ) -> None:
        self.problem, self.batch, self.tries = problem, batch, tries
        self.generator = generator
        self._seen: set[Tokens] = set()

    def take(self, policy: MaskedPolicy, context: Tensor) -> Episodes:
        """Draws a batch; rewards are 0 until they are known."""
        kept: list[tuple[Tensor, Tensor]] = []
        for _ in range(self.tries):
            tokens, masks = draw(policy, self.problem, context, self.batch, self.generator)
            new = [i for i in range(self.batch) if self._is_new(tokens[i])]
            kept += [(tokens[i], masks[i]) for i in new]
            if len(kept) >= self.batch:
                break
        repeats = zip(tokens, masks, strict=True)  # of the last draw: what the policy likes now
        chosen = [*kept, *repeats][: self.batch]
        for row, _ in kept[self.batch :]:
            self._seen.discard(self._key(row))
        stacked = [torch.stack(parts) for parts in zip(*chosen, strict=True)]
        return Episodes(stacked[0], stacked[1], torch.zeros(self.batch, dtype=torch.float64))

    def _is_new(self, row: Tensor) -> bool:
        key = self._key(row)
        new = key not in self._seen
        self._seen.add(key)
        return new

    def _key(self, row: Tensor) -> Tokens:
        return self.problem.space.canonical_tokens(next(networks(row[None])))


def networks(tokens: Tensor) -> Iterator[Tokens]:
    """Sequences without what fills them up."""
    for row in tokens.tolist():
        yield tuple(token for token in row if token)
