"""Which part of a supernet every layer of a network is, and the graphs of those parts.

Torch is not needed here: parts are told apart by names, so that weights can be carried over from
one network to another as well as from a supernet (`predictors.supernet.warm_start`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from emnas_gym.branched.cell import Cell, Site
from emnas_gym.branched.cell_space import CellSpace
from emnas_gym.branched.free_cell import read_step
from emnas_gym.branched.operations import convolution, lower
from emnas_gym.branched.skeleton import Skeleton, residual_block
from emnas_gym.errors import InvalidArchitecture
from emnas_gym.graph import WEIGHTED, GraphBuilder, LayerGraph, Shape
from emnas_gym.tasks import Task
from predictors.supernet.wiring import Wiring
from predictors.supernet.wirings import wiring

STEM, JOIN, READ, EDGE, HEAD = "stem", "join", "read", "edge", "head"


class Part(NamedTuple):
    """A part of a supernet.

    Attributes:
        kind: ``stem``; ``join``, the residual block before a place; ``read``, the 1×1 convolution
            of a free cell's input; ``edge``, an operation; ``head``, average and classifier.
        place: Index of the place.
        edge: Number of the edge, or of the input.
        operation: Number of the operation on the edge.
    """

    kind: str
    place: int = -1
    edge: int = -1
    operation: int = -1


class Layer(NamedTuple):
    """A layer with weights of a network.

    Attributes:
        part: Where in the supernet it stands.
        name: Its name in the graph of that part.
        blocks: Where it reads the nodes of a cell side by side, which node of the supernet's cell
            stands at each place; empty for all other layers.
    """

    part: Part
    name: str
    blocks: tuple[int, ...] = ()

    def read_by_network(self, weight: np.ndarray) -> np.ndarray:
        """A kernel of the supernet, its input channels in the order of the network."""
        return _in_blocks(weight, self.blocks)

    def read_by_supernet(self, weight: np.ndarray) -> np.ndarray:
        """A kernel of the network, its input channels in the order of the supernet."""
        return _in_blocks(weight, tuple(np.argsort(self.blocks).tolist()))


def _in_blocks(weight: np.ndarray, blocks: tuple[int, ...]) -> np.ndarray:
    if not blocks:
        return weight
    apart = weight.reshape(*weight.shape[:-1], len(blocks), -1)
    return apart[..., blocks, :].reshape(weight.shape)


def fragment_sites(space: CellSpace, task: Task) -> list[Site]:
    """The shapes at every place, which no choice changes.

    Raises:
        ShapeError: If a window does not fit its map.
    """
    witness = {group: cell.witness for group, cell in space.groups.items()}
    _, built = space.skeleton.assemble(task, space.cells, witness)
    return [cell.site for cell in built]


def joins(skeleton: Skeleton) -> list[bool]:
    """Whether a residual block stands before each place."""
    places = skeleton.places
    before = [-1, *(place.stage for place in places)]
    return [
        place.stage != last and skeleton.stages[place.stage].join == "residual"
        for place, last in zip(places, before, strict=False)
    ]


def fragments(space: CellSpace, task: Task, divisor: int = 1) -> dict[Part, LayerGraph]:
    """The graphs of all parts; an operation that adds no layer is a graph of its input alone.

    Args:
        space: The search space.
        task: Input shape and classes.
        divisor: Operations of edges read and write this part of the channels, as in PC-DARTS.

    Raises:
        ShapeError: If a window does not fit its map.
        InvalidArchitecture: If the channels cannot be divided.
    """
    skeleton, found = space.skeleton, {}
    builder = GraphBuilder(task.input_shape)
    convolution(builder, 0, skeleton.channels, skeleton.stride, skeleton.kernel)
    found[Part(STEM)] = builder.build()
    outputs = [builder.shape, builder.shape]
    sites, joined = fragment_sites(space, task), joins(skeleton)
    for i, (place, site) in enumerate(zip(skeleton.places, sites, strict=True)):
        cell, channels = space.cells[place.cell], skeleton.stages[place.stage].channels
        if joined[i]:
            builder = GraphBuilder(outputs[-1])
            residual_block(builder, 0, channels)
            found[Part(JOIN, i)] = builder.build()
            outputs = [builder.shape, builder.shape]
        if cell.inputs > 1:
            for j, before in enumerate(outputs[-cell.inputs :]):
                builder = GraphBuilder(before)
                convolution(builder, 0, channels, read_step(before, outputs[-1]))
                found[Part(READ, i, j)] = builder.build()
        found |= {
            Part(EDGE, i, edge, operation): graph
            for edge, operation, graph in _operations(cell, site, divisor)
        }
        wide = channels * len(wiring(cell).output())
        outputs.append((*site.shape[:2], wide))
    builder = GraphBuilder(outputs[-1])
    builder.mean()
    builder.dense(task.classes)
    builder.pointwise("softmax")
    found[Part(HEAD)] = builder.build()
    return found


def edge_shapes(wires: Wiring, site: Site, edge: int) -> tuple[Shape, Shape, int]:
    """What an edge reads, what it returns, and the step between."""
    source = wires.edges[edge][0]
    if source < wires.inputs:
        return site.inputs[source], site.shape, site.stride
    return site.shape, site.shape, 1


def _operations(cell: Cell, site: Site, divisor: int) -> Iterator[tuple[int, int, LayerGraph]]:
    wires = wiring(cell)
    for edge, names in enumerate(wires.operations):
        (height, width, before), (*_, after), stride = edge_shapes(wires, site, edge)
        if before % divisor or after % divisor:
            raise InvalidArchitecture(
                f"an edge from {before} to {after} channels cannot be divided by {divisor}; "
                "`CellSpace.with_channels` gives it others"
            )
        for operation, name in enumerate(names):
            if wires.carrying[edge, operation]:
                builder = GraphBuilder((height, width, before // divisor))
                lower(name, builder, 0, after // divisor, stride)
                yield edge, operation, builder.build()


def layers(space: CellSpace, task: Task, tokens: Sequence[int]) -> dict[str, Layer]:
    """What every layer with weights of a network is to the supernet of its space.

    The network is `Architecture.graph`, the canonical one; its operations are found on the edges
    that the tokens, canonical or not, have them on.

    Returns:
        By the names of the network, in order.

    Raises:
        InvalidArchitecture: If the tokens are no network of the space.
    """
    graph, graphs = space.build(tokens, task), fragments(space, task)
    known = [
        Layer(part, node.name, blocks if node.name in _readers(graphs[part]) else ())
        for part, blocks in _parts(space, tokens)
        for node in graphs[part]
        if node.op in WEIGHTED
    ]
    names = [node.name for node in graph if node.op in WEIGHTED]
    return dict(zip(names, known, strict=True))


def _readers(graph: LayerGraph) -> set[str]:
    """Layers with weights that read the channels of the graph's input."""
    reading = {0}
    for i, node in enumerate(graph):
        if node.op not in WEIGHTED and reading.intersection(node.inputs):
            reading.add(i)
    return {n.name for n in graph if n.op in WEIGHTED and reading.intersection(n.inputs)}


def _parts(space: CellSpace, tokens: Sequence[int]) -> Iterator[tuple[Part, tuple[int, ...]]]:
    """The parts of the canonical network in order, and how what they read is permuted."""
    choices, wires = space.choices(tokens), {g: wiring(cell) for g, cell in space.groups.items()}
    matched = {group: wires[group].matched(choices[group]) for group in wires}
    orders = {group: wires[group].order(choices[group]) for group in wires}
    same: tuple[int, ...] = ()
    outputs = [same, same]  # of the latest outputs, in which order their nodes are
    yield Part(STEM), same
    for i, (place, joined) in enumerate(
        zip(space.skeleton.places, joins(space.skeleton), strict=True)
    ):
        if joined:
            yield Part(JOIN, i), outputs[-1]
            outputs = [same, same]
        inputs = wires[place.group].inputs
        if inputs > 1:
            yield from ((Part(READ, i, j), outputs[j - inputs]) for j in range(inputs))
        yield from ((Part(EDGE, i, *chosen), same) for chosen in matched[place.group])
        order = orders[place.group]
        outputs.append(order if order != tuple(range(len(order))) else same)
    yield Part(HEAD), outputs[-1]
