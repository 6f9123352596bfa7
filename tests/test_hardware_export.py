"""Exported files against three readers: LiteRT, TensorFlow Lite Micro, Vela; and the C header."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from test_hardware_graphs import (
    SMALL_COLOUR,
    Drawn,
    branching_graph,
    branching_graphs,
    forward,
    images_for,
    space_graphs,
    trained_looking_weights,
)

from emnas_gym import costs
from emnas_gym.errors import DatasetError, EmNASError
from emnas_gym.graph import OPS, GraphBuilder, LayerGraph
from emnas_gym.memory import plan_arena
from emnas_gym.operator_order import search_order
from hardware.captured import captured
from hardware.errors import WeightsError
from hardware.export import c_array, export_float, export_int8, write_export
from hardware.interpreter import Model

pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")
GRAPHS = Drawn(
    200,
    lambda: [  # 200 networks: chains, and branches with every operation there is
        *space_graphs("emnas-382", 40),
        *space_graphs("emnas-mobile-49", 20, SMALL_COLOUR),
        *branching_graphs(140),
    ],
)


@cache
def exported(graph: LayerGraph, seed: int) -> bytes:
    return export_int8(graph, trained_looking_weights(graph, seed), images_for(graph, 8, seed))


def test_the_networks_have_every_operation() -> None:
    assert len(set(GRAPHS)) == len(GRAPHS) == 200
    assert {node.op for graph in GRAPHS for node in graph} == OPS
    assert any(max(node.dilation) > 1 for graph in GRAPHS for node in graph)
    assert 60 <= sum(graph.is_chain for graph in GRAPHS) < 100


def test_a_trained_torch_network_and_its_float_file_agree() -> None:  # A7, F1
    """Probabilities and, with the softmax cut off, the logits."""
    torch = pytest.importorskip("torch", reason="needs the package torch")
    from predictors.network import GraphNetwork

    for seed, graph in enumerate(GRAPHS):
        network = GraphNetwork(graph).eval()
        network.load_weights(trained_looking_weights(graph, seed))
        images, weights = images_for(graph, 2, seed), network.weights()
        with torch.no_grad():
            logits = network(torch.from_numpy(images).permute(0, 3, 1, 2)).flatten(1)
        expected = torch.softmax(logits, 1).numpy()
        actual = Model(export_float(graph, weights)).run(images)
        np.testing.assert_allclose(actual, expected, atol=1e-5)
        body = Model(export_float(LayerGraph(graph.nodes[:-1]), weights)).run(images)
        np.testing.assert_allclose(body, logits, atol=1e-5 * max(1.0, float(logits.abs().max())))


def test_int8_is_close_to_float() -> None:  # F1, F4
    differences = []
    for seed, graph in enumerate(GRAPHS):
        images = images_for(graph, 8, seed)[:2]
        floats = Model(export_float(graph, trained_looking_weights(graph, seed))).run(images)
        differences.append(np.abs(Model(exported(graph, seed)).run(images) - floats).max())
    assert np.max(differences) < 0.03
    assert np.median(differences) < 0.005


def test_fast_kernels_agree_with_the_reference_kernels() -> None:
    for seed, graph in enumerate(GRAPHS):
        content = exported(graph, seed)
        fast, slow = Model(content), Model(content, reference=True)
        images = fast.quantize(images_for(graph, 2, seed))
        difference = fast.raw(images).astype(int) - slow.raw(images)
        assert np.abs(difference).max() <= 3


def test_micro_runtime_computes_the_same_and_needs_the_planned_head() -> None:  # F1, E5
    runtime = pytest.importorskip(
        "tflite_micro.python.tflite_micro.runtime", reason="needs the package tflite-micro"
    )
    differences = []
    for seed, graph in enumerate(GRAPHS):
        content = exported(graph, seed)
        reference = Model(content, reference=True)
        image = reference.quantize(images_for(graph, 1, seed))
        interpreter = runtime.Interpreter.from_bytes(content, arena_size=8 << 20)
        interpreter.set_input(image, 0)
        interpreter.invoke()
        differences.append(
            np.abs(interpreter.get_output(0).astype(int) - reference.raw(image)).max()
        )
        with captured(2) as printed:
            interpreter.print_allocations()
        head, tail = (
            int(re.search(rf"allocation {part} (\d+) bytes", printed[0])[1])
            for part in ("head", "tail")
        )
        assert head == costs.arena_head_bytes(graph)
        assert 0.7 * tail < costs.persistent_bytes(graph) <= tail
    assert max(differences) <= 1
    assert np.mean(np.array(differences) == 0) > 0.9


def test_micro_runtime_needs_less_where_the_order_matters() -> None:  # E5
    """What is planned for the better order is what the runtime asks for, and the same comes out."""
    runtime = pytest.importorskip(
        "tflite_micro.python.tflite_micro.runtime", reason="needs the package tflite-micro"
    )
    saved = []
    for seed, graph in enumerate(GRAPHS):
        own = plan_arena(graph.deployed()).head_bytes
        if costs.arena_head_bytes(graph) == own:
            continue
        weights, images = trained_looking_weights(graph, seed), images_for(graph, 2, seed)
        expected = np.stack([forward(graph, weights, image) for image in images])
        floats = Model(export_float(graph, weights)).run(images)
        np.testing.assert_allclose(floats, expected, atol=1e-5)
        content = exported(graph, seed)
        interpreter = runtime.Interpreter.from_bytes(content, arena_size=8 << 20)
        with captured(2) as printed:
            interpreter.print_allocations()
        head = int(re.search(r"allocation head (\d+) bytes", printed[0])[1])
        assert head == costs.arena_head_bytes(graph) < own
        assert head >= search_order(graph.deployed()).least_bytes
        saved.append(1 - head / own)
    assert len(saved) > 30
    assert max(saved) > 0.2


def test_micro_runtime_is_content_with_the_arena_bound() -> None:  # E5
    runtime = pytest.importorskip(
        "tflite_micro.python.tflite_micro.runtime", reason="needs the package tflite-micro"
    )
    wider = 4 / 3  # of the planner's records where a pointer has eight bytes, at most
    known = (  # very wide layers on tiny maps need more to be prepared: `costs` says how much
        *space_graphs("emnas-382", 25),
        *space_graphs("emnas-mobile-49", 8, SMALL_COLOUR),
        *branching_graphs(140),
    )
    for seed, graph in enumerate(known):
        content = exported(graph, seed)
        with captured(2) as printed:
            runtime.Interpreter.from_bytes(content, arena_size=8 << 20).print_allocations()
        tail = int(re.search(r"allocation tail (\d+) bytes", printed[0])[1])
        head = max(costs.arena_head_bytes(graph), int(costs.setup_bytes(graph) * wider))
        runtime.Interpreter.from_bytes(content, arena_size=head + tail + 64)


def test_the_npu_runs_every_operator() -> None:  # E6
    pytest.importorskip("ethosu.regor", reason="needs the package ethos-u-vela")
    from hardware.npu_compiler import compile_model
    from hardware.npu_configs import npu_config

    assert any(node.step[2] > 1 for graph in GRAPHS for node in graph), "which Vela refuses"
    for seed, graph in enumerate(GRAPHS):
        report = compile_model(exported(graph, seed), npu_config("ethos-u55-128"))
        assert report.cpu_operators == 0
        assert report.cycles > 0


LARGE_MAPS = [(257, 2, 3), (300, 4, 9), (260, 260, 1)]  # too large for Vela's average pool


@pytest.mark.parametrize("shape", LARGE_MAPS)
def test_averages_of_very_large_maps_run_everywhere(shape: tuple[int, int, int]) -> None:  # E5, E6
    """Written as MEAN: its scratch is part of the planned head, and the NPU takes it."""
    runtime = pytest.importorskip(
        "tflite_micro.python.tflite_micro.runtime", reason="needs the package tflite-micro"
    )
    pytest.importorskip("ethosu.regor", reason="needs the package ethos-u-vela")
    from hardware.npu_compiler import compile_model
    from hardware.npu_configs import npu_config

    builder = GraphBuilder(shape)
    full = builder.window("conv2d", 1, 1, "same", filters=5, activation="relu")
    builder.mean()
    weigh = builder.window("conv2d", 1, 1, "valid", filters=5)
    builder.join("mul", [full, weigh])
    builder.mean()
    builder.dense(2)
    graph = builder.build()
    weights, images = trained_looking_weights(graph), images_for(graph, 2)
    expected = np.stack([forward(graph, weights, image) for image in images])
    floats = Model(export_float(graph, weights)).run(images)
    np.testing.assert_allclose(floats, expected, atol=1e-5)
    content = exported(graph, 0)
    assert compile_model(content, npu_config("ethos-u55-128")).cpu_operators == 0
    assert 0 <= costs.flash_bytes(graph) - len(content) < costs.FLASH_SLACK + 4 * costs.BRANCH_SLACK
    reference = Model(content, reference=True)
    image = reference.quantize(images[:1])
    interpreter = runtime.Interpreter.from_bytes(content, arena_size=8 << 20)
    interpreter.set_input(image, 0)
    interpreter.invoke()
    np.testing.assert_array_equal(interpreter.get_output(0), reference.raw(image))
    with captured(2) as printed:
        interpreter.print_allocations()
    head = int(re.search(r"allocation head (\d+) bytes", printed[0])[1])
    assert head == costs.arena_head_bytes(graph)


def test_extreme_weights_still_load_everywhere() -> None:
    for seed in range(25):
        graph, rng = branching_graph(seed + 500), np.random.default_rng(seed)
        weights = {
            name: (value * 10.0 ** rng.integers(-8, 5) * (rng.random() < 0.9)).astype(np.float32)
            if name.endswith(("kernel", "bias"))
            else value
            for name, value in trained_looking_weights(graph, seed).items()
        }
        content = export_int8(graph, weights, images_for(graph, 4))
        probabilities = Model(content).run(images_for(graph, 1))
        assert probabilities.sum() == pytest.approx(1.0, abs=0.1)


def test_a_layer_of_zeros_and_a_huge_bias_survive() -> None:
    builder = GraphBuilder((4, 4, 1))
    builder.window("conv2d", 3, 1, "same", filters=3, activation="relu")
    builder.dense(2)
    graph = builder.build()
    weights = trained_looking_weights(graph)
    weights["conv2d_1/kernel"] = np.zeros_like(weights["conv2d_1/kernel"])
    weights["conv2d_1/bias"] = np.array([1e6, -1e6, 0.0], np.float32)
    images = images_for(graph, 4)
    floats = Model(export_float(graph, weights)).run(images)
    int8 = Model(export_int8(graph, weights, images)).run(images)
    np.testing.assert_allclose(int8, floats, rtol=0.02, atol=0.01 * np.abs(floats).max())


def test_wrong_weights_are_named() -> None:
    graph = space_graphs("emnas-382", 1)[0]
    weights = trained_looking_weights(graph)
    name = next(iter(weights))
    with pytest.raises(WeightsError, match=f"{name}.*missing"):
        export_float(graph, {k: v for k, v in weights.items() if k != name})
    with pytest.raises(WeightsError, match=f"{name}.*shape"):
        export_float(graph, weights | {name: weights[name][:1, :1]})
    with pytest.raises(WeightsError, match=f"{name}.*finite"):
        export_float(graph, weights | {name: weights[name] * np.float32(np.nan)})


@pytest.mark.parametrize("shape", [(0, 16, 16, 1), (4, 16, 16), (4, 8, 16, 1)])
def test_wrong_calibration_images_are_refused(shape: tuple[int, ...]) -> None:
    graph = space_graphs("emnas-382", 1)[0]
    with pytest.raises(DatasetError, match="calibration images"):
        export_int8(graph, trained_looking_weights(graph), np.zeros(shape, np.float32))


def test_calibration_images_with_nan_are_refused() -> None:
    graph = space_graphs("emnas-382", 1)[0]
    images = np.full((2, *graph.input_shape), np.nan, np.float32)
    with pytest.raises(DatasetError, match="finite"):
        export_int8(graph, trained_looking_weights(graph), images)


def test_the_c_header_holds_the_file() -> None:  # F1
    content = bytes(range(256)) * 3 + b"end"
    text = c_array("my net-7", content)
    assert "my_net_7[]" in text
    assert "my_net_7_size = 771u" in text
    assert bytes(int(byte, 16) for byte in re.findall(r"0x([0-9a-f]{2})", text)) == content


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs the program gcc")
def test_the_c_header_compiles_and_is_aligned(tmp_path: Path) -> None:
    content = exported(GRAPHS[0], 0)
    (tmp_path / "net.h").write_text(c_array("7net", content))
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "net.h"\nint main(void) {\n'
        "  if ((unsigned long)model_7net % 16) return 1;\n"
        "  return fwrite(model_7net, 1, model_7net_size, stdout) != model_7net_size;\n}\n"
    )
    build = ["gcc", "-Wall", "-Werror", str(tmp_path / "main.c"), "-o", str(tmp_path / "main")]
    subprocess.run(build, check=True)
    assert subprocess.run([tmp_path / "main"], check=True, capture_output=True).stdout == content


def test_write_export_leaves_whole_files(tmp_path: Path) -> None:
    graph = GRAPHS[0]
    weights, images = trained_looking_weights(graph), images_for(graph, 4)
    paths = write_export(tmp_path / "new", "net", graph, weights, images)
    assert paths["int8"].read_bytes() == export_int8(graph, weights, images)
    assert paths["float32"].read_bytes() == export_float(graph, weights)
    assert paths["header"].read_text() == c_array("net", paths["int8"].read_bytes())
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == sorted(
        p.name for p in paths.values()
    )


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    graph = GRAPHS[0]
    with pytest.raises(EmNASError, match=str(tmp_path / "file")):
        write_export(
            tmp_path / "file", "net", graph, trained_looking_weights(graph), images_for(graph, 2)
        )


@pytest.mark.parametrize("name", ["", "../net", "a/b"])
def test_a_name_that_is_a_path_is_refused(tmp_path: Path, name: str) -> None:
    graph = GRAPHS[0]
    with pytest.raises(EmNASError, match="stem"):
        write_export(tmp_path, name, graph, trained_looking_weights(graph), images_for(graph, 2))
