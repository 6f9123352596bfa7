"""Sequences drawn from a masked policy in lock-step, new ones where there are any."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from agents.episodes import Episodes
from agents.original.masked_policy import MaskedPolicy
from emnas_gym.masks import mask_table
from emnas_gym.problem import Problem
from emnas_gym.walk_batch import WalkBatch

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
    walks = WalkBatch(mask_table(problem.automaton), count)
    size, length = problem.space.num_tokens + 1, problem.max_layers
    masks = torch.zeros(count, length, size, dtype=torch.bool)
    masks[..., 0] = True  # of what is over before the last position
    last, state = torch.zeros(count, dtype=torch.long), policy.start(context.expand(count, -1))
    for placed in range(length):
        rows = walks.masks(None)
        masks[:, placed] = torch.from_numpy(walks.table.rows[rows]).bool()
        log_probs, state = policy.step(last, state, masks[:, placed], placed)
        if generator is None:
            last = log_probs.argmax(dim=1)
        else:
            last = torch.multinomial(log_probs.exp(), 1, generator=generator)[:, 0]
        running = np.flatnonzero(walks.state >= 0)
        walks.place(running, last.numpy()[running])
        if (walks.state < 0).all():
            break
    return torch.from_numpy(walks.tokens.copy()), masks


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
