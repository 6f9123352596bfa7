"""The one-shot evaluator: trains one supernet, and scores every network with weights out of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch.nn import functional

from emnas_gym.architecture import Architecture
from emnas_gym.branched.cell_space import CellSpace
from emnas_gym.errors import DatasetError, DomainError, EmNASError, EvaluationError
from emnas_gym.evaluator import Domain, Evaluator, Result
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from predictors.datasets import Dataset, load
from predictors.network import GraphNetwork
from predictors.supernet.recalibration import recalibrate
from predictors.supernet.shared_training import (
    Advance,
    SharedRecipe,
    SharedTraining,
    train_supernet,
)
from predictors.supernet.supernet import Supernet
from predictors.training import one_thread

SCORES = ("likelihood", "accuracy")


class SharedEvaluator(Evaluator):
    """Scores networks with the weights of one supernet, which it trains when it is first asked.

    A network gets its weights from the supernet, and the statistics of its batch norms from
    training images; then it classifies the validation part. What comes out ranks networks; it is
    no accuracy that a training would reach (`provides` it with provenance ``predicted``). Networks
    that are the same graph get the same score.

    The processor time of training the supernet is charged once, in ``seconds`` of the first
    measurement, also where its weights come from a file.

    Args:
        space: The search space, one of cells.
        data: Images in three parts.
        recipe: How the supernet is trained.
        seed: Of its first weights and its training.
        score: ``likelihood``, the geometric mean of the probabilities of the right classes, which
            tells apart networks that classify the same images rightly; or ``accuracy``, the share
            of them.
        cache: Folder for the state of the training, named by space, task and seed; a training that
            is there is not done again. None keeps it in memory alone.
        images: Training images by which statistics are made.

    Raises:
        EmNASError: If there is no such score, or no images to make statistics from.
    """

    provides = frozenset({"accuracy"})

    def __init__(
        self,
        space: CellSpace,
        data: Dataset,
        recipe: SharedRecipe | None = None,
        seed: int = 0,
        *,
        score: str = SCORES[0],
        cache: Path | None = None,
        images: int = 256,
    ) -> None:
        if score not in SCORES:
            raise EmNASError(f"a shared score is {' or '.join(SCORES)}, not {score!r}")
        if images < 2:
            raise EmNASError(f"statistics are made from 2 images or more, not {images}")
        self.space, self.data, self.recipe = space, data, recipe or SharedRecipe()
        self.seed, self.score, self.cache, self.images = seed, score, cache, images
        self.domain = Domain(space.fingerprint, data.task.name)
        self.training: SharedTraining | None = None
        self._supernet: Supernet | None = None
        self._unpaid = 0.0

    @classmethod
    def for_problem(cls, problem: Problem) -> Self:
        """Makes the evaluator with the images of the problem's task.

        Raises:
            DomainError: If the space is none of cells.
            DatasetError: If the task has no images, or they have another shape.
        """
        if not isinstance(problem.space, CellSpace):
            raise DomainError(
                f"weights are shared by networks of cells, which {problem.space.name} has not; "
                "take evaluator='trained' or 'surrogate', or a space such as nb201-cell"
            )
        data = load(problem.task.name, problem.task.input_shape[0])
        if data.task != problem.task:
            raise DatasetError(f"the images are {data.task}, the problem is {problem.task}")
        return cls(problem.space, data)

    @property
    def rests_on(self) -> dict[str, Any]:
        """Images, recipe, seed and score."""
        about = {"recipe": self.recipe.to_json(), "seed": self.seed, "score": self.score}
        return {"images": self.data.digest, "shared": {**about, "statistics": self.images}}

    @property
    def path(self) -> Path | None:
        """The file of the training's state."""
        if self.cache is None:
            return None
        names = (self.space.name, Path(self.data.task.name).stem, f"{self.seed}.npz")
        return self.cache / "_".join(names)

    def supernet(self, advance: Advance | None = None) -> Supernet:
        """The trained supernet; trained now if it is not.

        Args:
            advance: Told of epochs as they are finished.

        Raises:
            StoreError: If the file in the cache is of another training, or damaged.
            EvaluationError: If the loss is not finite.
        """
        if self._supernet is None:
            net = Supernet(self.space, self.data.task, self.seed)
            self.training = train_supernet(
                net, self.data, self.seed, self.recipe, path=self.path, advance=advance
            )
            self._supernet, self._unpaid = net, self.training.seconds
        return self._supernet

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        self.supernet()
        return [self._measure(architecture.tokens) for architecture in batch]

    def _measure(self, tokens: Sequence[int]) -> Result:
        start = time.process_time()
        try:
            found = self.scored(tokens)[self.score]
        except EvaluationError as error:
            return error
        seconds, self._unpaid = time.process_time() - start + self._unpaid, 0.0
        return Measurement.of("predicted", accuracy=found, seconds=seconds)

    def scored(self, tokens: Sequence[int]) -> dict[str, float]:
        """All scores of a network, by their names.

        Raises:
            InvalidArchitecture: If the tokens are no network of the space.
        """
        with one_thread():
            network = self.supernet().network(self.space.canonical_tokens(tokens))
            recalibrate(network, self.data.train_x[: self.images])
            return scores(network, self.data.valid_x, self.data.valid_y)

    def remarks(self) -> list[str]:
        """What the supernet cost."""
        if self.training is None:
            return []
        return [
            f"shared: one supernet of {self.recipe.epochs} epochs, {self.training.seconds:.0f} s "
            "of processor time; its scores rank networks and are no accuracies of trainings"
        ]


@torch.no_grad()
def scores(network: GraphNetwork, images: np.ndarray, classes: np.ndarray) -> dict[str, float]:
    """Accuracy and geometric mean probability of the right class, each 0 … 1.

    Args:
        network: The network; left in evaluation mode.
        images: (N, H, W, C) float32.
        classes: (N,) int64.
    """
    network.eval()
    hits, loss = 0, 0.0
    for first in range(0, len(images), 512):
        part = np.ascontiguousarray(images[first : first + 512].transpose(0, 3, 1, 2))
        right = torch.from_numpy(classes[first : first + 512])
        logits = network(torch.from_numpy(part))
        hits += int((logits.argmax(1) == right).sum())
        loss += float(functional.cross_entropy(logits, right, reduction="sum"))
    return {"accuracy": hits / len(images), "likelihood": float(np.exp(-loss / len(images)))}
