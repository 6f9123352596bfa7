"""Hyperparameters that all searches by gradient share."""

from __future__ import annotations

from dataclasses import dataclass

from agents.base import Config

GUARDS, STOPS, SELECTIONS = ("none", "minus"), ("never", "skips"), ("argmax", "perturbation")
DECAYS = ("linear", "cosine")


@dataclass(frozen=True)
class GradientConfig(Config):
    """Hyperparameters of every search by gradient."""

    epochs: int = 25
    """Passes over the half of the training images that the weights learn from."""

    warm_up: int = 5
    """Epochs, the first ones, in which the weights learn alone."""

    batch_size: int = 64
    """Images a step, of either half."""

    learning_rate: float = 0.1
    """First rate of SGD for the weights; falls along a cosine to `least_rate`."""

    least_rate: float = 0.001
    """Last rate of the weights."""

    momentum: float = 0.9
    """Momentum of SGD."""

    weight_decay: float = 3e-4
    """Weight decay of the weights."""

    clip: float = 5.0
    """Largest norm of a gradient of the weights."""

    architecture_rate: float = 0.03
    """Rate of Adam for the architecture parameters; DARTS has 0.0003 for a hundred times as many
    steps."""

    architecture_decay: float = 1e-3
    """Weight decay of the architecture parameters."""

    affine: bool = False
    """Whether batch norms of the supernet learn scale and shift."""

    latency_weight: float = 0.0
    """λ: the loss of the architecture gets λ · expected latency ÷ reference, which is the expected
    latency of even probabilities."""

    latency_target: str = ""
    """What latency is expected of: a target (macs, host, cortex-m4, ethos-u55-128, a board), or the
    path of a table (.json) or of a network fitted on LENNA's blocks (.network)."""

    guard: str = "none"
    """minus: beside every edge a skip without parameters, whose factor falls to 0 (DARTS-minus)."""

    auxiliary: float = 1.0
    """First factor of that skip."""

    auxiliary_decay: str = "linear"
    """How the factor falls: linear or cosine."""

    stop: str = "never"
    """skips: ends a search as soon as its favourite has more than `most_skips` skips, and takes the
    last favourite that had not."""

    most_skips: int = 2
    """Skips that a favourite may have."""

    tune_weight_decay: bool = False
    """Whether the weight decay is tuned by its gradient on the other half (Luketina 2016)."""

    decay_rate: float = 0.1
    """Rate of Adam for the logarithm of the weight decay."""

    searches: int = 0
    """Supernets that are trained at most; 0 goes on until the ledger is spent."""

    images: str = ""
    """Images to search with: a name, a folder or an .npz; those of the task if empty."""

    image_divisor: int = 1
    """Height and width of the images are divided by this, for a cheaper proxy: squares of so many
    pixels are averaged."""

    proxy_space: str = ""
    """Space of cells that is searched, by name or path, where the networks that count are of
    another one or of a table; decisions are matched by the names of positions and operations."""

    def __post_init__(self) -> None:
        """Checks the values."""
        self.require(self.epochs >= 1, "epochs is 1 or more")
        self.require(self.searches >= 0, "searches is 0 or more")
        self.require(self.image_divisor >= 1, "image_divisor is 1 or more")
        self.require(0 <= self.warm_up < self.epochs, "warm_up is 0 or more, less than epochs")
        self.require(self.batch_size >= 2, "batch_size is 2 or more")
        rates = (self.learning_rate, self.architecture_rate, self.decay_rate, self.clip)
        self.require(0 < min(rates) <= max(rates) <= 1e30, "rates and clip lie in 0 … 1e30")
        self.require(0 <= self.least_rate <= self.learning_rate, "0 ≤ least_rate ≤ learning_rate")
        self.require(0 <= self.momentum < 1, "momentum lies in 0 … 1, without 1")
        self.require(min(self.weight_decay, self.architecture_decay) >= 0, "decays are 0 or more")
        self.require(self.latency_weight >= 0, "latency_weight is 0 or more")
        known = bool(self.latency_target)
        self.require(known or not self.latency_weight, "latency_weight needs a latency_target")
        self.require(self.guard in GUARDS, f"guard is {' or '.join(GUARDS)}")
        self.require(self.auxiliary >= 0, "auxiliary is 0 or more")
        self.require(self.auxiliary_decay in DECAYS, f"auxiliary_decay is {' or '.join(DECAYS)}")
        self.require(self.stop in self.stops(), f"stop is {', '.join(self.stops())}")
        self.require(self.most_skips >= 0, "most_skips is 0 or more")
        tuned = self.weight_decay > 0 or not self.tune_weight_decay
        self.require(tuned, "tune_weight_decay begins at a weight_decay above 0")

    def stops(self) -> tuple[str, ...]:
        """What may end a search early."""
        return STOPS


@dataclass(frozen=True)
class MixedConfig(GradientConfig):
    """Hyperparameters of searches whose supernet mixes all operations at once."""

    stop: str = "never"
    """skips: ends a search as soon as its favourite has more than `most_skips` skips, and takes the
    last favourite that had not; curvature: as soon as the loss bends much more in the architecture
    than before, and takes the favourite of `curvature_window` epochs ago (RobustDARTS)."""

    curvature_window: int = 5
    """Epochs over which the curvature is averaged, and between those that are compared."""

    curvature_ratio: float = 0.75
    """Ends where earlier ÷ present curvature falls below."""

    curvature_steps: int = 5
    """Steps of the power iteration for the curvature, on one batch."""

    selection: str = "argmax"
    """argmax: the strongest operations; perturbation: on every edge the operation without which the
    supernet classifies worst (Wang et al. 2021)."""

    selection_images: int = 256
    """Images by which perturbation compares operations."""

    tuning_epochs: int = 1
    """Epochs in which the weights learn on after perturbation decided an edge."""

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        self.require(self.curvature_window >= 1, "curvature_window is 1 or more")
        self.require(0 < self.curvature_ratio < 1, "curvature_ratio lies between 0 and 1")
        self.require(self.curvature_steps >= 1, "curvature_steps is 1 or more")
        self.require(self.selection in SELECTIONS, f"selection is {' or '.join(SELECTIONS)}")
        self.require(self.selection_images >= 2, "selection_images is 2 or more")
        self.require(self.tuning_epochs >= 0, "tuning_epochs is 0 or more")

    def stops(self) -> tuple[str, ...]:
        """What may end a search early."""
        return (*super().stops(), "curvature")
