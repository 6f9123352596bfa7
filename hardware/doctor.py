"""Says which interpreters, compilers and extras this machine has, and how to get the others."""

from __future__ import annotations

import platform
from dataclasses import dataclass

import numpy as np

from emnas_gym.errors import EmNASError
from emnas_gym.graph import GraphBuilder
from hardware.export import export_int8
from hardware.interpreter import Model
from hardware.npu_compiler import compile_model
from hardware.npu_configs import CONFIGS
from hardware.random_weights import random_images, random_weights
from hardware.versions import package_version, program_version


@dataclass(frozen=True)
class Finding:
    """One thing that the hardware folder can use.

    Attributes:
        name: What it is called where it is installed from.
        purpose: What needs it.
        version: Its version; empty if it is not there.
        works: Whether a small trial succeeded; None where there is none to make.
        advice: What to do if it is missing or does not work.
    """

    name: str
    purpose: str
    version: str
    works: bool | None
    advice: str


PACKAGES = {  # distribution -> purpose, how to get it
    "ai-edge-litert": ("export, run on this machine", "pip install 'emnas-gym[litert]'"),
    "flatbuffers": ("export", "pip install 'emnas-gym[litert]'"),
    "ethos-u-vela": ("cycles on Ethos-U", "pip install 'emnas-gym[vela]'"),
    "pyserial": ("boards on a serial port", "pip install 'emnas-gym[serial]'"),
    "tflite-micro": ("referee of memory plans in tests", "pip install --pre tflite-micro"),
}
PROGRAMS = {
    "gcc": ("firmware for this machine", "apt-get install gcc"),
    "arm-none-eabi-gcc": ("firmware for Cortex-M", "apt-get install gcc-arm-none-eabi"),
    "qemu-system-arm": ("emulated Cortex-M boards", "apt-get install qemu-system-arm"),
    "qemu-aarch64": ("tests of the Linux agent", "apt-get install qemu-user"),
    "ncc": ("networks for the K210", "github.com/kendryte/nncase, releases 0.1 and 0.2"),
}


def examine() -> list[Finding]:
    """Looks for packages and programs, and tries those that can be tried at once."""
    trials = {"ai-edge-litert": _try_interpreter(), "ethos-u-vela": _try_compiler()}
    found = [Finding("python", "everything", platform.python_version(), None, "")]
    found.append(Finding("numpy", "everything", np.__version__, None, ""))
    for name, (purpose, advice) in PACKAGES.items():
        problem = trials.get(name, "")
        works = not problem if name in trials else None
        found.append(Finding(name, purpose, package_version(name), works, problem or advice))
    for name, (purpose, advice) in PROGRAMS.items():
        found.append(Finding(name, purpose, program_version(name), None, advice))
    return found


def _small_model() -> bytes:
    builder = GraphBuilder((4, 4, 1))
    builder.window("conv2d", 3, 1, "same", filters=2, activation="relu")
    builder.dense(2)
    builder.pointwise("softmax")
    graph = builder.build()
    return export_int8(graph, random_weights(graph), random_images(graph.input_shape))


def _try_interpreter() -> str:
    try:
        Model(_small_model()).invoke()
    except EmNASError as error:
        return str(error)
    return ""


def _try_compiler() -> str:
    try:
        compile_model(_small_model(), CONFIGS["ethos-u55-128"])
    except EmNASError as error:
        return str(error)
    return ""
