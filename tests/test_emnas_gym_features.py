from __future__ import annotations

import math

import numpy as np
import pytest

from emnas_gym import costs
from emnas_gym.errors import ShapeError
from emnas_gym.features import (
    LAYER,
    LayerTable,
    describe,
    feature_names,
    features,
    layer_table,
    lengths_of,
)
from emnas_gym.layers import LayerSpec
from emnas_gym.space import SearchSpace
from emnas_gym.tasks import DIGITS, GRASP, Task

NAMES = feature_names()


def _column(x: np.ndarray, name: str) -> np.ndarray:
    return x[:, NAMES.index(name)]


def test_names_are_distinct_and_as_many_as_features(
    space: SearchSpace, rng: np.random.Generator
) -> None:
    x = features([space.sample(rng) for _ in range(5)], DIGITS)
    assert x.shape == (5, len(NAMES))
    assert x.dtype == np.float64
    assert len(set(NAMES)) == len(NAMES)
    assert np.isfinite(x).all()


def test_totals_are_those_of_the_graph(space: SearchSpace, rng: np.random.Generator) -> None:
    batch = [space.sample(rng) for _ in range(30)]
    x = features(batch, DIGITS)
    graphs = [a.graph(DIGITS) for a in batch]
    assert _column(x, "all_macs") == pytest.approx([math.log2(1 + costs.macs(g)) for g in graphs])
    params = [math.log2(1 + costs.params(g)) for g in graphs]
    assert _column(x, "all_params") == pytest.approx(params)
    flat = [math.log2(math.prod(g.in_shapes(g.nodes[-2])[0])) for g in graphs]
    assert _column(x, "flat") == pytest.approx(flat)
    assert (_column(x, "layers") == [len(a.canonical) - 1 for a in batch]).all()


def test_a_network_known_by_heart(space: SearchSpace) -> None:
    """A point convolution of stride 3 (16 → 6 pixels) and two of stride 1, the last a sigmoid."""
    x = features([space.architecture([12, 4, 1, 382])], DIGITS)
    expected = {
        "layers": 3,
        "sum_conv": 3,
        "sum_sigmoid": 1,
        "sum_relu": 2,
        "sum_seen": math.log2(6 * 6 / (16 * 16)),
        "receptive_field": 0,
        "jump": math.log2(3),
        "flat": math.log2(6 * 6 * 8),
        "mixing": 0,
        "point_conv": 3,
        "last_sigmoid": 1,
        "first_sigmoid": 0,
        "longest_sigmoid_run": 1,
        "first0_stride": 3,
        "last0_output": 1,
    }
    assert {name: _column(x, name)[0] for name in expected} == pytest.approx(expected)


def test_a_batch_of_one_has_the_same_bits(space: SearchSpace, rng: np.random.Generator) -> None:
    batch = [space.sample(rng) for _ in range(40)]
    together = features(batch, DIGITS)
    apart = np.concatenate([features([a], DIGITS) for a in batch])
    assert (together == apart).all()


def test_equal_behaviour_has_equal_features(mobile: SearchSpace, space: SearchSpace) -> None:
    plain = mobile.architecture([4, 26, 5, 9, 26, 9, 13, 49])
    padded = mobile.architecture([4, 48, 30, 5, 48, 9, 36, 9, 13, 49])  # 48 pads nothing
    assert (features([plain], GRASP) == features([padded], GRASP)).all()
    first, second = (space.architecture([token, 4, 4, 382]) for token in (182, 218))
    assert first.canonical == second.canonical
    assert (features([first], DIGITS) == features([second], DIGITS)).all()


def test_a_layer_that_does_not_fit_raises(space: SearchSpace) -> None:
    table = LayerTable(space, Task("pin", (1, 1, 1), 2))
    with pytest.raises(ShapeError):
        table.walk([13, 382])  # 2×2 valid on one pixel


def test_describe_counts_what_a_stride_leaves_out() -> None:
    spec = LayerSpec("conv", 8, 1, 2, "valid", "relu")
    shape, row = describe(spec, (16, 16, 1), 10)
    assert shape == (8, 8, 8)
    assert row[LAYER.index("seen")] == pytest.approx(-2)  # a quarter of the pixels
    assert row[LAYER.index("macs")] == pytest.approx(math.log2(1 + 8 * 8 * 8))
    assert row[LAYER.index("change")] == pytest.approx(1)


def test_lengths_are_read_off_the_layers(space: SearchSpace, rng: np.random.Generator) -> None:
    batch = [space.sample(rng) for _ in range(20)]
    table = layer_table(space, DIGITS)
    layers, lengths = table.gather([table.walk(a.canonical) for a in batch])
    assert (lengths_of(layers) == lengths).all()
    assert (lengths == [len(a.canonical) for a in batch]).all()
    assert layers.shape == (20, space.max_layers, len(LAYER))
