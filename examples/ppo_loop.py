"""PPO in one file, in CleanRL's structure, with masked logits, on a vector environment.

``python examples/ppo_loop.py --steps 100000`` searches; ``--native`` takes the batched environment.
Proximal policy optimisation: Schulman et al. 2017; its details: Huang et al. 2022.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Categorical

import emnas_gym  # noqa: F401  registers the environments


@dataclass(frozen=True)
class Settings:
    """What is searched, and how."""

    steps: int = 100_000  # of all environments together
    envs: int = 8
    length: int = 64  # steps of each environment between two updates
    epochs: int = 4
    minibatches: int = 4
    learning_rate: float = 1e-3
    discount: float = 1.0  # an episode has at most fifteen steps, and pays at its end
    trace: float = 0.95  # λ of generalised advantage estimation
    clip: float = 0.2
    entropy: float = 0.01
    value: float = 0.5
    seed: int = 0
    native: bool = False


class Policy(nn.Module):
    """Token ids → masked logits of the next token, and the value of the network so far."""

    def __init__(self, length: int, tokens: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, 16)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(16 * length, 128), nn.Tanh())
        self.actor, self.critic = nn.Linear(128, tokens), nn.Linear(128, 1)
        nn.init.orthogonal_(self.actor.weight, 0.01)
        nn.init.zeros_(self.actor.bias)

    def forward(self, observation: Tensor, mask: Tensor) -> tuple[Categorical, Tensor]:
        """Distribution over legal tokens, and values of shape (N,)."""
        hidden = self.body(self.embedding(observation))
        logits = self.actor(hidden).masked_fill(~mask, -1e9)
        return Categorical(logits=logits), self.critic(hidden).squeeze(-1)


def make(settings: Settings) -> gym.vector.VectorEnv:
    """Eight environments as one; an episode that ends is followed by the next in the same step."""
    if settings.native:
        return gym.make_vec(
            "EmNAS-v0",
            num_envs=settings.envs,
            vectorization_mode="vector_entry_point",
            observation="ids",
            autoreset_mode="SameStep",
        )
    same_step = {"autoreset_mode": gym.vector.AutoresetMode.SAME_STEP}
    return gym.make_vec(
        "EmNAS-v0",
        num_envs=settings.envs,
        vectorization_mode="sync",
        vector_kwargs=same_step,
        observation="ids",
    )


def train(settings: Settings) -> list[float]:
    """Trains a policy; returns the reward of every finished network, in order."""
    torch.manual_seed(settings.seed)
    envs = make(settings)
    tokens = int(envs.single_action_space.n)  # type: ignore[attr-defined]
    policy = Policy(envs.single_observation_space.shape[0], tokens)  # type: ignore[index]
    optimiser = torch.optim.Adam(policy.parameters(), settings.learning_rate, eps=1e-5)
    observation, infos = envs.reset(seed=settings.seed)
    rewards: list[float] = []
    for _ in range(math.ceil(settings.steps / (settings.envs * settings.length))):
        rollout, observation, infos = collect(settings, envs, policy, observation, infos, rewards)
        update(settings, policy, optimiser, rollout)
    envs.close()
    return rewards


Rollout = dict[str, Tensor]  # each of shape (T, N, …)


@torch.no_grad()
def collect(
    settings: Settings,
    envs: gym.vector.VectorEnv,
    policy: Policy,
    observation: np.ndarray,
    infos: dict[str, Any],
    rewards: list[float],
) -> tuple[Rollout, np.ndarray, dict[str, Any]]:
    """Acts for a while; advantages are those of Schulman et al. 2016."""
    rows: list[tuple[Tensor, ...]] = []
    for _ in range(settings.length):
        seen, mask = as_tensors(observation, infos)
        chance, value = policy(seen, mask)
        action = chance.sample()
        observation, reward, terminated, truncated, infos = envs.step(action.numpy())
        over = terminated | truncated
        rewards.extend(reward[over].tolist())
        paid = torch.as_tensor(reward, dtype=torch.float32)
        ended = torch.as_tensor(over)
        rows.append((seen, mask, action, chance.log_prob(action), value, paid, ended))
    names = ("seen", "mask", "action", "log_prob", "value", "reward", "over")
    rollout = {
        name: torch.stack(column)
        for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }
    _, following = policy(*as_tensors(observation, infos))
    advantage = torch.zeros_like(rollout["value"])
    running = torch.zeros(settings.envs)
    for t in reversed(range(settings.length)):
        goes_on = (~rollout["over"][t]).float()
        error = rollout["reward"][t] + settings.discount * goes_on * following
        running = (
            error - rollout["value"][t] + settings.discount * settings.trace * goes_on * running
        )
        advantage[t], following = running, rollout["value"][t]
    rollout |= {"advantage": advantage, "target": advantage + rollout["value"]}
    return rollout, observation, infos


def as_tensors(observation: np.ndarray, infos: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Token ids (N, L), and the legal tokens (N, K + 1)."""
    return torch.as_tensor(observation).long(), torch.as_tensor(infos["action_mask"]).bool()


def update(
    settings: Settings, policy: Policy, optimiser: torch.optim.Optimizer, rollout: Rollout
) -> None:
    """Some epochs of clipped policy gradient on what was collected."""
    flat = {name: column.flatten(0, 1) for name, column in rollout.items()}
    count = len(flat["action"])
    for _ in range(settings.epochs):
        for rows in torch.randperm(count).chunk(settings.minibatches):
            part = {name: column[rows] for name, column in flat.items()}
            chance, value = policy(part["seen"], part["mask"])
            gain = part["advantage"]
            gain = (gain - gain.mean()) / (gain.std() + 1e-8)
            ratio = (chance.log_prob(part["action"]) - part["log_prob"]).exp()
            clipped = ratio.clamp(1 - settings.clip, 1 + settings.clip)
            loss = -torch.min(ratio * gain, clipped * gain).mean()
            loss = loss + settings.value * (value - part["target"]).square().mean()
            loss = loss - settings.entropy * chance.entropy().mean()
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(policy.parameters(), 0.5)
            optimiser.step()


def main() -> None:
    """Trains, and says what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=Settings.steps)
    parser.add_argument("--seed", type=int, default=Settings.seed)
    parser.add_argument("--native", action="store_true", help="the natively batched environment")
    rewards = train(Settings(**vars(parser.parse_args())))
    tenth = max(len(rewards) // 10, 1)
    first, last = np.mean(rewards[:tenth]), np.mean(rewards[-tenth:])
    print(f"{len(rewards)} networks, best {max(rewards):.4f}")
    print(f"mean reward of the first tenth {first:.4f}, of the last {last:.4f}")


if __name__ == "__main__":
    main()
