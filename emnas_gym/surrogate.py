"""The default evaluator: accuracy, and where it was measured latency, predicted in numpy.

Surrogates are fitted by `python -m predictors fit` on networks that were really trained and
measured, and shipped as files. Outside what they were fitted for they raise instead of guessing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from emnas_gym.errors import DomainError, SurrogateFileError
from emnas_gym.fitted import FittedEvaluator, what_to_do
from emnas_gym.models.additive import AdditiveCosts
from emnas_gym.problem import Problem
from emnas_gym.surrogate_file import (
    Surrogate,
    read_surrogate,
    shipped_folder,
    surrogate_name,
    surrogate_names,
)
from emnas_gym.tasks import Task


class SurrogateEvaluator(FittedEvaluator):
    """Predicts what was fitted for a space, a task and a device.

    Args:
        accuracy: Predicts the accuracy, and sets space, task and lengths.
        task: The task that it was fitted on.
        latency: Predicts the latency on a device, where that was fitted.
        feasible: Predicts whether a network runs on the device at all, where that was fitted.

    Raises:
        SurrogateFileError: If the parts do not belong together.
    """

    def __init__(
        self,
        accuracy: Surrogate,
        task: Task,
        latency: Surrogate | None = None,
        feasible: Surrogate | None = None,
    ) -> None:
        if isinstance(accuracy.model, AdditiveCosts) or accuracy.field != "accuracy":
            raise SurrogateFileError(f"{accuracy.name} is no surrogate of accuracy")
        made_for = (accuracy.task, accuracy.input_shape, accuracy.classes)
        if made_for != (task.name, task.input_shape, task.classes):
            raise SurrogateFileError(f"{accuracy.name} was not fitted for the same space and task")
        super().__init__(*(p for p in (accuracy, latency, feasible) if p is not None))
        self.task = task
        self.accuracy, self.latency, self.feasible = accuracy, latency, feasible

    @classmethod
    def for_problem(cls, problem: Problem) -> Self:
        """Makes the evaluator of a problem from the files of the package.

        Raises:
            DomainError: If no surrogate was fitted for it; says what differs and what to do.
            SurrogateFileError: If a file is damaged.
        """
        return cls.from_folder(problem, shipped_folder())

    @classmethod
    def from_folder(cls, problem: Problem, folder: Path) -> Self:
        """Makes the evaluator of a problem from the files of a folder.

        Args:
            problem: What is evaluated.
            folder: Where `python -m predictors fit --out` wrote.

        Raises:
            DomainError: If no surrogate was fitted for it; says what differs and what to do.
            SurrogateFileError: If a file is damaged.
        """
        space, task, device = problem.space.name, problem.task.name, problem.device.name
        known = surrogate_names(folder)
        accuracy = surrogate_name(space, task, None, "accuracy")
        if accuracy not in known:
            raise DomainError(_nothing_fitted(space, task, known))
        found = [
            read_surrogate(folder / f"{name}.json") if name in known else None
            for name in (surrogate_name(space, task, device, f) for f in ("latency_ms", "feasible"))
        ]
        fitted = read_surrogate(folder / f"{accuracy}.json")
        if (problem.task.input_shape, problem.task.classes) != (fitted.input_shape, fitted.classes):
            asked = f"images {problem.task.input_shape} of {problem.task.classes} classes"
            measured = f"{fitted.input_shape} and {fitted.classes}"
            raise DomainError(f"{task}: {asked} instead of {measured}; {what_to_do(space, task)}")
        return cls(fitted, problem.task, *found).checked_for(problem)


def _nothing_fitted(space: str, task: str, known: Sequence[str]) -> str:
    end = "_accuracy"
    pairs = [name.removesuffix(end).replace("_", " on ", 1) for name in known if name.endswith(end)]
    return (
        f"no surrogate was fitted for the space {space} on the task {task}; there are: "
        f"{', '.join(pairs)}. {what_to_do(space, task)}"
    )
