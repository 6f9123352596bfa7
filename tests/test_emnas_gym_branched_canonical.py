"""Which cells count as the same, against graph isomorphism by brute force and NAS-Bench-201's."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Hashable

import networkx as nx
import numpy as np
import pytest
from data_files import needs

from emnas_gym import costs
from emnas_gym.branched import CellSpace
from emnas_gym.branched.cell import Cell, Choices
from emnas_gym.branched.edge_cell import EdgeCell
from emnas_gym.branched.free_cell import FreeCell
from emnas_gym.branched.isomorphism import _sorted_choices, representatives
from emnas_gym.branched.skeleton import Skeleton, Stage
from emnas_gym.graph import LayerGraph
from emnas_gym.space import load_space
from emnas_gym.tasks import DIGITS

SQUARE = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
COMPLETE = tuple((a, b) for b in range(1, 5) for a in range(b))
Classes = dict[Choices, Hashable]


def _space(cell: Cell, join: str = "none") -> CellSpace:
    """A network whose last cell is looked at; its two inputs are different nodes."""
    stages = (Stage(4, 1), Stage(4, 1, join))
    return CellSpace("two", Skeleton(4, 3, 1, stages, "each", ("normal",)), {"normal": cell})


def _every(cell: Cell) -> list[Choices]:
    ranges = [range(len(position.choices)) for position in cell.positions]
    return [c for c in itertools.product(*ranges) if cell.connected(c)]


def _as_it_is(space: CellSpace, choices: Choices) -> LayerGraph:
    """The graph of these very choices, not of those that stand for them."""
    first, last = space.groups
    given = {first: space.groups[first].witness, last: choices}
    return space.skeleton.assemble(DIGITS, space.cells, given)[0]


def _drawn(graph: LayerGraph) -> nx.MultiDiGraph:
    """Operations as a labelled graph; a sum that one other sum alone reads is part of it."""
    drawn = nx.MultiDiGraph()
    for i, node in enumerate(graph):
        drawn.add_node(i, label=f"{node.op} {node.kernel} {node.dilation} {node.stride}")
        drawn.add_edges_from((source, i) for source in node.inputs)
    for i in [i for i, node in enumerate(graph) if node.op == "add"]:
        readers = [target for _, target in drawn.out_edges(i)]
        if len(readers) == 1 and drawn.nodes[readers[0]]["label"].startswith("add"):
            drawn.add_edges_from((source, readers[0]) for source, _ in list(drawn.in_edges(i)))
            drawn.remove_node(i)
    return drawn


def _bucket(drawn: nx.MultiDiGraph) -> Hashable:
    """Equal for isomorphic graphs: what stands at each node and beside it."""
    label = drawn.nodes.data("label")
    around = [
        (
            label[v],
            tuple(sorted(label[a] for a, _ in drawn.in_edges(v))),
            tuple(sorted(label[b] for _, b in drawn.out_edges(v))),
        )
        for v in drawn
    ]
    return tuple(sorted(around))


def _isomorphism_classes(space: CellSpace) -> Classes:
    """A number for every connected cell, equal where networkx finds an isomorphism."""
    buckets: dict[Hashable, list[tuple[int, nx.MultiDiGraph]]] = {}
    found: Classes = {}
    for choices in _every(space.cells["normal"]):
        drawn = _drawn(_as_it_is(space, choices))
        known = buckets.setdefault(_bucket(drawn), [])
        same = [
            number
            for number, other in known
            if nx.is_isomorphic(drawn, other, node_match=lambda a, b: a["label"] == b["label"])
        ]
        if not same:
            known.append((len(found), drawn))
        found[choices] = same[0] if same else len(found)
    return found


def _same_partition(one: Classes, other: Classes) -> bool:
    pairs = {(one[choices], other[choices]) for choices in one}
    return one.keys() == other.keys() and len(pairs) == len(set(one.values())) == len(
        set(other.values())
    )


def _by(cell: Cell, canonical: Callable[[Choices], Choices]) -> Classes:
    return {choices: canonical(choices) for choices in _every(cell)}


@pytest.mark.parametrize("join", ["none", "reduction"])
def test_cells_of_edges_against_isomorphism_by_brute_force(join: str) -> None:
    cell = EdgeCell(SQUARE, (("none", "skip", "conv3x3"),) * 6, reduces=join == "reduction")
    found = _isomorphism_classes(_space(cell, join))
    assert _same_partition(found, _by(cell, cell.canonical))
    assert len(set(found.values())) < len(found) / 2


def test_cells_of_free_edges_against_isomorphism_by_brute_force() -> None:  # A12
    cell = FreeCell(3, ("skip", "sep3x3"))
    found = _isomorphism_classes(_space(cell, "reduction"))
    assert len(found) == 1 * 3 * 6 * 2**6
    assert _same_partition(found, _by(cell, cell.canonical))
    for choices in found:
        assert cell.encode(cell.decode(choices)) == choices
        assert cell.canonical(choices) <= choices


@pytest.mark.parametrize(
    "cell",
    [
        EdgeCell(SQUARE, (("skip", "conv3x3", "conv1x1"),) * 6),
        EdgeCell(COMPLETE, (("skip", "conv3x3"),) * 10),
        EdgeCell(
            COMPLETE,
            tuple(("conv3x3", "skip") if a else ("conv1x1", "conv3x3") for a, _ in COMPLETE),
            reduces=True,
        ),
    ],
)
def test_sorting_finds_the_classes_of_blocks_without_none(cell: EdgeCell) -> None:
    """The way of cells too large to be listed, LENNA's block above all."""
    listed, ordered = dict(representatives(cell)), _by(cell, lambda c: _sorted_choices(cell, c))
    assert _same_partition(listed, ordered)
    for choices, first in ordered.items():
        assert ordered[first] == first, choices


def _operations(graph: LayerGraph) -> Counter[tuple[object, ...]]:
    """How often each operation is there; sums of many as often as sums of two."""
    found: Counter[tuple[object, ...]] = Counter()
    for node in graph:
        key = (node.op, node.shape, node.kernel, node.dilation, node.stride)
        found[key] += len(node.inputs) - 1 if node.op == "add" else 1
    return found


def test_the_canonical_network_costs_the_same() -> None:
    rng = np.random.default_rng(0)
    for name in ("nb201-macro", "darts-cell", "lenna-block", "lenna-reduction"):
        space, changed = load_space(name), 0
        for _ in range(40):
            tokens = space.sample(rng).tokens
            own = space.skeleton.assemble(DIGITS, space.cells, space.choices(tokens))[0]
            shared = space.build(tokens, DIGITS)
            canonical = space.canonical_tokens(tokens)
            changed += canonical != tokens
            assert space.build(canonical, DIGITS) == shared
            assert costs.flash_bytes(own) == costs.flash_bytes(shared)
            assert costs.macs(own) == costs.macs(shared)
            assert _operations(own) == _operations(shared)
        assert changed > 0, name


# ---------------------------------------------------------------------------- NAS-Bench-201's own


def _expression(cell: EdgeCell, choices: Choices) -> tuple[object, ...]:
    """What a cell computes as a nested sum, equal parts alike: neither dead edges nor sharing."""
    sums: dict[int, list[object]] = {0: ["input"]}
    for (source, target), names, choice in zip(cell.edges, cell.operations, choices, strict=True):
        if source in sums and names[choice] != "none":
            into = sums.setdefault(target, [])
            read = tuple(sorted(sums[source], key=repr))
            into += read if names[choice] == "skip" else [(names[choice], read)]
    return tuple(sorted(sums[cell.last], key=repr))


def test_our_classes_and_those_of_nas_bench_201() -> None:
    """Theirs, 6,466, are of a text form; ours, 5,424, of graphs. Both refine what is computed.

    Theirs tells dead sums from none and nested sums from flat ones; ours tells an operation that is
    read twice from two equal operations, which have weights of their own.
    """
    needs("nb201/nb201_accuracy.npz")
    from predictors.cells.tables import read_cells

    table, space = read_cells(), load_space("nb201-cell")
    cell = space.cells["normal"]
    assert isinstance(cell, EdgeCell)
    rows = list(zip(map(tuple, table.operations.tolist()), table.classes.tolist(), strict=True))
    assert len({theirs for _, theirs in rows}) == 6466
    connected = [(choices, theirs) for choices, theirs in rows if cell.connected(choices)]
    dead = {theirs for choices, theirs in rows if not cell.connected(choices)}
    assert len(connected) == 15_284 and len(dead) == 5
    assert not dead & {theirs for _, theirs in connected}
    ours = {choices: cell.canonical(choices) for choices, _ in connected}
    computed = {choices: _expression(cell, choices) for choices, _ in connected}
    assert len(set(ours.values())) == 5424
    assert len(set(computed.values())) == 4929
    for classes in (ours, dict(connected)):
        pairs = {(classes[choices], computed[choices]) for choices in computed}
        assert len(pairs) == len(set(classes.values())), "a class computes one thing"
