"""One search by gradient: a supernet whose weights and architecture learn in turns."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from agents.differentiable.alphas import Alphas, Groups, skips
from agents.differentiable.auxiliary_skip import factor
from agents.differentiable.divergence import check_parameters, checked_loss
from agents.differentiable.early_stop import SkipStop
from agents.differentiable.ground import Ground, halves
from agents.differentiable.latency_term import LatencyTerm
from agents.differentiable.weight_decay import WeightDecay
from predictors.lenna.expected import ExpectedLatency
from predictors.supernet.mixed_edge import statistics_kept
from predictors.supernet.mixture import Mixture
from predictors.supernet.supernet import Supernet
from predictors.training import one_thread

Mixtures = Mapping[str, Mixture]
JUDGED = 256  # images that are classified at a time


class Batch(NamedTuple):
    """Images and their classes."""

    x: Tensor  # (N, C, H, W) float32
    y: Tensor  # (N,) int64


@dataclass(frozen=True)
class EpochReport:
    """What an epoch came to.

    Attributes:
        images: Images that went through the supernet to learn, each time counted.
        train_loss: Mean loss of the steps of the weights.
        valid_loss: Loss on the half of the architecture, after the epoch.
        valid_accuracy: Share of them that is classified rightly.
        back_to: The epoch whose favourite to take, if the search should end here.
    """

    images: int
    train_loss: float
    valid_loss: float
    valid_accuracy: float
    back_to: int | None = None


class SupernetSearch(ABC):
    """Weights learn from one half of the training images, the architecture from the other.

    A subclass says what a supernet computes (`mixtures`), and how a step of the architecture finds
    its gradient (`architecture_gradient`).

    Args:
        ground: Space and images.
        config: Hyperparameters.
        seed: Decides everything.
        latency: What expects latency; None for no such thing.

    Attributes:
        net: The supernet.
        alphas: Architecture parameters.
        latency: λ · E / reference, if latency is expected.
        weight_rows: Rows of the training part that the weights learn from.
        architecture_rows: Rows that the architecture learns from; none is among the others.
        epoch: How many are over.
        past: The architecture parameters after each of them.
        images: Images that went through the supernet to learn.
    """

    divisor: int = 1
    with_edges: ClassVar[bool] = False
    betas: ClassVar[tuple[float, float]] = (0.5, 0.999)  # of Adam, as in DARTS

    def __init__(
        self, ground: Ground, config: Any, seed: int, latency: ExpectedLatency | None = None  # noqa: ANN401
    ) -> None:  # fmt: skip
        self.ground, self.config, self.seed = ground, config, seed
        self.divisor = getattr(config, "divisor", 1)
        task, rng = ground.data.task, np.random.default_rng(seed)
        self.net = Supernet(
            ground.space, task, seed, affine=config.affine, divisor=self.divisor
        ).train()
        self.generator = torch.Generator().manual_seed(seed)
        self.alphas = Alphas.drawn(self.net.wirings, self.generator, self.with_edges)
        self.latency = (
            LatencyTerm(latency, config.latency_weight, self.net.wirings) if latency else None
        )
        self.weight_rows, self.architecture_rows = halves(ground.data, rng)
        x = np.ascontiguousarray(ground.data.train_x.transpose(0, 3, 1, 2))
        self._x, self._y = torch.from_numpy(x), torch.from_numpy(ground.data.train_y)
        self.batches = max(len(self.architecture_rows) // config.batch_size, 1)
        self.weights = {n: w for n, w in self.net.named_parameters() if w.requires_grad}
        self.optimiser = torch.optim.SGD(
            self.weights.values(),
            config.learning_rate,
            config.momentum,
            weight_decay=config.weight_decay,
        )
        self.architect = torch.optim.Adam(
            self.alphas.tensors,
            config.architecture_rate,
            self.betas,
            weight_decay=config.architecture_decay,
        )
        tunes = config.tune_weight_decay
        self.decay = WeightDecay(self.optimiser, config.decay_rate) if tunes else None
        self.epoch = self.images = 0
        self.past: list[Alphas] = []
        self._skips = SkipStop(config.most_skips)

    # ------------------------------------------------------------------------ the algorithm

    @abstractmethod
    def mixtures(self, alphas: Alphas) -> Mixtures:
        """What the supernet computes in one step; what is drawn for it is drawn anew.

        Args:
            alphas: Architecture parameters, with or without gradients.
        """

    @abstractmethod
    def architecture_gradient(self, train: Batch, valid: Batch) -> list[Tensor]:
        """Gradient of every tensor of `alphas` (`Alphas.tensors`), latency included.

        Args:
            train: The images that the weights learn from next.
            valid: Images of the other half.
        """

    def architecture_images(self, train: int, valid: int) -> int:
        """Images that the steps of the architecture of one epoch put through the supernet.

        Args:
            train: Images of the half of the weights.
            valid: Images of the half of the architecture.
        """
        return valid

    def judged(self) -> Mixtures:
        """The supernet as it is judged after an epoch, without a gradient."""
        return self.guarded(self.net.mixture_of(self.tokens()))

    def stepped(self, before: Groups) -> None:  # noqa: B027  most have nothing to do
        """Called after a step of the architecture.

        Args:
            before: The parameters before it.
        """

    def back_to(self) -> int | None:
        """The epoch whose favourite to take if the search should end now; asked once an epoch."""
        if self.config.stop != "skips":
            return None
        return self._skips.told(self.epoch - 1, self.skips())

    # ------------------------------------------------------------------------------- epochs

    @property
    def progress(self) -> float:
        """Share of the epochs that is over, 0 … 1."""
        epochs: int = self.config.epochs
        return self.epoch / max(epochs - 1, 1)

    def cost(self) -> int:
        """Images that the next epoch will put through the supernet to learn."""
        weights, architecture = len(self.weight_rows), len(self.architecture_rows)
        if self.epoch < self.config.warm_up:
            return weights
        tuned = architecture if self.decay else 0
        return weights + self.architecture_images(weights, architecture) + tuned

    def run_epoch(self) -> EpochReport:
        """One pass over both halves.

        Raises:
            SearchDiverged: If a loss or an architecture parameter is no finite number any more.
        """
        before = self.images
        with one_thread():
            learns, losses = self.epoch >= self.config.warm_up, []
            halves_dealt = self._dealt(self.weight_rows), self._dealt(self.architecture_rows)
            for step, (train, valid) in enumerate(zip(*halves_dealt, strict=True)):
                self._set_rate(self._falling(self.epoch * self.batches + step))
                if learns:
                    self._architecture_step(train, valid, step)
                losses.append(self._weight_step(train, step))
            self.epoch += 1
            self.past.append(self.alphas.detached())
            valid_loss, accuracy = self.assess(self.judged())
            checked_loss(valid_loss, f"the loss of the other half after epoch {self.epoch - 1}")
            back = self.back_to() if learns else None
        mean = float(np.mean(losses))
        return EpochReport(self.images - before, mean, valid_loss, accuracy, back)

    def tune(self) -> None:
        """An epoch of the weights alone, at a tenth of their first rate."""
        self._set_rate(self.config.learning_rate / 10)
        with one_thread():
            for step, batch in enumerate(self._dealt(self.weight_rows)):
                self._weight_step(batch, step)

    def _dealt(self, rows: np.ndarray) -> list[Batch]:
        """The images of a half in random batches, as equal as they come."""
        order = torch.randperm(len(rows), generator=self.generator).numpy()
        parts = np.array_split(rows[order], self.batches)
        return [self.batch(part) for part in parts]

    def batch(self, rows: np.ndarray) -> Batch:
        """Images of the training part by their rows."""
        return Batch(self._x[rows], self._y[rows])

    def _falling(self, step: int) -> float:
        """Rate of the weights in a step, along a cosine."""
        config = self.config
        fall = 0.5 * (1 + math.cos(math.pi * step / (config.epochs * self.batches)))
        rate: float = config.least_rate + (config.learning_rate - config.least_rate) * fall
        return rate

    def _set_rate(self, rate: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    def _architecture_step(self, train: Batch, valid: Batch, step: int) -> None:
        if self.decay is not None:
            self.decay.update(lambda: self.loss(valid, self.mixtures(self.alphas.detached())))
        before = self.alphas.detached().operations
        for tensor, found in zip(
            self.alphas.tensors, self.architecture_gradient(train, valid), strict=True
        ):
            tensor.grad = found
        self.architect.step()
        self.stepped(before)
        self._check(f"step {step} of epoch {self.epoch}")

    def _check(self, where: str) -> None:
        for group, values in self.alphas.operations.items():
            names = self.net.wirings[group].operations
            check_parameters(values, names, f"{group}, {where}")
        for group, values in (self.alphas.edges or {}).items():
            names = (("the edge",),) * len(values)
            check_parameters(values[:, None], names, f"{group}, {where}")

    def _weight_step(self, batch: Batch, step: int) -> float:
        loss = self.loss(batch, self.mixtures(self.alphas.detached()))
        value = checked_loss(loss, f"the training loss in step {step} of epoch {self.epoch}")
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.weights.values(), self.config.clip)
        if self.decay is not None:
            self.decay.remember()
        self.optimiser.step()
        return value

    # ---------------------------------------------------------------------------- the pieces

    def loss(self, batch: Batch, mixtures: Mixtures) -> Tensor:
        """Cross-entropy of images that are learnt from, which are counted."""
        self.images += len(batch.x)
        return functional.cross_entropy(self.net(batch.x, mixtures), batch.y)

    def with_latency(self, loss: Tensor) -> Tensor:
        """The loss of an architecture, with λ · E / reference if that is wanted."""
        term = self.latency.loss(self.alphas) if self.latency else None
        return loss if term is None else loss + term

    def guarded(self, mixtures: Mixtures) -> Mixtures:
        """The mixtures with the auxiliary skip of this epoch, if that guard is on."""
        config = self.config
        if config.guard == "none":
            return mixtures
        now = factor(config.auxiliary, config.auxiliary_decay, self.epoch, config.epochs)
        return {group: mixture.with_auxiliary(now) for group, mixture in mixtures.items()}

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

    def tokens(self, alphas: Alphas | None = None) -> tuple[int, ...]:
        """The favourite: the strongest operations (`Supernet.tokens`).

        Args:
            alphas: Of which parameters; the present ones if None.
        """
        given = alphas or self.alphas
        return self.net.tokens(given.probabilities(), given.factors())

    def skips(self, alphas: Alphas | None = None) -> int:
        """How many edges of the favourite are skips."""
        return skips(self.net.wirings, self.net.space.choices(self.tokens(alphas)))
