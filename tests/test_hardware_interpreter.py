"""The module that knows the interpreters."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pytest
from test_hardware_graphs import branching_graph, images_for, trained_looking_weights

from emnas_gym.errors import BackendMissing, DatasetError
from emnas_gym.space import load_space
from emnas_gym.tasks import DIGITS
from hardware.errors import ModelFileError
from hardware.export import export_float, export_int8
from hardware.interpreter import Model, backend

pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")
GRAPH = load_space("emnas-382").build((68, 140, 380, 382), DIGITS)
WEIGHTS, IMAGES = trained_looking_weights(GRAPH), images_for(GRAPH, 6)


@pytest.fixture
def fresh_backend() -> Iterator[None]:
    backend.cache_clear()
    yield
    backend.cache_clear()


def test_probabilities_come_out_of_float_and_int8_files() -> None:
    for content in (export_float(GRAPH, WEIGHTS), export_int8(GRAPH, WEIGHTS, IMAGES)):
        probabilities = Model(content).run(IMAGES)
        assert probabilities.shape == (6, 10)
        assert probabilities.dtype == np.float32
        np.testing.assert_allclose(probabilities.sum(1), 1.0, atol=0.03)


def test_raw_int8_is_what_run_scales() -> None:
    model = Model(export_int8(GRAPH, WEIGHTS, IMAGES))
    raw = model.raw(model.quantize(IMAGES))
    assert raw.dtype == model.input_dtype == np.int8
    np.testing.assert_allclose(model.run(IMAGES), (raw.astype(float) + 128) / 256)


def test_images_outside_the_range_saturate() -> None:
    model = Model(export_int8(GRAPH, WEIGHTS, IMAGES))
    limits = model.quantize(np.array([-1e9, 1e9]))
    assert limits.tolist() == [-128, 127]


def test_images_of_another_shape_or_type_are_refused() -> None:
    model = Model(export_int8(GRAPH, WEIGHTS, IMAGES))
    with pytest.raises(DatasetError, match="shape"):
        model.run(IMAGES[:, :8])
    with pytest.raises(DatasetError, match="float32"):
        model.raw(IMAGES)
    with pytest.raises(DatasetError, match="no images"):
        model.run(IMAGES[:0])


def test_truncated_and_damaged_files_are_typed_errors() -> None:
    content = export_int8(GRAPH, WEIGHTS, IMAGES)
    rng = np.random.default_rng(0)
    for length in [0, 3, 8, 31, *rng.integers(32, len(content) - 16, 20)]:
        with pytest.raises(ModelFileError):
            Model(content[:length])
    for _ in range(20):
        garbage = content[:8] + rng.bytes(len(content) - 8)
        with pytest.raises(ModelFileError):
            Model(garbage)
    with pytest.raises(ModelFileError, match="TFL3"):
        Model(rng.bytes(1000))


def test_every_small_branching_network_loads_twice() -> None:
    graph = branching_graph(11)
    content = export_float(graph, trained_looking_weights(graph))
    images = images_for(graph, 2)
    assert Model(content).input_shape == graph.input_shape
    np.testing.assert_array_equal(Model(content).run(images), Model(content).run(images))


@pytest.mark.usefixtures("fresh_backend")
def test_without_an_interpreter_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    monkeypatch.setitem(sys.modules, "tflite_runtime", None)
    with pytest.raises(BackendMissing, match=r"pip install 'emnas-gym\[litert\]'"):
        backend()


@pytest.mark.usefixtures("fresh_backend")
@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.0.0", reason="needs numpy 2")
def test_the_old_interpreter_is_not_tried_with_numpy_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", object())
    with pytest.raises(BackendMissing, match="numpy<2"):
        backend()
