"""What agents that are guided by a model share: a memory of what was measured, and the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from agents.base import Agent, Config
from agents.guided.acquisition import top
from agents.guided.description import WHAT, Description
from agents.guided.pool import Pool, Tokens
from emnas_gym.ledger import Ledger
from emnas_gym.models.inputs import ENCODINGS, encode
from emnas_gym.problem import Problem
from emnas_gym.space import sample_tokens
from predictors.estimators.base import Estimator
from predictors.estimators.table import estimator_class, make_estimator

Array = NDArray[np.float64]


class GuidedAgent(Agent):
    """An agent that remembers networks and rewards; a subclass begins with `_begin`.

    Attributes:
        networks: What was measured, in order, repeats included.
        rewards: Its rewards.
        pool: Knows what was seen.
        rng: Source of all randomness.
    """

    networks: list[Tokens]
    rewards: list[float]
    pool: Pool
    rng: np.random.Generator

    def _begin(self, problem: Problem, ledger: Ledger, seed: int, list_small: bool = True) -> None:
        """Forgets what an earlier search left."""
        self.rng, self.problem, self.ledger = self._generator(seed), problem, ledger
        self.pool = Pool(problem, self.rng, list_small)
        self.networks, self.rewards = [], []

    def _measure(self, chosen: Sequence[Tokens]) -> None:
        """Measures, remembers and reports."""
        ledger = self.ledger
        results = ledger.evaluate([self.problem.space.architecture(tokens) for tokens in chosen])
        self.networks += chosen
        self.rewards += [ledger.reward(result) for result in results]
        self.pool.see(chosen)
        self._report(ledger)

    def _drawn(self, count: int) -> list[Tokens]:
        """So many networks at random: fresh ones, and repeats only where too few are left."""
        fresh = self.pool.random(count)
        missing = range(count - len(fresh))
        return fresh + [sample_tokens(self.pool.table, self.rng) for _ in missing]

    def _best(self, count: int) -> list[Tokens]:
        """The best networks so far, the best first, each once."""
        order = top(np.array(self.rewards), len(self.rewards))
        return list(dict.fromkeys(self.networks[i] for i in order))[:count]


@dataclass(frozen=True)
class EstimatorConfig(Config):
    """Hyperparameters of the model that guides."""

    estimator: str = "ensemble"
    """Estimator of `predictors.estimators.table`; or give `EstimatorAgent` an object."""

    encoding: str = "all"
    """What it reads: all, plain or paths (`agents.guided.description`); of layers also an encoding
    of `emnas_gym.models.inputs`, such as features or layers."""

    def __post_init__(self) -> None:
        """Checks the values."""
        estimator_class(self.estimator)
        known = (*WHAT, *ENCODINGS)
        self.require(self.encoding in known, f"encoding is one of {', '.join(known)}")


class EstimatorAgent(GuidedAgent):
    """An agent guided by an estimator of `predictors`.

    Args:
        config: Hyperparameters; the defaults if None.
        logdir: Folder of the TensorBoard log; None writes none.
        estimator: An estimator that is not fitted, cloned for every fit; None makes the one that
            the configuration names, for targets on their own scale.
    """

    def __init__(
        self,
        config: Config | None = None,
        logdir: Path | None = None,
        estimator: Estimator | None = None,
    ) -> None:
        super().__init__(config, logdir)
        self.estimator = self._named() if estimator is None else estimator

    def _named(self) -> Estimator:
        estimator = make_estimator(self.config.estimator)
        if "link" in estimator.get_params(deep=False):
            estimator.set_params(link="identity")
        return estimator

    def _begin(self, problem: Problem, ledger: Ledger, seed: int, list_small: bool = True) -> None:
        super()._begin(problem, ledger, seed, list_small)
        own = self.config.encoding in WHAT
        self._describe = Description(problem, self.config.encoding) if own else None

    def _encoded(self, networks: Sequence[Tokens]) -> Any:  # noqa: ANN401
        if self._describe is not None:
            return self._describe(networks)
        batch = [self.problem.space.architecture(tokens) for tokens in networks]
        return encode(self.config.encoding, batch, self.problem.task)

    def _fit(self) -> Estimator:
        """The estimator, fitted anew to all that was measured, rewards standardised."""
        fresh: Estimator = clone(self.estimator)
        if "seed" in fresh.get_params(deep=False):
            fresh.set_params(seed=int(self.rng.integers(2**31)))
        rewards = np.array(self.rewards)
        spread = float(rewards.std())
        target = (rewards - rewards.mean()) / (spread if spread > 0 else 1.0)
        fresh.fit(self._encoded(self.networks), target)
        return fresh

    def _predicted(self, model: Estimator, networks: Sequence[Tokens]) -> tuple[Array, Array]:
        """Mean and deviation of the standardised reward, each of shape (N,)."""
        return model.predict(self._encoded(networks), return_std=True)
