"""Makes a K210 model with the user's own copy of Kendryte's compiler.

MaixPy loads versions 3 and 4 of the format. Version 4 comes from nncase 0.2, whose program ``ncc``
is published on GitHub alone, for Linux, macOS and Windows; nncase 1 and later write version 5.

The command line is that of nncase's ``docs/USAGE.md`` for 0.2. There a raw file of the calibration
set holds the float32 values of one input, channel by channel (its importer turns maps to NCHW), and
``(value - mean) / std`` is what the network gets; a uint8 input of 0 to 255 stands for 0 to 1
before that. The real ``ncc`` has never been run from here: no package index has it, so that this
rests on its documentation and its sources.
"""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from emnas_gym.errors import BackendMissing, DatasetError
from hardware.calibration import check_images
from hardware.errors import CompilerError, ModelFileError
from hardware.interpreter import Model
from hardware.outside import last_words, run_logged
from hardware.program import Array

PROGRAM, VARIABLE = "ncc", "EMNAS_NCC"
SOURCE = "https://github.com/kendryte/nncase/releases/tag/v0.2.0-beta4"
SECONDS = 600.0  # its memory planner alone may take 60 for a solution
MOST_BYTES = 8 << 20  # the K210 has 8 MiB of RAM
MAGIC = 0x4B4D444C  # 'KMDL' as a C constant: the file begins with LDMK
OLD_VERSION, NEW_VERSION = 3, 4
HEADER_BYTES = 8  # that tell the version
MOST_VERSIONS = 16  # beyond, a first word is no version
PIXELS = (-1.0, 1.0)  # what 0 and 255 of a camera stand for in the project's images


def find_compiler(command: str | None = None) -> str:
    """Path of the compiler.

    Args:
        command: Where the user says it is; else ``$EMNAS_NCC``, else ``ncc`` on the path.

    Raises:
        BackendMissing: If it is not there, saying where it comes from.
    """
    wanted = command or os.environ.get(VARIABLE) or PROGRAM
    found = shutil.which(wanted)
    if found is None:
        raise BackendMissing(
            f"K210 models need the program {wanted}, which is not there: unpack nncase v0.2.0-beta4"
            f" from {SOURCE} and name its ncc with --ncc or ${VARIABLE} (v0.1.0-rc5 makes version 3"
            " of the format with another command line; a script of yours can translate)"
        )
    return found


def make_kmodel(
    float_tflite: bytes, images: Array, command: str | None = None, seconds: float = SECONDS
) -> bytes:
    """Compiles a float network for the K210 with uint8 inputs, quantised on images.

    Args:
        float_tflite: A float32 .tflite file of ours.
        images: (N, height, width, channels) float from -1 to 1, for calibration.
        command: The compiler; see `find_compiler`.
        seconds: Deadline.

    Returns:
        A .kmodel file of version 3 or 4.

    Raises:
        BackendMissing: If the compiler is not installed.
        DatasetError: If the images do not fit the input or leave the range from -1 to 1.
        CompilerError: If the compiler refuses the network, with its words, or takes too long.
        ModelFileError: If what it wrote is no .kmodel file that MaixPy loads.
    """
    program = find_compiler(command)
    check_images(images, Model(float_tflite).input_shape)
    low, high = PIXELS
    if images.min() < low or images.max() > high:
        raise DatasetError(f"images for the K210 go from {low:g} to {high:g}, as its camera's do")
    with tempfile.TemporaryDirectory(prefix="emnas-ncc-") as name:
        folder = Path(name)
        model, made, dataset = (folder / n for n in ("model.tflite", "model.kmodel", "images"))
        model.write_bytes(float_tflite)
        _write_dataset(dataset, (images - low) / (high - low))
        _run([program, *_arguments(model, made, dataset)], folder, seconds)
        content = _read(made)
    kmodel_version(content)
    return content


def kmodel_version(content: bytes) -> int:
    """The version of a .kmodel file's format.

    Version 3 is its first word; newer ones begin with a mark, and the version comes behind it.

    Raises:
        ModelFileError: If it is no .kmodel file, or of a version that MaixPy does not load.
    """
    if len(content) < HEADER_BYTES:
        raise ModelFileError(f"a .kmodel file of {len(content)} bytes is cut short")
    first, second = struct.unpack_from("<II", content)
    marked = first == MAGIC
    if not marked and first > MOST_VERSIONS:
        raise ModelFileError(f"no .kmodel file: it begins with {content[:4]!r}")
    version = int(second if marked else first)
    if version != (NEW_VERSION if marked else OLD_VERSION):
        raise ModelFileError(
            f"a .kmodel file of version {version}; MaixPy loads versions {OLD_VERSION} and"
            f" {NEW_VERSION}, which nncase 0.1 and 0.2 make"
        )
    return version


def _arguments(model: Path, made: Path, images: Path) -> list[str]:
    low, high = PIXELS
    std = 1.0 / (high - low)  # (0 - mean) / std is low, (1 - mean) / std is high
    return [
        *("compile", str(model), str(made), "-i", "tflite", "-o", "kmodel", "-t", "k210"),
        *("--dataset", str(images), "--dataset-format", "raw", "--inference-type", "uint8"),
        *("--input-mean", f"{-low * std:g}", "--input-std", f"{std:g}"),
    ]


def _write_dataset(folder: Path, images: Array) -> None:
    folder.mkdir()
    for i, image in enumerate(images):
        channels_first = np.moveaxis(image, -1, 0).astype("<f4")
        (folder / f"{i:05d}.bin").write_bytes(channels_first.tobytes())


def _run(command: Sequence[str], folder: Path, seconds: float) -> None:
    log = folder / "log"
    try:
        code = run_logged(command, log, seconds, folder)
    except TimeoutError as error:
        raise CompilerError(f"{command[0]} {error}: {last_words(log)}") from error
    except OSError as error:
        raise CompilerError(f"{command[0]} cannot be started: {error}") from error
    if code:
        raise CompilerError(f"{command[0]} failed with status {code}: {last_words(log)}")


def _read(path: Path) -> bytes:
    if not path.is_file() or path.is_symlink():
        raise CompilerError("ncc ended well but wrote no .kmodel file")
    if path.stat().st_size > MOST_BYTES:
        raise ModelFileError(f"a .kmodel file of more than {MOST_BYTES} bytes fits no K210")
    return path.read_bytes()
