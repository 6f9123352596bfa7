"""Speed and agreement as commands: what they print, and what TensorFlow's converter makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from invented_search import make_summary
from outside_programs import needs_program
from test_hardware_graphs import branching_graph, images_for, space_graphs, trained_looking_weights
from typer.testing import CliRunner

pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")
pytest.importorskip("ethosu.regor", reason="needs the package ethos-u-vela")

from benchmarks.cli import app
from benchmarks.search import headline
from benchmarks.studies.agreement import PROXIES
from benchmarks.throughput.parts import measure
from emnas_gym.errors import UnknownName
from hardware.export import export_int8
from hardware.interpreter import Model

ROOT = Path(__file__).parents[1]


def test_throughput_of_the_export_is_measured_step_by_step() -> None:  # F1
    done = CliRunner().invoke(
        app, ["throughput", "--only", "export", "--networks", "4", "--json"], catch_exceptions=False
    )
    figures = json.loads(done.stdout)["export"]
    assert set(figures["steps_ms"]) == {"float", "int8", "run", "arena", "vela"}
    assert all(value > 0 for value in figures["steps_ms"].values())
    assert 0 < figures["median_ms"] <= figures["p95_ms"]
    assert figures["networks"] == 4
    assert "ratio_to_tensorflow" in figures


def test_an_unknown_part_is_named_with_the_known_ones() -> None:
    with pytest.raises(UnknownName, match="export"):
        measure("exprot", 1, print)


@pytest.mark.slow  # measures eight networks on several devices
def test_proxies_of_latency_agree_somewhat() -> None:  # F13
    needs_program("qemu-system-arm")
    pytest.importorskip("serial", reason="needs the package pyserial")
    done = CliRunner().invoke(
        app, ["agreement", "--networks", "8", "--json"], catch_exceptions=False
    )
    result = json.loads(done.stdout)
    assert result["networks"] == 8
    assert len(result["tau"]) == len(PROXIES) * (len(PROXIES) - 1) // 2
    assert all(-1 <= tau <= 1 for tau in result["tau"].values())
    assert result["tau"]["cortex-m4 instructions · cortex-m7 instructions"] > 0.8
    assert 0 < result["host_repeat"]["median"] <= result["host_repeat"]["p90"] < 1


def test_headroom_is_the_difference_in_units_of_the_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.studies.headroom.LONG", 150)
    command = ["headroom", "--seeds", "2", "--evaluations", "30", "--json"]
    result = json.loads(CliRunner().invoke(app, command, catch_exceptions=False).stdout)
    won = result["best_known"] - result["random_expected"]
    assert result["deviations"] == pytest.approx(won / result["reward_noise"])
    assert 0.005 < result["accuracy_noise"] < 0.02
    assert result["random_standard_error"] > 0


def test_the_headline_names_the_stronger_sampler() -> None:
    summary: dict[str, Any] = make_summary(100) | {"export": None}
    for sampler in ("walk", "uniform-length"):
        summary["random"][sampler]["best"] = 7.25
        assert f"7.2500 (sampler {sampler}," in headline(summary)[0]
        summary["random"][sampler]["best"] = 0.0


@pytest.mark.slow
def test_tensorflow_makes_the_same_of_a_network() -> None:  # F1, F4
    """Same accuracy of probabilities: within what two ways to round an int8 network may differ."""
    pytest.importorskip("tensorflow", reason="needs the package tensorflow-cpu")
    from benchmarks.throughput.tensorflow_converter import convert_int8

    graphs = [*space_graphs("emnas-382", 4), *(branching_graph(seed) for seed in (1, 4, 9))]
    for seed, graph in enumerate(graphs):
        weights, images = trained_looking_weights(graph, seed), images_for(graph, 64, seed)
        ours = Model(export_int8(graph, weights, images)).run(images)
        theirs = Model(convert_int8(graph, weights, images), reference=True).run(images)
        assert np.abs(ours - theirs).max() < 0.1
        assert np.abs(ours - theirs).mean() < 0.01
