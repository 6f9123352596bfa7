"""Training proxies: a cheaper training whose accuracy stands for that of the full one.

A reduction is a frozen description that turns (network, images, recipe) into cheaper ones; several
are applied one after the other. The cost of a training is told in full-training equivalents: images
trained on ÷ images of one attempt of the full training. A smaller input or network is no cheaper by
that count; its gain is in seconds.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from emnas_gym.errors import EmNASError
from emnas_gym.graph import LayerGraph
from predictors.datasets import Dataset
from predictors.proxies.area_average import area_averaged
from predictors.proxies.rebuild import hidden_layers, rebuilt, with_activation
from predictors.training import Recipe, train


@dataclass(frozen=True)
class Setting:
    """All that decides a training but its seed.

    Attributes:
        graph: The network.
        data: Its images.
        recipe: How it is trained.
    """

    graph: LayerGraph
    data: Dataset
    recipe: Recipe = field(default_factory=Recipe)

    @property
    def images(self) -> int:
        """Images of one attempt: epochs × training images."""
        return self.recipe.epochs * len(self.data.train_x)


class Reduction(ABC):
    """Makes a setting cheaper."""

    @property
    @abstractmethod
    def name(self) -> str:
        """A short name for tables."""

    @abstractmethod
    def apply(self, setting: Setting) -> Setting:
        """The cheaper setting.

        Raises:
            ShapeError: If the network does not build in it.
        """


@dataclass(frozen=True)
class FewerEpochs(Reduction):
    """Trains fewer epochs; the schedule of the rate shrinks with them.

    Attributes:
        epochs: Passes over the training part.
    """

    epochs: int

    @property
    def name(self) -> str:
        """Such as ``3 epochs``."""
        return f"{self.epochs} epoch{'s' * (self.epochs > 1)}"

    def apply(self, setting: Setting) -> Setting:
        """Changes the recipe."""
        _check(1 <= self.epochs, f"{self.epochs} epochs cannot be trained; give 1 or more")
        return replace(setting, recipe=replace(setting.recipe, epochs=self.epochs))


@dataclass(frozen=True)
class Subset(Reduction):
    """Trains on a part of the images, the same share of every class.

    Validation and test part stay whole.

    Attributes:
        share: Of the training images, above 0 and at most 1; at least one image a class is kept.
        seed: Decides which.
    """

    share: float
    seed: int = 0

    @property
    def name(self) -> str:
        """Such as ``25 % of the images``."""
        return f"{self.share:.0%} of the images".replace("%", " %")

    def apply(self, setting: Setting) -> Setting:
        """Changes the images."""
        _check(0 < self.share <= 1, f"a share of {self.share} of the images; give 0 < share ≤ 1")
        data, rng = setting.data, np.random.default_rng(self.seed)
        kept = []
        for label in range(data.task.classes):
            rows = np.flatnonzero(data.train_y == label)
            kept.append(rng.permutation(rows)[: max(round(len(rows) * self.share), 1)])
        rows = rng.permutation(np.concatenate(kept))
        part = replace(data, train_x=data.train_x[rows], train_y=data.train_y[rows])
        return replace(setting, data=part)


@dataclass(frozen=True)
class LowerResolution(Reduction):
    """Trains on smaller images, each new pixel the average of the area that it covers.

    The network is built anew at the smaller input. Where a window without padding no longer fits
    its map there is no such proxy, and `apply` raises.

    Attributes:
        size: New height; the width follows in proportion.
    """

    size: int

    @property
    def name(self) -> str:
        """Such as ``12 pixels``."""
        return f"{self.size} pixels"

    def apply(self, setting: Setting) -> Setting:
        """Changes images and network."""
        task = setting.data.task
        height, width, channels = task.input_shape
        _check(1 <= self.size <= height, f"{self.size} pixels; give 1 to {height}")
        shape = (self.size, max(round(width * self.size / height), 1), channels)
        smaller = replace(
            setting.data,
            task=replace(task, input_shape=shape),
            train_x=area_averaged(setting.data.train_x, *shape[:2]),
            valid_x=area_averaged(setting.data.valid_x, *shape[:2]),
            test_x=area_averaged(setting.data.test_x, *shape[:2]),
        )
        return replace(setting, data=smaller, graph=rebuilt(setting.graph, shape))


@dataclass(frozen=True)
class Narrower(Reduction):
    """Trains a network whose convolutions and hidden dense layers have a share of their width.

    Attributes:
        share: Of filters and units, above 0 and at most 1; rounded up.
    """

    share: float

    @property
    def name(self) -> str:
        """Such as ``width × 0.5``."""
        return f"width × {self.share:g}"

    def apply(self, setting: Setting) -> Setting:
        """Changes the network."""
        _check(0 < self.share <= 1, f"a width of {self.share}; give 0 < share ≤ 1")
        widths = {
            node.name: int(np.ceil(node.shape[-1] * self.share))
            for node in hidden_layers(setting.graph)
        }
        return replace(setting, graph=rebuilt(setting.graph, widths=widths))


@dataclass(frozen=True)
class Shallower(Reduction):
    """Trains a network with fewer layers.

    Of the hidden dense layers and the convolutions with stride 1, which leave the size of the map
    to others, every n-th is left out with its activation, the first layer of the network excepted.
    A network without such layers is trained as it is.

    Attributes:
        every: n; 2 leaves out the first, third, fifth … of them, 1 all of them.
    """

    every: int = 2

    @property
    def name(self) -> str:
        """Such as ``without 1 in 2 layers``."""
        return f"without 1 in {self.every} layers"

    def apply(self, setting: Setting) -> Setting:
        """Changes the network."""
        _check(self.every >= 1, f"every {self.every}-th layer; give 1 or more")
        layers = hidden_layers(setting.graph)[1:]
        plain = [node for node in layers if node.op == "dense" or node.stride == (1, 1)]
        names = [
            name
            for node in plain[:: self.every]
            for name in with_activation(setting.graph, node.name)
        ]
        return replace(setting, graph=rebuilt(setting.graph, dropped=names))


@dataclass(frozen=True)
class Estimate:
    """What a cheaper training says of a network, and what it cost.

    Attributes:
        accuracy: Validation accuracy, 0 … 1.
        equivalents: Images trained on ÷ images of one attempt of the full training.
        seconds: Processor time on one thread.
        curve: Validation accuracy after each epoch.
    """

    accuracy: float
    equivalents: float
    seconds: float
    curve: tuple[float, ...]


def reduce(setting: Setting, reductions: Sequence[Reduction]) -> Setting:
    """Applies reductions one after the other.

    Raises:
        ShapeError: If the network does not build.
    """
    for reduction in reductions:
        setting = reduction.apply(setting)
    return setting


def estimate(setting: Setting, reductions: Sequence[Reduction], seed: int) -> Estimate:
    """Trains a network less.

    Args:
        setting: The full training.
        reductions: What makes it cheaper; with none it is the full training.
        seed: Of the training.

    Raises:
        ShapeError: If the network does not build.
        EvaluationError: If the loss is not finite.
    """
    cheaper, start = reduce(setting, reductions), time.process_time()
    result = train(cheaper.graph, cheaper.data, seed, cheaper.recipe)
    seconds = time.process_time() - start
    equivalents = result.images / setting.images
    return Estimate(result.valid_accuracy, equivalents, seconds, result.curve)


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise EmNASError(f"a training proxy cannot be made: {message}")
