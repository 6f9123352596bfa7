"""No agent that learns ever leaves the masks, whatever its parameters are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tiny_worlds
import torch

from agents.episodes import draw
from agents.factorised_policy import FactorisedPolicy
from agents.position_reinforce import PositionPolicy
from agents.runs import make_agent
from agents.token_policy import TokenPolicy
from emnas_gym.problem import Problem

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
