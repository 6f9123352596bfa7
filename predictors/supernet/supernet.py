"""The supernet: one torch module of which every network of a space of cells is a part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from emnas_gym.branched.cell import Site
from emnas_gym.branched.cell_space import CellSpace
from emnas_gym.errors import InvalidArchitecture
from emnas_gym.graph import LayerGraph
from emnas_gym.tasks import Task
from predictors.network import GraphNetwork
from predictors.supernet.layout import (
    EDGE,
    HEAD,
    JOIN,
    READ,
    STEM,
    Part,
    edge_shapes,
    fragment_sites,
    fragments,
    layers,
)  # fmt: skip
from predictors.supernet.mixed_edge import MixedEdge
from predictors.supernet.mixture import Mixture, path
from predictors.supernet.placed_cell import PlacedCell
from predictors.supernet.wiring import Weights
from predictors.supernet.wirings import wiring

Strengths = Mapping[str, "Tensor | Weights"]  # of each group (edges, operations)


class Supernet(nn.Module):
    """Stem, cells that mix all their operations, classifier.

    Every place has weights of its own for every operation on every edge, which all networks with
    that operation on that edge share. Cells of one group share decisions, not weights.

    Args:
        space: The search space.
        task: Input shape and classes.
        seed: Decides the first weights.
        affine: Whether batch norms learn scale and shift. Without them no operation can make
            itself larger than others, as in the search phase of DARTS.
        divisor: Operations have this part of the channels and the rest goes beside them, as K of
            PC-DARTS (Xu et al., 2020); 1 is all. Otherwise nothing can be extracted.

    Attributes:
        space: The search space.
        task: Input shape and classes.
        wirings: Of every group its edges and operations; ``wirings[group].offered`` is the shape
            and mask of architecture parameters.

    Raises:
        ShapeError: If a window does not fit its map.
        InvalidArchitecture: If the divisor does not divide the channels.
    """

    def __init__(
        self, space: CellSpace, task: Task, seed: int = 0, *, affine: bool = True, divisor: int = 1
    ) -> None:
        super().__init__()
        if not isinstance(space, CellSpace):
            raise InvalidArchitecture(f"a supernet has cells, which {space!r} has not")
        self.space, self.task, self.seed, self.divisor = space, task, seed, divisor
        self.wirings = {group: wiring(cell) for group, cell in space.groups.items()}
        graphs = fragments(space, task, divisor)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.stem = GraphNetwork(graphs[Part(STEM)])
            sites = fragment_sites(space, task)
            self.places = nn.ModuleList(self._place(i, graphs, s) for i, s in enumerate(sites))
            self.head = GraphNetwork(graphs[Part(HEAD)])
        if not affine:
            for norm in (m for m in self.modules() if isinstance(m, nn.BatchNorm2d)):
                norm.requires_grad_(False)

    def _place(self, i: int, graphs: Mapping[Part, LayerGraph], site: Site) -> PlacedCell:
        group = self.space.skeleton.places[i].group
        wires = self.wirings[group]
        join = GraphNetwork(graphs[Part(JOIN, i)]) if Part(JOIN, i) in graphs else None
        reads = [Part(READ, i, j) for j in range(wires.inputs)]
        edges = []
        for edge, names in enumerate(wires.operations):
            parts = {name: Part(EDGE, i, edge, j) for j, name in enumerate(names)}
            there = {name: graphs[part] for name, part in parts.items() if part in graphs}
            _, shape, stride = edge_shapes(wires, site, edge)
            edges.append(MixedEdge(edge, there, names, shape, stride, self.divisor))
        inputs = [GraphNetwork(graphs[part]) for part in reads if part in graphs]
        return PlacedCell(wires, group, join, inputs, edges)

    def forward(self, images: Tensor, mixtures: Mapping[str, Mixture]) -> Tensor:
        """Logits, shape (N, classes).

        Args:
            images: (N, C, H, W).
            mixtures: Of every group of decisions (`CellSpace.groups`).

        Raises:
            InvalidArchitecture: If a group is missing, a mixture has another shape or computes what
                an edge has not, or the output of a cell is not connected.
        """
        self._check(mixtures)
        first = self.stem(images)
        outputs = [first, first]
        for cell in self.cells():
            if cell.join is not None:
                halved = cell.join(outputs[-1])
                outputs = [halved, halved]
            outputs.append(cell(outputs[-cell.wires.inputs :], mixtures[cell.group]))
        logits: Tensor = self.head(outputs[-1])
        return logits

    def _check(self, mixtures: Mapping[str, Mixture]) -> None:
        if set(mixtures) != set(self.wirings):
            raise InvalidArchitecture(
                f"{self.space.name} decides {', '.join(self.wirings)}; "
                f"the mixtures are of {', '.join(mixtures) or 'nothing'}"
            )
        for group, wires in self.wirings.items():
            computed = mixtures[group].computed
            if computed.shape != wires.offered.shape or (computed & ~wires.offered).any():
                raise InvalidArchitecture(
                    f"{group}: the mixture computes operations that its edges have not; "
                    f"its shape is {wires.offered.shape}"
                )

    def cells(self) -> list[PlacedCell]:
        """The cells in order."""
        return [place for place in self.places if isinstance(place, PlacedCell)]

    # ------------------------------------------------------------------- tokens and mixtures

    def mixture_of(self, tokens: Sequence[int]) -> dict[str, Mixture]:
        """The mixtures that compute one network alone, as its tokens have it, canonical or not.

        Raises:
            InvalidArchitecture: If the tokens are no network of the space.
        """
        self.space.check(tokens)
        device = next(self.parameters()).device
        found = {}
        for group, choices in self.space.choices(tokens).items():
            mask = self.wirings[group].mask(choices)
            found[group] = path(torch.from_numpy(mask).float().to(device), mask)
        return found

    def tokens(
        self, weights: Strengths, edges: Mapping[str, Tensor] | None = None
    ) -> tuple[int, ...]:
        """The network that architecture weights stand for, always a connected one.

        Cells with fixed edges take the strongest operation of every edge; if that is disconnected,
        the connected network of largest product of weights. Cells with free edges take the two
        strongest edges of every node, each as strong as its strongest operation.

        Args:
            weights: Of every group (edges, operations), probabilities for example; not negative.
            edges: Of every group a factor for each edge, shape (edges,).

        Raises:
            InvalidArchitecture: If a weight is no finite number or negative, or a group is missing.
        """
        found: list[int] = []
        for group, wires in self.wirings.items():
            if group not in weights:
                raise InvalidArchitecture(f"the weights of {group} are missing")
            given = _array(weights[group])
            if edges is not None:
                given = given * _array(edges[group])[:, None]
            found.extend(wires.decide(given))
        return tuple(a + b for a, b in zip(self.space.first_token, found, strict=True))

    # -------------------------------------------------------------------------- sub-networks

    def weights_of(self, tokens: Sequence[int]) -> dict[str, np.ndarray]:
        """Weights of a network, with the names of `Architecture.graph`.

        That graph is the canonical network. If its edges are permuted against the tokens, it gets
        the weights from the edges that the tokens name, so that it computes what the supernet
        computes with `mixture_of` the same tokens. `CellSpace.canonical_tokens` before it gives all
        equal networks equal weights.

        Raises:
            InvalidArchitecture: If the tokens are no network of the space, or the operations have
                a part of the channels alone.
        """
        if self.divisor > 1:
            raise InvalidArchitecture(
                f"operations of this supernet have 1/{self.divisor} of the channels; their weights "
                "fit no network: train it from scratch"
            )
        known: dict[Part, dict[str, np.ndarray]] = {}
        found = {}
        for name, layer in layers(self.space, self.task, tokens).items():
            if layer.part not in known:
                known[layer.part] = self.part(layer.part).weights()
            for key, value in known[layer.part].items():
                node, _, kind = key.rpartition("/")
                if node == layer.name:
                    is_kernel = kind == "kernel"
                    value = layer.read_by_network(value) if is_kernel else value
                    found[f"{name}/{kind}"] = value.copy()
        return found

    def network(self, tokens: Sequence[int]) -> GraphNetwork:
        """The sub-network on its own with a copy of the shared weights, in evaluation mode.

        Raises:
            InvalidArchitecture: As `weights_of`.
        """
        network = GraphNetwork(self.space.build(tokens, self.task))
        network.load_weights(self.weights_of(tokens))
        return network.eval()

    def part(self, part: Part) -> GraphNetwork:
        """The module of a part."""
        if part.kind in (STEM, HEAD):
            return self.stem if part.kind == STEM else self.head
        cell = self.cells()[part.place]
        if part.kind == EDGE:
            edge = cell.edge(part.edge)
            return edge.operation(edge.names[part.operation])
        found = cell.join if part.kind == JOIN else cell.reads[part.edge]
        assert isinstance(found, GraphNetwork)
        return found


def _array(values: Tensor | Weights) -> Weights:
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    return np.asarray(values, dtype=np.float64)
