"""From what a user typed to a problem, its evaluator and, where there are some, its images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agents.runs import Plan, registered
from emnas_gym.errors import DatasetError
from emnas_gym.evaluator import Evaluator
from emnas_gym.problem import Problem
from emnas_gym.registry import make_evaluator
from emnas_gym.tasks import TASKS
from predictors.datasets import Dataset, load
from predictors.trained import TrainedEvaluator
from predictors.training import Recipe

SHORT = Recipe(epochs=8, attempts=1)  # of every candidate; winners get the full recipe


@dataclass(frozen=True)
class Setup:
    """What a run searches, and with what.

    Attributes:
        env: Id of the environment it starts from.
        problem: Space, task, device, budgets, reward.
        evaluator: Name of the evaluator.
        data: Images; None for a task that has none.
    """

    env: str
    problem: Problem
    evaluator: str
    data: Dataset | None

    @property
    def trains(self) -> bool:
        """Whether every candidate is really trained."""
        return self.evaluator == "trained"

    def make_evaluator(self) -> Evaluator:
        """The evaluator; one that trains has the images at hand and trains shortly.

        Raises:
            EmNASError: If it cannot be made, or lies outside its domain.
        """
        if not self.trains:
            return make_evaluator(self.evaluator, self.problem)
        return make_evaluator([TrainedEvaluator(self.images(), SHORT)], self.problem)

    def images(self) -> Dataset:
        """The images.

        Raises:
            DatasetError: If the task has none.
        """
        if self.data is None:
            raise DatasetError(
                f"the task {self.problem.task.name!r} has no images here, so that no winner can be "
                "trained: run with --verify 0, or give --task a folder of images or an .npz"
            )
        return self.data


def make_setup(
    env: str = "EmNAS-v0",
    task: str | None = None,
    device: str | None = None,
    evaluator: str | None = None,
    reward: str | None = None,
    budgets: Mapping[str, float] | None = None,
    image_size: int = 32,
) -> Setup:
    """Makes a setup; what is not given is as registered for the environment.

    With a task or device of the user's own, the budgets are the device's, and with images of the
    user's own every candidate is trained, as no surrogate knows them.

    Args:
        env: Registered id.
        task: Name, folder of pictures, or ``.npz``.
        device: Name of the board.
        evaluator: Name or import string.
        reward: Name.
        budgets: Limits by name that differ from those of the environment or device.
        image_size: Height and width for pictures of a folder.

    Raises:
        UnknownName: If a name is unknown.
        DatasetError: If images cannot be used.
        InfeasibleBudgets: If no network fits.
    """
    name = str(registered(env)["task"]) if task is None else task
    data = load(name, image_size) if name not in TASKS or TASKS[name].has_images else None
    asked = data.task if task is not None and data is not None else task
    plan = Plan(env, asked, device, budgets or {}, reward, evaluator)
    return Setup(env, plan.problem(), plan.evaluator_name(), data)
