"""Policy gradient for a policy over whole networks, learning from all that was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from agents.base import Agent, Config, NotLearned
from agents.network_features import NetworkFeatures, network_features
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem
from emnas_gym.space import sample_tokens
from emnas_gym.variation import mutate

Floats = NDArray[np.float64]
Tokens = tuple[int, ...]


@dataclass(frozen=True)
class NetworkPolicyConfig(Config):
    """Hyperparameters of `NetworkPolicy`. Tuned on the CIFAR-10 table of NAS-Bench-201 alone."""

    first: int = 10
    """Networks drawn before anything is learned, uniformly among the lengths."""

    batch: int = 5
    """Networks drawn from one policy and measured together."""

    sharpness: float = 8.0
    """How much more a network of better rank weighs: the weight is exp(sharpness · rank)."""

    greed: float = 2.0
    """Inverse temperature at which networks are drawn from the policy; 1 draws from itself."""

    learning_rate: float = 0.5
    """Step size of the gradient ascent."""

    steps: int = 20
    """Gradient steps before each batch."""

    decay: float = 0.005
    """Pull of the parameters towards 0, where all networks are equally likely."""

    pool: int = 20000
    """Networks that a policy chooses from: the whole space if it has no more, else a draw."""

    drawn: int = 400
    """Networks of the pool of a larger space, drawn anew before each batch."""

    elite: int = 16
    """Best networks whose mutations make up half of that draw."""

    def __post_init__(self) -> None:
        """Checks the values."""
        self.require(min(self.first, self.batch, self.steps) >= 1, "first, batch, steps: 1 or more")
        self.require(self.sharpness >= 0, "sharpness is 0 or more")
        self.require(self.greed > 0, "greed is above 0")
        self.require(0 < self.learning_rate <= 10, "learning_rate lies in 0 … 10, 0 excluded")
        self.require(0 <= self.decay < 1, "decay lies in 0 … 1, 1 excluded")
        self.require(self.pool >= 0, "pool is 0 or more")
        self.require(min(self.drawn, self.elite) >= 1, "drawn and elite are 1 or more")


class NetworkPolicy(Agent):
    """Policy gradient over whole networks, with replay of all that was measured.

    π(x) ∝ exp(θ · φ(x)), φ features of the network (`agents.network_features`: layers, lengths, and
    the live paths of a table of graphs). Of the measured networks x_i, with ranks ρ_i in 0 … 1 and
    weights w_i ∝ exp(s ρ_i), the objective is the weighted likelihood Σ w_i log π(x_i | measured),
    and its policy gradient Σ (w_i − π(x_i | measured)) φ(x_i) − λ θ: what weighs more than its
    probability has a positive advantage, and no importance ratio is needed (relative entropy policy
    search, Peters et al. 2010; weighted by ranks as in cross-entropy methods). The next batch comes
    from π sharpened by a greed κ, without replacement, never what was measured before.

    Attributes:
        theta_: Parameters after the last search, shape (F,).
    """

    name: ClassVar[str] = "network-policy"
    summary: ClassVar[str] = "Policy gradient over whole networks, with replay of all; learns fast."
    config_type = NetworkPolicyConfig
    learns: ClassVar[bool] = True
    theta_: Floats

    def _search(self, problem: Problem, ledger: Ledger, seed: int) -> None:
        config, rng = self.config, self._generator(seed)
        features = network_features(problem.automaton)
        self._pool = pool = Pool(problem, features, config, rng)
        self.theta_, rewards = np.zeros(0), list[float]()
        networks, vectors = list[Tokens](), list[Floats]()
        while not ledger.spent:
            count = config.batch if networks else config.first
            best = np.argsort(rewards, kind="stable")[::-1][: config.elite]
            chosen = pool.draw(count, self.theta_ * config.greed, [networks[i] for i in best])
            results = ledger.evaluate([problem.space.architecture(t) for t in chosen])
            rewards += [ledger.reward(result) for result in results]
            networks += chosen
            vectors.append(features.of(chosen))
            measured = np.concatenate(vectors)
            weights = rank_weights(np.array(rewards), config.sharpness)
            self.theta_ = learned(self.theta_, measured, weights, config)
            self._networks, self._measured = networks, measured
            self._report(ledger, policy__norm=float(np.linalg.norm(self.theta_)))

    def favourite(self, problem: Problem) -> Tokens:
        """The likeliest network: of the whole space where it is small, else of those measured.

        Args:
            problem: That of the last search.

        Raises:
            NotLearned: If there was no search yet.
        """
        if not hasattr(self, "theta_") or not len(self.theta_):
            raise NotLearned(f"{self.name} has not searched yet: call search first")
        if self._pool.every is not None:
            return self._pool.every[int((self._pool.vectors @ self.theta_).argmax())]
        return self._networks[int((self._measured @ self.theta_).argmax())]


# ----------------------------------------------------------------------------------- the rule


def rank_weights(rewards: Floats, sharpness: float) -> Floats:
    """W ∝ exp(s ρ), Σ w = 1; ρ is the share of the others that a reward beats, ties half."""
    ordered = np.sort(rewards)
    below = np.searchsorted(ordered, rewards, side="left")
    upto = np.searchsorted(ordered, rewards, side="right")
    ranks = (below + upto - 1) / (2 * max(len(rewards) - 1, 1))
    weights: Floats = np.exp(sharpness * (ranks - ranks.max()))
    weights /= weights.sum()
    return weights


def probabilities(scores: Floats) -> Floats:
    """Softmax."""
    weights: Floats = np.exp(scores - scores.max())
    weights /= weights.sum()
    return weights


def objective(theta: Floats, vectors: Floats, weights: Floats, decay: float) -> float:
    """Σ w log π(x | measured) − λ/2 |θ|²."""
    log_probs = np.log(probabilities(vectors @ theta))
    return float(weights @ log_probs - 0.5 * decay * theta @ theta)


def gradient(theta: Floats, vectors: Floats, weights: Floats, decay: float) -> Floats:
    """Its policy gradient: Σ (w − π(x | measured)) φ(x) − λ θ, shape (F,)."""
    ascent: Floats = (weights - probabilities(vectors @ theta)) @ vectors - decay * theta
    return ascent


def learned(theta: Floats, vectors: Floats, weights: Floats, config: NetworkPolicyConfig) -> Floats:
    """The parameters after some gradient steps, from 0 if there were none."""
    theta = theta.copy() if len(theta) else np.zeros(vectors.shape[1])
    for _ in range(config.steps):
        theta += config.learning_rate * gradient(theta, vectors, weights, config.decay)
    return theta


def without_replacement(scores: Floats, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Indices drawn one after the other from softmax(scores), the drawn ones taken out.

    Gumbel noise added to the scores, and the largest taken, draws so (Kool et al. 2019); all are
    returned in this order from the first one on, so that a caller can skip some.
    """
    noisy = scores + rng.gumbel(size=len(scores))
    order: NDArray[np.int64] = np.argsort(-noisy, kind="stable")
    return order[:count]


# ------------------------------------------------------------------------------ what is chosen from


class Pool:
    """Networks that a policy chooses from, without those that it chose before.

    Args:
        problem: Its space.
        features: Of the networks.
        config: How many.
        rng: Source of randomness.
    """

    def __init__(
        self,
        problem: Problem,
        features: NetworkFeatures,
        config: NetworkPolicyConfig,
        rng: np.random.Generator,
    ) -> None:
        self.table, self.features, self.config, self.rng = problem.automaton, features, config, rng
        self.chosen: set[Tokens] = set()
        self.every: list[Tokens] | None = None
        if problem.space.size() <= config.pool and (whole := features.whole_space):
            self.every, self.vectors = whole

    def draw(self, count: int, theta: Floats, best: list[Tokens]) -> list[Tokens]:
        """Networks that compute what none before did; where there are too few, repeats as well.

        Args:
            count: How many.
            theta: Scores are θ · φ; uniform lengths are drawn where it is empty.
            best: Networks to mutate.
        """
        if not len(theta):
            return self._new(self._sampled(20 * count), count)
        if self.every is not None:
            pool, vectors = self.every, self.vectors
        else:
            pool = self._proposed(best)
            vectors = self.features.of(pool)
        order = without_replacement(vectors @ theta, len(pool), self.rng)
        return self._new([pool[i] for i in order], count)

    def _sampled(self, count: int) -> list[Tokens]:
        return [sample_tokens(self.table, self.rng) for _ in range(count)]

    def _proposed(self, best: list[Tokens]) -> list[Tokens]:
        """Half drawn at random, half mutations of the best by one to three edits; no repeats."""
        half = max(self.config.drawn // 2, 1)
        found = self._sampled(half)
        for _ in range(half):
            child = best[int(self.rng.integers(len(best)))]
            for _ in range(int(self.rng.integers(1, 4))):
                child = mutate(self.table, child, self.rng)
            found.append(child)
        return list(dict.fromkeys(found))

    def _new(self, ordered: list[Tokens], count: int) -> list[Tokens]:
        """The first ones that compute something new; if they run out, the first ones of all."""
        new = []
        for network in ordered:
            key = self.table.grammar.canonical_tokens(network)
            if key not in self.chosen:
                self.chosen.add(key)
                new.append(network)
                if len(new) == count:
                    return new
        return new + [ordered[i % len(ordered)] for i in range(count - len(new))]
