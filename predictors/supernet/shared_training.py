"""Trains a supernet: every step a few of its networks, so that all of them learn.

Equal arguments give equal bits on one thread. What is random in an epoch follows from seed and
epoch alone, so that a training that goes on from a file ends as one that was never interrupted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from emnas_gym.errors import EvaluationError, UnknownName
from predictors.datasets import Dataset
from predictors.supernet.sampling import SAMPLERS
from predictors.supernet.state_file import Progress, read_state, write_state
from predictors.supernet.supernet import Supernet
from predictors.training import one_thread

CLIP = 5.0  # largest norm of a step's gradient, as DARTS has it


@dataclass(frozen=True)
class SharedRecipe:
    """How a supernet is trained.

    Attributes:
        epochs: Passes over the training part.
        batch_size: Images a step.
        learning_rate: Peak of AdamW's rate, which rises for a twentieth of the steps and then
            falls along a cosine to 0.
        weight_decay: Decoupled weight decay.
        sampling: ``uniform``, one network a step, or ``fair``, one for every operation.
        canonical: Whether networks that are the same graph are all trained as their canonical form,
            and so share all of their weights.
        save_every: Epochs between two states in the file.
    """

    epochs: int = 60
    batch_size: int = 64
    learning_rate: float = 5e-3
    weight_decay: float = 1e-4
    sampling: str = "uniform"
    canonical: bool = False
    save_every: int = 10

    def to_json(self) -> dict[str, float | str]:
        """The fields that decide the weights, as plain data."""
        return {name: value for name, value in asdict(self).items() if name != "save_every"}

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of a step, counted from 0."""
        rise = min(1.0, (step + 1) / max(0.05 * steps, 1.0))
        return self.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * step / steps))


@dataclass(frozen=True)
class SharedTraining:
    """What a training of a supernet cost.

    Attributes:
        losses: Mean training loss of each epoch, over the networks that were trained in it.
        images: Images that went through a network, forward and back.
        seconds: Processor time, all sittings together.
    """

    losses: tuple[float, ...]
    images: int
    seconds: float


Advance = Callable[[int], None]  # told of every finished epoch, and first of those in the file


def train_supernet(
    supernet: Supernet,
    data: Dataset,
    seed: int,
    recipe: SharedRecipe | None = None,
    *,
    path: Path | None = None,
    advance: Advance | None = None,
) -> SharedTraining:
    """Trains the weights that all networks share.

    Args:
        supernet: Changed in place; its space and task are the data's.
        data: Images in three parts, of which the training part is read.
        seed: Decides the order of images and the networks.
        recipe: How; the default recipe if None.
        path: A file that the state is kept in; what it holds of this training is not done again.
        advance: Called with a number of epochs as they are finished.

    Raises:
        EvaluationError: If the images are of another task, or the loss is not finite.
        StoreError: If the file is of another training, or damaged.
        UnknownName: If there is no such way to sample.
    """
    recipe = recipe or SharedRecipe()
    if recipe.sampling not in SAMPLERS:
        raise UnknownName("sampling", recipe.sampling, SAMPLERS)
    if data.task != supernet.task:
        raise EvaluationError(f"the supernet is for {supernet.task}, the images are {data.task}")
    with one_thread():
        return _Trainer(supernet, data, seed, recipe, path).run(advance or _nobody)


def _nobody(count: int) -> None:
    """Is told nothing."""


class _Trainer:
    def __init__(
        self, net: Supernet, data: Dataset, seed: int, recipe: SharedRecipe, path: Path | None
    ) -> None:
        self.net, self.seed, self.recipe, self.path = net, seed, recipe, path
        self.x = torch.from_numpy(np.ascontiguousarray(data.train_x.transpose(0, 3, 1, 2)))
        self.y = torch.from_numpy(data.train_y)
        self.batches = max(len(self.x) // recipe.batch_size, 1)  # as equal as they come
        self.optimiser = torch.optim.AdamW(
            net.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
        )
        self.progress = Progress({**_about(net, seed, recipe), "images": data.digest})

    def run(self, advance: Advance) -> SharedTraining:
        if self.path is not None and self.path.is_file():
            self.progress = read_state(self.path, self.progress, self.net, self.optimiser)
            advance(len(self.progress.losses))
        while len(self.progress.losses) < self.recipe.epochs:
            start = time.process_time()
            self._epoch(len(self.progress.losses))
            self.progress.seconds += time.process_time() - start
            done = len(self.progress.losses)
            if done % self.recipe.save_every == 0 or done == self.recipe.epochs:
                self._save()
            advance(1)
        found = self.progress
        return SharedTraining(tuple(found.losses), found.trained, found.seconds)

    def _save(self) -> None:
        if self.path is not None:
            write_state(self.path, self.progress, self.net, self.optimiser)

    def _epoch(self, epoch: int) -> None:
        rng = np.random.default_rng([self.seed, epoch])
        self.net.train()
        total = 0.0
        for i, rows in enumerate(np.array_split(rng.permutation(len(self.x)), self.batches)):
            step, steps = epoch * self.batches + i, self.recipe.epochs * self.batches
            for group in self.optimiser.param_groups:
                group["lr"] = self.recipe.rate(step, steps)
            total += self._step(torch.from_numpy(rows), rng) * len(rows)
        if not math.isfinite(total):
            raise EvaluationError("the training loss of the supernet is not finite")
        self.progress.losses.append(total / len(self.x))

    def _step(self, rows: Tensor, rng: np.random.Generator) -> float:
        """One step of the weights; the mean loss over its networks."""
        space, x, y = self.net.space, self.x[rows], self.y[rows]
        networks = SAMPLERS[self.recipe.sampling](space, rng)
        self.optimiser.zero_grad()
        total = 0.0
        for drawn in networks:
            tokens = space.canonical_tokens(drawn) if self.recipe.canonical else drawn
            loss = functional.cross_entropy(self.net(x, self.net.mixture_of(tokens)), y)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
            self.progress.trained += len(rows)
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), CLIP)
        self.optimiser.step()
        return total / len(networks)


def _about(net: Supernet, seed: int, recipe: SharedRecipe) -> dict[str, object]:
    """What makes two trainings the same."""
    return {
        "space": net.space.fingerprint,
        "task": net.task.name,
        "first weights": net.seed,
        "seed": seed,
        "recipe": recipe.to_json(),
    }
