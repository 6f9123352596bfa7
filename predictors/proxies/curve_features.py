"""What a partial training looks like as numbers: curve, architecture and hyper-parameters.

After Baker et al. 2017, "Accelerating neural architecture search using performance prediction".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from emnas_gym import costs
from emnas_gym.graph import TRAINING_ONLY, WEIGHTED, LayerGraph
from predictors.training import Recipe

Array = NDArray[np.float64]
GRAPH = (
    "params",
    "macs",
    "weighted layers",
    "convolutions",
    "depthwise convolutions",
    "dense layers",
    "sigmoids",
    "dropouts",
    "batch norms",
    "values in the least layer",
    "depth of the least layer",
    "channels in the least layer",
    "values before the first dense layer",
    "mean values",
    "values halved",
    "last sigmoid",
    "sigmoids that follow a sigmoid",
    "mean channels",
)
RECIPE = ("learning rate", "batch size", "weight decay", "epochs")


def curve_features(curves: Array) -> Array:
    """Values, first and second differences of the epochs so far.

    Args:
        curves: (N, E) accuracies after each of E epochs, at least one.

    Returns:
        (N, 3 E − 3) for E of 2 or more; for one epoch its values.
    """
    parts = [np.diff(curves, order, axis=1) for order in range(min(3, curves.shape[1]))]
    return np.concatenate(parts, axis=1)


def graph_features(graph: LayerGraph) -> list[float]:
    """A network of any space in a few numbers, in the order of `GRAPH`; sizes are log2."""
    hidden = [n for n in graph.nodes[1:-1] if n.op not in TRAINING_ONLY] or [graph.nodes[0]]
    sizes = [math.log2(node.size) for node in hidden]
    channels = [math.log2(node.shape[-1]) for node in hidden]
    weighted = [node for node in graph if node.op in WEIGHTED]
    dense = [node for node in weighted if node.op == "dense"]
    flat = math.prod(graph.in_shapes(dense[0])[0]) if dense else graph.nodes[-1].size
    bends = [n.op == "sigmoid" for n in hidden if n.op == "sigmoid" or n.activation != "none"]
    return [
        math.log2(1 + costs.params(graph)),
        math.log2(1 + costs.macs(graph)),
        float(len(weighted)),
        float(sum(node.op == "conv2d" for node in weighted)),
        float(sum(node.op == "depthwise_conv2d" for node in weighted)),
        float(len(dense)),
        float(sum(bends)),
        float(sum(node.op == "dropout" for node in graph)),
        float(sum(node.batch_norm for node in graph)),
        min(sizes),
        sizes.index(min(sizes)) / len(sizes),
        min(channels),
        math.log2(flat),
        float(np.mean(sizes)),
        float(np.maximum(0, -np.diff(sizes)).sum()),
        float(bool(bends) and bends[-1]),
        float(sum(a and b for a, b in pairwise(bends))),
        float(np.mean(channels)),
    ]


def recipe_features(recipe: Recipe) -> list[float]:
    """Hyper-parameters in the order of `RECIPE`, all but the epochs as log10 or log2."""
    return [
        math.log10(recipe.learning_rate),
        math.log2(recipe.batch_size),
        math.log10(max(recipe.weight_decay, 1e-9)),
        float(recipe.epochs),
    ]


def describe(graphs: Sequence[LayerGraph], recipe: Recipe) -> Array:
    """Architectures and one recipe as a matrix, shape (N, `len(GRAPH) + len(RECIPE)`)."""
    settings = recipe_features(recipe)
    return np.array([graph_features(graph) + settings for graph in graphs], dtype=np.float64)
