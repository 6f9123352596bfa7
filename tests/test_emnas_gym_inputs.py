"""Encodings of networks by name: what they tell apart, what they do not, and their shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from emnas_gym import costs, encodings, features
from emnas_gym.architecture import Architecture
from emnas_gym.errors import ShapeError, UnknownName
from emnas_gym.graph import LayerGraph
from emnas_gym.graph_encoding import Graphs
from emnas_gym.models import counts, paths
from emnas_gym.models.additive import network_terms
from emnas_gym.models.inputs import ENCODINGS, MATRICES, encode, encoding
from emnas_gym.models.kinds import KINDS, model_class
from emnas_gym.space import SearchSpace
from emnas_gym.tasks import DIGITS, GRASP, Task

NAMES = [*ENCODINGS, "terms+sigmoid+cache"]
EXACT = {"layers", "onehot", "matrix"}  # invertible, or nearly so
SUMMARIES = {  # sums forget the order, graphs are as deployed: without dropout
    "kind_sums",
    "features",
    "path",
    "counts",
    "graph",
    "terms",
    "terms+sigmoid+cache",
}


def _keys(name: str, batch: list[Architecture], task: Task) -> list[Any]:
    """One comparable thing for each network."""
    found = encode(name, batch, task)
    if isinstance(found, Graphs):
        sizes = found.mask.sum(axis=1).tolist()  # a batch is as wide as its largest graph
        return [
            (found.nodes[i, :n].tobytes(), found.reads[i, :n, :n].tobytes(), n)
            for i, n in enumerate(sizes)
        ]
    if name.startswith("terms"):
        return [tuple(sorted(terms.items())) for terms in found]
    return [row.tobytes() for row in found]


@pytest.fixture(scope="module")
def batch(space: SearchSpace) -> list[Architecture]:
    rng = np.random.default_rng(0)
    return list({a.canonical: a for a in (space.sample(rng) for _ in range(300))}.values())


@pytest.mark.parametrize("name", NAMES)
def test_networks_are_told_apart(name: str, batch: list[Architecture]) -> None:  # D1
    assert EXACT | SUMMARIES == set(NAMES)
    distinct = len(set(_keys(name, batch, DIGITS)))
    assert distinct >= (len(batch) if name in EXACT else 0.98 * len(batch))


@pytest.mark.parametrize("name", NAMES)
def test_equal_behaviour_is_encoded_equal(name: str, mobile: SearchSpace) -> None:  # D1
    plain = mobile.architecture([4, 26, 5, 9, 26, 9, 13, 49])
    padded = mobile.architecture([4, 48, 30, 5, 48, 9, 36, 9, 13, 49])
    other = mobile.architecture([4, 26, 5, 9, 26, 9, 14, 49])
    assert plain.canonical == padded.canonical != other.canonical
    first, second, third = _keys(name, [plain, padded, other], GRASP)
    assert first == second != third


@pytest.mark.parametrize("name", NAMES)
def test_a_network_is_encoded_alone_as_in_a_batch(name: str, batch: list[Architecture]) -> None:
    together = _keys(name, batch[:20], DIGITS)
    assert together == [_keys(name, [a], DIGITS)[0] for a in batch[:20]]
    assert together[::-1] == _keys(name, batch[:20][::-1], DIGITS)


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("which", ["space", "mobile", "tiny"])
def test_shapes_are_as_declared(name: str, which: str, request: pytest.FixtureRequest) -> None:
    space: SearchSpace = request.getfixturevalue(which)
    rng, task = np.random.default_rng(1), GRASP if which == "mobile" else DIGITS
    some = [space.sample(rng, task) for _ in range(7)]
    found, columns = encode(name, some, task), ENCODINGS[name].columns(space)
    assert len(found) == 7
    if name in MATRICES:
        assert found.shape == (7, columns)
    elif name == "layers":
        assert found.shape == (7, space.max_layers, columns)
    elif name == "graph":
        nodes = max(len(a.graph(task).deployed().nodes) for a in some)
        assert found.nodes.shape == (7, nodes, columns)
        assert found.reads.shape == (7, nodes, nodes)
        assert found.mask.shape == (7, nodes)
    else:
        assert columns is None
    if name not in ("terms", "graph"):
        assert found.dtype == np.float64
        assert np.isfinite(found).all()


def test_tokens_come_back_from_one_hot_rows(space: SearchSpace, batch: list[Architecture]) -> None:
    rows = encode("onehot", batch, DIGITS).reshape(len(batch), space.max_layers, -1)
    matrix = encode("matrix", batch, DIGITS).reshape(len(batch), space.max_layers, -1)
    for architecture, row, details in zip(batch, rows, matrix, strict=True):
        assert encodings.from_onehot(row) == architecture.canonical
        back = encodings.from_layer_matrix(space, details.astype(np.float32))
        assert space.canonical_tokens(back) == architecture.canonical


def _activations(graph: LayerGraph) -> list[int]:
    return [node.size for node in graph.deployed().nodes[1:]]


@pytest.mark.parametrize("which", ["space", "mobile"])
def test_counts_are_those_of_the_graph(which: str, request: pytest.FixtureRequest) -> None:
    space: SearchSpace = request.getfixturevalue(which)
    rng, task = np.random.default_rng(2), GRASP if which == "mobile" else DIGITS
    some = [space.sample(rng, task) for _ in range(40)]
    expected = []
    for architecture in some:
        graph = architecture.graph(task)
        row = {
            "params": costs.params(graph),
            "macs": costs.macs(graph),
            "ram_bytes": costs.ram_bytes(graph),
            "flash_bytes": costs.flash_bytes(graph),
            "layers": len(architecture.canonical),
            "activations": sum(_activations(graph)),
            "largest_activation": max(_activations(graph)),
            "sigmoids": sum(node.op == "sigmoid" for node in graph),
        }
        expected.append(row)
    found = 2.0 ** counts.counts(some, task) - 1
    for name in expected[0]:
        column = found[:, counts.COUNTS.index(name)]
        assert column == pytest.approx([row[name] for row in expected], rel=1e-9), name
    kinds = [counts.COUNTS.index(f"macs_{kind}") for kind in counts.KINDS]
    assert found[:, kinds].sum(axis=1) == pytest.approx([row["macs"] for row in expected])


def test_the_flat_size_stands_in_the_counts(batch: list[Architecture]) -> None:
    layers = encode("layers", batch, DIGITS)
    last = features.lengths_of(layers) - 1
    flat = layers[np.arange(len(batch)), last, features.LAYER.index("in")]
    found = encode("counts", batch, DIGITS)[:, counts.COUNTS.index("last_activation")]
    assert 2.0**found - 1 == pytest.approx(2.0**flat)


def test_paths_are_stretches_and_beginnings(mobile: SearchSpace) -> None:
    one = mobile.architecture([4, 26, 5, 9, 26, 9, 13, 49])
    rotated = mobile.architecture([5, 9, 26, 9, 13, 4, 26, 49])
    first, second = encode("path", [one, rotated], GRASP)
    assert set(np.unique(first)) == {0.0, 1.0}
    shared, either = (first * second).sum(), np.maximum(first, second).sum()
    assert 0 < shared < either, "stretches are shared, beginnings are not"
    names = 2 * len(one.canonical) * paths.LONGEST  # at most: exact and coarse
    assert first.sum() <= names + 2


def test_columns_of_paths_do_not_change_between_processes() -> None:
    assert paths._column(("begin", "4 conv", "26 depthwise")) == 36
    assert paths._column(("begin",)) == 277


def test_graphs_are_chains_as_they_are_deployed(batch: list[Architecture]) -> None:
    found = encode("graph", batch, DIGITS)
    assert isinstance(found, Graphs)
    for architecture, reads, mask in zip(batch, found.reads, found.mask, strict=True):
        there = len(architecture.graph(DIGITS).deployed().nodes)
        assert mask.tolist() == [True] * there + [False] * (len(mask) - there)
        edges = {(int(i), int(j)) for i, j in np.argwhere(reads)}
        assert edges == {(i, i - 1) for i in range(1, there)}
    assert (found.nodes[~found.mask] == 0).all()
    part = found[np.array([3, 1])]
    assert len(part) == 2
    assert (part.nodes == found.nodes[[3, 1]]).all()


def test_terms_tell_apart_what_their_name_says(batch: list[Architecture]) -> None:
    details = ("sigmoid", "cache")
    expected = [network_terms(a.space, DIGITS, a.tokens, details) for a in batch]
    assert encode("terms+sigmoid+cache", batch, DIGITS) == expected
    assert encode("terms", batch, DIGITS) != expected


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_network_that_cannot_be_built_is_named(name: str, space: SearchSpace) -> None:
    shrinks = space.architecture([36, 36, 36, 25, 382])  # to one pixel, then 3×3 valid
    if name in ("onehot", "matrix", "path"):  # these do not know shapes
        assert len(encode(name, [shrinks], DIGITS)) == 1
        return
    with pytest.raises(ShapeError, match="does not fit"):
        encode(name, [shrinks], DIGITS)


@pytest.mark.parametrize("name", ["featurs", "onehot+sigmoid", "terms+luck", ""])
def test_unknown_encodings_are_refused(name: str) -> None:
    with pytest.raises(UnknownName):
        encoding(name)


def test_every_model_is_in_the_table_of_kinds() -> None:
    import importlib
    import inspect
    import pkgutil

    import emnas_gym.models
    from emnas_gym.models.base import FittedModel

    def below(cls: type) -> set[type]:
        return {cls}.union(*map(below, cls.__subclasses__()))

    for module in pkgutil.iter_modules(emnas_gym.models.__path__):
        importlib.import_module(f"emnas_gym.models.{module.name}")
    ours = {c for c in below(FittedModel) if c.__module__.startswith("emnas_gym.models")}
    whole = [c for c in ours if not inspect.isabstract(c)]
    assert {c.kind: c for c in whole} == {kind: model_class(kind) for kind in KINDS}
