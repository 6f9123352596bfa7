"""The main job from its command line: a verified int8 model, resumed, interrupted, refused."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.cli import main
from emnas_gym.devices import devices
from hardware.interpreter import Model
from predictors.datasets import digits

ROOT = Path(__file__).parent.parent


def run(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def search(out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run("search", "--out", str(out), "--no-tensorboard", *arguments)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:  # type: ignore[type-arg]
    out = tmp_path_factory.mktemp("search")
    result = search(out, "--evaluations", "60", "--verify", "2", "--agent", "evolution", "--json")
    assert result.returncode == 0, result.stderr
    return out, json.loads(result.stdout)


def test_one_command_from_data_to_a_verified_model(finished: tuple[Path, dict]) -> None:  # B27 F1
    out, summary = finished
    assert summary["evaluations"] == len(summary["curve"]) == 60
    export, first = summary["export"], summary["winners"][0]
    content = (out / export["file"]).read_bytes()
    assert len(content) == export["bytes"]
    data = digits()
    predicted = Model(content).run(data.test_x).argmax(axis=1)
    assert (predicted == data.test_y).mean() == export["int8_accuracy"]
    chosen = summary["winners"][export["rank"] - 1]
    assert chosen["verified"]["mean"] > 0.5, "a winner of 60 knows most digits"
    assert abs(export["int8_accuracy"] - export["float_accuracy"]) <= 0.02  # F4
    assert len(first["verified"]["accuracy"]) == 3
    budgets = summary["problem"]["budgets"]
    assert len(content) <= budgets["flash_bytes"]
    assert export["ram_bytes"] <= budgets["ram_bytes"]
    header = (out / export["c_array"]).read_text()
    assert header.count("0x") == len(content)
    assert len(summary["random"]["uniform-length"]["curve"]) == 60
    assert (out / "report.html").stat().st_size > 10_000


def test_the_same_command_again_replays(finished: tuple[Path, dict]) -> None:
    out, summary = finished
    before = _rows(out / "history.sqlite")
    result = search(out, "--evaluations", "60", "--verify", "2", "--agent", "evolution", "--json")
    again = json.loads(result.stdout)
    assert _rows(out / "history.sqlite") == before
    for key in ("curve", "winners", "export", "best", "random"):
        assert again[key] == summary[key], key


def test_another_run_in_the_same_folder_is_refused(finished: tuple[Path, dict]) -> None:
    out, _ = finished
    result = search(out, "--evaluations", "60", "--verify", "0", "--agent", "random")
    assert result.returncode == 2
    assert "belongs to a run with agent" in result.stderr
    assert "Traceback" not in result.stderr


def test_interrupted_and_resumed_is_the_same_run(tmp_path: Path) -> None:
    arguments = ["--evaluations", "400", "--verify", "0", "--agent", "evolution"]
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "benchmarks", "search", "--out", str(cut), *arguments]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    _wait_for_rows(cut / "history.sqlite", 3, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    assert "the same command goes on" in errors
    kept = _rows(cut / "history.sqlite")
    assert 3 <= len(kept) < 400
    assert search(cut, *arguments).returncode == 0
    assert search(whole, *arguments).returncode == 0
    resumed = _rows(cut / "history.sqlite")
    assert resumed[: len(kept)] == kept
    assert resumed == _rows(whole / "history.sqlite")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "grasp", "--device", "sipeed-maix-bit"], "has no images here"),
        (["--agent", "evolutoin"], "did you mean evolution"),
        (["--device", "stm32f447re"], "did you mean stm32f446re"),
        (["--env", "EmNAS-v1"], "did you mean EmNAS-v0"),
        (["--evaluator", "surogate"], "did you mean surrogate"),
        (["--reward", "liner"], "did you mean linear"),
        (["--budget", "ram_bytes=200"], "the least of each alone is"),
        (["--budget", "ram=200"], "did you mean ram_bytes"),
        (["--budget", "ram_bytes"], "expected name=number"),
        (["--option", "poulation=3", "--agent", "evolution"], "did you mean population"),
        (["--task", "no/such/folder"], "unknown task"),
        (["--evaluations", "0"], "Invalid value"),
    ],
)
def test_bad_input_is_one_clear_line_before_the_search(
    tmp_path: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["benchmarks", "search", "--out", str(out), *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr().err
    assert ended.value.code == 2, told
    assert message in " ".join(told.split())
    assert "Traceback" not in told
    assert not (out / "history.sqlite").exists()


def test_a_folder_of_the_users_own_pictures(tmp_path: Path) -> None:  # F2
    rng = np.random.default_rng(0)
    for label, level in (("dark", 60), ("light", 190)):
        folder = tmp_path / "photos" / label
        folder.mkdir(parents=True)
        for i in range(15):
            size = (18 + i % 3, 20)  # odd sizes
            pixels = np.clip(rng.normal(level, 25, size), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png")
        (folder / "broken.png").write_bytes(b"not a picture")
    out = tmp_path / "out"
    result = search(
        out, "--task", str(tmp_path / "photos"), "--device", "stm32f746zg", "--evaluations", "3",
        "--verify", "1", "--image-size", "16",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "2 unreadable pictures left out" in result.stderr
    assert "resized to 16×16" in " ".join(result.stderr.split())
    summary = json.loads((out / "summary.json").read_text())
    assert summary["evaluator"] == "trained"
    assert summary["winners"][0]["measurement"]["provenance"]["accuracy"] == "trained"
    board = devices()["stm32f746zg"]
    assert board.flash_bytes is not None
    assert board.ram_bytes is not None
    assert summary["export"]["bytes"] <= board.flash_bytes
    assert summary["export"]["ram_bytes"] <= board.ram_bytes
    assert summary["problem"]["input_shape"] == [16, 16, 1], "grey pictures keep one channel"


def _rows(path: Path) -> list[tuple]:  # type: ignore[type-arg]
    with sqlite3.connect(path) as db:
        return db.execute(
            "SELECT id, tokens, reward, batch FROM evaluations ORDER BY id"
        ).fetchall()


def _wait_for_rows(path: Path, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if path.exists() and len(_rows(path)) >= count:
                return
        except sqlite3.OperationalError:
            pass  # the file is being made
        time.sleep(0.05)
    raise AssertionError(f"no evaluations in time; exit {process.poll()}")
