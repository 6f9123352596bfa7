"""What a network is for: a named data set's input shape and classes."""

from __future__ import annotations

from dataclasses import dataclass

from emnas_gym.errors import UnknownName
from emnas_gym.graph import Shape


@dataclass(frozen=True)
class Task:
    """A classification task as a network sees it.

    Attributes:
        name: Registered name, or the path of the user's images.
        input_shape: (height, width, channels).
        classes: Number of classes.
        has_images: Whether networks can be trained on it here.
    """

    name: str
    input_shape: Shape
    classes: int
    has_images: bool = True


DIGITS = Task("digits", (16, 16, 1), 10)
GRASP = Task("grasp", (128, 128, 3), 2, has_images=False)
TASKS = {task.name: task for task in (DIGITS, GRASP)}


def resolve_task(task: str | Task) -> Task:
    """Returns a task by name, or as given.

    Raises:
        UnknownName: If no task has this name.
    """
    if isinstance(task, Task):
        return task
    if task not in TASKS:
        hint = "For your own images pass a Task; `predictors.datasets.load` makes one from a path."
        raise UnknownName("task", task, TASKS, hint)
    return TASKS[task]
