"""The contract of every agent: a configuration, and a search that spends a ledger."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from agents.scalars import Scalars
from emnas_gym.errors import BudgetSpent, EmNASError, UnknownName
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem


class OptionError(EmNASError, ValueError):
    """A hyperparameter with a value that it cannot have."""


class NotLearned(EmNASError):
    """An agent was asked about a policy that it does not have."""


@dataclass(frozen=True)
class Config:
    """Base of all configurations: frozen, every field with a default and a line about it."""

    def to_json(self) -> dict[str, Any]:
        """The hyperparameters as plain data."""
        return asdict(self)

    def require(self, holds: bool, rule: str) -> None:
        """Refuses a configuration that breaks a rule.

        Raises:
            OptionError: If the rule does not hold.
        """
        if not holds:
            raise OptionError(f"{rule}; given: {self.to_json()}")


class Agent(ABC):
    """A search algorithm; a subclass overrides `_search` and names its configuration.

    Attributes:
        name: Registered name.
        summary: One sentence for lists.
        config_type: Dataclass of its hyperparameters.
        learns: Whether it has a policy, whose likeliest network `favourite` tells.
        needs: What it needs of a problem beside its networks and their rewards: ``"images"`` to
            train on, so that a table or a surrogate is not enough.

    Args:
        config: Hyperparameters; the defaults if None.
        logdir: Folder of the TensorBoard log; None writes none.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    config_type: ClassVar[type[Config]] = Config
    learns: ClassVar[bool] = False
    needs: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, config: Config | None = None, logdir: Path | None = None) -> None:
        self.config: Any = self.config_type() if config is None else config
        self.logdir = logdir
        self._scalars = Scalars()

    @classmethod
    def with_options(cls, logdir: Path | None = None, /, **options: Any) -> Agent:  # noqa: ANN401
        """Makes the agent with some hyperparameters changed.

        Args:
            logdir: Folder of the TensorBoard log.
            options: Hyperparameters by name.

        Raises:
            UnknownName: If a hyperparameter does not exist; the nearest ones are listed.
            OptionError: If a value is refused.
        """
        defaults = {f.name: f.default for f in fields(cls.config_type)}
        for option, value in options.items():
            if option not in defaults:
                raise UnknownName(f"option of {cls.name}", option, defaults)
            _check_type(option, value, defaults[option])
        return cls(cls.config_type(**options), logdir)

    def search(self, problem: Problem, ledger: Ledger, seed: int) -> None:
        """Searches until the ledger is spent; all that was found stands in the ledger.

        Args:
            problem: Space, task, device, budgets and reward.
            ledger: Measures, counts and records.
            seed: Decides everything; with the same ledger file a run is replayed and goes on.
        """
        with Scalars(self.logdir) as self._scalars:
            try:
                self._search(problem, ledger, seed)
            except BudgetSpent:
                return

    @abstractmethod
    def _search(self, problem: Problem, ledger: Ledger, seed: int) -> None:
        """Searches; may run into `BudgetSpent`, which ends the search."""

    def favourite(self, problem: Problem) -> tuple[int, ...]:
        """The network that the policy of the last search holds for the best: its likeliest one.

        Args:
            problem: That of the last search.

        Returns:
            Token ids, without what fills them up.

        Raises:
            NotLearned: If this agent has no policy, or has not searched yet.
        """
        raise NotLearned(f"agent {self.name} has no policy whose favourite could be told")

    def _generator(self, seed: int) -> np.random.Generator:
        """A stream of this agent's own: equal seeds of two agents share no samples."""
        return np.random.default_rng([seed, zlib.crc32(self.name.encode())])

    def _report(self, ledger: Ledger, **values: float) -> None:
        """Writes the best reward so far, and numbers of the algorithm's own, to the log."""
        if self.logdir is not None and ledger.rows:
            best, distinct = ledger.best.reward, ledger.distinct
            self._scalars.add(ledger.count, search__best=best, search__distinct=distinct)
            self._scalars.add(ledger.count, **values)


def _check_type(option: str, value: object, default: object) -> None:
    """Refuses a value of another type than the default; a whole number passes as a fraction."""
    wanted = (int, float) if isinstance(default, float) else (type(default),)
    if not isinstance(value, wanted) or isinstance(value, bool) != isinstance(default, bool):
        kind = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
        raise OptionError(f"option {option} is {kind[type(default)]}, not {value!r}")
