"""The way to a K210's file, with a stand-in for the compiler, which no package index has.

The stand-in checks that it is called as nncase 0.2's documentation says and looks at what it is
given; that the real program does what its documentation says is not shown here.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hardware_deployments import small_deployment
from test_hardware_graphs import images_for

from emnas_gym.errors import BackendMissing, DatasetError
from emnas_gym.graph import GraphBuilder
from hardware.deployment import deploy
from hardware.errors import CompilerError, ModelFileError
from hardware.export import export_float
from hardware.kmodel import MOST_BYTES, find_compiler, kmodel_version, make_kmodel
from hardware.random_weights import random_images, random_weights

pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")

STAND_IN = """#!{python}
import argparse, pathlib, struct, sys
parser = argparse.ArgumentParser(allow_abbrev=False)
commands = parser.add_subparsers(required=True)
compile_ = commands.add_parser("compile", allow_abbrev=False)
compile_.add_argument("input", type=pathlib.Path)
compile_.add_argument("output", type=pathlib.Path)
compile_.add_argument("-i", "--input-format", choices=["tflite", "caffe"], required=True)
compile_.add_argument("-o", "--output-format", choices=["kmodel"], default="kmodel")
compile_.add_argument("-t", "--target", choices=["cpu", "k210"], default="k210")
compile_.add_argument("--dataset", type=pathlib.Path, required=True)
compile_.add_argument("--dataset-format", choices=["image", "raw"], default="image")
compile_.add_argument("--inference-type", choices=["float", "uint8"], default="uint8")
compile_.add_argument("--input-mean", type=float, default=0.0)
compile_.add_argument("--input-std", type=float, default=1.0)
given = parser.parse_args()
assert given.input.read_bytes()[4:8] == b"TFL3"
assert (given.dataset_format, given.target, given.inference_type) == ("raw", "k210", "uint8")
files = sorted(given.dataset.iterdir())
values = b"".join(file.read_bytes() for file in files)
head = struct.pack("<2I", 0x4B4D444C, 4) + struct.pack("<2f", given.input_mean, given.input_std)
given.output.write_bytes(head + struct.pack("<3I", len(files), 0, 0) + values)
"""


def program(folder: Path, text: str) -> str:
    path = folder / "ncc"
    path.write_text(text.replace("{python}", sys.executable))
    path.chmod(0o755)
    return str(path)


@pytest.fixture(scope="module")
def network() -> bytes:
    builder = GraphBuilder((4, 6, 3))
    builder.window("conv2d", 3, 1, "same", filters=2, activation="relu")
    builder.dense(2)
    graph = builder.build()
    return export_float(graph, random_weights(graph))


IMAGES = random_images((4, 6, 3), 5)


def test_the_compiler_gets_what_its_documentation_asks_for(tmp_path: Path, network: bytes) -> None:
    made = make_kmodel(network, IMAGES, program(tmp_path, STAND_IN))
    mean, std, count = struct.unpack_from("<2fI", made, 8)
    assert count == len(IMAGES)
    values = np.frombuffer(made, "<f4", offset=28).reshape(5, 3, 4, 6)  # channels first
    assert 0.0 <= values.min() < values.max() <= 1.0
    normalised = (values.transpose(0, 2, 3, 1) - mean) / std  # as ncc does it
    np.testing.assert_allclose(normalised, IMAGES, atol=1e-6)
    assert not list(tmp_path.glob("emnas-ncc-*"))


def test_it_is_found_where_the_user_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: bytes
) -> None:
    monkeypatch.delenv("EMNAS_NCC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(BackendMissing, match=r"nncase v0\.2\.0-beta4.*github\.com/kendryte/nncase"):
        make_kmodel(network, IMAGES)
    (tmp_path / "bin").mkdir()
    on_path = program(tmp_path / "bin", STAND_IN)
    assert find_compiler() == on_path
    elsewhere = program(tmp_path, STAND_IN)
    monkeypatch.setenv("EMNAS_NCC", elsewhere)
    assert find_compiler() == elsewhere
    assert find_compiler(on_path) == on_path
    with pytest.raises(BackendMissing, match="no/where/ncc"):
        find_compiler("/no/where/ncc")


def test_what_the_compiler_says_is_passed_on(tmp_path: Path, network: bytes) -> None:
    words = "#!/bin/sh\necho 'Fatal: Not supported tflite opcode: GATHER' >&2\nexit 3\n"
    with pytest.raises(
        CompilerError, match=r"status 3: Fatal: Not supported tflite opcode: GATHER"
    ):
        make_kmodel(network, IMAGES, program(tmp_path, words))
    chatty = "#!/bin/sh\nyes progress | head -c 3000000\necho the end >&2\nexit 1\n"
    with pytest.raises(CompilerError, match="the end") as caught:
        make_kmodel(network, IMAGES, program(tmp_path, chatty))
    assert len(str(caught.value)) < 2300
    with pytest.raises(CompilerError, match="cannot be started"):
        make_kmodel(network, IMAGES, program(tmp_path, "no program"))
    with pytest.raises(CompilerError, match="wrote no .kmodel file"):
        make_kmodel(network, IMAGES, program(tmp_path, "#!/bin/sh\nexit 0\n"))


def test_a_compiler_that_hangs_is_ended_with_its_children(tmp_path: Path, network: bytes) -> None:
    hangs = f"#!/bin/sh\nsleep 77 &\necho $! > {tmp_path}/child\nwait\n"
    with pytest.raises(CompilerError, match=r"did not end in 0\.5 s"):
        make_kmodel(network, IMAGES, program(tmp_path, hangs), seconds=0.5)
    child = int((tmp_path / "child").read_text())
    for _ in range(100):
        if not _runs(child):
            return
        time.sleep(0.05)
    pytest.fail("the child still runs")


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat")
        return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


KMDL = struct.pack("<I", 0x4B4D444C)


def test_versions_that_maixpy_loads_pass() -> None:
    assert kmodel_version(struct.pack("<I", 3) + bytes(40)) == 3
    assert kmodel_version(KMDL + struct.pack("<I", 4) + bytes(40)) == 4
    assert KMDL == b"LDMK"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (KMDL + struct.pack("<I", 5) + bytes(40), "version 5; MaixPy loads versions 3 and 4"),
        (KMDL + struct.pack("<I", 3) + bytes(40), "version 3; MaixPy loads"),
        (struct.pack("<I", 5) + bytes(40), "version 5; MaixPy loads"),
        (struct.pack("<I", 4) + bytes(40), "version 4; MaixPy loads"),
        (b"TFL3" + bytes(40), "no .kmodel file: it begins with b'TFL3'"),
        (KMDL, "of 4 bytes is cut short"),
        (b"\x03\0\0", "of 3 bytes is cut short"),
        (b"", "of 0 bytes is cut short"),
    ],
)
def test_other_files_are_refused_in_words(content: bytes, words: str) -> None:
    with pytest.raises(ModelFileError, match=words):
        kmodel_version(content)


def test_a_file_too_large_for_the_chip_is_refused(tmp_path: Path, network: bytes) -> None:
    large = f'#!/bin/sh\nhead -c {MOST_BYTES + 1} /dev/zero > "$3"\n'
    with pytest.raises(ModelFileError, match="fits no K210"):
        make_kmodel(network, IMAGES, program(tmp_path, large))


def test_images_must_fit_and_be_pixels(tmp_path: Path, network: bytes) -> None:
    compiler = program(tmp_path, STAND_IN)
    with pytest.raises(DatasetError, match=r"not \(N, 4, 6, 3\)"):
        make_kmodel(network, IMAGES[:, :2], compiler)
    with pytest.raises(DatasetError, match="from -1 to 1"):
        make_kmodel(network, IMAGES * 255, compiler)


def test_a_deployment_brings_the_formats_that_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMNAS_NCC", program(tmp_path, STAND_IN))
    builder = GraphBuilder((8, 8, 1))
    builder.dense(3)
    graph = builder.build()
    weights, images = random_weights(graph), images_for(graph, 4)
    made = deploy(graph, weights, images, ("kmodel", "uint8", "float32"))
    assert made.file("kmodel")[:4] == KMDL
    assert set(made.files) == {"kmodel", "uint8", "float32"}
    assert set(small_deployment(("uint8",)).files) == {"uint8"}
    with pytest.raises(
        ModelFileError, match="no format 'onnx', only flat, flat-small, float32, uint8, kmodel"
    ):
        deploy(graph, weights, images, ("onnx",))
