"""Masks: exactly the tokens after which a network that fits can still be finished."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emnas_gym import costs
from emnas_gym.automaton import Automaton
from emnas_gym.budgets import Budgets
from emnas_gym.cost_vectors import (
    FLASH,
    HEAD,
    KEPT,
    MACS,
    PLANNING,
    pareto_minimal,
    ram_of,
)
from emnas_gym.errors import IllegalAction, InfeasibleBudgets, InvalidArchitecture
from emnas_gym.problem import Problem
from emnas_gym.space import SearchSpace, sample_tokens
from emnas_gym.tasks import DIGITS, GRASP, Task

LIMITS = [
    Budgets(ram_bytes=8192, flash_bytes=32768),
    Budgets(ram_bytes=4000, flash_bytes=6000),
    Budgets(macs=3000, flash_bytes=9000),
    Budgets(),
]


def _walk(table: Automaton, rng: np.random.Generator, greedy: bool) -> tuple[int, ...]:
    """A masked episode; the greedy one takes the most expensive legal token."""
    cursor = table.start()
    while not cursor.done:
        legal = table.legal(cursor)
        assert len(legal), f"dead end after {cursor.tokens}"
        if greedy:
            price = table.price[cursor.state, legal]
            token = legal[np.argmax(price[:, FLASH] + price[:, MACS] + rng.random(len(legal)))]
        else:
            token = legal[rng.integers(len(legal))]
        table.step(cursor, int(token))
    _agrees_with_graph(table, cursor.tokens, cursor.spent)
    return tuple(cursor.tokens)


def _agrees_with_graph(table: Automaton, tokens: list[int], spent: np.ndarray) -> None:
    graph = table.grammar.build(tokens, table.task)
    assert spent[FLASH] == costs.flash_bytes(graph)
    assert spent[MACS] == costs.macs(graph)
    assert spent[KEPT] == costs.persistent_bytes(graph)
    assert spent[HEAD] == costs.arena_head_bytes(graph)
    assert spent[PLANNING] == costs.persistent_bytes(graph) + costs.setup_bytes(graph)
    assert ram_of(spent) == costs.ram_bytes(graph)
    limits = table.budgets
    assert spent[FLASH] <= (limits.flash_bytes or np.inf)
    assert ram_of(spent) <= (limits.ram_bytes or np.inf)
    assert spent[MACS] <= (limits.macs or np.inf)


@pytest.mark.parametrize("budgets", LIMITS, ids=str)
@pytest.mark.parametrize("greedy", [False, True])
def test_no_dead_end_and_none_over_budget(
    space: SearchSpace, budgets: Budgets, greedy: bool
) -> None:
    table, rng = space.automaton(DIGITS, budgets), np.random.default_rng(5)
    for _ in range(150):
        _walk(table, rng, greedy)


@pytest.mark.slow
def test_a_hundred_thousand_masked_episodes(space: SearchSpace) -> None:
    table, rng = space.automaton(DIGITS, LIMITS[0]), np.random.default_rng(6)
    for i in range(100_000):
        _walk(table, rng, greedy=i % 4 == 0)


def test_the_mask_refuses_nothing_that_could_fit(tmp_path: object) -> None:
    """On a space small enough, the mask is compared with all completions."""
    tiny = SearchSpace(
        "tiny", tuple(_small_specs()), min_layers=2, max_layers=4, first=("conv", "depthwise"),
        after={"dense": ("dense",)},
    )  # fmt: skip
    every = _all_that_build(tiny)
    assert len(every) == len(set(every)) > 500
    flash = {t: costs.flash_bytes(tiny.build(t, DIGITS)) for t in every}
    ram = {t: costs.ram_bytes(tiny.build(t, DIGITS)) for t in every}
    macs = {t: costs.macs(tiny.build(t, DIGITS)) for t in every}
    for share in (0.2, 0.5):
        limits = Budgets(
            flash_bytes=int(np.quantile(list(flash.values()), share)),
            ram_bytes=int(np.quantile(list(ram.values()), share)),
            macs=int(np.quantile(list(macs.values()), 0.6)),
        )
        fitting = {
            t for t in every
            if flash[t] <= limits.flash_bytes and ram[t] <= limits.ram_bytes
            and macs[t] <= limits.macs
        }  # fmt: skip
        table = tiny.automaton(DIGITS, limits)
        assert fitting, "the test needs networks that fit"
        _compare(table, fitting, ())
        assert {a.tokens for a in tiny.enumerate(DIGITS, limits)} == fitting


def _all_that_build(grammar: SearchSpace) -> list[tuple[int, ...]]:
    """Brute force without the tables."""
    found = []
    for length in range(grammar.min_layers, grammar.max_layers + 1):
        for body in itertools.product(range(1, grammar.num_tokens), repeat=length - 1):
            tokens = (*body, grammar.num_tokens)
            try:
                grammar.build(tokens, DIGITS)
            except InvalidArchitecture:
                continue
            found.append(tokens)
    return found


def _compare(table: Automaton, fitting: set[tuple[int, ...]], prefix: tuple[int, ...]) -> None:
    cursor = table.start()
    for token in prefix:
        table.step(cursor, token)
    if cursor.done:
        return
    expected = sorted({t[len(prefix)] for t in fitting if t[: len(prefix)] == prefix})
    assert table.legal(cursor).tolist() == expected, prefix
    for token in expected:
        _compare(table, fitting, (*prefix, token))


def _small_specs() -> list:  # type: ignore[type-arg]
    from emnas_gym.layers import LayerSpec

    conv = [
        LayerSpec("conv", filters, kernel, stride, padding, "relu")
        for filters in (4, 16)
        for kernel, stride, padding in ((3, 1, "same"), (3, 3, "valid"), (1, 1, "valid"))
    ]
    rest = [
        LayerSpec("depthwise", 0, 3, 2, "same", "sigmoid"),
        LayerSpec("dense", units=8, activation="relu"),
        LayerSpec("dropout", rate=0.2),
        LayerSpec("output", head="dense"),
    ]
    return conv + rest


@settings(max_examples=15, deadline=None)
@given(st.integers(3, 40), st.integers(3, 40), st.integers(1, 3), st.integers(2, 12))
def test_any_input_shape(height: int, width: int, channels: int, classes: int) -> None:
    tiny = SearchSpace("tiny", tuple(_small_specs()), 2, 5, ("conv",))
    table = tiny.automaton(Task("any", (height, width, channels), classes))
    rng = np.random.default_rng(0)
    for _ in range(10):
        _walk(table, rng, greedy=False)


def test_exact_lengths_and_the_end(space: SearchSpace) -> None:  # A14, A15
    table = space.automaton(DIGITS, LIMITS[0], 6, 6)
    rng = np.random.default_rng(7)
    assert {len(sample_tokens(table, rng)) for _ in range(50)} == {6}
    table = space.automaton(DIGITS, LIMITS[0])
    cursor = table.start()
    for token in sample_tokens(table, rng)[:-1][:2]:
        assert space.end_token not in table.legal(cursor), "too short to end"
        table.step(cursor, token)
    mask = table.mask(cursor)
    assert mask[0] == 0
    assert set(np.flatnonzero(mask)) == set(table.legal(cursor))


def test_done_walks_allow_only_token_zero(space: SearchSpace) -> None:
    table = space.automaton(DIGITS)
    cursor = table.start()
    for token in sample_tokens(table, np.random.default_rng(0)):
        table.step(cursor, token)
    assert np.flatnonzero(table.mask(cursor)).tolist() == [0]
    with pytest.raises(IllegalAction):
        table.step(cursor, 1)


def test_budgets_that_nothing_fits_say_what_is_least(space: SearchSpace) -> None:
    with pytest.raises(InfeasibleBudgets, match=r"ram_bytes = 300.*the least of each alone is"):
        space.automaton(DIGITS, Budgets(ram_bytes=300))
    with pytest.raises(InfeasibleBudgets, match="not above 0"):
        Budgets(flash_bytes=0)
    with pytest.raises(InfeasibleBudgets, match="lie outside"):
        space.automaton(DIGITS, None, 2, 5)


def test_tables_are_made_once(space: SearchSpace) -> None:
    assert space.automaton(DIGITS, LIMITS[0]) is space.automaton(DIGITS, LIMITS[0])
    assert len(space.automaton(DIGITS).states) == 107  # the start is one of its own


def test_large_maps(mobile: SearchSpace) -> None:
    table, rng = mobile.automaton(GRASP), np.random.default_rng(1)
    lengths = {len(_walk(table, rng, greedy=False)) for _ in range(20)}
    assert max(lengths) == 32


@given(st.lists(st.tuples(*[st.integers(0, 6)] * 4), min_size=1, max_size=40))
def test_pareto_minimal_is_the_definition(rows: list[tuple[int, ...]]) -> None:
    front = {tuple(row) for row in pareto_minimal(np.array(rows, dtype=np.int64)).tolist()}
    undominated = {
        a for a in rows
        if not any(all(x <= y for x, y in zip(b, a, strict=True)) and b != a for b in rows)
    }  # fmt: skip
    assert front == undominated


@pytest.mark.parametrize("budgets", [{}, {"ram_bytes": 8192, "flash_bytes": 9000, "macs": 30_000}])
def test_what_fits_is_what_can_be_walked_within_the_limits(budgets: dict[str, int]) -> None:
    """Of networks that fit, of those edited by chance, and of any tokens."""
    table, rng = Problem.make(budgets=budgets).automaton, np.random.default_rng(0)
    found = []
    for _ in range(300):
        tokens = list(sample_tokens(table, rng))
        for _ in range(int(rng.integers(4))):
            tokens[int(rng.integers(len(tokens)))] = int(rng.integers(1, 383))
        if rng.random() < 0.1:
            tokens.append(int(rng.integers(1, 383)))
        try:
            expected = bool(table.limits.allow(table.walk(tokens)[1]))
        except InvalidArchitecture:
            expected = False
        found.append(table.fits(tokens))
        assert found[-1] == (expected and len(tokens) <= table.max_layers)
    assert 30 < sum(found) < 270
