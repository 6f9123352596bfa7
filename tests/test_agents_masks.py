"""No agent ever leaves the masks: what all of them place, and policies of any parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import tiny_worlds
import torch
from table_worlds import long_table

from agents.episodes import draw
from agents.factorised_policy import FactorisedPolicy
from agents.position_reinforce import PositionPolicy
from agents.runs import make_agent
from agents.token_policy import TokenPolicy
from emnas_gym.architecture import Architecture
from emnas_gym.automaton import Automaton
from emnas_gym.evaluator import Evaluator, Result
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem
from emnas_gym.registry import reward_driven
from emnas_gym.table_env import table_problem

RL = {"envs": 4, "hidden": 16, "width": 4, "unplayed": True}
AGENTS: dict[str, dict[str, Any]] = {
    "reinforce": {"hidden": 8, "width": 4},
    "factorised-reinforce": {"hidden": 8, "width": 4},
    "position-reinforce": {"learning_rate": 0.5},
    "network-policy": {"drawn": 40},
    "q-learning": {"replays": 2, "horizon": 20},
    "ppo": RL,
    "recurrent-ppo": RL | {"recurrent": 8},
    "dqn": RL | {"updates": 1},
}


UNMASKED = ("ppo", "a2c", "dqn", "recurrent-ppo")  # learn what is legal by themselves
MASKED = [name for name in sorted(reward_driven()) if name not in UNMASKED]
WORLDS = ("chain", "table")
MILLION, RUN = 1_000_000, 500  # steps of all agents in one world; evaluations of one run
# agent → evaluations of its only run; the others share what is left of the million
SLOW = dict.fromkeys(("bananas", "cartographer", "gp", "pnas", "tpe"), 100)
SLOW |= dict.fromkeys(("cma-es", "controller-v1", "factorised-reinforce", "lstm-v2-3"), 1000)
SLOW |= dict.fromkeys(("maskable-ppo", "network-policy", "train-sort"), 1000)


class Counting(Ledger):
    """A ledger that holds every token which is proposed against the mask of its place.

    Attributes:
        placed: Tokens of networks that were proposed.
        illegal: Those that the mask forbids, and networks that are not finished.
    """

    placed = illegal = 0

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        for network in batch:
            self.placed += len(network.tokens)
            self.illegal += illegal_tokens(self.problem.automaton, network.tokens)
        return super()._evaluate(batch)

    def counted(self) -> tuple[int, int]:
        """Steps, and how many of them were illegal.

        In environments those of actions: what they replace an illegal one by is always legal.
        """
        return self.steps or self.placed, self.invalid_steps + self.illegal


def illegal_tokens(table: Automaton, tokens: Sequence[int]) -> int:
    """1 if a token is illegal where it stands, or if the end is missing; 0 for a legal network."""
    cursor = table.start()
    for token in tokens:
        if not table.mask(cursor)[token]:
            return 1
        table.step(cursor, token)
    return 0 if cursor.done else 1


def _world(kind: str, problem: Problem) -> tuple[Problem, Evaluator]:
    """A chain with an end token, or a table with gaps; budgets forbid some of either."""
    if kind == "chain":
        return problem, tiny_worlds.Formula()
    return table_problem(long_table(), budgets={"macs": 1100})


def _played(kind: str, problem: Problem, name: str, evaluations: int, seed: int) -> Counting:
    problem, evaluator = _world(kind, problem)
    ledger = Counting(evaluator, problem, evaluations)
    make_agent(name).search(problem, ledger, seed)
    assert ledger.count == evaluations
    return ledger


@pytest.mark.parametrize("kind", WORLDS)
def test_what_is_illegal_is_counted(problem: Problem, kind: str) -> None:
    """The count of the tests below is not always 0."""
    known, _ = _world(kind, problem)
    table, rng = known.automaton, np.random.default_rng(0)
    assert known.budgets.macs is not None or known.budgets.flash_bytes is not None
    tokens = known.space.sample(rng, known.task, known.budgets).tokens
    mask = table.mask(table.start())
    forbidden = int(np.flatnonzero(mask == 0)[-1])
    assert illegal_tokens(table, tokens) == 0
    assert illegal_tokens(table, (forbidden, *tokens[1:])) == 1
    assert illegal_tokens(table, tokens[:-1]) == 1
    assert illegal_tokens(table, (*tokens, tokens[-1])) == 1
    assert _played(kind, problem, "ppo", 20, 0).counted()[1] > 0, "which sees no masks"


@pytest.mark.slow
@pytest.mark.parametrize("kind", WORLDS)
def test_no_agent_is_illegal_in_a_million_steps(problem: Problem, kind: str) -> None:
    """All of ours that draw within masks, as long as each other but for those that take long."""
    steps, illegal = dict.fromkeys(MASKED, 0), dict.fromkeys(MASKED, 0)

    def play(name: str, evaluations: int, seed: int) -> None:
        placed, wrong = _played(kind, problem, name, evaluations, seed).counted()
        steps[name] += placed
        illegal[name] += wrong

    for name, evaluations in SLOW.items():
        play(name, evaluations, 0)
    others, seed = [name for name in MASKED if name not in SLOW], 0
    while sum(steps.values()) < MILLION:
        for name in others:
            play(name, RUN, seed)
        seed += 1
    print(f"{kind}: {sum(steps.values()):,} steps, {steps}")
    assert illegal == dict.fromkeys(MASKED, 0)


@pytest.mark.parametrize("name", AGENTS)
def test_what_is_measured_fits(problem: Problem, name: str) -> None:
    ledger = tiny_worlds.formula(problem, 24)
    make_agent(name, **AGENTS[name]).search(problem, ledger, 3)
    assert ledger.count == 24
    assert all(problem.automaton.fits(row.tokens) for row in ledger.rows)


def _wild(policy: torch.nn.Module, size: float, seed: int) -> None:
    """Parameters far from the start, new for every seed."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.copy_(size * torch.randn_like(parameter))


def _steps(problem: Problem, batch: int, least: int) -> int:
    """Plays policies of many parameters until so many tokens were placed; all must be legal."""
    placed, seed = 0, 0
    table, rng = problem.automaton, np.random.default_rng(0)
    while placed < least:
        for kind in (TokenPolicy, FactorisedPolicy):
            policy = kind(problem, 8, 4)
            _wild(policy, (0.1, 1.0, 5.0)[seed % 3], seed)
            episodes = draw(policy, problem, batch, torch.Generator().manual_seed(seed))
            assert episodes.masks.gather(2, episodes.tokens[..., None]).all()
            assert all(table.fits(episodes.network(row)) for row in range(batch))
            placed += int((episodes.tokens > 0).sum())
        positions = PositionPolicy(table)
        positions.logits += (seed % 5) * rng.normal(size=positions.logits.shape)
        for _ in range(batch // 10 + 1):
            tokens, _ = positions.walk(rng)
            assert table.fits(tokens)
            placed += len(tokens)
        seed += 1
    return placed


def test_masks_hold_in_many_steps(problem: Problem) -> None:
    assert _steps(problem, batch=100, least=8_000) >= 8_000


@pytest.mark.slow
def test_masks_hold_in_a_million_steps(problem: Problem) -> None:
    assert _steps(problem, batch=1000, least=1_000_000) >= 1_000_000
