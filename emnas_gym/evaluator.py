"""The contract of everything that measures architectures."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from emnas_gym.architecture import Architecture
from emnas_gym.columns import Columns
from emnas_gym.columns import Result as Result
from emnas_gym.errors import DomainError, EvaluationError, EvaluationStopped
from emnas_gym.measurement import FIELDS, Measurement, merge

if TYPE_CHECKING:
    from emnas_gym.problem import Problem
    from emnas_gym.walks import Walks


@dataclass(frozen=True)
class Domain:
    """For what an evaluator is valid; None is "any".

    Attributes:
        space: Fingerprint of the search space.
        task: Name of the task.
        device: Name of the device.
        lengths: Least and largest number of tokens, the end token included.
        macs: Largest number of multiply-accumulates.
    """

    space: str | None = None
    task: str | None = None
    device: str | None = None
    lengths: tuple[int, int] | None = None
    macs: int | None = None

    def difference(self, problem: Problem) -> str:
        """What of a problem lies outside; empty if nothing does."""
        asked = {
            "space": problem.space.fingerprint,
            "task": problem.task.name,
            "device": problem.device.name,
        }
        for name, value in asked.items():
            fitted = getattr(self, name)
            if fitted is not None and fitted != value:
                return f"{name} {value!r} instead of {fitted!r}"
        if self.lengths is not None:
            low, high = self.lengths
            if problem.min_layers < low or problem.max_layers > high:
                asked_lengths = f"{problem.min_layers} to {problem.max_layers}"
                return f"lengths {asked_lengths} instead of {low} to {high}"
        asked_macs = problem.budgets.macs
        if self.macs is not None and (asked_macs is None or asked_macs > self.macs):
            size = "any number of" if asked_macs is None else f"up to {asked_macs}"
            return f"{size} MACs instead of up to {self.macs} (budgets={{'macs': {self.macs}}})"
        return ""


class Evaluator(ABC):
    """Turns architectures into measurements; a subclass overrides `_evaluate`.

    One that can answer a batch by array operations overrides `columns` too, with equal numbers.
    Where a subclass changes how architectures are measured, `columns` follows by itself.

    Attributes:
        provides: The fields of a measurement that it fills.
        repeatable: Whether two evaluations of one architecture are equal.
        domain: For what it is valid.
    """

    provides: frozenset[str] = frozenset()
    repeatable: bool = True
    domain: Domain = Domain()

    def __init_subclass__(cls, **keywords: Any) -> None:  # noqa: ANN401
        """Lets `columns` go through what a class measures anew, unless it has its own."""
        super().__init_subclass__(**keywords)
        if vars(cls).keys() & {"evaluate", "_evaluate"} and "columns" not in vars(cls):
            cls.columns = Evaluator.columns  # type: ignore[method-assign]

    @classmethod
    def for_problem(cls, problem: Problem) -> Self:
        """Makes the evaluator for a problem; registered names are resolved through this.

        Raises:
            DomainError: If the problem lies outside its domain.
        """
        raise DomainError(f"{cls.__name__} cannot be made by name; pass an object")

    def evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        """Measures a batch; one failure does not end the others.

        Args:
            batch: Finished architectures.

        Returns:
            For each a `Measurement` of finite numbers, or the `EvaluationError` that says why
            there is none.

        Raises:
            EvaluationStopped: If it cannot go on; it holds what was measured until then.
        """
        results = self._evaluate(batch) if batch else []
        if len(results) != len(batch):
            raise EvaluationError(f"{type(self).__name__}: {len(results)} results for {len(batch)}")
        return [self._finite(result) for result in results]

    def _finite(self, result: Result) -> Result:
        """What a device or a formula gave, or the error that it is not a number."""
        if isinstance(result, Measurement):
            for field in result.provenance:
                if not math.isfinite(value := getattr(result, field)):
                    return EvaluationError(f"{type(self).__name__} measured {field} = {value}")
        return result

    @abstractmethod
    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        """Measures a batch that is not empty."""

    def columns(self, walks: Walks) -> Columns:
        """Measures finished walks; what environments ask.

        Args:
            walks: Finished networks.

        Returns:
            The numbers that `evaluate` gives, as columns; one that overrides this turns what is no
            finite number into an error (`Columns.checked`).

        Raises:
            EvaluationStopped: If it cannot go on; it holds what was measured until then.
        """
        return Columns.of(self.evaluate(walks.architectures()))

    @property
    def rests_on(self) -> dict[str, Any]:
        """What its answers rest on besides code, as plain data: fingerprints of what was fitted.

        A history keeps it, so that what was measured by another version is told by its name.
        """
        return {}

    @property
    def spent(self) -> bool:
        """Whether it will measure nothing more; only a ledger ever is."""
        return False

    @property
    def remaining(self) -> int | None:
        """How many networks it will still measure; None where nothing limits it."""
        return None

    def count_episode(self) -> None:  # noqa: B027
        """Told by an environment that an episode has ended; only a ledger counts."""

    def count_step(self, invalid: bool) -> None:  # noqa: B027
        """Told by an environment of each step, and whether its token was illegal."""

    def count_steps(
        self, invalid: NDArray[np.bool_], measured: NDArray[np.bool_], ended: NDArray[np.bool_]
    ) -> NDArray[np.bool_] | None:
        """Told by a vector environment of one step of all its environments, in their order.

        Args:
            invalid: (steps,), of each environment that took a step whether its token was illegal.
            measured: (N,), environments whose network was measured in this step.
            ended: (N,), environments whose episode has ended.

        Returns:
            (N,), which of them find it spent once they and those before them have had their turn;
            None if none does.
        """
        if type(self).count_step is not Evaluator.count_step:
            for flag in invalid.tolist():
                self.count_step(flag)
        if type(self).count_episode is not Evaluator.count_episode:
            for _ in range(int(ended.sum())):
                self.count_episode()
        return np.ones(len(ended), dtype=np.bool_) if self.spent else None

    @property
    def counts(self) -> bool:
        """Whether it wants to be told of steps, or may be spent: a ledger does."""
        names = ("count_step", "count_steps", "count_episode", "spent")
        return any(getattr(type(self), name) is not getattr(Evaluator, name) for name in names)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Itself: it may hold ports and files, and Gymnasium copies what environments are given."""
        return self

    def remarks(self) -> list[str]:
        """What readers of its results should know, such as which devices failed."""
        return []

    def close(self) -> None:  # noqa: B027
        """Releases processes and ports."""


class EvaluatorStack(Evaluator):
    """Several evaluators as one; a later one overrides an earlier one's fields.

    Args:
        parts: Evaluators, at least one.
    """

    def __init__(self, parts: Sequence[Evaluator]) -> None:
        self.parts = tuple(parts)
        self.provides = frozenset().union(*(part.provides for part in parts)) & set(FIELDS)
        self.repeatable = all(part.repeatable for part in parts)

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        return _joined([partial(part.evaluate, batch) for part in self.parts])

    def columns(self, walks: Walks) -> Columns:
        """Measures finished walks, each part all of them."""
        found: list[Columns] = []
        for i, part in enumerate(self.parts):
            try:
                found.append(part.columns(walks))
            except EvaluationStopped as stopped:
                known = [partial(columns.results) for columns in found]
                rest = [partial(_results, other, walks) for other in self.parts[i + 1 :]]
                _joined([*known, partial(_raise, stopped), *rest])
        return reduce(Columns.merged, found)

    @property
    def rests_on(self) -> dict[str, Any]:
        """What all the parts rest on."""
        return {name: value for part in self.parts for name, value in part.rests_on.items()}

    def remarks(self) -> list[str]:
        """The remarks of every part."""
        return [remark for part in self.parts for remark in part.remarks()]

    def close(self) -> None:
        """Closes every part."""
        for part in self.parts:
            part.close()


def _results(part: Evaluator, walks: Walks) -> list[Result]:
    return part.columns(walks).results()


def _raise(error: EvaluationStopped) -> list[Result]:
    raise error


def _joined(parts: Sequence[Callable[[], list[Result]]]) -> list[Result]:
    """What all parts know of each network; every part is asked, even after one that stops."""
    columns: list[list[Result | None]] = []
    stopped: EvaluationStopped | None = None
    for ask in parts:
        try:
            columns.append([*ask()])
        except EvaluationStopped as error:
            stopped = stopped or error
            columns.append(error.results)
    rows = [_merge_row(row) for row in zip(*columns, strict=True)]
    if stopped is not None:
        raise EvaluationStopped(stopped.message, rows) from stopped
    return [row for row in rows if row is not None]


def _merge_row(row: tuple[Result | None, ...]) -> Result | None:
    """What the parts know of one architecture; None where a part that stopped knows nothing."""
    if None in row:
        return None
    parts = []
    for result in row:
        if isinstance(result, EvaluationError):
            return result
        assert result is not None
        parts.append(result)
    return merge(parts)
