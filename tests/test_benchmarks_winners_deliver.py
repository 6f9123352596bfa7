"""What quantisation costs: int8 files beside float ones on the test part."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.winners.deliver import Quantised, quantise
from emnas_gym.space import load_space
from predictors.datasets import digits
from predictors.tables import packed_path, unpack
from predictors.training import train

pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")
GOOD = 0.9


def _good_networks(count: int) -> list[tuple[int, ...]]:
    """Networks of the committed table that know digits, drawn at random."""
    trainings = unpack(packed_path("emnas-382", "digits")).trainings
    good = [row.tokens for row in trainings if row.seed == 0 and row.curve[-1] >= GOOD]
    order = np.random.default_rng(7).permutation(len(good))
    return [good[i] for i in order[:count]]


def _quantised(tokens: tuple[int, ...]) -> Quantised:
    data, architecture = digits(), load_space("emnas-382").architecture(tokens)
    weights = train(architecture.graph(data.task), data, 0).weights
    return quantise(architecture, weights, data)


def test_a_good_network_stays_good_as_int8() -> None:  # F4
    for tokens in _good_networks(3):
        result = _quantised(tokens)
        assert result.float_accuracy > GOOD - 0.05
        assert abs(result.int8_accuracy - result.float_accuracy) <= 0.02
        assert result.agreement > 0.95


@pytest.mark.slow
def test_of_a_hundred_good_networks_95_lose_at_most_a_point() -> None:  # F4
    results = [_quantised(tokens) for tokens in _good_networks(100)]
    lost = [result.float_accuracy - result.int8_accuracy for result in results]
    assert np.mean(np.array(lost) <= 0.01) >= 0.95, sorted(lost)[-10:]
