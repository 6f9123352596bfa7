"""The contract of every agent: a configuration, and a search that spends a ledger."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from emnas_gym.errors import BudgetSpent, UnknownName
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem


@dataclass(frozen=True)
class Config:
    """Base of all configurations: frozen, every field with a default."""


class Agent(ABC):
    """A search algorithm; a subclass overrides `_search` and names its configuration.

    Attributes:
        name: Registered name.
        summary: One sentence for lists.
        config_type: Dataclass of its hyperparameters.

    Args:
        config: Hyperparameters; the defaults if None.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    config_type: ClassVar[type[Config]] = Config

    def __init__(self, config: Config | None = None) -> None:
        self.config: Any = self.config_type() if config is None else config

    @classmethod
    def with_options(cls, **options: Any) -> Agent:  # noqa: ANN401
        """Makes the agent with some hyperparameters changed.

        Raises:
            UnknownName: If a hyperparameter does not exist; the nearest ones are listed.
        """
        known = {f.name for f in fields(cls.config_type)}
        for option in options:
            if option not in known:
                raise UnknownName(f"option of {cls.name}", option, known)
        return cls(cls.config_type(**options))

    def search(self, problem: Problem, ledger: Ledger, seed: int) -> None:
        """Searches until the ledger is spent; all that was found stands in the ledger.

        Args:
            problem: Space, task, device, budgets and reward.
            ledger: Measures, counts and records.
            seed: Decides everything; with the same ledger file a run is replayed and goes on.
        """
        try:
            self._search(problem, ledger, seed)
        except BudgetSpent:
            return

    @abstractmethod
    def _search(self, problem: Problem, ledger: Ledger, seed: int) -> None:
        """Searches; may run into `BudgetSpent`, which ends the search."""
