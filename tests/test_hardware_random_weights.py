"""Weights of networks that nobody trained."""

from __future__ import annotations

import numpy as np
from test_hardware_graphs import branching_graphs

from hardware.folding import check_weights
from hardware.random_weights import random_images, random_weights


def test_equal_seeds_give_equal_weights_that_fit() -> None:
    for graph in branching_graphs(10):
        weights, again = random_weights(graph, 3), random_weights(graph, 3)
        check_weights(graph, weights)
        assert all((weights[name] == again[name]).all() for name in weights)
        assert {w.dtype for w in weights.values()} == {np.dtype(np.float32)}


def test_images_are_between_minus_1_and_1() -> None:
    images = random_images((4, 5, 3), count=7, seed=1)
    assert images.shape == (7, 4, 5, 3)
    assert -1 <= images.min() < 0 < images.max() <= 1
