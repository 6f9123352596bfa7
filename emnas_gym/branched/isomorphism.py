"""Which cells compute the same: those whose live edges make the same graph, nodes renamed.

Before graphs are compared, what changes nothing is taken out:

1. edges on no way from the input to the output, and the nodes that only they join;
2. a node whose one edge is ``skip``: it is the node that it reads;
3. a node that is read once, by ``skip``: its sum is part of the sum that reads it.

What is left are nodes of which each has its own weights. Two nodes with equal edges stay two, for
they are trained apart; NAS-Bench-201's own text form takes them for one, and keeps dead sums.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from emnas_gym.branched.cell import Choices
from emnas_gym.branched.operations import NONE, SKIP

if TYPE_CHECKING:
    from emnas_gym.branched.edge_cell import EdgeCell

Edge = tuple[int, int]
Labelled = tuple[int, int, str]  # source, target, operation
LISTED = 20_000  # cells up to which all are compared with all


def simplified(cell: EdgeCell, choices: Choices) -> list[tuple[int, Labelled]]:
    """Positions and labelled edges that are left after the three rules; empty if disconnected."""
    pairs = zip(cell.operations, choices, strict=True)
    names = [_label(cell, edge, n[c]) for edge, (n, c) in zip(cell.edges, pairs, strict=True)]
    left = {
        i: (*cell.edges[i], names[i]) for i, is_live in enumerate(cell.live(choices)) if is_live
    }
    while True:
        for node in range(1, cell.last):
            into = [i for i, edge in left.items() if edge[1] == node]
            out = [i for i, edge in left.items() if edge[0] == node]
            if len(into) == 1 and left[into[0]][2] == SKIP:
                source = left.pop(into[0])[0]
                left |= {i: (source, *left[i][1:]) for i in out}
                break
            if len(out) == 1 and left[out[0]][2] == SKIP:
                target = left.pop(out[0])[1]
                left |= {i: (left[i][0], target, left[i][2]) for i in into}
                break
        else:
            return sorted(left.items())


def _label(cell: EdgeCell, edge: Edge, name: str) -> str:
    """The operation; of an input that changes its shape apart from the same inside of the cell."""
    return f"{name} of the input" if cell.reduces and edge[0] == 0 else name


def graph_key(cell: EdgeCell, choices: Choices) -> tuple[Labelled, ...]:
    """Equal for two cells exactly if a renaming of nodes makes one graph the other."""
    edges = [edge for _, edge in simplified(cell, choices)]
    inner = sorted({v for edge in edges for v in edge[:2]} - {0, cell.last})
    keys = []
    for order in itertools.permutations(range(1, len(inner) + 1)):
        name = dict(zip(inner, order, strict=True)) | {0: 0, cell.last: len(inner) + 1}
        keys.append(tuple(sorted((name[a], name[b], op) for a, b, op in edges)))
    return min(keys)


@lru_cache(maxsize=8)
def representatives(cell: EdgeCell) -> dict[Choices, Choices]:
    """Of every connected cell the first one that computes the same, in the order of tokens."""
    first: dict[tuple[Labelled, ...], Choices] = {}
    ranges = [range(len(names)) for names in cell.operations]
    return {
        choices: first.setdefault(graph_key(cell, choices), choices)
        for choices in itertools.product(*ranges)
        if cell.connected(choices)
    }


def canonical_choices(cell: EdgeCell, choices: Choices) -> Choices:
    """The choices that stand for all that compute the same.

    Up to `LISTED` cells they are the first ones of the same graph. Of larger cells dead edges
    become ``none`` and operations that stand side by side between the same nodes are sorted; where
    nodes could be renamed besides, that may tell apart what computes the same.
    """
    if math.prod(map(len, cell.operations)) <= LISTED:
        return representatives(cell)[choices]
    return _sorted_choices(cell, choices)


def _sorted_choices(cell: EdgeCell, choices: Choices) -> Choices:
    names, found = cell.operations, list(choices)
    for i, is_live in enumerate(cell.live(choices)):
        if not is_live and NONE in names[i]:
            found[i] = names[i].index(NONE)
    groups: dict[object, list[int]] = {}
    for i, (source, target, _) in simplified(cell, choices):
        groups.setdefault((source, target, names[i]), []).append(i)
    for positions in groups.values():
        _sort(found, positions)
    return tuple(found)


def _sort(found: list[int], positions: Sequence[int]) -> None:
    for i, choice in zip(positions, sorted(found[i] for i in positions), strict=True):
        found[i] = choice
