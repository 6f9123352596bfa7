"""Reads the torch files that `hardware.torch_file` writes into networks; nothing is executed."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch

from emnas_gym.errors import EmNASError
from emnas_gym.graph import LayerGraph
from predictors.network import GraphNetwork

# what torch raises on files that are damaged, or that hold more than tensors
DAMAGED = (OSError, RuntimeError, ValueError, TypeError, EOFError, KeyError, pickle.UnpicklingError)


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """The weights of a file, by name.

    Raises:
        EmNASError: If it cannot be read, or holds anything but float tensors by their names.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGED as error:
        reason = " ".join(str(error).split())[:200]
        raise EmNASError(f"{path}: no torch file of plain tensors: {reason}") from error
    if not isinstance(state, dict):
        raise EmNASError(f"{path}: holds a {type(state).__name__}, not tensors by their names")
    weights = {}
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise EmNASError(f"{path}: {name!r} is a {type(value).__name__}, not a tensor")
        if value.dtype != torch.float32 or value.layout != torch.strided:
            raise EmNASError(f"{path}: {name} is {value.dtype}, not a plain float32 tensor")
        weights[name] = value.numpy()
    return weights


def load_network(graph: LayerGraph, path: Path) -> GraphNetwork:
    """A network in evaluation mode with the weights of a file.

    Args:
        graph: The graph that the weights were written for.
        path: The file.

    Raises:
        EmNASError: If it cannot be read.
        InvalidArchitecture: If the weights do not belong to the graph.
    """
    network = GraphNetwork(graph).eval()
    network.load_weights(read_weights(path))
    return network
