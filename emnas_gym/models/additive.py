"""What the layers of a network ask of a device, counted: the input of additive latency surrogates.

A term is a kind of work and an amount, e.g. ``"conv 3x3/2 same: macs"`` → 442,368. A fitted model
gives every term a non-negative cost, and a network costs a constant and the sum over its layers.
The details below are what a Kendryte K210 distinguishes; a fit chooses which of them it uses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from emnas_gym import costs
from emnas_gym.errors import SurrogateFileError
from emnas_gym.grammar import Grammar
from emnas_gym.graph import GraphBuilder, LayerGraph, Node, Shape
from emnas_gym.layers import LayerSpec
from emnas_gym.models.base import Array, FittedModel
from emnas_gym.tasks import Task

DETAILS = {
    "sigmoid": "a sigmoid costs by the convolution before it, which may or may not absorb it",
    "small": "maps below 4 × 4, which the KPU refuses, so that the CPU computes them",
    "parity": "whether the zeros of a stride-2 window lie on both sides (odd maps) or on one",
    "cache": "2 × 2 convolutions by how many channels share a set of the 4 KiB cache way",
}
KPU_LEAST = 4
CACHE_WAY, CACHE_WAYS = 4096, 8  # bytes, ways
CONSTANT = "network: calls"
LARGEST = 1e100  # of a cost; sums of such costs stay finite
Terms = dict[str, float]


def layer_terms(
    spec: LayerSpec, shape: Shape, classes: int, details: Sequence[str]
) -> tuple[Shape, Terms]:
    """Terms of one layer on the shape that it reads, and the shape that it returns.

    Raises:
        ShapeError: If the layer does not fit the shape.
    """
    builder = GraphBuilder(shape)
    spec.lower(builder, classes)
    graph = builder.build()
    terms: Terms = {}
    for node in graph.nodes[1:]:
        if node.op not in ("dropout", "sigmoid"):
            _add_node(terms, graph, node, details)
    if spec.activation == "sigmoid":
        after = f" after {_window_name(graph.nodes[1])}" if "sigmoid" in details else ""
        terms[f"sigmoid{after}: out"] = math.prod(builder.shape)
        terms["sigmoid: calls"] = 1
    return builder.shape, terms


def _add_node(terms: Terms, graph: LayerGraph, node: Node, details: Sequence[str]) -> None:
    before = graph.in_shapes(node)[0]
    name = _window_name(node)
    if node.op in ("conv2d", "depthwise_conv2d"):
        if "small" in details and min(*before[:2], *node.shape[:2]) < KPU_LEAST:
            name += " small"
        elif "parity" in details and node.stride[0] == 2:
            name += " odd" if before[0] % 2 else " even"
    amounts = {
        "calls": 1,
        "macs": costs.node_macs(graph, node),
        "in": math.prod(before),
        "out": node.size,
    }
    for what, amount in amounts.items():
        if amount:
            terms[f"{name}: {what}"] = terms.get(f"{name}: {what}", 0) + amount
    if "cache" in details and node.op == "conv2d" and node.kernel == (2, 2):
        shared = before[2] * math.gcd(before[0] * before[1], CACHE_WAY) / CACHE_WAY
        if shared >= CACHE_WAYS:
            terms[f"conv 2x2 with {shared:g} channels a cache set: macs"] = amounts["macs"]


def _window_name(node: Node) -> str:
    if node.op not in ("conv2d", "depthwise_conv2d"):
        return node.op
    kind = "conv" if node.op == "conv2d" else "depthwise"
    size, step = node.kernel[0], node.stride[0]
    return f"{kind} {size}x{size}/{step}" + (f" {node.padding}" if size > 1 else "")


def network_terms(
    space: Grammar, task: Task, tokens: Sequence[int], details: Sequence[str]
) -> Terms:
    """Terms of a whole network, the constant included.

    Args:
        space: The search space.
        task: What the network is for.
        tokens: Its tokens; repeats of the same behaviour count alike.
        details: Which of `DETAILS` are told apart.

    Raises:
        ShapeError: If a layer does not fit its shape.
    """
    total: Terms = {CONSTANT: 1}
    shape = task.input_shape
    for token in space.canonical_tokens(tokens):
        shape, terms = layer_terms(space.spec(token), shape, task.classes, details)
        for name, amount in terms.items():
            total[name] = total.get(name, 0) + amount
    return total


@dataclass(frozen=True)
class AdditiveCosts(FittedModel):
    """A constant and a sum over layers of non-negative costs.

    Attributes:
        costs: Name of a term → cost of one unit of it; a term without one costs nothing.
        details: Which of `DETAILS` are told apart.
    """

    kind: ClassVar[str] = "additive"
    reads: ClassVar[str] = "terms"

    costs: Mapping[str, float]
    details: tuple[str, ...]

    @property
    def encoding(self) -> str:
        """Terms, and the details that they tell apart."""
        return "+".join([self.reads, *self.details])

    def predict(self, x: Sequence[Terms]) -> tuple[Array, Array]:
        """Sums of costs and zeros, each of shape (N,); a sum knows nothing of its doubt.

        Args:
            x: Terms of each network, told apart by `details`.
        """
        names = sorted(self.costs)
        amounts = [[terms.get(name, 0.0) for name in names] for terms in x]
        matrix = np.array(amounts, dtype=np.float64).reshape(len(x), len(names))
        total: Array = matrix @ np.array([self.costs[name] for name in names], dtype=np.float64)
        return total, np.zeros(len(x))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """None: costs have names, and people review them."""
        return {}

    def options(self) -> dict[str, Any]:
        """Details and costs."""
        return {"details": list(self.details), "costs": dict(self.costs)}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], options: Mapping[str, Any]) -> AdditiveCosts:
        """Checks what was read from a file.

        Raises:
            SurrogateFileError: If a cost is no finite number from 0 on, or a detail is unknown.
        """
        if arrays:
            raise SurrogateFileError(f"a sum of costs has no arrays, not {sorted(arrays)}")
        return cls.checked(options.get("costs"), options.get("details"))

    def layer_cost(self, spec: LayerSpec, shape: Shape, classes: int) -> tuple[Shape, float]:
        """Cost of one layer on the shape that it reads, and the shape that it returns."""
        out, terms = layer_terms(spec, shape, classes, self.details)
        return out, sum(self.costs.get(name, 0.0) * amount for name, amount in terms.items())

    @property
    def constant(self) -> float:
        """What every network costs."""
        return self.costs.get(CONSTANT, 0.0)

    @classmethod
    def checked(cls, costs: object, details: object) -> AdditiveCosts:
        """Checks costs and details that nobody vouches for.

        Raises:
            SurrogateFileError: If a cost is no finite number from 0 on, or a detail is unknown.
        """
        if not isinstance(costs, dict) or not isinstance(details, list):
            raise SurrogateFileError("costs is a table, details a list")
        for name, value in costs.items():
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not 0 <= value <= LARGEST:
                raise SurrogateFileError(f"the cost of {name!r}, {value!r}, is no number from 0 on")
        unknown = [detail for detail in details if detail not in list(DETAILS)]
        if unknown:
            raise SurrogateFileError(f"unknown details {unknown}")
        return cls({str(k): float(v) for k, v in costs.items()}, tuple(details))
