"""Stable-Baselines3's PPO on eight environments; illegal tokens are replaced and reported.

``python examples/sb3_ppo.py --steps 100000``. MaskablePPO of sb3-contrib, which the README shows,
sees the masks as well.
"""

from __future__ import annotations

import argparse

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

import emnas_gym  # noqa: F401  registers the environments


class Rewards(BaseCallback):
    """Keeps the reward of every finished network."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[float] = []

    def _on_step(self) -> bool:
        over = self.locals["dones"]
        self.found.extend(self.locals["rewards"][over].tolist())
        return True


def train(steps: int, seed: int = 0) -> list[float]:
    """Trains; returns the reward of every finished network, in order."""
    envs = make_vec_env("EmNAS-v0", n_envs=8, seed=seed)
    model = PPO("MlpPolicy", envs, n_steps=64, batch_size=128, gamma=1.0, seed=seed, device="cpu")
    rewards = Rewards()
    model.learn(steps, callback=rewards)
    envs.close()
    return rewards.found


def main() -> None:
    """Trains, and says what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    rewards = train(**vars(parser.parse_args()))
    tenth = max(len(rewards) // 10, 1)
    print(f"{len(rewards)} networks, best {max(rewards):.4f}")
    print(f"mean reward of the last tenth {np.mean(rewards[-tenth:]):.4f}")


if __name__ == "__main__":
    main()
