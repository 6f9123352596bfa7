"""How the row agents played in their original form: whole sequences, episodes, one step each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from agents.original.label_reinforce import keras_cross_entropy, labels
from agents.original.original_agent import LabelConfig
from agents.original.original_networks import DecayingAdam, DenseStack
from agents.original.original_rows import OriginalRows, Patience
from agents.original.returns import discounted_returns, standardised
from emnas_gym.ledger import Ledger
from emnas_gym.play_env import EmNASPlayEnv


@dataclass(frozen=True)
class RowConfig(LabelConfig):
    """Hyperparameters of ff-v2, ff-v3 and controller-v2; the rules are those of `EmNASPlayEnv`."""

    faithful_alpha: float = 1e-8
    """Original form: step of the labels."""

    reward_min: float = 0.55
    """Original form: an episode ends with a reward below it."""

    dynamic_min: bool = False
    """Original form: whether that threshold rises to the best mean of an episode so far."""

    variance_min: float = 1e-2
    """Original form: an episode ends once its rewards vary less."""

    min_plays: int = 5
    """Original form: plays before these rules hold."""

    max_plays: int = 20
    """Original form: most plays of an episode."""

    initial: str = "zeros"
    """Original form: zeros, random, best_of_episode or best."""

    next_reward: str = "own"
    """Original form: own, best, best_by_episode or best_of_episode."""

    def rules(self) -> dict[str, Any]:
        """Keywords of the environment of the original form."""
        names = ("reward_min", "dynamic_min", "variance_min", "min_plays", "max_plays", "initial")
        return {name: getattr(self, name) for name in (*names, "next_reward")}


@dataclass
class Plays:
    """What an episode is learned from, one entry a play."""

    states: list[torch.Tensor] = field(default_factory=list)  # (rows,) each
    probabilities: list[torch.Tensor] = field(default_factory=list)  # (rows, classes) each
    actions: list[list[int]] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)


class RowPlayer:
    """One run of a row agent in its original form.

    Args:
        network: Raw sequence in, distributions of all rows out.
        adam: Its optimizer.
        rows: What a sequence is.
        env: The plays; it penalises what is no network.
        config: Hyperparameters.
        rng: Draws.
        zero_is_one: Whether a drawn 0 becomes token 1, which then is learned instead.
        redraws: How often a sequence is drawn again until it is a network; 0 plays what is drawn.
    """

    def __init__(
        self,
        network: DenseStack,
        adam: DecayingAdam,
        rows: OriginalRows,
        env: EmNASPlayEnv,
        config: RowConfig,
        rng: np.random.Generator,
        zero_is_one: bool = False,
        redraws: int = 0,
    ) -> None:
        self.network, self.adam, self.rows, self.env = network, adam, rows, env
        self.config, self.rng = config, rng
        self.zero_is_one, self.redraws = zero_is_one, redraws

    def run(self, ledger: Ledger, patience: Patience) -> float:
        """Episodes until the run gives up or the ledger is spent; the loss of the last one."""
        loss = float("nan")
        while not ledger.spent and not patience.gone:
            plays = self.episode(patience)
            if plays.rewards and not ledger.spent:
                loss = self.learn(plays)
        return loss

    def episode(self, patience: Patience) -> Plays:
        """Plays by the rules of the environment; the last play of a spent ledger is left out."""
        observation, _ = self.env.reset()
        plays, over = Plays(), False
        while not over and not patience.gone:
            state = torch.from_numpy(observation[: self.rows.rows]).float()
            with torch.no_grad():
                distributions = self.network(state[None])[0]
            action = self._draw(distributions.double().numpy(), patience)
            if action is None:
                break
            whole = np.zeros(self.env.rows, dtype=np.int64)
            whole[: len(action)] = action
            observation, reward, terminated, truncated, info = self.env.step(whole)
            if "architecture" in info or self.redraws == 0:
                patience.saw("architecture" in info)
            over = terminated or truncated
            plays.states.append(state)
            plays.probabilities.append(distributions)
            plays.actions.append(action)
            plays.rewards.append(reward)
        return plays

    def _draw(self, distributions: np.ndarray, patience: Patience) -> list[int] | None:
        """A sequence; None if none that is a network was found."""
        for _ in range(max(self.redraws, 1)):
            action = self._draw_rows(distributions)
            if not self.redraws or self.rows.network(action) is not None:
                return action
            patience.saw(False)
            if patience.gone:
                break
        return None

    def _draw_rows(self, distributions: np.ndarray) -> list[int]:
        """Row by row until the end token; what follows stays 0, and is learned as if drawn."""
        action = [0] * self.rows.rows
        for row in range(self.rows.rows):
            token = self.rows.draw(distributions[row], row, self.rng)
            action[row] = token or int(self.zero_is_one)
            if token and token == self.rows.end:
                break
        return action

    def learn(self, plays: Plays) -> float:
        """One step on the labels of an episode; its loss."""
        probabilities = self.network(torch.stack(plays.states))
        loss = keras_cross_entropy(probabilities, self.targets(plays))
        self.adam.step(loss)
        return float(loss.detach())

    def targets(self, plays: Plays) -> torch.Tensor:
        """The labels of an episode, shape (T, rows, classes)."""
        gains = standardised(discounted_returns(plays.rewards, self.config.gamma))
        each = torch.from_numpy(gains)[:, None].expand(-1, self.rows.rows)
        actions = torch.tensor(plays.actions)
        return labels(torch.stack(plays.probabilities), actions, each, self.config.faithful_alpha)
