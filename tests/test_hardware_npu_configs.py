"""All configurations that Vela allows, held against Vela's own check."""

from __future__ import annotations

import itertools
from configparser import ConfigParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from emnas_gym.devices import devices
from emnas_gym.errors import UnknownName
from emnas_gym.graph import GraphBuilder, LayerGraph
from emnas_gym.measurement import Measurement
from emnas_gym.space import load_space
from emnas_gym.tasks import DIGITS
from hardware.cli import app
from hardware.errors import CompilerError
from hardware.export import export_int8
from hardware.npu import NpuEvaluator
from hardware.npu_compiler import compile_apart, compile_model
from hardware.npu_configs import (
    CONFIGS,
    MODES,
    SYSTEMS,
    NpuConfig,
    npu_config,
    npu_configs,
    npu_table,
)
from hardware.random_weights import random_images, random_weights

ALL = [  # of every family, the legal and the others
    (accelerator, system, mode)
    for accelerator, usual in CONFIGS.items()
    for system, mode in itertools.product(SYSTEMS[usual.architecture], MODES)
]
LONG = "ethos-u55-128/Ethos_U55_High_End_Embedded/Shared_Sram"


def test_there_are_166_of_246_by_distinct_names() -> None:
    assert len(ALL) == 246
    assert len(npu_configs()) == len(set(npu_configs().values())) == 166
    for name, config in npu_configs().items():
        assert npu_config(name) == config
    assert [row["name"] for row in npu_table()] == list(npu_configs())
    assert {row["short"] for row in npu_table()} == {"", *CONFIGS}


def test_the_short_name_is_the_usual_configuration() -> None:
    assert npu_config("ethos-u55-128") == npu_config(LONG) == CONFIGS["ethos-u55-128"]
    assert npu_config("ethos-u65-512") == npu_config("ethos-u65-512/Ethos_U65_High_End/Shared_Sram")
    assert npu_config("ethos-u85-256/Ethos_U85_SYS_DRAM_Low/Dedicated_Sram_256KB") == NpuConfig(
        "EthosU85", 256, 1, "Ethos_U85_SYS_DRAM_Low", "Dedicated_Sram_256KB"
    )


def test_every_accelerator_is_a_device() -> None:
    named = {d.accelerator: d for d in devices().values() if d.accelerator is not None}
    assert set(named) == set(CONFIGS)


def test_illegal_ones_are_refused_in_words() -> None:
    for accelerator, system, mode in ALL:
        name = f"{accelerator}/{system}/{mode}"
        if name not in npu_configs():
            with pytest.raises(CompilerError, match=rf"{mode} puts activations .* Shared_Sram"):
                npu_config(name)
    with pytest.raises(CompilerError, match="another family; EthosU55 has Ethos_U55_Deep"):
        npu_config("ethos-u55-128/Ethos_U65_High_End/Shared_Sram")
    with pytest.raises(CompilerError, match=f"2 parts.*{LONG}"):
        npu_config("ethos-u55-128/Shared_Sram")


def test_a_typo_names_the_nearest() -> None:
    for name, nearest in (
        ("ethos-u55-129", "ethos-u55-128"),
        (LONG.replace("High_End", "Hi_End"), "Ethos_U55_High_End_Embedded"),
        (LONG + "s", "Shared_Sram"),
    ):
        with pytest.raises(UnknownName, match=f"did you mean .*{nearest}"):
            npu_config(name)


# ------------------------------------------------------------------------------------ with Vela


def _small() -> LayerGraph:
    builder = GraphBuilder((16, 16, 3))
    builder.window("conv2d", 3, 1, "same", filters=16, activation="relu")
    builder.window("depthwise_conv2d", 3, 2, "same", activation="relu6")
    builder.dense(4)
    builder.pointwise("softmax")
    return builder.build()


@pytest.fixture(scope="module")
def content() -> bytes:
    pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")
    pytest.importorskip("ethosu.regor", reason="needs the package ethos-u-vela")
    return export_int8(_small(), random_weights(_small()), random_images((16, 16, 3)))


def _file_of_vela() -> Path:
    regor = pytest.importorskip("ethosu.regor", reason="needs the package ethos-u-vela")
    return Path(regor.__file__).parent / "config_files" / "Arm" / "vela.ini"


def test_the_names_and_memories_are_those_of_velas_file() -> None:
    file = ConfigParser()
    file.read(_file_of_vela())
    ours = {s: memory for systems in SYSTEMS.values() for s, memory in systems.items()}
    theirs = {s.partition(".")[2]: file[s] for s in file if s.startswith("System_Config.")}
    assert {name: section["axi1_port"] for name, section in theirs.items()} == ours
    assert {section["axi0_port"] for section in theirs.values()} == {"Sram"}
    assert {s.partition(".")[2] for s in file if s.startswith("Memory_Mode.")} == set(MODES)
    for name, config in CONFIGS.items():
        device = next(d for d in devices().values() if d.accelerator == name)
        assert device.clock_mhz * 1e6 == float(theirs[config.system_config]["core_clock"])


def test_velas_own_check_allows_exactly_ours(capsys: pytest.CaptureFixture[str]) -> None:
    features = pytest.importorskip("ethosu.vela.architecture_features")
    from ethosu.vela.errors import ConfigOptionError

    assert set(features.Accelerator.member_list()) == set(CONFIGS)
    allowed = set()
    for accelerator, system, mode in ALL:
        try:
            features.ArchitectureFeatures(
                [str(_file_of_vela())], accelerator, system, mode, 3, False, None
            )
        except ConfigOptionError as error:
            assert "arena_mem_area" in str(error)
        else:
            allowed.add(f"{accelerator}/{system}/{mode}")
    capsys.readouterr()  # it tells of every mode without other memory
    assert allowed == set(npu_configs())


def test_the_evaluator_takes_a_long_name(content: bytes) -> None:
    network = load_space("emnas-382").architecture([31, 75, 100, 382])
    names = (
        "ethos-u55-128",
        LONG,
        "ethos-u55-128/Ethos_U55_Deep_Embedded/Shared_Sram",
        "ethos-u55-128/Ethos_U55_High_End_Embedded/Sram_Only",
    )
    cycles = []
    for name in names:
        (result,) = NpuEvaluator(DIGITS, name).evaluate([network])
        assert isinstance(result, Measurement)
        assert result.npu_cycles is not None and result.latency_ms is not None
        cycles.append(result.npu_cycles)
        mhz = 200 if "Deep" in name else 500
        assert result.latency_ms == pytest.approx(result.npu_cycles / (mhz * 1e3))
    assert cycles[0] == cycles[1]
    assert cycles[2] > cycles[1] > cycles[3]  # slower flash, none at all
    assert compile_apart(content, names[2]) == compile_model(content, npu_config(names[2]))


def test_an_illegal_configuration_is_never_compiled(content: bytes) -> None:
    config = NpuConfig("EthosU55", 128, 1, "Ethos_U55_High_End_Embedded", "Dedicated_Sram")
    with pytest.raises(CompilerError, match="is not allowed: Dedicated_Sram puts activations"):
        compile_model(content, config)


def test_an_export_of_a_long_name_is_one_file(content: bytes, tmp_path: Path) -> None:
    options = ["--tokens", "31,75,100,382", "--out", str(tmp_path), "--vela", LONG]
    result = CliRunner().invoke(app, ["export", *options])
    assert result.exit_code == 0, result.output
    (file,) = tmp_path.glob("*Shared_Sram.tflite")
    assert file.name == f"model_{LONG.replace('/', '_')}.tflite"


def test_all_compile_one_network_to_many_results(content: bytes) -> None:
    reports = {name: compile_model(content, config) for name, config in npu_configs().items()}
    assert all(report.cpu_operators == 0 for report in reports.values())
    assert all(report.cycles > 0 for report in reports.values())
    assert len(set(reports.values())) > 50
