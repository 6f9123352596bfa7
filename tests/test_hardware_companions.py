"""What an export brings on request, through its command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from test_hardware_kmodel import STAND_IN, program
from typer.testing import CliRunner

from emnas_gym.errors import BackendMissing, EmNASError, UnknownName
from emnas_gym.space import load_space
from emnas_gym.tasks import DIGITS
from hardware.cli import app
from hardware.companions import Companions, write_companions
from hardware.interpreter import Model
from hardware.random_weights import random_images, random_weights

pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")
TOKENS = "31,75,100,382"
GRAPH = load_space("emnas-382").architecture([31, 75, 100, 382]).graph(DIGITS)


def export(folder: Path, *arguments: str) -> dict[str, Path]:
    command = ["export", "--tokens", TOKENS, "--out", str(folder), *arguments, "--json"]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    facts = json.loads(done.stdout)
    return {kind: Path(path) for kind, path in facts["files"].items()}


@pytest.mark.parametrize("io", ["uint8", "float32"])
def test_a_file_with_other_ends(tmp_path: Path, io: str) -> None:  # F1
    paths = export(tmp_path, "--io", io)
    assert paths["io"].name == f"model_io_{io}.tflite"
    model, plain = Model(paths["io"].read_bytes(), True), Model(paths["int8"].read_bytes(), True)
    images = random_images(DIGITS.input_shape, 3, seed=5)
    assert model.input_dtype == np.dtype(io)
    assert np.abs(model.run(images) - plain.run(images)).max() <= 1 / 256


def test_without_wishes_there_is_nothing_more(tmp_path: Path) -> None:
    assert set(export(tmp_path)) == {"int8", "float32", "header"}


def test_torch_and_the_k210(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs the package torch")
    (tmp_path / "bin").mkdir()
    ncc = program(tmp_path / "bin", STAND_IN)
    paths = export(tmp_path / "out", "--torch", "--ncc", ncc)
    state = torch.load(paths["torch"], weights_only=True)
    for name, value in random_weights(GRAPH).items():
        assert np.array_equal(state[name].numpy(), value)
    assert paths["kmodel"].read_bytes().startswith(b"LDMK")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(
        path.name for path in paths.values()
    )


def test_nothing_is_written_if_a_wish_cannot_be_granted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for arguments, error, words in (
        (["--io", "uint16"], UnknownName, "did you mean uint8"),
        (["--vela", "ethos-u55"], UnknownName, "did you mean ethos-u55"),
        (["--ncc", "/no/where/ncc"], BackendMissing, "no/where/ncc"),
    ):
        with pytest.raises(error, match=words):
            export(tmp_path / "out", *arguments)
    monkeypatch.setenv("EMNAS_NCC", "/not/here/ncc")
    with pytest.raises(BackendMissing, match="/not/here/ncc"):
        export(tmp_path / "out", "--kmodel")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    weights, images = random_weights(GRAPH), random_images(DIGITS.input_shape)
    with pytest.raises(EmNASError, match="file cannot be written"):
        write_companions(tmp_path / "file", "a", GRAPH, weights, images, Companions(io="uint8"))
