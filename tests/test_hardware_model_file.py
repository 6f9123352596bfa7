"""Files from outside."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_hardware_graphs import images_for, trained_looking_weights

from emnas_gym.space import load_space
from emnas_gym.tasks import DIGITS
from hardware import model_file
from hardware.errors import ModelFileError
from hardware.export import export_int8
from hardware.model_file import check_content, read_model_file

pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")
GRAPH = load_space("emnas-382").build((68, 140, 380, 382), DIGITS)


@pytest.fixture
def content() -> bytes:
    return export_int8(GRAPH, trained_looking_weights(GRAPH), images_for(GRAPH, 2))


def test_a_good_file_comes_back(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "good.tflite"
    path.write_bytes(content)
    assert read_model_file(path) == content


def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "half.tflite"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelFileError, match=r"half\.tflite: the interpreter refuses"):
        read_model_file(path)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (b"", "0 bytes"),
        (b"x" * 100, "TFL3"),
        (b"\xff\xff\xff\x7fTFL3" + bytes(100), "truncated"),
        (b"\x04\x00\x00\x00TFL3" + bytes(100), "truncated"),
    ],
)
def test_obvious_nonsense_never_reaches_an_interpreter(bad: bytes, why: str) -> None:
    with pytest.raises(ModelFileError, match=why):
        check_content(bad)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"nothing here.*cannot be read"):
        read_model_file(tmp_path / "nothing here")


def test_a_file_that_is_too_large_is_not_read(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large.tflite"
    path.write_bytes(content)
    monkeypatch.setattr(model_file, "MOST_BYTES", 100)
    with pytest.raises(ModelFileError, match="larger than 100"):
        read_model_file(path)
