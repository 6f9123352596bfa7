"""The update rule that mends the original's: masked policy gradient of whole networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from agents.base import Config
from agents.episodes import Elite, Episodes
from agents.original.custom_loss import clipped_loss
from agents.original.label_reinforce import label_loss, labels
from agents.original.masked_draws import Draws, networks
from agents.original.masked_policy import MaskedPolicy
from agents.reinforce import mean_entropy, moving_average, normalised_advantages
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem

CLIP_RATIO = 0.2
Report = Callable[[Ledger, float, float], None]


@dataclass(frozen=True)
class MendedConfig(Config):
    """Hyperparameters of all agents of EMNAS. Schedules count evaluations."""

    batch: int = 16
    """Networks of an update, drawn in lock-step and measured together."""

    learning_rate: float = 0.005
    """Step size of Adam, without decay."""

    alpha: float = 1.0
    """Weight of the policy gradient against the entropy bonus: small keeps exploring."""

    entropy: float = 0.1
    """Weight of the entropy bonus at the start."""

    entropy_half_life: float = 1000.0
    """Evaluations after which the weight of the entropy bonus has halved."""

    baseline_decay: float = 0.8
    """Share of the earlier baseline that stays; 0 is the mean of the batch alone."""

    imitation: float = 0.3
    """Weight of the likelihood of the best networks so far; 0 is the policy gradient alone."""

    elite: int = 32
    """Number of best networks so far that are imitated."""

    passes: int = 1
    """Gradient steps on each batch."""

    clip: float = 1.0
    """Largest norm of the gradient."""

    width: int = 32
    """Width of token embeddings, queries and keys."""

    tries: int = 4
    """Batches drawn for networks that were not measured before, until repeats are accepted."""

    def __post_init__(self) -> None:
        """Checks the values."""
        self.require(self.batch >= 2, "batch is 2 or more: a baseline needs something to compare")
        self.require(self.learning_rate > 0, "learning_rate is above 0")
        self.require(self.alpha > 0, "alpha is above 0")
        self.require(self.entropy >= 0, "entropy is 0 or more")
        self.require(self.entropy_half_life > 0, "entropy_half_life is above 0")
        self.require(0 <= self.baseline_decay < 1, "baseline_decay lies in 0 … 1, 1 excluded")
        self.require(self.imitation >= 0, "imitation is 0 or more")
        self.require(self.clip > 0, "clip is above 0")
        whole = (self.elite, self.passes, self.width, self.tries)
        self.require(min(whole) >= 1, "elite, passes, width and tries are 1 or more")


class Learner:
    """Learns on one problem until the ledger is spent.

    A network is one decision with one reward: its advantage is (r − b) / σ with a moving average b
    of rewards, for all its tokens. No reward flows between networks. To the policy gradient come
    an entropy bonus that fades and the likelihood of the best networks so far.

    Attributes:
        context: The sequence that the policy looks at: zeros, or the best one so far.

    Args:
        policy: Acts.
        problem: What is searched.
        config: Hyperparameters.
        generator: Draws the tokens.
        by_labels: Whether the gradient comes in the form of labels (`label_reinforce`), as in the
            feed-forward agents, or as the clipped log-likelihood (`custom_loss`).
        from_best: Whether a play starts from the best sequence so far, or from zeros.
    """

    def __init__(
        self,
        policy: MaskedPolicy,
        problem: Problem,
        config: MendedConfig,
        generator: torch.Generator,
        by_labels: bool = False,
        from_best: bool = False,
    ) -> None:
        self.policy, self.problem, self.config = policy, problem, config
        self.by_labels, self.from_best = by_labels, from_best
        self.context = torch.zeros(problem.max_layers, dtype=torch.long)
        self._draws = Draws(problem, config.batch, config.tries, generator)
        self._adam = torch.optim.Adam(policy.parameters(), config.learning_rate)
        self._elite = Elite(config.elite)
        self._baseline: float | None = None

    def learn(self, ledger: Ledger, report: Report) -> None:
        """Draws, measures and updates until the ledger is spent."""
        while not ledger.spent:
            episodes = self._measured(self._draws.take(self.policy, self.context), ledger)
            self._elite.add(episodes)
            baseline = moving_average(self._baseline, episodes.rewards, self.config.baseline_decay)
            self._baseline = baseline
            entropy = self._update(episodes, baseline, ledger.count)
            if self.from_best:
                self.context = self._elite.episodes().tokens[0].clone()
            report(ledger, entropy, float(episodes.rewards.mean()))

    def _measured(self, episodes: Episodes, ledger: Ledger) -> Episodes:
        batch = [self.problem.space.architecture(tokens) for tokens in networks(episodes.tokens)]
        rewards = [ledger.reward(result) for result in ledger.evaluate(batch)]
        return replace(episodes, rewards=torch.tensor(rewards, dtype=torch.float64))

    def _update(self, episodes: Episodes, baseline: float, evaluations: int) -> float:
        """Some steps on one batch; the entropy before the first."""
        config = self.config
        advantages = normalised_advantages(episodes.rewards, baseline)
        bonus = config.entropy * 0.5 ** (evaluations / config.entropy_half_life)
        with torch.no_grad():
            before = self._log_probs(episodes)
        for _ in range(config.passes):
            log_probs = self._log_probs(episodes)
            loss = config.alpha * self._policy_loss(log_probs, before, episodes, advantages)
            loss = loss - bonus * mean_entropy(log_probs, episodes.tokens)
            if config.imitation:
                best = self._elite.episodes()
                likely = placed_log_probs(self._log_probs(best), best.tokens).sum(dim=1)
                loss = loss - config.imitation * likely.mean()
            self._adam.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.policy.parameters(), config.clip)
            self._adam.step()
        return float(mean_entropy(before, episodes.tokens))

    def _log_probs(self, episodes: Episodes) -> Tensor:
        context = self.context.expand(len(episodes.tokens), -1)
        log_probs: Tensor = self.policy(episodes.tokens, episodes.masks, context)
        return log_probs

    def _policy_loss(
        self, log_probs: Tensor, before: Tensor, episodes: Episodes, advantages: Tensor
    ) -> Tensor:
        if self.by_labels:
            each = advantages[:, None].expand(-1, episodes.tokens.shape[1])
            return label_loss(log_probs, labels(before.exp(), episodes.tokens, each, 1.0))
        now, then = (placed_log_probs(x, episodes.tokens) for x in (log_probs, before))
        return clipped_loss(now, then, advantages, CLIP_RATIO)


def placed_log_probs(log_probs: Tensor, tokens: Tensor) -> Tensor:
    """Log π of the tokens that were placed, shape (B, T); 0 after the end."""
    return log_probs.gather(2, tokens[..., None])[..., 0]
