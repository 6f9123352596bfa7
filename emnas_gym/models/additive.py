"""A latency as a sum: what a network asks of a device, counted in terms, each at its cost.

A fitted model gives every term a non-negative cost. A network costs a constant and the sum over its
layers (`emnas_gym.models.layer_terms`), or over the steps that a compiler makes of them
(`emnas_gym.models.kpu_terms`); a fit chooses which, and which details are told apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from emnas_gym.errors import SurrogateFileError
from emnas_gym.graph import Shape
from emnas_gym.layers import LayerSpec
from emnas_gym.models.base import Array, FittedModel
from emnas_gym.models.kpu_terms import Terms, kpu_terms
from emnas_gym.models.layer_terms import DETAILS, layer_terms
from emnas_gym.tasks import Task
from emnas_gym.token_space import TokenSpace

BY_STEPS = frozenset({"kpu", "cache"})  # details that go with steps
CONSTANT = "network: calls"
LARGEST = 1e100  # of a cost; sums of such costs stay finite


def network_terms(
    space: TokenSpace, task: Task, tokens: Sequence[int], details: Sequence[str]
) -> Terms:
    """Terms of a whole network, the constant included.

    Args:
        space: The search space.
        task: What the network is for.
        tokens: Its tokens; repeats of the same behaviour count alike.
        details: Which of `DETAILS` are told apart.

    Raises:
        ShapeError: If a layer does not fit its shape.
        ValueError: If a detail of layers is asked for beside ``"kpu"``.
    """
    total: Terms = {CONSTANT: 1}
    if "kpu" in details:
        if not BY_STEPS.issuperset(details):
            raise ValueError(f"with 'kpu' only {sorted(BY_STEPS)} can be told apart: {details}")
        return total | kpu_terms(space, task, tokens, "cache" in details)
    shape = task.input_shape
    for token in space.canonical_tokens(tokens):
        shape, terms = layer_terms(space.spec(token), shape, task.classes, details)
        for name, amount in terms.items():
            total[name] = total.get(name, 0) + amount
    return total


@dataclass(frozen=True)
class AdditiveCosts(FittedModel):
    """A constant and a sum over layers of non-negative costs.

    Attributes:
        costs: Name of a term → cost of one unit of it; a term without one costs nothing.
        details: Which of `DETAILS` are told apart.
    """

    kind: ClassVar[str] = "additive"
    reads: ClassVar[str] = "terms"

    costs: Mapping[str, float]
    details: tuple[str, ...]

    @property
    def encoding(self) -> str:
        """Terms, and the details that they tell apart."""
        return "+".join([self.reads, *self.details])

    def predict(self, x: Sequence[Terms]) -> tuple[Array, Array]:
        """Sums of costs and zeros, each of shape (N,); a sum knows nothing of its doubt.

        Args:
            x: Terms of each network, told apart by `details`.
        """
        names = sorted(self.costs)
        amounts = [[terms.get(name, 0.0) for name in names] for terms in x]
        matrix = np.array(amounts, dtype=np.float64).reshape(len(x), len(names))
        total: Array = matrix @ np.array([self.costs[name] for name in names], dtype=np.float64)
        return total, np.zeros(len(x))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """None: costs have names, and people review them."""
        return {}

    def options(self) -> dict[str, Any]:
        """Details and costs."""
        return {"details": list(self.details), "costs": dict(self.costs)}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], options: Mapping[str, Any]) -> AdditiveCosts:
        """Checks what was read from a file.

        Raises:
            SurrogateFileError: If a cost is no finite number from 0 on, or a detail is unknown.
        """
        if arrays:
            raise SurrogateFileError(f"a sum of costs has no arrays, not {sorted(arrays)}")
        return cls.checked(options.get("costs"), options.get("details"))

    @property
    def by_layer(self) -> bool:
        """Whether a network costs what its layers do, each on the shape that it reads."""
        return "kpu" not in self.details

    def network_cost(self, space: TokenSpace, task: Task, tokens: Sequence[int]) -> float:
        """Cost of a whole network.

        Raises:
            ShapeError: If a layer does not fit its shape.
        """
        return self._price(network_terms(space, task, tokens, self.details))

    def _price(self, terms: Terms) -> float:
        return sum(self.costs.get(name, 0.0) * amount for name, amount in terms.items())

    def layer_cost(self, spec: LayerSpec, shape: Shape, classes: int) -> tuple[Shape, float]:
        """Cost of one layer on the shape that it reads, and the shape that it returns.

        Args:
            spec: The layer.
            shape: What it reads.
            classes: Classes of the task, for the output layer.

        Raises:
            ValueError: If costs are not by layer.
        """
        if not self.by_layer:
            raise ValueError("steps of a K210 belong to a whole network: ask for network_cost")
        out, terms = layer_terms(spec, shape, classes, self.details)
        return out, self._price(terms)

    @property
    def constant(self) -> float:
        """What every network costs."""
        return self.costs.get(CONSTANT, 0.0)

    @classmethod
    def checked(cls, costs: object, details: object) -> AdditiveCosts:
        """Checks costs and details that nobody vouches for.

        Raises:
            SurrogateFileError: If a cost is no finite number from 0 on, or a detail is unknown.
        """
        if not isinstance(costs, dict) or not isinstance(details, list):
            raise SurrogateFileError("costs is a table, details a list")
        for name, value in costs.items():
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not 0 <= value <= LARGEST:
                raise SurrogateFileError(f"the cost of {name!r}, {value!r}, is no number from 0 on")
        unknown = [detail for detail in details if detail not in list(DETAILS)]
        if unknown or ("kpu" in details and not BY_STEPS.issuperset(details)):
            raise SurrogateFileError(f"unknown details {unknown or details}")
        return cls({str(k): float(v) for k, v in costs.items()}, tuple(details))
