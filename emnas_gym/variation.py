"""Small changes to a network that keep it legal: mutation, crossover, neighbours.

An edit changes one layer: ``replace``, ``insert`` or ``delete``. All that is returned keeps the
rules, builds, and fits the budgets of the automaton.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from emnas_gym.automaton import Automaton
from emnas_gym.errors import UnknownName
from emnas_gym.grammar import Grammar

EDITS = ("replace", "insert", "delete")
TRIES = 200  # candidates drawn before an edit is given up
Tokens = tuple[int, ...]


def mutate(
    table: Automaton,
    tokens: Sequence[int],
    rng: np.random.Generator,
    edits: Sequence[str] = EDITS,
    distance: int = 1,
) -> Tokens:
    """Applies random edits, one after the other.

    Args:
        table: Decides what is legal.
        tokens: The parent, the end token included.
        rng: Source of randomness.
        edits: Edits to choose from; fixed-length genomes use ``("replace",)``.
        distance: Number of edits by which child and parent differ, layers without effect aside.

    Returns:
        The child; the nearest that was found if none is so far away, at worst the parent itself.

    Raises:
        UnknownName: If there is no such edit.
    """
    _check_edits(edits)
    child = origin = tuple(int(t) for t in tokens)
    for steps in range(1, distance + 1):
        child = _edit(table, child, rng, edits, origin, steps)
    return child


def _check_edits(edits: Sequence[str]) -> None:
    for edit in edits:
        if edit not in EDITS:
            raise UnknownName("edit", edit, EDITS)


def _edit(
    table: Automaton,
    parent: Tokens,
    rng: np.random.Generator,
    edits: Sequence[str],
    origin: Tokens,
    distance: int,
) -> Tokens:
    """One edit of the parent, by which it comes to lie at the distance from the origin."""
    grammar, canonical = table.grammar, table.grammar.canonical_token
    for _ in range(TRIES):
        kind = edits[int(rng.integers(len(edits)))]
        body, position = list(parent[:-1]), int(rng.integers(len(parent) - (kind != "insert")))
        token = int(rng.integers(1, grammar.num_tokens + 1))
        if kind == "delete":
            del body[position]
        elif kind == "insert":
            body.insert(position, token)
        elif canonical[body[position]] == canonical[token]:
            continue  # the same behaviour under another id is no change
        else:
            body[position] = token
        child = (*body, parent[-1])
        if table.fits(child) and _distance(grammar, origin, child) == distance:
            return child
    others = neighbours(table, parent, edits)
    return next((n for n in others if _distance(grammar, origin, n) == distance), parent)


def _distance(grammar: Grammar, a: Tokens, b: Tokens) -> int:
    return edit_distance(grammar.canonical_tokens(a), grammar.canonical_tokens(b))


def edit_distance(a: Sequence[int], b: Sequence[int]) -> int:
    """Least number of replacements, insertions and deletions from one to the other."""
    costs = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, costs[0] = costs[0], i
        for j, y in enumerate(b, 1):
            change = diagonal + (x != y)
            diagonal = costs[j]
            costs[j] = min(change, costs[j] + 1, costs[j - 1] + 1)
    return costs[-1]


def crossover(
    table: Automaton,
    mother: Sequence[int],
    father: Sequence[int],
    rng: np.random.Generator,
    fixed_length: bool = False,
) -> Tokens | None:
    """One-point crossover: the first layers of one parent, the last ones of the other.

    Both parents give at least one layer (the shared end token aside).

    Args:
        table: Decides what is legal.
        mother: Gives the first layers.
        father: Gives the last layers.
        rng: Source of randomness.
        fixed_length: Cuts both at the same position, so that the child is as long as the father.

    Returns:
        The child, or None if no pair of cuts that was drawn gives a legal one.
    """
    a, b = [int(t) for t in mother[:-1]], [int(t) for t in father[:-1]]
    if min(len(a), len(b)) < 2:
        return None
    for _ in range(TRIES):
        cut = int(rng.integers(1, min(len(a), len(b)) if fixed_length else len(a)))
        other = cut if fixed_length else int(rng.integers(1, len(b)))
        child = (*a[:cut], *b[other:], int(father[-1]))
        if table.fits(child):
            return child
    return None


def neighbours(
    table: Automaton, tokens: Sequence[int], edits: Sequence[str] = ("replace",)
) -> Iterator[Tokens]:
    """Yields every distinct legal network one edit away, canonical tokens only.

    Raises:
        UnknownName: If there is no such edit.
    """
    _check_edits(edits)
    grammar = table.grammar
    parent = [int(t) for t in tokens]
    ids = [t for t in range(1, grammar.num_tokens + 1) if grammar.canonical_token[t] == t]
    seen = {grammar.canonical_tokens(parent)}
    for kind in edits:
        for position in range(len(parent) - (kind != "insert")):
            for token in ids if kind != "delete" else [0]:
                rest = parent[position + (kind != "insert") :]
                child = tuple(parent[:position] + ([token] if token else []) + rest)
                key = grammar.canonical_tokens(child)
                if key not in seen and table.fits(child):
                    seen.add(key)
                    yield child
