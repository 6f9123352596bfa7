"""Weights that a network begins with because another one, or a supernet, has learned them.

`Supernet.weights_of` gives all weights of a network; `inherited` those that it has in common with a
trained parent. `predictors.training.train` begins with either. What chains inherit, and keep their
function, is `predictors.proxies.inheritance`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from emnas_gym.branched.cell_space import CellSpace
from emnas_gym.errors import InvalidArchitecture
from emnas_gym.tasks import Task
from predictors.supernet.layout import layers


def inherited(
    space: CellSpace,
    task: Task,
    parent: Sequence[int],
    weights: Mapping[str, np.ndarray],
    child: Sequence[int],
) -> dict[str, np.ndarray]:
    """Weights of the child's layers that stand on the same edge of the parent.

    Tokens are compared as they are, so that a child that differs in one position inherits all
    other layers, even where the canonical networks number their nodes differently.

    Args:
        space: The search space.
        task: Input shape and classes.
        parent: Its tokens.
        weights: Its weights, with the names of `Architecture.graph`.
        child: Its tokens.

    Returns:
        Weights of some layers of the child, with the names of its `Architecture.graph`; stem and
        classifier are always there.

    Raises:
        InvalidArchitecture: If the weights are not the parent's, or tokens are no network.
    """
    if {n: np.shape(w) for n, w in weights.items()} != space.build(parent, task).weight_shapes():
        raise InvalidArchitecture("the weights do not belong to the parent")
    theirs = {
        (layer.part, layer.name): (name, layer)
        for name, layer in layers(space, task, parent).items()
    }
    found: dict[str, np.ndarray] = {}
    for name, mine in layers(space, task, child).items():
        if (mine.part, mine.name) not in theirs:
            continue
        source, layer = theirs[mine.part, mine.name]
        for key, value in weights.items():
            node, _, kind = key.rpartition("/")
            if node == source and kind == "kernel":
                shared = layer.read_by_supernet(value)
                found[f"{name}/{kind}"] = mine.read_by_network(shared).copy()
            elif node == source:
                found[f"{name}/{kind}"] = value.copy()
    return found
