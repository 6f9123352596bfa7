"""The weights of a supernet: the images that they learn from, and their steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from agents.differentiable.divergence import checked_loss
from agents.differentiable.ground import halves
from agents.differentiable.weight_decay import WeightDecay
from emnas_gym.branched.cell_space import CellSpace
from predictors.datasets import Dataset
from predictors.supernet.mixed_edge import statistics_kept
from predictors.supernet.mixture import Mixture
from predictors.supernet.supernet import Supernet

Mixtures = Mapping[str, Mixture]
JUDGED = 256  # images that are classified at a time


class Batch(NamedTuple):
    """Images and their classes."""

    x: Tensor  # (N, C, H, W) float32
    y: Tensor  # (N,) int64


class SupernetWeights:
    """A supernet on one half of the training images, with the other half beside it.

    Args:
        space: The space of cells.
        data: Images, of which the training part is read.
        config: Hyperparameters of `GradientConfig`.
        seed: Decides first weights, halves and everything that is drawn.

    Attributes:
        net: The supernet.
        weights: Its parameters that learn, by name.
        optimiser: SGD of them.
        decay: What tunes the weight decay, if that is wanted.
        generator: Draws everything.
        weight_rows: Rows of the training part that the weights learn from.
        architecture_rows: Rows that the architecture learns from; none is among the others.
        batches: Steps of an epoch.
        images: Images that went through the supernet to learn.
    """

    def __init__(self, space: CellSpace, data: Dataset, config: Any, seed: int) -> None:  # noqa: ANN401
        self.config = config
        divisor = getattr(config, "divisor", 1)
        self.net = Supernet(space, data.task, seed, affine=config.affine, divisor=divisor).train()
        self.generator = torch.Generator().manual_seed(seed)
        self.weight_rows, self.architecture_rows = halves(data, np.random.default_rng(seed))
        x = np.ascontiguousarray(data.train_x.transpose(0, 3, 1, 2))
        self._x, self._y = torch.from_numpy(x), torch.from_numpy(data.train_y)
        self.batches = max(len(self.architecture_rows) // config.batch_size, 1)
        self.weights = {n: w for n, w in self.net.named_parameters() if w.requires_grad}
        self.optimiser = torch.optim.SGD(
            self.weights.values(),
            config.learning_rate,
            config.momentum,
            weight_decay=config.weight_decay,
        )
        tunes = config.tune_weight_decay
        self.decay = WeightDecay(self.optimiser, config.decay_rate) if tunes else None
        self.images = 0

    def dealt(self, rows: np.ndarray) -> list[Batch]:
        """The images of a half in random batches, as equal as they come."""
        order = torch.randperm(len(rows), generator=self.generator).numpy()
        parts = np.array_split(rows[order], self.batches)
        return [self.batch(part) for part in parts]

    def batch(self, rows: np.ndarray) -> Batch:
        """Images of the training part by their rows."""
        return Batch(self._x[rows], self._y[rows])

    def falling(self, step: int) -> float:
        """Rate of the weights in a step, along a cosine."""
        config = self.config
        fall = 0.5 * (1 + math.cos(math.pi * step / (config.epochs * self.batches)))
        rate: float = config.least_rate + (config.learning_rate - config.least_rate) * fall
        return rate

    def set_rate(self, rate: float) -> None:
        """Sets the rate of the weights."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    def loss(self, batch: Batch, mixtures: Mixtures) -> Tensor:
        """Cross-entropy of images that are learnt from, which are counted."""
        self.images += len(batch.x)
        return functional.cross_entropy(self.net(batch.x, mixtures), batch.y)

    def descend(self, loss: Tensor, what: str) -> float:
        """One step of the weights.

        Args:
            loss: Of the images of the step.
            what: Which loss it is, for the error.

        Returns:
            The loss.

        Raises:
            SearchDiverged: If it is no finite number.
        """
        value = checked_loss(loss, what)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.weights.values(), self.config.clip)
        if self.decay is not None:
            self.decay.remember()
        self.optimiser.step()
        return value

    @torch.no_grad()
    def assess(self, mixtures: Mixtures, count: int | None = None) -> tuple[float, float]:
        """Loss and accuracy on images of the half of the architecture, batch by batch.

        Batch norms take the statistics of the batch, and none of them is kept.

        Args:
            mixtures: What the supernet computes.
            count: How many images, the first ones; all if None.
        """
        rows = self.architecture_rows[:count]
        total, hits = 0.0, 0
        with statistics_kept(self.net):
            for part in np.array_split(rows, math.ceil(len(rows) / JUDGED)):
                x, y = self.batch(part)
                logits = self.net(x, mixtures)
                total += float(functional.cross_entropy(logits, y, reduction="sum"))
                hits += int((logits.argmax(dim=1) == y).sum())
        return total / len(rows), hits / len(rows)
