"""Writes weights as a file of torch, by the names and in the layouts of the graph.

`predictors.weight_file` reads it back into a network; so does anything that calls
``torch.load(path, weights_only=True)``, which gives a dictionary of tensors.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from emnas_gym.graph import LayerGraph
from hardware.extras import load
from hardware.folding import check_weights
from hardware.program import Array


def torch_state(graph: LayerGraph, weights: Mapping[str, Array]) -> bytes:
    """A file with the weights of a graph, batch norms not folded.

    Args:
        graph: Any graph.
        weights: Arrays with the names and shapes of `LayerGraph.weight_shapes`.

    Raises:
        WeightsError: If weights are missing, of another shape or not finite.
        BackendMissing: If torch is not installed.
    """
    torch: Any = load("torch")
    check_weights(graph, weights)
    state = {name: np.array(weights[name], np.float32) for name in graph.weight_shapes()}
    file = io.BytesIO()
    torch.save({name: torch.from_numpy(value) for name, value in state.items()}, file)
    return file.getvalue()
