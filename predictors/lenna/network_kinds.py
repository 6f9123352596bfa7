"""The two kinds of networks: a perceptron on the whole row, and a graph network on its edges."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from emnas_gym.errors import SurrogateFileError
from predictors.lenna.columns import EDGES, OPERATIONS
from predictors.lenna.gates import Array
from predictors.lenna.network import CONTEXT, BlockNetwork

SHARE = 0.1  # of the product in a perceptron's score, at the start
MAX_WIDTH = 4096


class PerceptronNetwork(BlockNetwork):
    """LENNA's multi-layer perceptron, in two parts that meet in a product.

    One reads what a block is, one what it does: the same choice costs more where a block is wide.

    Args:
        width: Units of the hidden layers.
    """

    kind = "mlp"

    def __init__(self, width: int = 64) -> None:
        super().__init__(width)
        self.base = nn.Sequential(
            nn.Linear(CONTEXT, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, 1),
        )  # fmt: skip
        inputs, products = len(EDGES) * len(OPERATIONS), max(width // 2, 1)
        self.gate = nn.Sequential(nn.Linear(CONTEXT, width), nn.SiLU(), nn.Linear(width, products))
        self.operations = nn.Sequential(
            nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, products)
        )

    def _score(self, context: Tensor, shares: Tensor) -> Tensor:
        product = (self.gate(context) * self.operations(shares.flatten(1))).sum(dim=1)
        found: Tensor = self.base(context)[:, 0] + SHARE * product
        return found


class EdgeNetwork(BlockNetwork):
    """A graph network: edges hear the edges that end where they begin, and their costs add up.

    Every edge has the same two layers, so that what is learnt on one is known of all.

    Args:
        width: Units of the hidden layers.
    """

    kind = "graph"
    hears: Tensor
    first: Tensor

    def __init__(self, width: int = 64) -> None:
        super().__init__(width)
        self.base = nn.Sequential(nn.Linear(CONTEXT, width), nn.SiLU(), nn.Linear(width, 1))
        inputs = CONTEXT + 1 + len(OPERATIONS)
        self.alone = nn.Sequential(nn.Linear(inputs, width), nn.SiLU())
        self.together = nn.Sequential(
            nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, 1), nn.Softplus()
        )
        self.register_buffer("hears", torch.from_numpy(preceding()).float(), persistent=False)
        begins = torch.tensor([[float(source == 0)] for source, _ in EDGES])
        self.register_buffer("first", begins, persistent=False)

    def _score(self, context: Tensor, shares: Tensor) -> Tensor:
        count = len(shares), len(EDGES)
        parts = [context[:, None].expand(*count, -1), self.first.expand(*count, -1), shares]
        alone = self.alone(torch.cat(parts, dim=2))
        costs = self.together(torch.cat([alone, self.hears @ alone], dim=2))[:, :, 0]
        found: Tensor = self.base(context)[:, 0] + costs.mean(dim=1).log() / self.unit.to(
            costs.dtype
        )
        return found


NETWORKS: dict[str, type[PerceptronNetwork] | type[EdgeNetwork]] = {
    network.kind: network for network in (PerceptronNetwork, EdgeNetwork)
}


def make_network(kind: object, width: object) -> BlockNetwork:
    """A network by the name of its class, not fitted.

    Raises:
        SurrogateFileError: If there is no such class, or the width is none.
    """
    if not isinstance(kind, str) or kind not in NETWORKS:
        raise SurrogateFileError(f"is a network of kind {kind!r}; known are {', '.join(NETWORKS)}")
    if type(width) is not int or not 1 <= width <= MAX_WIDTH:
        raise SurrogateFileError(f"has layers of {width!r} units")
    return NETWORKS[kind](width)


def preceding() -> Array:
    """How edges hear those that end where they begin: rows sum to 1, or 0 at the block's input."""
    follows = np.array([[a[0] == b[1] for b in EDGES] for a in EDGES], dtype=np.float64)
    found: Array = follows / np.maximum(follows.sum(axis=1, keepdims=True), 1.0)
    return found
