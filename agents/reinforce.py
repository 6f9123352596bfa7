"""REINFORCE over token sequences: an autoregressive policy, masked, with a baseline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from agents.base import Agent, Config, NotLearned
from agents.determinism import seeded
from agents.episodes import Elite, Episodes, draw_new, greedy, measured
from agents.parameters import load_parameters, save_parameters
from agents.token_policy import CELLS, TokenPolicy
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem


@dataclass(frozen=True)
class ReinforceConfig(Config):
    """Hyperparameters of `Reinforce`. Schedules count evaluations, not shares of the budget."""

    batch: int = 16
    """Episodes of an update, played in lock-step."""

    learning_rate: float = 0.005
    """Step size of Adam."""

    entropy: float = 0.1
    """Weight of the entropy bonus at the start."""

    entropy_half_life: float = 1000.0
    """Evaluations after which the weight of the entropy bonus has halved."""

    baseline_decay: float = 0.8
    """Share of the earlier baseline that stays; 0 is the mean of the batch alone."""

    imitation: float = 0.3
    """Weight of the likelihood of the best networks so far; 0 is pure REINFORCE."""

    elite: int = 32
    """Number of best networks so far that are imitated."""

    clip: float = 1.0
    """Largest norm of the gradient."""

    hidden: int = 64
    """Width of the recurrent state."""

    width: int = 32
    """Width of token embeddings and keys."""

    cell: str = "gru"
    """Recurrent cell that reads the tokens: gru or lstm."""

    tries: int = 0
    """How often what was measured before is drawn again; 0 measures every repeat."""

    def __post_init__(self) -> None:
        """Checks the values."""
        self.require(self.batch >= 2, "batch is 2 or more: a baseline needs something to compare")
        self.require(self.learning_rate > 0, "learning_rate is above 0")
        self.require(self.entropy >= 0, "entropy is 0 or more")
        self.require(self.entropy_half_life > 0, "entropy_half_life is above 0")
        self.require(0 <= self.baseline_decay < 1, "baseline_decay lies in 0 … 1, 1 excluded")
        self.require(self.imitation >= 0, "imitation is 0 or more")
        self.require(self.elite >= 1, "elite is 1 or more")
        self.require(self.clip > 0, "clip is above 0")
        self.require(min(self.hidden, self.width) >= 1, "hidden and width are 1 or more")
        self.require(self.cell in CELLS, f"cell is one of {', '.join(CELLS)}")
        self.require(self.tries >= 0, "tries is 0 or more")


class Reinforce(Agent):
    """Policy gradient with a baseline over whole networks (Williams 1992; Zoph and Le 2017).

    Every network is one episode with one reward, so every token of it has the same advantage; no
    reward flows between episodes. Beside the gradient, the policy imitates the best networks so
    far (memory-augmented policy optimisation, Liang et al. 2018; Abolafia et al. 2018).

    Attributes:
        policy_: The policy of the last search.
    """

    name: ClassVar[str] = "reinforce"
    summary: ClassVar[str] = "Masked autoregressive policy gradient with a baseline; our own."
    config_type = ReinforceConfig
    learns: ClassVar[bool] = True
    policy_: TokenPolicy

    def _search(self, problem: Problem, ledger: Ledger, seed: int) -> None:
        config: ReinforceConfig = self.config
        generator = torch.Generator().manual_seed(seed)  # no evaluator can disturb this one
        with seeded(seed):
            self.policy_ = policy = self._policy(problem)
            optimizer = torch.optim.Adam(policy.parameters(), config.learning_rate)
            elite, baseline, seen = Elite(config.elite), None, set[tuple[int, ...]]()
            while not ledger.spent:
                drawn = draw_new(policy, problem, config.batch, generator, seen, config.tries)
                episodes = measured(drawn, ledger)
                elite.add(episodes)
                baseline = moving_average(baseline, episodes.rewards, config.baseline_decay)
                bonus = entropy_weight(config.entropy, ledger.count, config.entropy_half_life)
                loss, entropy = self._loss(episodes, elite, baseline, bonus)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(policy.parameters(), config.clip)
                optimizer.step()
                self._report(
                    ledger,
                    reinforce__entropy=entropy,
                    reinforce__mean_reward=float(episodes.rewards.mean()),
                    reinforce__mean_length=float((episodes.tokens > 0).sum(dim=1).double().mean()),
                )

    def _policy(self, problem: Problem) -> TokenPolicy:
        """A policy that has learned nothing."""
        return TokenPolicy(problem, self.config.hidden, self.config.width, self.config.cell)

    def favourite(self, problem: Problem) -> tuple[int, ...]:
        """The network of the likeliest token at every step.

        Args:
            problem: That of the last search.

        Raises:
            NotLearned: If there was no search yet.
        """
        if not hasattr(self, "policy_"):
            raise NotLearned(f"{self.name} has not searched yet: call search or load first")
        return greedy(self.policy_, problem)

    def _loss(
        self, episodes: Episodes, elite: Elite, baseline: float, bonus: float
    ) -> tuple[Tensor, float]:
        """Policy gradient, entropy bonus and imitation in one; and the entropy itself."""
        log_probs = self.policy_(episodes.tokens, episodes.masks)
        likelihoods = sequence_log_probs(log_probs, episodes.tokens)
        advantages = normalised_advantages(episodes.rewards, baseline)
        entropy = mean_entropy(log_probs, episodes.tokens)
        loss = reinforce_loss(likelihoods, advantages) - bonus * entropy
        if self.config.imitation:
            best = elite.episodes()
            imitated = sequence_log_probs(self.policy_(best.tokens, best.masks), best.tokens)
            loss = loss - self.config.imitation * imitated.mean()
        return loss, float(entropy.detach())

    def save(self, folder: Path, problem: Problem) -> None:
        """Writes the parameters of the last search."""
        save_parameters(folder, self.policy_.state_dict(), self._about(problem))

    def load(self, folder: Path, problem: Problem) -> TokenPolicy:
        """Reads a policy that `save` wrote.

        Raises:
            StoreError: If there is none, or it is of another problem or other hyperparameters.
        """
        policy = self._policy(problem)
        policy.load_state_dict(load_parameters(folder, self._about(problem)))
        self.policy_ = policy
        return policy

    def _about(self, problem: Problem) -> dict[str, object]:
        return {"agent": self.name, "config": self.config.to_json(), "problem": problem.to_json()}


# ----------------------------------------------------------------------------------- the rule


def reinforce_loss(likelihoods: Tensor, advantages: Tensor) -> Tensor:
    """−mean(A · log π), whose gradient is the policy gradient (Williams 1992, theorem 1)."""
    return -(advantages.to(likelihoods.dtype) * likelihoods).mean()


def normalised_advantages(rewards: Tensor, baseline: float) -> Tensor:
    """(r − b) / σ over the batch; about 0 where all rewards are equal."""
    deviation = rewards.std(unbiased=False)
    return (rewards - baseline) / (deviation + 1e-6)


def entropy_weight(start: float, evaluations: int, half_life: float) -> float:
    """Schedule of the entropy bonus: start · 2^(−evaluations / half-life)."""
    return float(start * 0.5 ** (evaluations / half_life))


def moving_average(before: float | None, rewards: Tensor, decay: float) -> float:
    """Baseline: b ← decay · b + (1 − decay) · mean(r); the mean itself at first."""
    mean = float(rewards.mean())
    return mean if before is None else decay * before + (1.0 - decay) * mean


def sequence_log_probs(log_probs: Tensor, tokens: Tensor) -> Tensor:
    """Log π of whole sequences, shape (B,): the sum over their tokens; padding counts 0."""
    return log_probs.gather(2, tokens[..., None])[..., 0].sum(dim=1)


def mean_entropy(log_probs: Tensor, tokens: Tensor) -> Tensor:
    """Entropy of the next token, averaged over the positions that were acted on."""
    acted = (tokens > 0).to(log_probs.dtype)
    entropy = -(log_probs.exp() * log_probs).sum(dim=2)
    return (entropy * acted).sum() / acted.sum()
