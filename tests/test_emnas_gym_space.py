"""Search spaces: the tokens of the original, rules, sizes, sampling, and files of a user's own."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chisquare

from emnas_gym.budgets import Budgets
from emnas_gym.errors import (
    InfeasibleBudgets,
    InvalidArchitecture,
    SpaceFileError,
    UnknownName,
)
from emnas_gym.layers import LayerSpec
from emnas_gym.problem import Problem
from emnas_gym.space import SearchSpace, load_space, sample_tokens
from emnas_gym.tasks import DIGITS, GRASP

BUDGETS = Budgets(ram_bytes=8192, flash_bytes=32768)
CONV, DEPTHWISE = "conv", "depthwise"


@pytest.mark.parametrize(
    ("token", "spec"),
    [
        (1, LayerSpec(CONV, 8, 1, 1, "valid", "sigmoid")),
        (4, LayerSpec(CONV, 8, 1, 1, "same", "relu")),
        (12, LayerSpec(CONV, 8, 1, 3, "same", "relu")),
        (13, LayerSpec(CONV, 8, 2, 1, "valid", "sigmoid")),
        (37, LayerSpec(CONV, 16, 1, 1, "valid", "sigmoid")),
        (180, LayerSpec(CONV, 40, 3, 3, "same", "relu")),
        (181, LayerSpec(DEPTHWISE, 8, 1, 1, "valid", "sigmoid")),
        (360, LayerSpec(DEPTHWISE, 40, 3, 3, "same", "relu")),
        (361, LayerSpec("dense", units=4, activation="sigmoid")),
        (380, LayerSpec("dense", units=40, activation="relu")),
        (381, LayerSpec("dropout", rate=0.2)),
        (382, LayerSpec("output", head="dense")),
    ],
)
def test_anchor_tokens_of_the_382(space: SearchSpace, token: int, spec: LayerSpec) -> None:  # A13
    assert space.spec(token) == spec


def test_the_382_are_unique_and_follow_the_formula(space: SearchSpace) -> None:  # A13, A3
    assert space.num_tokens == len(set(space.specs)) == 382
    values = [[8, 16, 24, 32, 40], [1, 2, 3], [1, 2, 3], ["valid", "same"], ["sigmoid", "relu"]]
    for kind, name in enumerate([CONV, DEPTHWISE]):
        for index, fields in enumerate(itertools.product(*values)):
            assert space.spec(1 + kind * 180 + index) == LayerSpec(name, *fields)


def test_mobile_tokens_and_their_repeats(mobile: SearchSpace) -> None:  # A13
    assert mobile.num_tokens == 49
    filters, kernels, strides = [16, 32, 64, 128, 256, 512], [1, 3], [1, 2]
    for f, k, s in itertools.product(range(6), range(2), range(2)):
        spec = mobile.spec(1 + 4 * f + 2 * k + s)
        assert (spec.filters, spec.kernel, spec.stride) == (filters[f], kernels[k], strides[s])
        assert (spec.padding, spec.activation, spec.batch_norm) == ("same", "relu6", True)
    where = {
        (1, "valid"): {25, 28, 34, 37},
        (1, "same"): {26, 27, 29, 30, 35, 36, 38, 39},
        (2, "valid"): {31, 40},
        (2, "same"): {32, 33, 41, 42},
    }
    for (stride, padding), tokens in where.items():
        found = {
            t for t in range(25, 43)
            if (mobile.spec(t).stride, mobile.spec(t).padding) == (stride, padding)
        }  # fmt: skip
        assert found == tokens
    assert [mobile.spec(t).pads for t in (45, 46, 47, 48)] == [
        (0, 1, 0, 1), (1, 0, 1, 0), (1, 1, 1, 1), (0, 0, 0, 0)
    ]  # fmt: skip
    assert mobile.end_token == 49


def test_canonical_tokens_are_one_a_behaviour(space: SearchSpace, mobile: SearchSpace) -> None:
    table = space.canonical_token
    assert table[181] == table[181 + 36], "a depthwise convolution ignores its filters"
    assert table[3] == table[1], "a window of one pixel needs no padding"
    assert table[15] != table[13]
    # 238 by filters alone; 1x1 windows make 30 of 60 convolutions and 6 of 36 depthwise equal
    assert len(set(table) - {0}) == 238 - 30 - 6
    assert mobile.canonical_token[48] == 0, "a pad without zeros does nothing"
    assert mobile.canonical_tokens([3, 48, 44, 49]) == (3, 43, 49)


def test_exact_sizes(space: SearchSpace, tmp_path: Path) -> None:  # A5
    convolutions, dense, dropout = 360, 20, 1
    total = 0
    for first_dense in range(1, 6):  # position of the first dense layer; 5 is "none"
        free = convolutions * (convolutions + dropout) ** (min(first_dense, 5) - 1)
        total += free * dense ** (5 - first_dense)
    assert space.size(6) == total == 6472676541960
    small = _write(tmp_path, SMALL)
    assert load_space(small).size(5) == 5**4 == 625  # no rules, five operations
    assert load_space(small).size() == 5**2 + 5**3 + 5**4


def test_enumeration_is_the_brute_force(tmp_path: Path) -> None:  # A5
    tiny = load_space(_write(tmp_path, SMALL))
    built = set()
    for length in (3, 4, 5):
        for body in itertools.product(range(1, 6), repeat=length - 1):
            tokens = (*body, 6)
            try:
                tiny.build(tokens, DIGITS)
            except InvalidArchitecture:
                continue
            built.add(tokens)
    listed = [a.tokens for a in tiny.enumerate(DIGITS)]
    assert set(listed) == built
    assert len(listed) == len(built)
    with pytest.raises(InfeasibleBudgets, match="not enumerated"):
        next(load_space("emnas-382").enumerate(DIGITS))


@pytest.mark.parametrize(
    ("tokens", "reason"),
    [
        ((1, 2, 382), "4 to 15 tokens"),
        ((361, 1, 1, 382), "first layer is conv or depthwise"),
        ((381, 1, 1, 382), "first layer is"),
        ((1, 382, 1, 382), "stands last and only there"),
        ((1, 2, 3, 4), "stands last"),
        ((1, 361, 1, 382), "no conv after dense"),
        ((1, 361, 381, 382), "no dropout after dense"),
        ((1, 2, 383, 382), "tokens 1 to 382, not 383"),
        ((1, 2, 0, 382), "not 0"),
    ],
)
def test_rules(space: SearchSpace, tokens: tuple[int, ...], reason: str) -> None:  # A16
    with pytest.raises(InvalidArchitecture, match=reason):
        space.architecture(tokens)


def test_lengths_and_operations_are_searched(space: SearchSpace) -> None:  # A1, A2, A15
    rng = np.random.default_rng(1)
    drawn = [space.sample(rng, DIGITS, BUDGETS) for _ in range(600)]
    lengths = Counter(len(a.tokens) for a in drawn)
    assert set(lengths) == set(range(4, 16))
    assert chisquare(list(lengths.values())).pvalue > 0.001, "lengths are uniform"
    at = [{a.layers[i].kind for a in drawn if len(a.tokens) > i + 1} for i in range(14)]
    assert at[0] == {"conv", "depthwise"}
    assert all(kinds == {"conv", "depthwise", "dense", "dropout"} for kinds in at[1:12])
    for field in ("filters", "kernel", "stride", "padding", "activation", "units"):
        declared = {getattr(spec, field) for spec in space.specs}
        assert {getattr(layer, field) for a in drawn for layer in a.layers} == declared  # A3


def test_walk_is_nearly_always_long_and_canonical_draws_no_repeats(space: SearchSpace) -> None:
    rng = np.random.default_rng(2)
    walked = [space.sample(rng, DIGITS, sampler="walk") for _ in range(200)]
    lengths = [len(a.tokens) for a in walked]
    assert np.mean(np.array(lengths) == 15) > 0.6
    assert np.mean(lengths) > 13, "uniform lengths would have a mean of 9.5"
    for _ in range(50):
        drawn = space.sample(rng, DIGITS, BUDGETS, sampler="canonical")
        assert drawn.canonical == drawn.tokens
    with pytest.raises(UnknownName, match="did you mean uniform-length"):
        space.sample(rng, sampler="uniform-lenght")


def test_a_behaviour_is_drawn_by_whichever_of_its_tokens_is_legal() -> None:
    """In emnas-mobile-49 rules tell tokens apart that behave alike."""
    problem, rng = Problem.make("emnas-mobile-49", "digits"), np.random.default_rng(0)
    canonical = np.array(problem.space.canonical_token)
    drawn = [sample_tokens(problem.automaton, rng, "canonical") for _ in range(30)]
    assert all(map(problem.automaton.fits, drawn))
    assert any((canonical[list(tokens)] != tokens).any() for tokens in drawn)


def test_a_space_of_the_users_own_works_the_same(tmp_path: Path) -> None:
    own = load_space(_write(tmp_path, SMALL))
    assert own.source.endswith("own.toml")
    rng = np.random.default_rng(0)
    for _ in range(50):
        own.sample(rng, DIGITS, BUDGETS).graph(DIGITS)
    with pytest.raises(InfeasibleBudgets, match="flash_bytes = 100"):
        own.sample(rng, DIGITS, Budgets(flash_bytes=100))


def test_least_costs_are_those_of_the_best_networks(tmp_path: Path) -> None:
    from emnas_gym import costs

    own = load_space(_write(tmp_path, SMALL))
    graphs = [a.graph(DIGITS) for a in own.enumerate(DIGITS)]
    least = own.automaton(DIGITS).least_costs()
    assert least["flash_bytes"] == min(map(costs.flash_bytes, graphs))
    assert least["macs"] == min(map(costs.macs, graphs))
    assert least["ram_bytes"] == min(map(costs.ram_bytes, graphs))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("max_layers", "max_layer"), r"own.toml: max_layer: unknown key: did you mean max_layers"),
        (('"conv"\nfilters', '"conf"\nfilters'), r"kind: unknown value 'conf': did you mean conv"),
        (("kernel = [1, 3]", "kernel = [1, 0]"), r"tokens\[0\].kernel: is a whole number above 0"),
        (("kernel = [1, 3]", "kernal = [1, 3]"), r"kernal: unknown key: did you mean kernel"),
        (("kernel = [1, 3]", "kernel = []"), r"the list is empty"),
        (("kernel = [1, 3]", ""), r"tokens\[0\].kernel: is missing"),
        (('first = ["conv"]', 'first = ["pad"]'), r"rules.first: no token is of these kinds"),
        (('head = "dense"', 'head = "tail"'), r"unknown value 'tail'"),
        (("min_layers = 3", "min_layers = 9"), r"2 <= min_layers <= max_layers"),
        (("min_layers = 3", "min_layers = "), r"is not TOML"),
        (('kind = "output"\nhead = "dense"', 'kind = "dropout"'), "last token"),
        (("rate = 0.5", "rate = 1.5"), r"rate: is a number from 0 to below 1"),
    ],
)
def test_a_typo_names_file_key_and_nearest(
    tmp_path: Path, change: tuple[str, str], complaint: str
) -> None:
    assert change[0] in SMALL
    with pytest.raises(SpaceFileError, match=complaint):
        load_space(_write(tmp_path, SMALL.replace(*change)))


def test_unknown_space_lists_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"unknown space 'emnas-328': did you mean emnas-382"):
        load_space("emnas-328")


def test_architecture_round_trips_and_prints(space: SearchSpace) -> None:  # A6
    rng = np.random.default_rng(3)
    for _ in range(50):
        drawn = space.sample(rng)
        again = type(drawn).from_json(drawn.to_json(), space)
        assert again == drawn
        assert hash(again) == hash(drawn)
        graph = drawn.graph(DIGITS)
        assert graph.is_chain
        assert graph.output_shape == (10,)
    assert "→ output" in str(drawn)
    with pytest.raises(InvalidArchitecture):
        type(drawn).from_json({"space": "other", "tokens": [1]}, space)


def test_every_network_of_the_original_builds_on_its_task(mobile: SearchSpace) -> None:
    mobilenet = [4, 26, 5, 43, 31, 9, 26, 9, 43, 31, 13, 26, 13, 43, 31, *[17, 26] * 5,
                 17, 43, 31, 21, 26, 21, 49]  # fmt: skip
    from emnas_gym import costs

    assert costs.params(mobile.build(mobilenet, GRASP)) == 836_034


SMALL = """
name = "own"
min_layers = 3
max_layers = 5

[rules]
first = ["conv"]

[[tokens]]
kind = "conv"
filters = [4, 8]
kernel = [1, 3]
stride = 2
padding = "valid"
activation = "relu"

[[tokens]]
kind = "conv"
filters = 4
kernel = 3
stride = 1
padding = "same"
activation = "sigmoid"

[[tokens]]
kind = "output"
head = "dense"
rate = 0.5
"""


def _write(folder: Path, text: str) -> Path:
    path = folder / "own.toml"
    path.write_text(text, encoding="utf-8")
    load_space.cache_clear()
    return path
