"""Latencies of the same networks on devices of ours, measured once and committed as one file.

The committed table of trainings has two devices. Here are more for some hundred of its networks:
configurations of an Ethos-U, as Arm's compiler Vela estimates them, and instructions on an
emulated Cortex-M4, counted while our firmware really runs the network.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emnas_gym.architecture import Architecture
from emnas_gym.array_file import BROKEN
from emnas_gym.errors import EvaluationError, StoreError
from emnas_gym.evaluator import Evaluator
from emnas_gym.space import SearchSpace, load_space
from emnas_gym.tasks import DIGITS
from hardware.emulated import EmulatedEvaluator
from hardware.npu import NpuEvaluator
from predictors.store import Tokens
from predictors.tables import FOLDER, packed_path, unpack

Array = NDArray[np.float64]
SPACE = "emnas-382"
COUNT = 800  # networks, the first of the committed table
BATCH = 20
PATH = FOLDER / "emnas-382_digits_devices.npz"
EMULATED = "cortex-m4-emulated"
NPU = (  # device → configuration of the compiler; far apart in width, memories and family
    "ethos-u55-32",
    "ethos-u55-256",
    "ethos-u55-128/Ethos_U55_Deep_Embedded/Shared_Sram",
    "ethos-u65-512",
    "ethos-u85-256",
    "ethos-u85-2048",
)
DEVICES = (*NPU, EMULATED)
NO_LATENCY = -1.0  # in the file: the device refused the network


def measure(
    networks: Sequence[Tokens],
    known: Mapping[str, Mapping[Tokens, float]],
    save: Callable[[str, dict[Tokens, float]], None],
    devices: Sequence[str] = DEVICES,
) -> None:
    """Measures what is not known yet, device by device.

    Args:
        networks: Token ids of networks of `SPACE`.
        known: Device → tokens → latency in ms; what is there is not measured again.
        save: Called after every batch with a device and what was measured on it.
        devices: Which of `DEVICES`.
    """
    space = load_space(SPACE)
    for device in devices:
        evaluator = _evaluator(device)
        try:
            todo = [tokens for tokens in networks if tokens not in known.get(device, {})]
            for first in range(0, len(todo), BATCH):
                batch = todo[first : first + BATCH]
                save(device, dict(zip(batch, _latencies(evaluator, space, batch), strict=True)))
        finally:
            evaluator.close()


def _evaluator(device: str) -> Evaluator:
    if device == EMULATED:
        return EmulatedEvaluator(DIGITS)
    return NpuEvaluator(DIGITS, device)


def _latencies(evaluator: Evaluator, space: SearchSpace, batch: Sequence[Tokens]) -> list[float]:
    results = evaluator.evaluate([Architecture(space, tokens) for tokens in batch])
    return [
        NO_LATENCY
        if isinstance(result, EvaluationError) or result.latency_ms is None
        else result.latency_ms
        for result in results
    ]


def first_networks(count: int = COUNT) -> list[Tokens]:
    """The networks that are measured: the first of the committed table."""
    return unpack(packed_path(SPACE, DIGITS.name)).networks[:count]


def write_measured(rows: Mapping[str, Mapping[Tokens, float]], path: Path, command: str) -> None:
    """Writes the networks that every device was asked about.

    Raises:
        StoreError: If there is none.
    """
    shared = set.intersection(*(set(row) for row in rows.values())) if rows else set()
    if not shared:
        raise StoreError("no network was measured on all devices yet")
    networks = [tokens for tokens in next(iter(rows.values())) if tokens in shared]
    tokens = np.zeros((len(networks), max(map(len, networks))), dtype=np.int16)
    for row, network in zip(tokens, networks, strict=True):
        row[: len(network)] = network
    latency = np.array([[rows[d][n] for n in networks] for d in rows], dtype=np.float64)
    header = json.dumps({"devices": list(rows), "space": SPACE, "command": command})
    np.savez_compressed(
        path, allow_pickle=False, header=np.array(header), tokens=tokens, latency_ms=latency
    )


def read_measured(path: Path = PATH) -> dict[str, dict[Tokens, float]]:
    """Device → tokens → latency in ms; `NO_LATENCY` where it refused the network.

    Raises:
        StoreError: If there is no such file, or it is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            devices = json.loads(str(archive["header"]))["devices"]
            tokens, latency = archive["tokens"], archive["latency_ms"]
        networks = [tuple(int(t) for t in row if t) for row in tokens]
        if latency.shape != (len(devices), len(networks)) or not np.isfinite(latency).all():
            raise ValueError(f"latencies of shape {latency.shape} are not all numbers")
        return {
            str(device): dict(zip(networks, row.tolist(), strict=True))
            for device, row in zip(devices, latency, strict=True)
        }
    except BROKEN as error:
        raise StoreError(f"{path}: is no table of devices, or damaged: {error}") from error
