"""What each layer of a space costs on the shape that it reads, made when it is first met.

Networks of one space and task share few layers: the same token on the same shape. The costs of a
network are then sums over its layers, exactly those that its whole graph has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from emnas_gym import costs
from emnas_gym.cost_vectors import Costs, base_costs, join_costs, layer_costs
from emnas_gym.grammar import Grammar
from emnas_gym.graph import GraphBuilder, Shape
from emnas_gym.tasks import Task


@dataclass(frozen=True)
class LayerCosts:
    """One layer on one shape.

    Attributes:
        shape: What it returns.
        costs: (5,), what it adds to a network's costs (`emnas_gym.cost_vectors`).
        params: Trained and running values.
    """

    shape: Shape
    costs: Costs
    params: int


class ChainCosts:
    """The layers of a space for a number of classes.

    Args:
        grammar: The tokens.
        classes: Classes of the task, which the output layer has.
    """

    def __init__(self, grammar: Grammar, classes: int) -> None:
        self.grammar, self.classes = grammar, classes
        self._known: dict[tuple[Shape, int], LayerCosts] = {}

    def layer(self, shape: Shape, token: int) -> LayerCosts:
        """One layer on a shape.

        Raises:
            ShapeError: If the layer does not fit the shape.
        """
        found = self._known.get((shape, token))
        if found is None:
            builder = GraphBuilder(shape)
            self.grammar.spec(token).lower(builder, self.classes)
            graph = builder.build()
            found = LayerCosts(builder.shape, layer_costs(graph), costs.params(graph))
            self._known[shape, token] = found
        return found

    def network(self, task: Task, tokens: Sequence[int]) -> tuple[Costs, int]:
        """Total costs, shape (5,), and parameters of a network.

        Raises:
            ShapeError: If a layer does not fit its shape.
        """
        spent, params, shape = base_costs(task), 0, task.input_shape
        for token in tokens:
            layer = self.layer(shape, token)
            spent, params, shape = (
                join_costs(spent, layer.costs),
                params + layer.params,
                layer.shape,
            )
        return spent, params


@lru_cache(maxsize=32)
def chain_costs(grammar: Grammar, classes: int) -> ChainCosts:
    """The layers of a space, shared by a process."""
    return ChainCosts(grammar, classes)
