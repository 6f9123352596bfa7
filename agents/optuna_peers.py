"""Samplers of Optuna as agents: the tree-structured Parzen estimator and CMA-ES."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import cmaes  # noqa: F401  Optuna would miss it only in the middle of a search
import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, CmaEsSampler, TPESampler
from optuna.trial import BaseTrial, TrialState

from agents.base import Agent, Config, OptionError
from agents.evolutionary.individuals import Census, Tokens
from agents.trial_networks import Categories, Numbers, Reader, Vocabulary
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem
from emnas_gym.space import sample_tokens

MANY = 400  # numbers of CMA-ES beyond which its matrix is slow: a line then, not scores


@dataclass(frozen=True)
class OptunaConfig(Config):
    """Hyperparameters that both have."""

    batch: int = 1
    """Networks proposed, and measured, together."""

    repeats: bool = False
    """Measures also proposals that were measured before; otherwise their reward is remembered."""

    def __post_init__(self) -> None:
        """Checks the values."""
        self.require(self.batch >= 1, "batch is 1 or more")


@dataclass(frozen=True)
class TPEConfig(OptunaConfig):
    """Hyperparameters of `TPE`."""

    startup: int = 10
    """Proposals drawn at random before the estimator is asked."""

    candidates: int = 24
    """Candidates of which the estimator takes the best."""

    joint: bool = True
    """Estimates the density of whole networks, as in BOHB; otherwise each parameter by itself."""

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        self.require(self.startup >= 1, "startup is 1 or more")
        self.require(self.candidates >= 1, "candidates is 1 or more")


@dataclass(frozen=True)
class CMAESConfig(OptunaConfig):
    """Hyperparameters of `CMAES`."""

    population: int = 0
    """Proposals of a generation; 4 + ⌊3 ln d⌋ for d numbers if 0."""

    relaxation: str = "auto"
    """Numbers of a position: scores (one a category), line (one), auto (scores unless too many)."""

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        self.require(self.population == 0 or self.population >= 4, "population is 0, or 4 or more")
        known = self.relaxation in ("auto", "scores", "line")
        self.require(known, "relaxation is auto, scores or line")


class OptunaAgent(Agent):
    """Asks a sampler of Optuna for networks, and tells it their rewards.

    A proposal that was measured before costs nothing and is asked for anew; after `tries` of these
    in turn a random network is measured instead, which the sampler is not told.

    Attributes:
        tries: Proposals until a random network is measured.
        generations: Whether the sampler works by generations, in which known proposals count too;
            it begins anew once only these come.
    """

    tries: ClassVar[int]
    generations: ClassVar[bool]

    def _search(self, problem: Problem, ledger: Ledger, seed: int) -> None:
        rng, words = self._generator(seed), Vocabulary(problem.automaton)
        census = Census(problem, ledger)
        with silenced():
            study = self._study(rng, words)
            while not ledger.spent:
                asked = [self._ask(study, census, words) for _ in range(self.config.batch)]
                trials = [pair for pair in asked if pair is not None]
                missing = len(asked) - len(trials)
                others = census.unseen(missing, lambda: sample_tokens(words.table, rng))
                measured = census.measure([*(tokens for _, tokens in trials), *others])
                for (trial, _), one in zip(trials, measured, strict=False):
                    study.tell(trial, one.fitness)
                if missing and self.generations:
                    study = self._study(rng, words)
                self._report(ledger, optuna__known_only=float(missing))

    def _study(self, rng: np.random.Generator, words: Vocabulary) -> optuna.Study:
        sampler = self._sampler(int(rng.integers(2**31)), words)
        return optuna.create_study(sampler=sampler, direction="maximize")

    def _ask(
        self, study: optuna.Study, census: Census, words: Vocabulary
    ) -> tuple[optuna.Trial, Tokens] | None:
        """A proposal to be measured; None if only known ones are proposed."""
        for _ in range(self.tries):
            trial = study.ask()
            tokens = words.network(self._reader(words, trial))
            known = None if self.config.repeats else census.fitness(tokens)
            if known is None:
                return trial, tokens
            if self.generations:
                study.tell(trial, known)
            else:  # what it knows already would only slow it down
                study.tell(trial, state=TrialState.FAIL)
        return None

    @abstractmethod
    def _sampler(self, seed: int, words: Vocabulary) -> BaseSampler:
        """The sampler of Optuna."""

    @abstractmethod
    def _reader(self, words: Vocabulary, trial: BaseTrial) -> Reader:
        """What reads a network from a trial."""


class TPE(OptunaAgent):
    """Tree-structured Parzen estimator (Bergstra et al. 2011) of Optuna.

    The better trials have density l, the others g; of some candidates drawn from l the one of
    largest l(x) / g(x) is proposed, which maximises the expected improvement (equation 5). Each
    parameter by itself, the same few networks are proposed again and again; jointly (Falkner et al.
    2018), they vary with each other.
    """

    name: ClassVar[str] = "tpe"
    summary: ClassVar[str] = "Tree-structured Parzen estimator of Optuna, one category a token."
    config_type = TPEConfig
    tries: ClassVar[int] = 4
    generations: ClassVar[bool] = False

    def _sampler(self, seed: int, words: Vocabulary) -> BaseSampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # about group
            return TPESampler(
                seed=seed,
                n_startup_trials=self.config.startup,
                n_ei_candidates=self.config.candidates,
                multivariate=self.config.joint,
                group=self.config.joint and len(words.lengths) > 1,  # not all trials have all
            )

    def _reader(self, words: Vocabulary, trial: BaseTrial) -> Reader:
        return Categories(words, trial)


class CMAES(OptunaAgent):
    """Covariance matrix adaptation (Hansen and Ostermeier 2001) of Optuna and `cmaes`.

    Proposals are drawn from m + σ N(0, C); the mean m moves to the better half of a generation,
    σ and C follow the path that it takes. Once the distribution has narrowed to known networks, it
    begins anew with the first one.
    """

    name: ClassVar[str] = "cma-es"
    summary: ClassVar[str] = "CMA-ES of Optuna over real numbers that stand for legal tokens."
    config_type = CMAESConfig
    tries: ClassVar[int] = 3
    generations: ClassVar[bool] = True

    def _sampler(self, seed: int, words: Vocabulary) -> BaseSampler:
        numbers = sum(Numbers.widths(words, self._scores(words))) + (len(words.lengths) > 1)
        if numbers < 2:
            raise OptionError("CMA-ES needs two numbers or more: set relaxation=scores")
        return CmaEsSampler(
            seed=seed, popsize=self.config.population or None, warn_independent_sampling=False
        )

    def _reader(self, words: Vocabulary, trial: BaseTrial) -> Reader:
        return Numbers(words, trial, self._scores(words))

    def _scores(self, words: Vocabulary) -> bool:
        if self.config.relaxation == "auto":
            return sum(Numbers.widths(words, scores=True)) <= MANY
        return bool(self.config.relaxation == "scores")


@contextmanager
def silenced() -> Iterator[None]:
    """Keeps Optuna from a line for every trial; its own verbosity comes back afterwards."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
