"""The C project of an exported network: it builds without a warning and is right to the bit."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from outside_programs import needs_program
from test_hardware_graphs import branching_graph, images_for, space_graphs, trained_looking_weights
from typer.testing import CliRunner

pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")

from emnas_gym.errors import EmNASError
from emnas_gym.graph import GraphBuilder
from hardware.c_project import write_c_project
from hardware.cli import app
from hardware.deployment import Deployment, deploy

STRICT = "CFLAGS=-O1 -Werror -Wpedantic -Wconversion -fsanitize=address,undefined"


def _deployment(index: int) -> Deployment:
    graph = (branching_graph(4), space_graphs("emnas-382", 2)[1])[index]
    return deploy(graph, trained_looking_weights(graph), images_for(graph, 8))


def _make(folder: Path) -> subprocess.CompletedProcess[str]:
    command = ["make", "-C", str(folder), "run", STRICT]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("index", [0, 1])
def test_it_builds_and_runs_and_agrees(tmp_path: Path, index: int) -> None:  # F1, F8
    needs_program("gcc")
    write_c_project(tmp_path / "network", _deployment(index))
    done = _make(tmp_path / "network")
    assert done.returncode == 0, done.stderr
    assert "as the reference kernels compute it, to the bit" in done.stdout


def test_in_place_it_needs_less_memory_and_computes_the_same(tmp_path: Path) -> None:  # F8
    needs_program("gcc")
    builder = GraphBuilder((10, 10, 2))
    builder.window("conv2d", 3, 1, "same", filters=16)
    builder.window("depthwise_conv2d", 3, 1, "same", activation="relu")
    builder.dense(4)
    graph = builder.build()
    arenas = []
    for formats in (("flat",), ("flat-small",)):
        deployment = deploy(graph, trained_looking_weights(graph), images_for(graph, 8), formats)
        header = write_c_project(tmp_path / formats[0], deployment).read_text()
        arenas.append(int(header.partition("NETWORK_ARENA_BYTES ")[2].split()[0]))
        done = _make(tmp_path / formats[0])
        assert "as the reference kernels compute it, to the bit" in done.stdout, done.stderr
    assert arenas == [2 * 1600, 1600 + 208]  # the input comes and goes before


def test_it_says_when_it_does_not_agree(tmp_path: Path) -> None:
    needs_program("gcc")
    good = _deployment(1)
    wrong = bytes([good.expected[0] ^ 1]) + good.expected[1:]
    write_c_project(tmp_path, replace(good, expected=wrong))
    assert "not what the reference kernels compute" in _make(tmp_path).stdout
    write_c_project(tmp_path, replace(good, files={"flat": b"BAD!" + good.file("flat")[4:]}))
    assert "cannot be opened: not a model of this firmware's format" in _make(tmp_path).stdout


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EmNASError, match="cannot be written"):
        write_c_project(tmp_path / "file" / "inside", _deployment(1))


def test_the_command_writes_it_and_vela_s_file(tmp_path: Path) -> None:
    needs_program("gcc")
    pytest.importorskip("ethosu.regor", reason="needs the package ethos-u-vela")
    arguments = ["export", "--tokens", "68,140,380,382", "--out", str(tmp_path)]
    arguments += ["--c-project", "--vela", "ethos-u55-64", "--json"]
    CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert b"TFL3" in (tmp_path / "model_ethos-u55-64.tflite").read_bytes()[:8]
    assert _make(tmp_path / "model_c").returncode == 0
