"""The order of operations in which a network with branches needs the least memory.

Which activations are alive depends only on which operations were executed, not on their order, so
the least peak follows from dynamic programming over the sets of executed operations (Liberis and
Lane, 2019, "Neural networks on microcontrollers: saving memory at inference via operator
reordering"). Three things keep the sets few, and the result exact:

- An operation that is an ancestor or a descendant of every other one cuts the graph in two parts
  that are searched alone: a stack of cells costs the sum of its cells, not their product.
- Sets are visited in the order of their peaks, beginning at a peak that no order undercuts, and a
  part whose own order keeps to the peak that is known to be needed is not searched.
- An operation that leaves no more alive than before, and does not raise the peak, is executed at
  once: whatever comes later, it can only need less memory after it.

Graphs exist that still have too many sets. Their search ends at a bound, the part keeps the order
in which it stands, and the result says so (`OperatorOrder.exact`).
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from emnas_gym.errors import OrderError
from emnas_gym.graph import LayerGraph
from emnas_gym.liveness import Lives, bits, first_nodes, parts_of
from emnas_gym.memory import plan_arena
from emnas_gym.split_sums import split_sums

MOST_SETS = 50_000  # visited for one part of a graph: about a second
REMEMBERED = 64  # graphs whose schedule is kept


@dataclass(frozen=True)
class OperatorOrder:
    """An order of the nodes of a graph, and what is known of it.

    Attributes:
        order: Indices of the nodes; the input comes first, the output last.
        peak_bytes: What is alive at once in this order, at most.
        least_bytes: A peak that no order undercuts.
        sets: How many sets of executed operations were visited to find it.
    """

    order: tuple[int, ...]
    peak_bytes: int
    least_bytes: int
    sets: int

    @property
    def exact(self) -> bool:
        """Whether no order has a smaller peak."""
        return self.peak_bytes == self.least_bytes


def working_set(graph: LayerGraph, order: Sequence[int], bytes_per_element: int = 1) -> int:
    """The largest sum of aligned activations that are alive together, in bytes.

    While an operation runs, all that it or a later one reads is alive, and its output and scratch.

    Args:
        graph: A deployed graph.
        order: Indices of all nodes in the order of execution.
        bytes_per_element: 1 for int8, 4 for float32.

    Raises:
        OrderError: If the order is none of the graph's.
    """
    _check(graph, order)
    return Lives(graph, bytes_per_element).peak(order, 0, 0)


def best_order(graph: LayerGraph, most_sets: int = MOST_SETS) -> tuple[int, ...]:
    """An order of the nodes whose `working_set` is the least, their own where it is one.

    Args:
        graph: A deployed graph.
        most_sets: So many sets may be visited for one part.

    Raises:
        OrderError: If the graph has too many sets of executed operations to be sure.
    """
    found = search_order(graph, most_sets)
    if not found.exact:
        raise OrderError(
            f"after {found.sets} sets of executed operations the least memory is still unknown: "
            f"between {found.least_bytes} and {found.peak_bytes} bytes; "
            "search_order gives the best order so far"
        )
    return found.order


def search_order(graph: LayerGraph, most_sets: int = MOST_SETS) -> OperatorOrder:
    """Looks for the order of the least `working_set`, part by part.

    Args:
        graph: A deployed graph.
        most_sets: So many sets may be visited for one part; where that is not enough, the part
            keeps the order in which it stands.
    """
    lives = Lives(graph)
    parts = [_Part(lives, first, stop) for first, stop in parts_of(graph)]
    least, sets = max(lives.alone), 0
    for part in sorted(parts, key=lambda part: -part.peak):
        if part.peak > least:
            visited, least = part.improve(least, most_sets)
            sets += visited
    order = tuple(itertools.chain.from_iterable(part.order for part in parts))
    return OperatorOrder(order, max(part.peak for part in parts), least, sets)


def reordered(graph: LayerGraph, order: Sequence[int] | None = None) -> LayerGraph:
    """The same graph with its nodes in another order; names, and so weights, stay.

    Args:
        graph: A deployed graph.
        order: Indices of all nodes in the order of execution; the `best_order` if None.

    Raises:
        OrderError: If the order is none of the graph's, or the best one cannot be found.
    """
    chosen = best_order(graph) if order is None else order
    _check(graph, chosen)
    place = {old: new for new, old in enumerate(chosen)}
    nodes = [graph.nodes[old] for old in chosen]
    return LayerGraph(
        tuple(replace(node, inputs=tuple(place[i] for i in node.inputs)) for node in nodes)
    )


def scheduled(graph: LayerGraph) -> LayerGraph:
    """The deployed graph in the order in which it runs: what costs count and what is exported.

    Nodes move, and sums of many are added up one by one (`emnas_gym.split_sums`), only where that
    makes the planned arena of int8 activations smaller. So a chain stays as it is, and so does what
    is scheduled already. A part with too many orders to compare keeps its own.

    Args:
        graph: Any graph; training-only operations are dropped.
    """
    deployed = graph.deployed()
    return deployed if deployed.is_chain else _with_smallest_arena(deployed)


@lru_cache(maxsize=REMEMBERED)
def _with_smallest_arena(deployed: LayerGraph) -> LayerGraph:
    split = split_sums(deployed)
    forms = (deployed,) if split is deployed else (deployed, split)
    ordered = [reordered(form, search_order(form).order) for form in forms]
    best = min(dict.fromkeys((*forms, *ordered)), key=lambda form: plan_arena(form).head_bytes)
    return deployed if best is deployed else _with_smallest_arena(best)


class _Part:
    """The nodes between two cuts, which follow each other in every order of the graph.

    Attributes:
        order: The best order that is known.
        peak: Its peak in bytes, with all that is alive from before.
    """

    def __init__(self, lives: Lives, first: int, stop: int) -> None:
        self.lives, self.done, self.alive = lives, first_nodes(first), lives.alive_after(first)
        self.order = tuple(range(first, stop))
        self.peak = lives.peak(self.order, self.done, self.alive)

    def improve(self, least: int, most_sets: int) -> tuple[int, int]:
        """Takes over a better order, if there is one.

        Args:
            least: A peak below which none need go.
            most_sets: How many sets may be visited.

        Returns:
            How many were visited, and a peak that no order of this part undercuts, at least
            ``least``.
        """
        goal = self.done | bits(self.order)
        came: dict[int, tuple[int, int]] = {}  # set: the one before, and what was executed
        best, visited = {self.done: least}, 0
        waiting = [(least, 0, self.done, self.alive)]  # peak, minus executed, set, bytes alive
        while waiting:
            peak, executed, done, alive = heapq.heappop(waiting)
            if done == goal:
                self.order = self._back(came)
                self.peak = self.lives.peak(self.order, self.done, self.alive)
                return visited, peak
            if peak > best[done]:
                continue
            if visited == most_sets:
                return visited, peak
            visited += 1
            for node, running, after in self._choices(done, alive, peak):
                then, reached = done | 1 << node, max(peak, running)
                if reached < best.get(then, self.peak):
                    best[then], came[then] = reached, (done, node)
                    heapq.heappush(waiting, (reached, executed - 1, then, after))
        return visited, self.peak

    def _choices(self, done: int, alive: int, peak: int) -> list[tuple[int, int, int]]:
        """What may come next, bytes while it runs and after it; one alone where it costs nothing.

        That is no loss. An output that is released or an input that dies stays so if more was
        executed before: what ``node`` adds to the bytes alive never grows. Moved to the front of
        any order it makes no step between there and its old place larger.
        """
        choices = []
        for node in self.order:
            if done >> node & 1 or self.lives.needed[node] & ~done:
                continue
            running, after = self.lives.step(done, alive, node)
            if after <= alive and running <= peak:
                return [(node, running, after)]
            choices.append((node, running, after))
        return choices

    def _back(self, came: dict[int, tuple[int, int]]) -> tuple[int, ...]:
        done, order = self.done | bits(self.order), []
        while done != self.done:
            done, node = came[done]
            order.append(node)
        return tuple(reversed(order))


def _check(graph: LayerGraph, order: Sequence[int]) -> None:
    last, place = len(graph.nodes) - 1, {node: i for i, node in enumerate(order)}
    if sorted(order) != list(range(last + 1)) or order[0] != 0 or order[-1] != last:
        raise OrderError(f"an order has each of {last + 1} nodes once, 0 first and {last} last")
    for i, node in enumerate(graph):
        late = [j for j in node.inputs if place[j] > place[i]]
        if late:
            raise OrderError(f"node {i} ({node.name}) reads {late}, which the order executes later")
