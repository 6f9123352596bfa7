"""Times of models."""

from __future__ import annotations

import pytest

from emnas_gym.graph import GraphBuilder
from hardware.export import export_float
from hardware.random_weights import random_weights
from hardware.timing import LEAST_ROUNDS, Protocol, time_models

pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")


def model(filters: int) -> bytes:
    builder = GraphBuilder((24, 24, 4))
    builder.window("conv2d", 3, 1, "same", filters=filters)
    builder.window("conv2d", 3, 1, "same", filters=filters)
    graph = builder.build()
    return export_float(graph, random_weights(graph))


def test_a_larger_network_takes_longer_and_all_is_told() -> None:  # E3
    small, large = time_models([model(2), model(64)], Protocol(rounds=10))
    assert 0 < small.latency_ms < large.latency_ms
    for timing in (small, large):
        assert timing.latency_ms <= timing.median_ms
        assert timing.spread >= 0
        assert (timing.blocks, timing.threads) == (10, 1)
        assert timing.runs >= 1
        assert timing.seconds > 0


def test_rounds_end_early_when_time_is_up() -> None:
    (timing,) = time_models([model(32)], Protocol(rounds=10_000, model_seconds=0.02))
    assert LEAST_ROUNDS <= timing.blocks < 1000


def test_fresh_processes_agree_roughly() -> None:
    (here,) = time_models([model(32)], Protocol(rounds=10))
    (there,) = time_models([model(32)], Protocol(rounds=10, processes=2))
    assert here.latency_ms / 5 < there.latency_ms < here.latency_ms * 5
