"""Networks that a search has measured, and what it has not tried yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from emnas_gym.errors import EvaluationError
from emnas_gym.evaluator import Result
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem

Tokens = tuple[int, ...]
Draw = Callable[[], Tokens]
TRIES = 20  # networks drawn before a repeat is accepted
_UNMEASURED = EvaluationError("nothing was measured")


@dataclass(frozen=True)
class Individual:
    """A network that was measured.

    Attributes:
        birth: Its number among all that were born.
        tokens: Its layers.
        fitness: Its reward.
        result: What was measured.
    """

    birth: int
    tokens: Tokens
    fitness: float
    result: Result = field(default=_UNMEASURED, compare=False, repr=False)


class Census:
    """Measures the networks of one search, and remembers them by their canonical form.

    Args:
        problem: What is searched.
        ledger: Measures and counts.
    """

    def __init__(self, problem: Problem, ledger: Ledger) -> None:
        self.space, self.ledger = problem.space, ledger
        self._known: dict[Tokens, float] = {}

    def fitness(self, tokens: Tokens) -> float | None:
        """The reward of a network that was measured; None of another one."""
        return self._known.get(self.space.canonical_tokens(tokens))

    def measure(self, born: Sequence[Tokens]) -> list[Individual]:
        """Measures networks together.

        Raises:
            BudgetSpent: If the ledger ends before the last of them.
        """
        birth = self.ledger.count
        results = self.ledger.evaluate([self.space.architecture(tokens) for tokens in born])
        measured = [
            Individual(birth + i, tokens, self.ledger.reward(result), result)
            for i, (tokens, result) in enumerate(zip(born, results, strict=True))
        ]
        for one in measured:
            self._known[self.space.canonical_tokens(one.tokens)] = one.fitness
        return measured

    def unseen(self, count: int, *draws: Draw) -> list[Tokens]:
        """Networks that were not measured before and differ from each other, where there are any.

        Args:
            count: How many.
            draws: Ways to draw one; each is tried `TRIES` times before the next one, and what the
                last one drew is accepted.
        """
        born: dict[int, Tokens] = {}
        planned: set[Tokens] = set()
        for number in range(count):
            for draw in (draw for draw in draws for _ in range(TRIES)):
                born[number] = draw()
                key = self.space.canonical_tokens(born[number])
                if key not in self._known and key not in planned:
                    break
            planned.add(key)
        return list(born.values())
