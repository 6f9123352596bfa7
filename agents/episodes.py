"""Episodes of a policy, played in lock-step on the tables of the vectorised environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emnas_gym.ledger import Ledger
from emnas_gym.masks import mask_table
from emnas_gym.problem import Problem
from emnas_gym.walk_batch import WalkBatch

State = TypeVar("State")


class NextToken(Protocol[State]):
    """A distribution of the next token for each of B networks, and a state that is passed on."""

    def step(self, last: Tensor, state: State, mask: Tensor, placed: int) -> tuple[Tensor, State]:
        """Reads the last tokens; log-probabilities of the next, (B, K + 1), and the new state."""


class StepPolicy(NextToken[Tensor], Protocol):
    """What is played from the beginning, without looking at anything else."""

    def start(self, batch: int) -> Tensor:
        """The state before the first token, shape (batch, …)."""


@dataclass(frozen=True)
class Episodes:
    """Finished episodes, equally long by padding: after the end token 0 is the only legal one."""

    tokens: Tensor  # (B, T) int64
    masks: Tensor  # (B, T, K + 1) bool
    rewards: Tensor  # (B,) float64

    def network(self, row: int) -> tuple[int, ...]:
        """The tokens of one episode."""
        return tuple(token for token in self.tokens[row].tolist() if token)


@torch.no_grad()
def lock_step(
    policy: NextToken[State],
    state: State,
    problem: Problem,
    count: int,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor]:
    """Walks all networks at once: one forward pass and a handful of array operations a layer.

    Args:
        policy: Chooses the tokens.
        state: Its state before the first token.
        problem: Its masks are obeyed.
        count: How many networks.
        generator: Draws the tokens; without one each is the likeliest.

    Returns:
        Tokens filled up with 0, shape (count, T), and masks, shape (count, T, K + 1).
    """
    table, length = mask_table(problem.automaton), problem.max_layers
    walks, size = WalkBatch(table, count), problem.space.num_tokens + 1
    tokens = torch.zeros(count, length, dtype=torch.long)
    masks = torch.zeros(count, length, size, dtype=torch.bool)
    masks[:, :, 0] = True  # of what is over before the last position
    last = tokens[:, 0]
    for placed in range(length):
        rows = walks.masks(None)  # may add rows to the table
        mask = torch.from_numpy(table.rows.take(rows, axis=0)).bool()
        log_probs, state = policy.step(last, state, mask, placed)
        if generator is None:
            last = log_probs.argmax(dim=1)
        else:
            last = torch.multinomial(log_probs.exp(), 1, generator=generator)[:, 0]
        tokens[:, placed], masks[:, placed] = last, mask
        running = np.flatnonzero(walks.state >= 0)
        walks.place(running, last.numpy()[running])
        if (walks.state < 0).all():
            break
    return tokens, masks


def draw(policy: StepPolicy, problem: Problem, count: int, generator: torch.Generator) -> Episodes:
    """Draws networks in lock-step.

    Args:
        policy: Chooses the tokens.
        problem: Its masks are obeyed.
        count: How many networks.
        generator: Draws the tokens.

    Returns:
        The networks; their rewards are 0 until `measured` fills them in.
    """
    tokens, masks = lock_step(policy, policy.start(count), problem, count, generator)
    return Episodes(tokens, masks, torch.zeros(count, dtype=torch.float64))


def draw_new(
    policy: StepPolicy,
    problem: Problem,
    count: int,
    generator: torch.Generator,
    seen: set[tuple[int, ...]],
    tries: int,
) -> Episodes:
    """Draws networks; one that was measured before is drawn again, up to some times.

    Args:
        policy: Chooses the tokens.
        problem: Its masks are obeyed.
        count: How many networks.
        generator: Draws the tokens.
        seen: Canonical networks; those that are returned are added.
        tries: How often all that is known is drawn again; 0 accepts repeats at once.
    """
    episodes = draw(policy, problem, count, generator)
    for _ in range(tries):
        repeats = _repeats(episodes, problem, seen)
        if not repeats:
            break
        others = draw(policy, problem, len(repeats), generator)
        episodes.tokens[repeats], episodes.masks[repeats] = others.tokens, others.masks
    seen.update(problem.space.canonical_tokens(episodes.network(i)) for i in range(count))
    return episodes


def _repeats(episodes: Episodes, problem: Problem, seen: set[tuple[int, ...]]) -> list[int]:
    """Rows that were measured before, or stand among the rows before them."""
    known, repeats = set(seen), []
    for row in range(len(episodes.tokens)):
        key = problem.space.canonical_tokens(episodes.network(row))
        if key in known:
            repeats.append(row)
        known.add(key)
    return repeats


def measured(episodes: Episodes, ledger: Ledger) -> Episodes:
    """The same episodes with their rewards, measured in the order in which they ended.

    Args:
        episodes: Drawn networks.
        ledger: Measures; of equal length the first row comes first.

    Raises:
        BudgetSpent: If not all of them could be measured.
    """
    order = np.argsort((episodes.tokens > 0).sum(dim=1).numpy(), kind="stable")
    space = ledger.problem.space
    results = ledger.evaluate([space.architecture(episodes.network(int(i))) for i in order])
    rewards: NDArray[Any] = np.zeros(len(order))
    rewards[order] = [ledger.reward(result) for result in results]
    return Episodes(episodes.tokens, episodes.masks, torch.from_numpy(rewards))


@torch.no_grad()
def greedy(policy: StepPolicy, problem: Problem) -> tuple[int, ...]:
    """The network of the likeliest legal token at every step."""
    table, cursor, placed = problem.automaton, problem.automaton.start(), 0
    last, state = torch.zeros(1, dtype=torch.long), policy.start(1)
    while not cursor.done:
        mask = torch.from_numpy(table.mask(cursor)).bool()[None]
        log_probs, state = policy.step(last, state, mask, placed)
        last, placed = log_probs.masked_fill(~mask, -torch.inf).argmax(dim=1), placed + 1
        table.step(cursor, int(last))
    return tuple(cursor.tokens)


@dataclass
class Elite:
    """The best distinct networks so far.

    Attributes:
        size: How many.
        members: Tokens → (reward, tokens, masks), best first.
    """

    size: int
    members: dict[tuple[int, ...], tuple[float, Tensor, Tensor]] = field(default_factory=dict)

    def add(self, episodes: Episodes) -> None:
        """Takes in what is better than the worst member."""
        rows = zip(episodes.tokens, episodes.masks, episodes.rewards.tolist(), strict=True)
        for tokens, masks, reward in rows:
            self.members.setdefault(tuple(tokens.tolist()), (reward, tokens, masks))
        ranked = sorted(self.members.items(), key=lambda item: -item[1][0])
        self.members = dict(ranked[: self.size])

    def episodes(self) -> Episodes:
        """The members as a batch."""
        rewards, tokens, masks = zip(*self.members.values(), strict=True)
        scores = torch.tensor(rewards, dtype=torch.float64)
        return Episodes(torch.stack(tokens), torch.stack(masks), scores)
