"""Small changes to a network that keep it legal: mutation, crossover, neighbours.

An edit changes one layer: ``replace``, ``insert`` or ``delete``. All that is returned keeps the
rules, builds, and fits the budgets of the automaton.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from emnas_gym.automaton import Automaton
from emnas_gym.errors import InvalidArchitecture, UnknownName
from emnas_gym.token_space import TokenSpace, edit_distance

__all__ = ["EDITS", "crossover", "edit_distance", "edits_of", "mutate", "neighbours"]

EDITS = ("replace", "insert", "delete")
ILLEGAL = -2  # in `Automaton.next_state`
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


def edits_of(table: Automaton) -> tuple[str, ...]:
    """The edits that can give a legal network: replacements alone where lengths are fixed."""
    return EDITS if table.min_layers < table.max_layers else ("replace",)


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
    layers, end = _split(grammar, parent)
    before: list[int] = []
    for tries in range(TRIES):
        kind = edits[int(rng.integers(len(edits)))]
        position = int(rng.integers(len(layers) + (kind == "insert")))
        token = int(rng.integers(1, grammar.num_tokens + 1))
        if kind == "replace" and canonical[layers[position]] == canonical[token]:
            continue  # the same behaviour under another id is no change
        if tries and not before:  # where most edits are refused, a look-up is cheaper than a walk
            before = _states(table, parent)
        known = kind != "delete" and position < len(before)
        if known and table.next_state[before[position], token] == ILLEGAL:
            continue  # nothing that follows can mend that
        rest = layers[position + (kind != "insert") :]
        child = (*layers[:position], *([] if kind == "delete" else [token]), *rest, *end)
        if table.fits(child) and grammar.distance(origin, child) == distance:
            return child
    others = neighbours(table, parent, edits)
    return next((n for n in others if grammar.distance(origin, n) == distance), parent)


def _states(table: Automaton, tokens: Tokens) -> list[int]:
    """The state before each token; none of a sequence that the automaton does not know."""
    try:
        return table.walk(tokens)[0]
    except InvalidArchitecture:
        return []


def _split(grammar: TokenSpace, tokens: Sequence[int]) -> tuple[list[int], list[int]]:
    """The layers, and the end token by itself where the space has one."""
    cut = len(tokens) - bool(grammar.end_token)
    return [int(t) for t in tokens[:cut]], [int(t) for t in tokens[cut:]]


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
    (a, _), (b, end) = _split(table.grammar, mother), _split(table.grammar, father)
    if min(len(a), len(b)) < 2:
        return None
    for _ in range(TRIES):
        cut = int(rng.integers(1, min(len(a), len(b)) if fixed_length else len(a)))
        other = cut if fixed_length else int(rng.integers(1, len(b)))
        child = (*a[:cut], *b[other:], *end)
        if table.fits(child):
            return child
    return None


def neighbours(
    table: Automaton,
    tokens: Sequence[int],
    edits: Sequence[str] = ("replace",),
    rng: np.random.Generator | None = None,
) -> Iterator[Tokens]:
    """Yields every distinct legal network one edit away, canonical tokens only.

    Legality is looked up when a network is asked for, so that the first few of thousands are cheap.

    Args:
        table: Decides what is legal.
        tokens: The network in the middle, the end token included.
        edits: Edits to choose from; fixed-length genomes use ``("replace",)``.
        rng: Shuffles the neighbours; by edit, position and token if None.

    Raises:
        UnknownName: If there is no such edit.
    """
    _check_edits(edits)
    grammar = table.grammar
    body, end = _split(grammar, tokens)
    parent = body + end
    seen = {grammar.canonical_tokens(parent)}
    changes = _changes(grammar, len(body), edits)
    order = range(len(changes)) if rng is None else rng.permutation(len(changes)).tolist()
    for kind, position, token in (changes[i] for i in order):
        rest = parent[position + (kind != "insert") :]
        child = tuple(parent[:position] + ([token] if token else []) + rest)
        if table.fits(child) and (key := grammar.canonical_tokens(child)) not in seen:
            seen.add(key)
            yield child


def _changes(grammar: TokenSpace, length: int, edits: Sequence[str]) -> list[tuple[str, int, int]]:
    """Kind, position and token (0 in a deletion) of every edit of so many layers."""
    ids = [t for t in range(1, grammar.num_tokens + 1) if grammar.canonical_token[t] == t]
    return [
        (kind, position, token)
        for kind in edits
        for position in range(length + (kind == "insert"))
        for token in (ids if kind != "delete" else [0])
    ]
