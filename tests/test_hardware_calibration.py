"""Ranges of activations."""

from __future__ import annotations

import numpy as np
import pytest
from test_hardware_graphs import forward, images_for, space_graphs, trained_looking_weights

import hardware.interpreter
from hardware.calibration import calibrate
from hardware.lowering import lower_float
from hardware.tflite_writer import write_tflite

pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")


def test_ranges_are_those_of_all_images() -> None:
    for seed, graph in enumerate(space_graphs("emnas-382", 5)):
        weights, images = trained_looking_weights(graph, seed), images_for(graph, 5, seed)
        program = lower_float(graph, weights)
        ranges = calibrate(write_tflite(program), program.output + 1, images)
        outputs = np.stack([forward(graph, weights, image) for image in images])
        np.testing.assert_allclose(ranges[0], [images.min(), images.max()], atol=1e-6)
        np.testing.assert_allclose(ranges[-1], [outputs.min(), outputs.max()], atol=1e-5)


def test_few_or_many_images_at_once_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = space_graphs("emnas-382", 3)[2]
    program = lower_float(graph, trained_looking_weights(graph))
    content, images = write_tflite(program), images_for(graph, 7)
    at_once = calibrate(content, program.output + 1, images)
    monkeypatch.setattr(hardware.interpreter, "CALIBRATION_BYTES", 1)
    one_by_one = calibrate(content, program.output + 1, images)
    np.testing.assert_allclose(one_by_one, at_once, atol=1e-5)
