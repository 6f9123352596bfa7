"""Mutation, crossover, neighbours: always legal, at the declared distance, from the parents."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from conftest import BUDGETS, TINY
from hypothesis import given
from hypothesis import strategies as st

from emnas_gym import costs
from emnas_gym.automaton import Automaton
from emnas_gym.budgets import Budgets
from emnas_gym.errors import UnknownName
from emnas_gym.space import SearchSpace, load_space, sample_tokens
from emnas_gym.tasks import DIGITS
from emnas_gym.variation import EDITS, crossover, edit_distance, mutate, neighbours

Tokens = tuple[int, ...]
LEVENSHTEIN = st.lists(st.integers(0, 3), max_size=6)


@given(LEVENSHTEIN, LEVENSHTEIN)
def test_edit_distance_is_the_definition(a: list[int], b: list[int]) -> None:
    @cache
    def distance(i: int, j: int) -> int:
        if i == 0 or j == 0:
            return i + j
        return min(
            distance(i - 1, j) + 1,
            distance(i, j - 1) + 1,
            distance(i - 1, j - 1) + (a[i - 1] != b[j - 1]),
        )

    assert edit_distance(a, b) == distance(len(a), len(b)) == edit_distance(b, a)


def _check(table: Automaton, tokens: Tokens) -> None:
    """Legal by the graph itself, not by the table that the operators ask."""
    graph = table.grammar.build(tokens, table.task)
    assert costs.flash_bytes(graph) <= (table.budgets.flash_bytes or np.inf)
    assert costs.ram_bytes(graph) <= (table.budgets.ram_bytes or np.inf)


CASES = [("emnas-382", None), ("emnas-382", 6), ("emnas-mobile-49", None)]


@pytest.mark.parametrize(("name", "length"), CASES)
def test_no_offspring_is_invalid(name: str, length: int | None) -> None:  # A21, C10, C11
    """10,000 children in all, of fixed- and variable-length genomes."""
    space = load_space(name)
    table = space.automaton(DIGITS, BUDGETS, length, length)
    rng = np.random.default_rng(4)
    edits = EDITS if length is None else ("replace",)
    parents = [sample_tokens(table, rng) for _ in range(300)]
    mutated = [(parent, mutate(table, parent, rng, edits)) for parent in parents * 6]
    for parent, child in mutated:
        _check(table, child)
        pair = space.canonical_tokens(parent), space.canonical_tokens(child)
        assert edit_distance(*pair) == 1, "the declared edit distance, exactly"
        assert length in (None, len(child))
    changes = Counter(len(child) - len(parent) for parent, child in mutated)
    assert set(changes) == ({-1, 0, 1} if length is None else {0})

    children = 0
    while children < 1600:
        mother, father = (parents[int(i)] for i in rng.integers(len(parents), size=2))
        child = crossover(table, mother, father, rng, fixed_length=length is not None)
        if child is None:
            continue
        children += 1
        _check(table, child)
        _assert_cut(mother, father, child)
        assert length in (None, len(child))


def _assert_cut(mother: Sequence[int], father: Sequence[int], child: Sequence[int]) -> None:
    """The child is the head of one and the tail of the other, a layer of each at least."""
    body = tuple(child[:-1])
    cuts = range(1, len(body))
    assert any(
        body[:cut] == tuple(mother[:cut]) and body[cut:] == tuple(father[:-1])[-(len(body) - cut) :]
        for cut in cuts
    )
    assert child[-1] == father[-1]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "length"), CASES)
def test_ten_thousand_offspring_of_each_kind(name: str, length: int | None) -> None:  # A21
    space = load_space(name)
    table = space.automaton(DIGITS, BUDGETS, length, length)
    rng = np.random.default_rng(5)
    edits = EDITS if length is None else ("replace",)
    for _ in range(10_000):
        mother, father = sample_tokens(table, rng), sample_tokens(table, rng)
        _check(table, mutate(table, mother, rng, edits))
        child = crossover(table, mother, father, rng, fixed_length=length is not None)
        if child is not None:
            _check(table, child)


@pytest.mark.parametrize("distance", [1, 2, 3])
def test_mutation_keeps_the_declared_distance(space: SearchSpace, distance: int) -> None:  # C10
    table, rng = space.automaton(DIGITS, BUDGETS), np.random.default_rng(distance)
    for _ in range(100):
        parent = sample_tokens(table, rng)
        child = mutate(table, parent, rng, distance=distance)
        pair = space.canonical_tokens(parent), space.canonical_tokens(child)
        assert edit_distance(*pair) == distance
        _check(table, child)


def test_mutation_reaches_every_neighbour(tiny: SearchSpace) -> None:  # C10
    table, rng = tiny.automaton(DIGITS), np.random.default_rng(0)
    parent = (1, 3, 7, 9)
    for edit in EDITS:
        expected = {tiny.canonical_tokens(n) for n in neighbours(table, parent, (edit,))}
        if edit == "replace":  # the pad without zeros, which neighbours leave out
            expected |= {(1, 7, 9), (1, 3, 9)}
        found = {tiny.canonical_tokens(mutate(table, parent, rng, (edit,))) for _ in range(600)}
        assert found == expected


def test_a_parent_without_neighbours_is_its_own_child() -> None:
    """Only one network fits: the search for a change ends."""
    least = TINY.automaton(DIGITS, None, 2, 2).least_costs()["flash_bytes"]
    table = TINY.automaton(DIGITS, Budgets(flash_bytes=least), 2, 2)
    assert table.legal(table.start()).tolist() == [4, 5], "one behaviour"
    assert mutate(table, (4, 9), np.random.default_rng(0)) == (4, 9)


@pytest.mark.parametrize("edits", [("replace",), ("insert",), ("delete",), EDITS])
@pytest.mark.parametrize("budgets", [Budgets(), Budgets(flash_bytes=5000)], ids=["free", "tight"])
def test_neighbours_are_the_brute_force(
    tiny: SearchSpace, edits: tuple[str, ...], budgets: Budgets
) -> None:
    table = tiny.automaton(DIGITS, budgets)
    every = {a.tokens for a in tiny.enumerate(DIGITS, budgets)}
    canonical = {tiny.canonical_tokens(tokens) for tokens in every}
    rng = np.random.default_rng(1)
    for _ in range(40):
        parent = sample_tokens(table, rng)
        expected = set()
        for child in _one_edit(parent, edits, [1, 2, 3, 4, 7, 8]):
            if child in every and tiny.canonical_tokens(child) != tiny.canonical_tokens(parent):
                expected.add(tiny.canonical_tokens(child))
        listed = list(neighbours(table, parent, edits))
        keys = [tiny.canonical_tokens(child) for child in listed]
        assert len(set(keys)) == len(keys), "each once"
        assert set(keys) == expected <= canonical
        assert set(listed) <= every


def _one_edit(parent: Tokens, edits: tuple[str, ...], tokens: Sequence[int]) -> set[Tokens]:
    body, end = parent[:-1], parent[-1:]
    children = set()
    for position, token in itertools.product(range(len(body) + 1), tokens):
        head, tail = body[:position], body[position:]
        if "insert" in edits:
            children.add((*head, token, *tail, *end))
        if tail and "replace" in edits:
            children.add((*head, token, *tail[1:], *end))
        if tail and "delete" in edits:
            children.add((*head, *tail[1:], *end))
    return children


def test_both_parents_contribute_and_every_cut_occurs(tiny: SearchSpace) -> None:  # C11
    table, rng = tiny.automaton(DIGITS), np.random.default_rng(2)
    mother, father = (1, 1, 1, 9), (2, 2, 2, 2, 9)
    free = {crossover(table, mother, father, rng) for _ in range(200)}
    assert free == {
        (*[1] * a, *[2] * b, 9) for a in (1, 2) for b in (1, 2, 3) if a + b <= 4
    }  # fmt: skip
    fixed = {crossover(table, father, mother, rng, fixed_length=True) for _ in range(100)}
    assert fixed == {(2, 1, 1, 9), (2, 2, 1, 9)}
    assert crossover(table, (1, 9), father, rng) is None, "one layer cannot be cut"


def test_a_crossover_that_cannot_fit_is_none(tiny: SearchSpace) -> None:
    table, rng = tiny.automaton(DIGITS), np.random.default_rng(3)
    mother, father = (1, 7, 7, 9), (1, 2, 2, 9)  # no convolution may follow a dense layer
    found = {crossover(table, mother, father, rng) for _ in range(100)}
    assert all(child is None or child[1] != 7 or 7 not in child[2:3] for child in found)
    for child in found - {None}:
        _check(table, child)  # type: ignore[arg-type]
    one_layer = tiny.automaton(DIGITS, None, 2, 2)
    assert crossover(one_layer, mother, father, rng) is None


def test_unknown_edits_list_the_nearest(tiny: SearchSpace) -> None:
    with pytest.raises(UnknownName, match="did you mean replace"):
        mutate(tiny.automaton(), (1, 9), np.random.default_rng(0), ("replcae",))
    with pytest.raises(UnknownName, match="did you mean insert"):
        list(neighbours(tiny.automaton(), (1, 9), ("inserts",)))
