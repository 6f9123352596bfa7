"""The commands, as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emnas_gym.devices import devices
from emnas_gym.door import INTERRUPTED, USAGE, run_door
from emnas_gym.space import load_space
from emnas_gym.tasks import DIGITS
from hardware.cli import app
from hardware.drivers import here
from hardware.export import export_int8
from hardware.interpreter import Model
from hardware.random_weights import random_images, random_weights

pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")
TOKENS = "31,75,100,382"
GRAPH = load_space("emnas-382").architecture([31, 75, 100, 382]).graph(DIGITS)


Run = Callable[..., str]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command as its module does; returns standard output, or what an error says."""

    def run_it(*arguments: str, code: int = 0) -> str:
        with pytest.raises(SystemExit) as exited:
            run_door(partial(app, [*arguments], prog_name="hardware"))
        output, errors = capsys.readouterr()
        assert exited.value.code == code, errors
        return errors if code else output

    return run_it


def run_json(run: Run, *arguments: str) -> dict[str, Any]:
    output = run(*arguments, "--json")
    assert output.count("\n") == 1
    facts: dict[str, Any] = json.loads(output)
    return facts


def test_devices_are_listed_with_their_sources(run: Run) -> None:
    listed = {row["name"]: row for row in run_json(run, "devices")["devices"]}
    assert set(listed) == set(devices())
    assert all(row["source"] for row in listed.values())
    text = run("devices")
    assert all(name in text for name in listed)


def test_export_writes_files_that_work(run: Run, tmp_path: Path) -> None:  # B27
    weights, images = random_weights(GRAPH, 7), random_images(DIGITS.input_shape, 5)
    np.savez(tmp_path / "w.npz", **weights)
    np.save(tmp_path / "i.npy", images)
    facts = run_json(
        run,
        *("export", "--tokens", TOKENS, "--out", str(tmp_path / "out"), "--name", "best"),
        *("--weights", str(tmp_path / "w.npz"), "--images", str(tmp_path / "i.npy")),
    )
    content = Path(facts["files"]["int8"]).read_bytes()
    assert content == export_int8(GRAPH, weights, images)
    assert len(content) == facts["file_bytes"]["int8"] <= facts["flash_bytes"]
    assert Model(content).run(images).shape == (5, 10)


def test_export_says_that_random_weights_are_random(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app(["export", "--tokens", TOKENS, "--out", str(tmp_path)], standalone_mode=False)
    assert "random" in capsys.readouterr().err


def test_measure_times_tokens_and_files(run: Run, tmp_path: Path) -> None:  # E3, E10
    facts = run_json(run, "measure", "--tokens", "[31, 75, 100, 382]", "--rounds", "3", "--float32")
    assert facts["provenance"] == "host"
    assert facts["latency_ms"] > 0
    path = tmp_path / "model.tflite"
    path.write_bytes(export_int8(GRAPH, random_weights(GRAPH), random_images(DIGITS.input_shape)))
    assert run_json(run, "measure", "--file", str(path), "--rounds", "3")["runs"] == 3


def test_measure_asks_the_npu_compiler(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("ethosu.regor", reason="needs the package ethos-u-vela")
    facts = run_json(run, "measure", "--tokens", TOKENS, "--on", "ethos-u55-256")
    assert facts["provenance"] == "analytic"
    path = tmp_path / "model.tflite"
    path.write_bytes(export_int8(GRAPH, random_weights(GRAPH), random_images(DIGITS.input_shape)))
    again = run_json(run, "measure", "--file", str(path), "--on", "ethos-u55-256")
    assert again["ticks"] == facts["ticks"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["export", "--tokens", "1,2"], "4 to 15 tokens"),
        (["export", "--tokens", "a,b"], "whole numbers"),
        (["export", "--tokens", TOKENS, "--space", "emnas-381"], "did you mean emnas-382"),
        (["export", "--tokens", TOKENS, "--task", "digit"], "did you mean digits"),
        (["export", "--tokens", TOKENS, "--weights", "/no/where.npz"], "/no/where.npz"),
        (["export", "--tokens", TOKENS, "--images", "/no/where.npy"], "/no/where.npy"),
        (["measure", "--file", "/no/where.tflite"], "cannot be read"),
        (["measure", "--tokens", TOKENS, "--on", "ethos-u55"], "did you mean ethos-u55"),
        (["measure", "--tokens", TOKENS, "--on", "frame:/dev/x"], "did you mean framed"),
        (["measure", "--tokens", TOKENS, "--on", "emulated:cortex-m5"], "did you mean cortex-m"),
        (["measure", "--tokens", TOKENS, "--set", "thread=2"], "did you mean threads"),
        (["measure", "--tokens", TOKENS, "--set", "threads"], "options are key=value"),
        (["measure", "--tokens", TOKENS, "--on", "framed:/no/port"], "/no/port cannot be opened"),
        (["measure", "--tokens", TOKENS, "--farm", "/no/where.toml"], "cannot be read as TOML"),
    ],
)
def test_errors_are_one_line_and_an_exit_code(run: Run, arguments: list[str], why: str) -> None:
    error = run(*arguments, code=USAGE)
    assert error.startswith("error: ")
    assert why in error
    assert error.count("\n") == 1


def test_wrong_usage_is_explained(run: Run) -> None:
    for arguments in (["measure"], ["measure", "--file", "x", "--tokens", TOKENS]):
        assert "either --file or --tokens" in run(*arguments, code=USAGE)
    assert "nonsense" in run("nonsense", code=USAGE)


def test_ctrl_c_ends_without_a_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(here, "time_models", interrupt)
    assert "Traceback" not in run("measure", "--tokens", TOKENS, code=INTERRUPTED)


def test_doctor_finds_the_interpreter(run: Run) -> None:
    found = {row["name"]: row for row in run_json(run, "doctor")["found"]}
    assert found["ai-edge-litert"]["works"] is True
    assert "ai-edge-litert" in run("doctor")


def test_the_module_runs_and_keeps_standard_output_clean(run: Run) -> None:
    command = [sys.executable, "-m", "hardware", "measure", "--tokens", TOKENS]
    done = subprocess.run([*command, "--rounds", "3", "--json"], capture_output=True, text=True)
    assert json.loads(done.stdout)["latency_ms"] > 0
    assert done.stderr == ""
