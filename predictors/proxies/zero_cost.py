"""Zero-cost scores: what a network looks like before it is trained, at the price of a few batches.

Abdelfattah et al. 2021 ("Zero-cost proxies for lightweight NAS") compare them; parameters and MACs
stand beside them, since hardly one of them beats those everywhere.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from emnas_gym import costs
from emnas_gym.graph import WEIGHTED, LayerGraph, Node
from predictors.datasets import Dataset
from predictors.network import GraphNetwork
from predictors.training import initialise, one_thread

BATCH = 64  # images of naswot and grad-norm
NAMES = ("synflow", "naswot", "grad-norm", "params", "macs")
TINY = 1e-30  # a network whose signal dies has a score of zero, and of −69 as a logarithm


@dataclass(frozen=True)
class Scores:
    """Scores of one network, larger for what should train better.

    Attributes:
        values: Name → score, means over the seeds.
        seconds: Name → processor time on one thread, all seeds together.
    """

    values: dict[str, float]
    seconds: dict[str, float]


def scores(graph: LayerGraph, data: Dataset, seeds: Sequence[int] = (0, 1, 2)) -> Scores:
    """All scores of a network, at weights that begin as in training.

    Args:
        graph: The network.
        data: Images; only training images are read.
        seeds: Of the weights and of the batch; the scores are averaged over them.

    Raises:
        EvaluationError: If the graph does not belong to the data.
    """
    measured: dict[str, list[float]] = {name: [] for name in NAMES}
    seconds = dict.fromkeys(NAMES, 0.0)
    with one_thread(), torch.random.fork_rng(devices=[]):
        for seed in seeds:
            torch.manual_seed(seed)
            start = time.process_time()
            images, classes = _batch(data)
            network = GraphNetwork(graph)
            initialise(network, images)
            begun = time.process_time() - start
            for name, score in _scored(network, images, classes):
                start = time.process_time()
                measured[name].append(score())
                shared = 0.0 if name in ("params", "macs") else begun
                seconds[name] += time.process_time() - start + shared
    return Scores({name: float(np.mean(every)) for name, every in measured.items()}, seconds)


def _scored(
    network: GraphNetwork, images: Tensor, classes: Tensor
) -> Iterator[tuple[str, Callable[[], float]]]:
    yield "naswot", lambda: naswot(network, images)
    yield "grad-norm", lambda: grad_norm(network, images, classes)
    yield "params", lambda: math.log2(1 + costs.params(network.graph))
    yield "macs", lambda: math.log2(1 + costs.macs(network.graph))
    yield "synflow", lambda: synflow(network)  # last: it changes the weights


def _batch(data: Dataset) -> tuple[Tensor, Tensor]:
    rows = torch.randperm(len(data.train_x))[:BATCH].numpy()
    images = np.ascontiguousarray(data.train_x[rows].transpose(0, 3, 1, 2))
    return torch.from_numpy(images), torch.from_numpy(data.train_y[rows])


def synflow(network: GraphNetwork) -> float:
    """Synaptic flow (Tanaka et al. 2020, eq. 3), as a logarithm.

    Every kernel is replaced by its absolute values, biases by zero, and an image of ones is sent
    through the linear parts and rectifiers; R is the sum of what comes out, and the score is
    ln Σ |θ · ∂R/∂θ| over the kernels. Sigmoids and batch norm are left out, as the authors do with
    the latter: a flow that saturates would not tell one network from another. No image is read.

    Args:
        network: Its kernels lose their signs and its biases their values.
    """
    network.eval()
    kernels = [network.layer(node).weight for node in network.graph if node.op in WEIGHTED]
    with torch.no_grad():
        for node in network.graph:
            if node.op in WEIGHTED:
                layer = network.layer(node)
                layer.weight.abs_()
                assert layer.bias is not None
                layer.bias.zero_()
    network.double()
    height, width, channels = network.graph.input_shape
    total = _flow(network, torch.ones(1, channels, height, width, dtype=torch.float64)).sum()
    gradients = torch.autograd.grad(total, kernels)
    score = sum(
        float((kernel * gradient).detach().abs().sum())
        for kernel, gradient in zip(kernels, gradients, strict=True)
    )
    network.float()
    return math.log(max(score, TINY))


def _flow(network: GraphNetwork, ones: Tensor) -> Tensor:
    outputs: list[Tensor] = []
    for node in network.graph:
        read = [outputs[i] for i in node.inputs]
        outputs.append(ones if node.op == "input" else _flow_through(network, node, read))
    return outputs[-1]


def _flow_through(network: GraphNetwork, node: Node, read: list[Tensor]) -> Tensor:
    if node.op in ("sigmoid", "softmax", "dropout"):
        return read[0]
    return network.without_norm(node, read)  # positive throughout: rectifiers would do nothing


@torch.no_grad()
def naswot(network: GraphNetwork, images: Tensor) -> float:
    """How differently a network treats different images (Mellor et al. 2021): ln |det K_H|.

    Each pre-activation of a rectifier or sigmoid gives one bit an image, its sign; for a rectifier
    that is whether it fires, and for a sigmoid, which has no such code of its own, on which side of
    its middle it stands. K_H[i, j] is the number of bits in which images i and j agree. A kernel
    that is singular scores as its eigenvalues above 10⁻⁶ do, with that value for the others.

    Args:
        network: The network, at its first weights.
        images: (N, C, H, W).
    """
    network.eval()
    sigmoids = {node.inputs[0] for node in network.graph if node.op == "sigmoid"}
    outputs: list[Tensor] = []
    codes: list[Tensor] = []
    for index, node in enumerate(network.graph):
        if node.op == "input":
            outputs.append(images)
            continue
        before = network.linear(node, [outputs[i] for i in node.inputs])
        if node.activation != "none" or index in sigmoids:
            codes.append((before > 0).flatten(1))
        outputs.append(network.activate(node, before))
    bits = torch.cat(codes, dim=1).numpy() if codes else np.zeros((len(images), 0), dtype=bool)
    return kernel_score(bits)


def kernel_score(bits: NDArray[np.bool_]) -> float:
    """The score of codes: ln |det K_H|.

    Args:
        bits: (images, bits).
    """
    ones = bits.astype(np.float64)
    agree = ones @ ones.T + (1 - ones) @ (1 - ones).T
    return float(np.log(np.maximum(np.linalg.eigvalsh(agree), 1e-6)).sum())


def grad_norm(network: GraphNetwork, images: Tensor, classes: Tensor) -> float:
    """Logarithm of the Euclidean norm of the loss' gradient in the kernels, on one minibatch.

    Dropout is off, so that one batch gives one score. Abdelfattah et al. 2021.

    Args:
        network: The network, at its first weights; its gradients stay empty.
        images: (N, C, H, W).
        classes: (N,).
    """
    network.eval()
    kernels = [network.layer(node).weight for node in network.graph if node.op in WEIGHTED]
    loss = functional.cross_entropy(network(images), classes)
    gradients = torch.autograd.grad(loss, kernels)
    square = sum(float((gradient.double() ** 2).sum()) for gradient in gradients)
    return 0.5 * math.log(max(square, TINY))
