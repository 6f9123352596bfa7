"""Signals in untrained networks: closed forms against many random weights. D14."""

from __future__ import annotations

import numpy as np
import pytest

from emnas_gym.errors import ShapeError
from emnas_gym.features import LAYER, layer_table
from emnas_gym.propagation import (
    LIKENESS,
    PIXEL_POWER,
    SIGNALS,
    Moments,
    fans,
    propagate,
    relu_moments,
    sigmoid_moments,
)
from emnas_gym.space import SearchSpace
from emnas_gym.tasks import GRASP

POWERS = ((0.5, 0.2), (1.0, 0.9), (2.0, -0.7), (0.05, 0.0))


def _layers(space: SearchSpace, networks: list[list[int]]) -> np.ndarray:
    table = layer_table(space, GRASP)
    return table.gather([table.walk(space.canonical_tokens(tokens)) for tokens in networks])[0]


def _logs(space: SearchSpace, tokens: list[int], name: str) -> np.ndarray:
    return propagate(_layers(space, [tokens]))[0, : len(tokens), SIGNALS.index(name)]


def _drawn(power: float, shared: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    x, y = rng.standard_normal((2, 400_000))
    other = shared / power * x + np.sqrt(1 - (shared / power) ** 2) * y
    return np.sqrt(power) * x, np.sqrt(power) * other


@pytest.mark.parametrize(("power", "shared"), POWERS)
def test_relu_moments_are_those_of_random_numbers(
    power: float, shared: float, rng: np.random.Generator
) -> None:
    x, y = _drawn(power, shared, rng)
    found = relu_moments(np.array([power]), np.array([shared]))
    counted = Moments(
        (np.maximum(x, 0) ** 2).mean(),
        (np.maximum(x, 0) * np.maximum(y, 0)).mean(),
        (x > 0).mean(),
        ((x > 0) & (y > 0)).mean(),
    )
    assert np.ravel(found) == pytest.approx(np.array(counted), rel=0.02, abs=2e-3)


@pytest.mark.parametrize(("power", "shared"), POWERS)
def test_sigmoid_moments_are_those_of_random_numbers(
    power: float, shared: float, rng: np.random.Generator
) -> None:
    """The normal distribution function stands for the logistic: within 2 % its moments, within
    7 % those of its slope."""
    x, y = (1 / (1 + np.exp(-v)) for v in _drawn(power, shared, rng))
    found = sigmoid_moments(np.array([power]), np.array([shared]))
    slopes = (x * (1 - x), y * (1 - y))
    moments = [(x**2).mean(), (x * y).mean()]
    steep = [(slopes[0] ** 2).mean(), (slopes[0] * slopes[1]).mean()]
    assert np.ravel(found[:2]) == pytest.approx(moments, rel=0.02)
    assert np.ravel(found[2:]) == pytest.approx(steep, rel=0.07)


def test_equal_images_stay_equal_and_a_small_signal_passes_a_sigmoid_with_slope_a_quarter() -> None:
    power = np.array([1e-4, 1.0, 3.0])
    for moments in (relu_moments(power, power), sigmoid_moments(power, power)):
        assert moments.shared == pytest.approx(moments.power)
        assert moments.shared_slope == pytest.approx(moments.slope)
    small = sigmoid_moments(np.array([1e-4]), np.array([0.0]))
    assert (small.power - small.shared)[0] == pytest.approx(1e-4 / 16, rel=1e-3)


def test_fans_follow_from_the_layers_alone(space: SearchSpace) -> None:
    """A 3×3/3 convolution of 40 filters, a depthwise 1×1/1, and the output layer."""
    found = fans(_layers(space, [[178, 182, 382]]))
    side = 42  # of the map: (128 − 3) // 3 + 1
    assert found.forward[0, 0] == pytest.approx(2 / (27 + 360) * 27)
    assert found.backward[0, 0] == pytest.approx(2 / (27 + 360) * 360 * side**2 / 128**2)
    assert found.forward[0, 1] == pytest.approx(2 / 41)
    assert found.backward[0, 1] == pytest.approx(2 / 41)
    wide = side**2 * 40
    assert found.forward[0, 2] == pytest.approx(2 * wide / (wide + 2))
    assert found.weights[0, :3] == pytest.approx([27 * 40, 40, 2 * wide])
    assert found.places[0, :3] == pytest.approx([side**2, side**2, 1])
    assert (found.forward[0, 3:] == 1).all()
    assert (found.weights[0, 3:] == 0).all()


def test_a_network_with_random_weights_has_these_signals(
    space: SearchSpace, rng: np.random.Generator
) -> None:
    """Point convolutions of 8 relu, 24 sigmoid and 40 relu filters, on one pixel of two images."""
    tokens = [2, 73, 146, 382]
    widths = [space.spec(t).filters for t in tokens[:-1]]
    assert [space.spec(t).activation for t in tokens[:-1]] == ["relu", "sigmoid", "relu"]
    pixels = np.sqrt(PIXEL_POWER) * rng.standard_normal((2, 4000, 1, 3))
    pixels[1] = LIKENESS * pixels[0] + np.sqrt(1 - LIKENESS**2) * pixels[1]
    values, before = pixels, 3
    for i, width in enumerate(widths):
        limit = np.sqrt(6 / (before + width))
        values = values @ rng.uniform(-limit, limit, (4000, before, width))
        values = 1 / (1 + np.exp(-values)) if i == 1 else np.maximum(values, 0)
        before = width
        half = ((values[0] - values[1]) ** 2).mean() / 2
        assert _logs(space, tokens, "power")[i] == pytest.approx(
            np.log2((values**2).mean()), abs=0.1
        )
        assert _logs(space, tokens, "difference")[i] == pytest.approx(np.log2(half), abs=0.15)


def test_gradients_are_those_of_random_weights(
    space: SearchSpace, rng: np.random.Generator
) -> None:
    """Back through dense layers of 40 sigmoid and 40 relu units on a flat map."""
    tokens = [178, 379, 380, 382]
    assert [space.spec(t).activation for t in tokens[1:3]] == ["sigmoid", "relu"]
    layers = _layers(space, [tokens])
    forward = fans(layers).forward[0]
    value = 2 ** _logs(space, tokens, "power")[0]
    z = np.sqrt(value * forward[1]) * rng.standard_normal((8_000, 40))
    x = 1 / (1 + np.exp(-z))
    limit = np.sqrt(6 / 80)
    between = rng.uniform(-limit, limit, (8_000, 40, 40))
    active = np.einsum("ni,nij->nj", x, between) > 0
    ends = rng.uniform(-1, 1, (8_000, 40, 2)) * np.sqrt(6 / 42)
    last = ends.sum(axis=2) * active
    first = np.einsum("nij,nj->ni", between, last) * x * (1 - x)
    found = _logs(space, tokens, "gradient")
    assert found[3] == 0
    assert found[2] == pytest.approx(np.log2((last**2).mean()), abs=0.1)
    assert found[1] == pytest.approx(np.log2((first**2).mean()), abs=0.1)


def test_every_sigmoid_takes_from_signal_and_gradient(space: SearchSpace) -> None:
    """D14: a stack of sigmoids is told from one of rectifiers."""
    relu, sigmoid = [2, 2, 2, 382], [2, 1, 2, 382]
    for name in ("difference", "contrast"):
        assert _logs(space, sigmoid, name)[-1] < _logs(space, relu, name)[-1] - 2
    assert _logs(space, sigmoid, "gradient")[0] < _logs(space, relu, "gradient")[0] - 2


def test_signals_are_finite_everywhere_and_none_where_there_is_no_layer(
    space: SearchSpace, rng: np.random.Generator
) -> None:
    batch = [list(space.sample(rng).tokens) for _ in range(80)]
    fit = [tokens for tokens in batch if _builds(space, tokens)]
    assert len(fit) > 40
    layers = _layers(space, fit)
    signals = propagate(layers)
    assert signals.shape == (*layers.shape[:2], len(SIGNALS))
    assert layers.shape[2] == len(LAYER)
    assert np.isfinite(signals).all()
    assert (signals[~layers.any(axis=2)] == 0).all()
    alone = np.concatenate([propagate(layers[i : i + 1]) for i in range(20)])
    assert (alone == signals[:20]).all()


def _builds(space: SearchSpace, tokens: list[int]) -> bool:
    try:
        space.build(tuple(tokens), GRASP)
    except ShapeError:
        return False
    return True
