"""Really trains a network: seeded, bit-reproducible on one thread, accuracy kept per epoch.

Weights start from the data (layer-sequential unit variance, Mishkin & Matas 2016, "All you need
is a good init"): plain deep stacks without batch norm otherwise stay at chance in a fifth of the
space, and labels become noise. Of those that stay there even so, some are hopeless, some had bad
luck and some need another rate: a training that has learned next to nothing begins again from
other weights, the last times at other rates.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from emnas_gym.errors import EvaluationError
from emnas_gym.graph import WEIGHTED, LayerGraph
from predictors.datasets import Dataset
from predictors.network import GraphNetwork

RATES = (1.0, 1.0, 1.0, 0.3, 0.09, 3.0)  # of each attempt, relative to the recipe's
STUCK = 0.95  # of the entropy of the classes: a loss above it has learned next to nothing
CONSTANT = 1e-6  # a pre-activation that varies less carries nothing that scaling could bring out


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        epochs: Passes over the training part.
        batch_size: Images a step.
        learning_rate: Peak of the one-cycle schedule of Adam; late attempts have another (`rate`).
        weight_decay: Decoupled weight decay (AdamW).
        init_images: Images by which the weights are initialised.
        attempts: How often a training is begun at most, as long as it learns next to nothing.
        patience: Epochs after which an attempt that has learned next to nothing ends, unless it is
            the last; 0 lets every attempt go on.
    """

    epochs: int = 15
    batch_size: int = 64
    learning_rate: float = 1e-2
    weight_decay: float = 1e-4
    init_images: int = 256
    attempts: int = len(RATES)
    patience: int = 0

    def rate(self, attempt: int) -> float:
        """Peak of the schedule of an attempt, counted from 0."""
        return self.learning_rate * RATES[min(attempt, len(RATES) - 1)]

    def to_json(self) -> dict[str, float]:
        """The fields as plain data; without a patience where there is none."""
        return {name: value for name, value in asdict(self).items() if name != "patience" or value}


@dataclass(frozen=True)
class TrainingResult:
    """A trained network and how it came about.

    Attributes:
        valid_accuracy: Validation accuracy after the last epoch, 0 … 1.
        test_accuracy: Test accuracy after the last epoch, 0 … 1; not for a search to see.
        curve: Validation accuracy after each epoch, shape (epochs,), fewer where it was stopped.
        train_loss: Mean training loss of each epoch, as many.
        images: Images trained on, all epochs of all attempts together.
        seconds: Wall time.
        weights: Trained weights with the names of the graph.
    """

    valid_accuracy: float
    test_accuracy: float
    curve: tuple[float, ...]
    train_loss: tuple[float, ...]
    images: int
    seconds: float
    weights: dict[str, np.ndarray]


Watch = Callable[[list[float]], bool]  # validation accuracies so far → whether to stop


def train(
    graph: LayerGraph,
    data: Dataset,
    seed: int,
    recipe: Recipe | None = None,
    *,
    weights: Mapping[str, np.ndarray] | None = None,
    watch: Watch | None = None,
) -> TrainingResult:
    """Trains a network; equal arguments give equal bits.

    Args:
        graph: The network; its input shape is the data's.
        data: Images in three parts.
        seed: Decides initialisation, order of the images and dropout.
        recipe: How; the default recipe if None.
        weights: What the first attempt begins from instead of weights of its own; layers that are
            not in it begin as ever. Later attempts begin from scratch.
        watch: Asked after each epoch with the curve of this attempt; True ends the attempt there.
            What has learned next to nothing by then begins again, as after a whole attempt.

    Raises:
        EvaluationError: If the graph does not belong to the data, or the loss is not finite.
        InvalidArchitecture: If the weights do not belong to the graph.
    """
    if graph.input_shape != data.task.input_shape:
        raise EvaluationError(f"the network reads {graph.input_shape}, not {data.task.input_shape}")
    recipe = recipe or Recipe()
    start = time.perf_counter()
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        x, y = _tensor(data.train_x), torch.from_numpy(data.train_y)
        attempts: list[_Attempt] = []
        stuck = STUCK * _entropy(y)
        while len(attempts) < recipe.attempts and not (attempts and attempts[-1].loss < stuck):
            number = len(attempts)
            patience = recipe.patience if number + 1 < recipe.attempts else 0
            now = replace(recipe, learning_rate=recipe.rate(number), patience=patience)
            network = _begun(graph, x[: recipe.init_images], {} if attempts else weights or {})
            curve, losses = _fit(network, x, y, data, now, watch, stuck)
            given_up = len(losses) == patience < recipe.epochs and losses[-1] >= stuck
            attempts.append(_Attempt(network, curve, losses, given_up))
        best = min((a for a in attempts if not a.given_up), key=lambda attempt: attempt.loss)
        test = accuracy(best.network, data.test_x, data.test_y)
    return TrainingResult(
        valid_accuracy=best.curve[-1],
        test_accuracy=test,
        curve=tuple(best.curve),
        train_loss=tuple(best.losses),
        images=sum(len(attempt.losses) for attempt in attempts) * len(x),
        seconds=time.perf_counter() - start,
        weights=best.network.weights(),
    )


@dataclass(frozen=True)
class _Attempt:
    """One training from new weights, with its validation accuracy and loss of each epoch."""

    network: GraphNetwork
    curve: list[float]
    losses: list[float]
    given_up: bool

    @property
    def loss(self) -> float:
        """That of the last epoch."""
        return self.losses[-1]


def _begun(graph: LayerGraph, images: Tensor, given: Mapping[str, np.ndarray]) -> GraphNetwork:
    """A network before its first step, some of its weights given."""
    network = GraphNetwork(graph)
    if given:
        network.load_weights(network.weights() | dict(given))
    initialise(network, images, {name.rpartition("/")[0] for name in given})
    for node in graph:
        if node.op in WEIGHTED and node.op != "dense" and node.shape[:2] != (1, 1):
            # maps then have their channels last, which batch norm and small convolutions want
            weight = network.layer(node).weight
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    return network


def _entropy(y: Tensor) -> float:
    """The least loss that the frequencies of the classes alone achieve."""
    shares = torch.bincount(y).double() / len(y)
    return float(torch.special.entr(shares).sum())


@contextmanager
def one_thread() -> Iterator[None]:
    """Runs torch on one thread: sums are then added in one order, and processes do not fight."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@torch.no_grad()
def initialise(network: GraphNetwork, images: Tensor, kept: Collection[str] = ()) -> None:
    """Gives every pre-activation zero mean a channel and unit variance (2 before a sigmoid).

    Args:
        network: Changed in place; layers with batch norm keep their random weights, and the norm
            begins with the statistics of the images, as it normalises them in the first step.
        images: (N, C, H, W) training images.
        kept: Names of nodes that keep their weights.
    """
    network.eval()
    outputs: list[Tensor] = []
    sigmoid_after = {node.inputs[0] for node in network.graph if node.op == "sigmoid"}
    for index, node in enumerate(network.graph):
        if node.op == "input":
            outputs.append(images)
            continue
        read = [outputs[i] for i in node.inputs]
        if node.op in WEIGHTED and not node.batch_norm and node.name not in kept:
            _standardise(network, index, read, 2.0 if index in sigmoid_after else 1.0)
        if node.op in WEIGHTED and node.batch_norm and node.name not in kept:
            _begin_statistics(network.norm(node), network.without_norm(node, read))
        outputs.append(network.activate(node, network.linear(node, read)))


def _begin_statistics(norm: torch.nn.BatchNorm2d, x: Tensor) -> None:
    """Otherwise what comes after 20 norms is next to nothing here, and is scaled up for ever."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    variance, mean = torch.var_mean(x, dim=(0, 2, 3), correction=0)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)


def _standardise(network: GraphNetwork, index: int, read: list[Tensor], variance: float) -> None:
    """Orthogonal weights, scaled and shifted so that the pre-activation has the variance."""
    node = network.graph.nodes[index]
    layer = network.layer(node)
    assert layer.bias is not None
    torch.nn.init.orthogonal_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    before = network.linear(node, read)
    axes = [d for d in range(before.dim()) if d != 1]
    spread = float((before - before.mean(dim=axes, keepdim=True)).std())
    if spread > CONSTANT:
        layer.weight.mul_(math.sqrt(variance) / spread)
    layer.bias.copy_(-network.linear(node, read).mean(dim=axes))


def _fit(
    network: GraphNetwork,
    x: Tensor,
    y: Tensor,
    data: Dataset,
    recipe: Recipe,
    watch: Watch | None,
    stuck: float,
) -> tuple[list[float], list[float]]:
    optimiser = torch.optim.AdamW(  # fused: a third less time on networks as small as these
        network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    steps = recipe.epochs * math.ceil(len(x) / recipe.batch_size)
    steps += steps == 4  # a rise of exactly one step makes the schedule divide by zero
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=steps, pct_start=0.25
    )
    curve: list[float] = []
    losses: list[float] = []
    for _ in range(recipe.epochs):
        network.train()
        total = 0.0
        for rows in torch.randperm(len(x)).split(recipe.batch_size):  # type: ignore[no-untyped-call]
            if network.norms and len(rows) < 2:
                continue  # batch norm cannot normalise one image
            loss = functional.cross_entropy(network(x[rows]), y[rows])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += loss.item() * len(rows)
        if not math.isfinite(total):
            raise EvaluationError("the training loss is not finite")
        losses.append(total / len(x))
        curve.append(accuracy(network, data.valid_x, data.valid_y))
        if len(losses) == recipe.patience and losses[-1] >= stuck:
            break
        if watch is not None and watch(list(curve)):
            break
    return curve, losses


@torch.no_grad()
def accuracy(network: GraphNetwork, images: np.ndarray, classes: np.ndarray) -> float:
    """Share of images classified rightly.

    Args:
        network: The network; left in evaluation mode.
        images: (N, H, W, C) float32.
        classes: (N,) int64.
    """
    network.eval()
    hits = 0
    for first in range(0, len(images), 512):
        logits = network(_tensor(images[first : first + 512]))
        hits += int((logits.argmax(1).numpy() == classes[first : first + 512]).sum())
    return hits / len(images)


def _tensor(images: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
