"""A fitted graph network in numpy: messages along edges, and a global node that hears every node.

Dudziak et al. 2020, "BRP-NAS: Prediction-based NAS using GCNs" (arXiv 2007.08668): layers of graph
convolutions whose read-out is one further node to which every node sends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from emnas_gym.errors import ShapeError, SurrogateFileError
from emnas_gym.graph_encoding import Graphs
from emnas_gym.models.base import Array, FittedModel, check_shape, finite
from emnas_gym.models.ensemble import averaged

CHUNK = 256  # graphs at a time, so that intermediate values stay in the cache
EPSILON = 1e-5  # of layer norm, as torch's
DEEPEST = 64  # layers of a file
LINKS = ("identity", "log", "logit")
DIRECTIONS = ("inputs", "outputs")  # a node hears the nodes that it reads, or those that read it


def propagation(graphs: Graphs, typical_nodes: float) -> Array:
    """Who hears whom, with a global node after all others, for both of `DIRECTIONS`.

    A node takes the mean of itself and its neighbours. The global node takes the sum of all nodes
    over the number of nodes of a typical graph, so that it can tell a long network from a short
    one; nobody hears it but itself.

    Args:
        graphs: N graphs of at most V nodes.
        typical_nodes: Mean number of nodes of the training graphs.

    Returns:
        Shape (2, N, V + 1, V + 1), float64.
    """
    count, size = graphs.mask.shape
    real = graphs.mask[:, :, None] & graphs.mask[:, None, :]
    result = np.zeros((2, count, size + 1, size + 1))
    for matrix, reads in zip(result, (graphs.reads, graphs.reads.transpose(0, 2, 1)), strict=True):
        heard = (reads * real) + np.eye(size) * graphs.mask[:, :, None]
        total = np.maximum(np.abs(heard).sum(axis=2, keepdims=True), 1.0)
        matrix[:, :size, :size] = heard / total
        matrix[:, size, :size] = graphs.mask / typical_nodes
        matrix[:, size, size] = 1.0
    return result


@dataclass(frozen=True)
class GraphNetwork(FittedModel):
    """Several graph networks, averaged on the scale of the link.

    M members, D directions, L layers of width H.

    Attributes:
        centre: Mean of every node feature, shape (F,).
        scale: Deviation of every node feature, shape (F,).
        typical_nodes: Mean number of nodes of the training graphs, shape ().
        weights: For each layer (M, D, inputs, H).
        gains: For each layer the gain of its layer norm, (M, H).
        shifts: For each layer the shift of its layer norm, (M, H).
        out: From the global node to the output, (M, H).
        out_bias: Shape (M,).
        link: Scale of the output, one of `LINKS`.
    """

    kind: ClassVar[str] = "graph_network"
    reads: ClassVar[str] = "graph"

    centre: Array
    scale: Array
    typical_nodes: Array
    weights: tuple[Array, ...]
    gains: tuple[Array, ...]
    shifts: tuple[Array, ...]
    out: Array
    out_bias: Array
    link: str

    def predict(self, x: Graphs) -> tuple[Array, Array]:
        """Mean and standard deviation of the members, each of shape (N,).

        Raises:
            ShapeError: If the nodes have another number of features than in training.
        """
        scores = self.scores(x)
        if self.link == "identity":
            return scores.mean(axis=0), scores.std(axis=0)
        return averaged(self.link, scores)

    def scores(self, x: Graphs) -> Array:
        """Output of every member on the scale of the link, shape (M, N)."""
        if x.nodes.shape[2] != len(self.centre):
            raise ShapeError(f"nodes have {x.nodes.shape[2]} features, not {len(self.centre)}")
        parts = [x[i : i + CHUNK] for i in range(0, len(x), CHUNK)]
        empty = np.zeros((len(self.out), 0))
        return np.concatenate([empty, *(self._scores(part) for part in parts)], axis=1)

    def _scores(self, x: Graphs) -> Array:
        hears = propagation(x, float(self.typical_nodes))  # (D, N, V + 1, V + 1)
        hidden = with_global(x, self.centre, self.scale)[None]  # (1 or M, N, V + 1, F or H)
        for weight, gain, shift in zip(self.weights, self.gains, self.shifts, strict=True):
            sent = [
                np.matmul(matrix, np.matmul(hidden, weight[:, i, None]))
                for i, matrix in enumerate(hears)
            ]
            hidden = np.maximum(_layer_norm(sum(sent), gain, shift), 0.0)
        last: Array = np.einsum("mnh,mh->mn", hidden[:, :, -1], self.out)
        return last + self.out_bias[:, None]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What is stored in a file."""
        named = {"centre": self.centre, "scale": self.scale, "typical_nodes": self.typical_nodes}
        for i in range(len(self.weights)):
            named |= {f"weight{i}": self.weights[i], f"gain{i}": self.gains[i]}
            named |= {f"shift{i}": self.shifts[i]}
        return {**named, "out": self.out, "out_bias": self.out_bias}

    def options(self) -> dict[str, Any]:
        """The scale of the output."""
        return {"link": self.link}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], options: Mapping[str, Any]) -> Self:
        """Checks what was read from a file.

        Raises:
            SurrogateFileError: If arrays are missing, do not fit together, or are not finite.
        """
        depth = sum(name.startswith("weight") for name in arrays)
        if not 0 < depth <= DEEPEST or options.get("link") not in LINKS:
            raise SurrogateFileError(f"{depth} layers and the link {options.get('link')!r}")
        parts = [f"{part}{i}" for part in ("weight", "gain", "shift") for i in range(depth)]
        named = ["centre", "scale", "typical_nodes", *parts, "out", "out_bias"]
        values = finite(arrays, named)
        _check(values, depth)
        layers = {
            f"{part}s": tuple(values[f"{part}{i}"] for i in range(depth))
            for part in ("weight", "gain", "shift")
        }
        rest = {name: values[name] for name in named if name not in parts}
        return cls(**rest, **layers, link=options["link"])  # type: ignore[arg-type]


def with_global(x: Graphs, centre: Array, scale: Array) -> Array:
    """Standardised nodes, a flag for the global node, and that node; (N, V + 1, F + 1)."""
    count, size, features = x.nodes.shape
    nodes = np.zeros((count, size + 1, features + 1))
    nodes[:, :size, :features] = (x.nodes - centre) / scale * x.mask[:, :, None]
    nodes[:, size, features] = 1.0
    return nodes


def _layer_norm(values: Array, gain: Array, shift: Array) -> Array:
    """Layer norm (Ba et al. 2016) over the last axis; gain and shift differ between members."""
    middle = values - values.mean(axis=-1, keepdims=True)
    spread = np.sqrt((middle**2).mean(axis=-1, keepdims=True) + EPSILON)
    result: Array = middle / spread * gain[:, None, None] + shift[:, None, None]
    return result


def _check(values: Mapping[str, Array], depth: int) -> None:
    """Checks shapes, and that scales are above 0."""
    if values["out"].ndim != 2 or values["centre"].ndim != 1:
        raise SurrogateFileError("out has two axes, centre one")
    members, width = values["out"].shape
    inputs = len(values["centre"]) + 1
    check_shape(values, "scale", values["centre"].shape)
    check_shape(values, "typical_nodes", ())
    check_shape(values, "out_bias", (members,))
    for i in range(depth):
        check_shape(values, f"weight{i}", (members, len(DIRECTIONS), inputs, width))
        check_shape(values, f"gain{i}", (members, width))
        check_shape(values, f"shift{i}", (members, width))
        inputs = width
    if not (values["scale"] > 0).all() or values["typical_nodes"] <= 0:
        raise SurrogateFileError("scale and typical_nodes are above 0")
