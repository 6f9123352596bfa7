"""Scales, zero points and integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emnas_gym.graph import GraphBuilder
from hardware.folding import Linear
from hardware.quantization import (
    PROBABILITY,
    from_range,
    quantize_activations,
    quantize_linear,
)

sizes = st.floats(1e-4, 1e4)


@given(sizes, sizes)
def test_a_range_is_covered_and_zero_is_exact(below: float, above: float) -> None:
    q = from_range(-below, above)
    assert -128 <= q.zero_point <= 127
    low, high = (q.scale * (limit - q.zero_point) for limit in (-128, 127))
    assert low <= -below + q.scale
    assert high >= above - q.scale


@pytest.mark.parametrize("low, high", [(0.0, 0.0), (1e-9, 2e-9), (-1e-12, 0.0)])
def test_a_dead_range_gets_a_harmless_scale(low: float, high: float) -> None:
    assert from_range(low, high).scale == 1.0


def test_a_range_away_from_zero_is_stretched_to_it() -> None:
    assert from_range(2.0, 4.0).zero_point == -128
    assert from_range(-4.0, -2.0).zero_point == 127


@given(st.integers(0, 1000), st.booleans(), sizes, sizes, sizes)
def test_integers_give_the_kernel_and_bias_back(
    seed: int, per_channel: bool, size: float, input_scale: float, output_scale: float
) -> None:
    rng = np.random.default_rng(seed)
    kernel = (rng.normal(size=(3, 2, 2, 4)) * size).astype(np.float32)
    bias = rng.normal(size=3).astype(np.float32)
    integers, biases = quantize_linear(
        Linear(kernel, bias, 0), per_channel, input_scale, output_scale
    )
    assert integers.quantization is not None
    assert biases.quantization is not None
    scales = integers.quantization.scales
    assert len(scales) == (3 if per_channel else 1)
    assert np.abs(np.asarray(integers.data, np.int64)).max() <= 127
    step = scales.reshape(-1, 1, 1, 1)
    assert (np.abs(integers.data * step - kernel) <= 0.51 * step).all()
    steps = biases.quantization.scales
    np.testing.assert_allclose(steps, scales * np.float32(input_scale), rtol=1e-6)
    assert (np.abs(biases.data * steps - bias) <= 0.51 * steps + 1e-6 * np.abs(bias)).all()


@given(st.floats(1e-30, 1e30), st.floats(1e-6, 1e3), st.floats(1e-6, 1e3))
def test_a_huge_bias_beside_no_weights_still_fits(
    bias: float, input_scale: float, output_scale: float
) -> None:
    linear = Linear(np.zeros((2, 3), np.float32), np.array([bias, -bias], np.float32), 0)
    integers, biases = quantize_linear(linear, False, input_scale, output_scale)
    assert not np.any(integers.data)
    assert biases.data is not None and biases.quantization is not None
    assert biases.data[0] == -biases.data[1] >= 0
    least = max(bias * 1e-6, float(biases.quantization.scales[0]))
    assert abs(biases.data[0] * float(biases.quantization.scales[0]) - bias) <= least


def test_sigmoid_and_softmax_have_their_fixed_scale() -> None:
    builder = GraphBuilder((2, 2, 1))
    builder.pointwise("sigmoid")
    builder.window("max_pool2d", 2, 1, "valid")
    nodes = builder.build().nodes
    ranges = np.array([[0.0, 1.0], [0.5, 0.7], [0.5, 0.7]])
    _, sigmoid, pool = quantize_activations(nodes, ranges, {})
    assert sigmoid.scale == pool.scale == PROBABILITY.scale == 1 / 256
    assert sigmoid.zero_point == pool.zero_point == -128


def test_a_dead_output_is_widened_to_what_kernels_can_shift() -> None:
    builder = GraphBuilder((2, 2, 1))
    builder.dense(2, "relu")
    linears = {"dense_1": Linear(np.full((2, 4), 1e4, np.float32), np.zeros(2, np.float32), 0)}
    ranges = np.array([[0.0, 1.0], [0.0, 1e-4]])
    image, dense = quantize_activations(builder.build().nodes, ranges, linears)
    assert dense.scale == pytest.approx(image.scale * 1e4 / 127, rel=1e-3)


def test_a_dead_product_is_widened_too() -> None:
    builder = GraphBuilder((2, 2, 1))
    builder.join("mul", [0, 0])
    image, product = quantize_activations(
        builder.build().nodes, np.array([[0.0, 255.0], [0.0, 1e-3]]), {}
    )
    assert product.scale == pytest.approx(image.scale**2, rel=1e-3)
