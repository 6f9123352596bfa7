"""What a search by gradient stands on: a space of cells, images in halves, and the way back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from agents.differentiable.fitting import Translation, fitted
from agents.differentiable.gradient_config import GradientConfig
from emnas_gym.branched.cell_space import CellSpace
from emnas_gym.errors import DatasetError, DomainError, UnknownName
from emnas_gym.position_space import PositionSpace
from emnas_gym.problem import Problem
from emnas_gym.space import resolve_space
from emnas_gym.tasks import Task
from predictors.datasets import Dataset, load, shrunk
from predictors.supernet.wiring import Weights, Wiring
from predictors.training import Recipe


@dataclass(frozen=True)
class Ground:
    """Space and images of a supernet, and what its networks are in the problem.

    Attributes:
        problem: What the genotypes are for.
        space: What is searched.
        data: Images; of them the training part alone is read.
        translation: From networks of ``space`` to those of the problem.
    """

    problem: Problem
    space: CellSpace
    data: Dataset
    translation: Translation

    @classmethod
    def of(cls, problem: Problem, config: GradientConfig, agent: str) -> Self:
        """Finds space and images.

        Args:
            problem: The problem.
            config: Its ``images`` and ``proxy_space`` come before what the problem has.
            agent: Name of the agent, for messages.

        Raises:
            DomainError: If there are no cells to search, or those of the proxy are others.
            DatasetError: If there are no images, or their sides cannot be divided as is wanted.
        """
        wanted = problem.space
        space = resolve_space(config.proxy_space) if config.proxy_space else wanted
        if not isinstance(space, CellSpace) or not isinstance(wanted, PositionSpace):
            raise DomainError(
                f"{agent} trains a supernet, which needs a space of cells; {space.name} is none. "
                "Search one (--env EmNASCell-v0), or, for a table of cells, say which space has "
                "them (--option proxy_space=nb201-cell)"
            )
        images = shrunk(_images(problem, config, agent), config.image_divisor)
        return cls(problem, space, images, Translation(space, wanted))

    @property
    def deployed(self) -> Task:
        """What latency is of: the problem's task, also where smaller images stand for its own.

        Where a proxy space is searched, what the supernet itself sees.
        """
        same = self.space.fingerprint == self.problem.space.fingerprint
        return self.problem.task if same else self.data.task

    @property
    def stand_alone(self) -> int:
        """Images that the stand-alone training of one network reads: a full-training equivalent."""
        return Recipe().epochs * len(self.data.train_x)

    def genotype(
        self,
        tokens: Sequence[int],
        strengths: Mapping[str, Weights],
        wirings: Mapping[str, Wiring],
    ) -> tuple[int, ...]:
        """A network of the supernet as one of the problem that keeps its budgets (`fitted`)."""
        return fitted(self.problem, self.translation, tokens, strengths, wirings)


def _images(problem: Problem, config: GradientConfig, agent: str) -> Dataset:
    source = config.images or problem.task.name
    try:
        data = load(source, problem.task.input_shape[0])
    except (DatasetError, UnknownName) as error:
        if config.images:
            raise
        raise DatasetError(
            f"{agent} trains a supernet on images, and there are none of the task "
            f"{problem.task.name!r}: give some (--option images=PATH, a folder with one folder a "
            f"class, or an .npz) or search another task. {error}"
        ) from error
    if not config.images and data.task != problem.task:
        raise DatasetError(f"the images are {data.task}, the problem is {problem.task}")
    return data


def halves(data: Dataset, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the training part for the weights, and as many others for the architecture.

    Of an odd number one image goes to the weights.

    Raises:
        DatasetError: If a half would have fewer than two images, which batch norm needs.
    """
    count = len(data.train_x)
    if count < 4:
        raise DatasetError(f"{count} training images make no two halves of two images or more")
    order = rng.permutation(count)
    return order[: count - count // 2], order[count - count // 2 :]
