"""One search by gradient: a supernet whose weights and architecture learn in turns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from agents.differentiable.alphas import Alphas, Groups, skips
from agents.differentiable.auxiliary_skip import factor
from agents.differentiable.divergence import check_parameters, checked_loss
from agents.differentiable.early_stop import SkipStop
from agents.differentiable.ground import Ground
from agents.differentiable.latency_term import LatencyTerm
from agents.differentiable.supernet_weights import Batch, Mixtures, SupernetWeights
from predictors.lenna.expected import ExpectedLatency
from predictors.training import one_thread


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


class SupernetSearch(SupernetWeights, ABC):
    """Weights learn from one half of the training images, the architecture from the other.

    A subclass says what a supernet computes (`mixtures`), and how a step of the architecture finds
    its gradient (`architecture_gradient`).

    Args:
        ground: Space and images.
        config: Hyperparameters.
        seed: Decides everything.
        latency: What expects latency; None for no such thing.

    Attributes:
        alphas: Architecture parameters.
        latency: λ · E / reference, if latency is expected.
        epoch: How many are over.
        past: The architecture parameters after each of them.
    """

    with_edges: ClassVar[bool] = False
    betas: ClassVar[tuple[float, float]] = (0.5, 0.999)  # of Adam, as in DARTS

    def __init__(
        self, ground: Ground, config: Any, seed: int, latency: ExpectedLatency | None = None  # noqa: ANN401
    ) -> None:  # fmt: skip
        super().__init__(ground.space, ground.data, config, seed)
        self.ground, self.seed = ground, seed
        self.alphas = Alphas.drawn(self.net.wirings, self.generator, self.with_edges)
        self.latency = (
            LatencyTerm(latency, config.latency_weight, self.net.wirings) if latency else None
        )
        self.architect = torch.optim.Adam(
            self.alphas.tensors,
            config.architecture_rate,
            self.betas,
            weight_decay=config.architecture_decay,
        )
        self.epoch = 0
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

    def stepped(self, before: Groups) -> None:
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
            halves_dealt = self.dealt(self.weight_rows), self.dealt(self.architecture_rows)
            for step, (train, valid) in enumerate(zip(*halves_dealt, strict=True)):
                self.set_rate(self.falling(self.epoch * self.batches + step))
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
        self.set_rate(self.config.learning_rate / 10)
        with one_thread():
            for step, batch in enumerate(self.dealt(self.weight_rows)):
                self._weight_step(batch, step)

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
        return self.descend(loss, f"the training loss in step {step} of epoch {self.epoch}")

    # ---------------------------------------------------------------------------- the pieces

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
