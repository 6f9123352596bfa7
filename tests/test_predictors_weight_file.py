"""Weights through a file of torch and back; files from outside are not trusted."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from test_hardware_graphs import (
    Drawn,
    branching_graphs,
    images_for,
    space_graphs,
    trained_looking_weights,
)

from emnas_gym.errors import EmNASError, InvalidArchitecture
from emnas_gym.graph import LayerGraph
from hardware.errors import WeightsError
from hardware.torch_file import torch_state
from predictors.network import GraphNetwork
from predictors.weight_file import load_network, read_weights

GRAPHS = Drawn(
    15,
    lambda: [*space_graphs("emnas-382", 5), *branching_graphs(10)],
)


def written(path: Path, graph: LayerGraph, seed: int = 0) -> Path:
    path.write_bytes(torch_state(graph, trained_looking_weights(graph, seed)))
    return path


def test_a_network_comes_back_with_its_weights(tmp_path: Path) -> None:  # F1
    for seed, graph in enumerate(GRAPHS):
        path = written(tmp_path / "net.pt", graph, seed)
        original = GraphNetwork(graph).eval()
        original.load_weights(trained_looking_weights(graph, seed))
        images = torch.from_numpy(images_for(graph, 2).transpose(0, 3, 1, 2).copy())
        with torch.no_grad():
            assert torch.equal(load_network(graph, path)(images), original(images))


def test_torch_alone_reads_the_names_of_the_graph(tmp_path: Path) -> None:
    graph = GRAPHS[-1]
    state = torch.load(written(tmp_path / "net.pt", graph), weights_only=True)
    assert {name: tuple(value.shape) for name, value in state.items()} == graph.weight_shapes()
    for name, value in trained_looking_weights(graph).items():
        assert np.array_equal(state[name].numpy(), value)


def test_weights_of_another_graph_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArchitecture, match="do not belong"):
        load_network(GRAPHS[1], written(tmp_path / "net.pt", GRAPHS[0]))
    with pytest.raises(WeightsError, match="missing"):
        torch_state(GRAPHS[0], {})


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("kind", ["missing", "text", "cut", "pickle", "evil", "list", "int", "f64"])
def test_other_files_are_refused(tmp_path: Path, kind: str) -> None:
    path, mark = tmp_path / "net.pt", tmp_path / "mark"
    if kind == "text":
        path.write_text("not a torch file")
    elif kind == "cut":
        path.write_bytes(written(path, GRAPHS[0]).read_bytes()[:500])
    elif kind == "pickle":
        path.write_bytes(pickle.dumps({"a": 1}, protocol=2))
    elif kind != "missing":
        tensors = {"list": [torch.zeros(1)], "int": {"a": 3}, "f64": {"a": torch.zeros(1).double()}}
        torch.save(tensors.get(kind, {"a": Evil(mark)}), path)
    with pytest.raises(EmNASError, match=r"net\.pt: "):
        read_weights(path)
    assert not mark.exists()
