"""Vela in process and apart."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from emnas_gym.errors import BackendMissing, UnknownName
from emnas_gym.graph import GraphBuilder, LayerGraph
from hardware.errors import CompilerError, ModelFileError
from hardware.export import export_float, export_int8
from hardware.npu_compiler import compile_apart, compile_model
from hardware.npu_configs import CONFIGS, npu_config
from hardware.random_weights import random_images, random_weights
from hardware.versions import package_version

pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")
pytest.importorskip("ethosu.regor", reason="needs the package ethos-u-vela")


def graph() -> LayerGraph:
    builder = GraphBuilder((16, 16, 3))
    builder.window("conv2d", 3, 1, "same", filters=16, activation="relu")
    builder.window("depthwise_conv2d", 3, 2, "same", activation="relu6")
    builder.dense(4)
    builder.pointwise("softmax")
    return builder.build()


@pytest.fixture
def content() -> bytes:
    return export_int8(graph(), random_weights(graph()), random_images((16, 16, 3)))


@pytest.mark.parametrize("accelerator", sorted(CONFIGS))
def test_every_accelerator_compiles_it_twice_alike(accelerator: str, content: bytes) -> None:
    config = npu_config(accelerator)
    first, second = (compile_model(content, config) for _ in range(2))
    assert first == second
    assert first.cpu_operators == 0
    assert first.latency_ms == pytest.approx(first.cycles / first.clock_mhz / 1000)
    assert first.sram_bytes > 0 and first.flash_bytes > 0 and first.macs > 0


@pytest.mark.skipif(
    not package_version("ethos-u-vela").startswith("5.2."), reason="needs ethos-u-vela 5.2"
)
@pytest.mark.parametrize(
    ("accelerator", "cycles"), [("ethos-u55-128", 15016), ("ethos-u65-512", 6896)]
)
def test_cycles_of_a_known_model(accelerator: str, cycles: int, content: bytes) -> None:
    assert compile_model(content, CONFIGS[accelerator]).cycles == cycles


def test_more_macs_a_cycle_take_fewer_cycles(content: bytes) -> None:
    small, large = (npu_config(f"ethos-u55-{n}") for n in (32, 256))
    assert compile_model(content, large).cycles < compile_model(content, small).cycles


def test_a_float_file_stays_on_the_cpu() -> None:
    report = compile_model(export_float(graph(), random_weights(graph())), CONFIGS["ethos-u55-128"])
    assert report.cpu_operators > 0


def test_nothing_is_printed(content: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    compile_model(export_float(graph(), random_weights(graph())), CONFIGS["ethos-u55-128"])
    compile_model(content, CONFIGS["ethos-u55-128"])
    assert capfd.readouterr().out == ""


def test_wrong_configurations_are_errors(content: bytes) -> None:
    with pytest.raises(UnknownName, match="ethos-u55-128"):
        npu_config("ethos-u55-127")
    config = CONFIGS["ethos-u55-128"]
    with pytest.raises(CompilerError, match="knows no"):
        compile_model(content, replace(config, system_config="Ethos_U55_Nowhere"))
    with pytest.raises(CompilerError, match="refuses"):
        compile_model(content, replace(config, architecture="EthosU77"))


def test_files_from_outside_are_compiled_apart(content: bytes) -> None:
    assert compile_apart(content, "ethos-u55-128") == compile_model(
        content, CONFIGS["ethos-u55-128"]
    )
    garbage = content[:8] + np.random.default_rng(0).bytes(len(content) - 8)
    with pytest.raises(ModelFileError):
        compile_apart(garbage, "ethos-u55-128")


def test_without_the_compiler_the_command_is_named(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ethosu.regor", None)
    with pytest.raises(BackendMissing, match=r"pip install 'emnas-gym\[vela\]'"):
        compile_model(content, CONFIGS["ethos-u55-128"])
