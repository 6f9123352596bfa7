"""Worlds of networks that several devices measured: who can be held out, and from whom to learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emnas_gym import costs
from emnas_gym.architecture import Architecture
from emnas_gym.array_file import BROKEN
from emnas_gym.devices import devices
from emnas_gym.errors import DatasetError
from emnas_gym.models.kind_sums import kind_sums
from emnas_gym.space import SearchSpace, load_space
from emnas_gym.tasks import DIGITS, GRASP, Task
from predictors.emnas_tables import hardware_rows
from predictors.external import data_file
from predictors.store import Tokens
from predictors.tables import packed_path, unpack
from predictors.transfer.measured import EMULATED, SPACE, read_measured

Array = NDArray[np.float64]
LINE = "stm32f446re"  # a Cortex-M4 whose latency is a line in the MACs (`devices.toml`)
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))  # of a cell, nodes from 0 to 3
NONE, OPERATIONS = 0, 5
CELL_DEVICES = ("edgegpu", "raspi4", "edgetpu", "pixel3", "eyeriss", "fpga")
SLOWEST_MS = 2000.0  # the original left slower networks out


@dataclass(frozen=True)
class World:
    """Networks and their latency on several devices.

    Attributes:
        name: For tables.
        x: Features, shape (N, F).
        macs: Multiply-accumulates, shape (N,).
        groups: Equal numbers behave alike and never stand on both sides of a split, shape (N,).
        latency_ms: Device → latency, shape (N,); NaN where it cannot run.
        families: Device → family; a held-out device learns from other families alone. A family
            of its own for each device is plain leave-one-device-out.
    """

    name: str
    x: Array
    macs: Array
    groups: NDArray[np.int64]
    latency_ms: dict[str, Array]
    families: dict[str, str]

    def known_to(self, device: str) -> list[str]:
        """The devices from which a held-out one may learn."""
        own = self.families[device]
        return [name for name in self.latency_ms if self.families[name] != own]

    def only(self, rows: NDArray[np.int64]) -> World:
        """The same with some of the networks, in the order given."""
        latency = {name: y[rows] for name, y in self.latency_ms.items()}
        x, macs, groups = self.x[rows], self.macs[rows], self.groups[rows]
        return World(self.name, x, macs, groups, latency, self.families)

    @property
    def targets(self) -> list[str]:
        """Devices that are held out in turn; a formula is none."""
        return [name for name in self.latency_ms if name != LINE]


def cells() -> World:
    """NAS-Bench-201 cells on the devices of HW-NAS-Bench (Li et al. 2021), CIFAR-10.

    Raises:
        DatasetError: If the data folder lacks them, or they are damaged.
    """
    try:
        with np.load(data_file("nb201/nb201_accuracy.npz"), allow_pickle=False) as file:
            ops = np.stack([file[f"op{i}"] for i in range(len(EDGES))], axis=1).astype(np.int64)
            groups, flops = file["iso_rep"].astype(np.int64), file["flops_m_c10"].astype(float)
        with np.load(data_file("nb201/hwnasbench_nb201.npz"), allow_pickle=False) as file:
            rows = {name: file[f"c10_{name}_latency"].astype(float) for name in CELL_DEVICES}
    except BROKEN as error:
        raise DatasetError(f"nb201: the files are damaged: {error}") from error
    latency = {name: np.where(row > 0, row, np.nan) for name, row in rows.items()}
    alone = {name: name for name in latency}
    x = np.concatenate([cell_features(ops), np.log2(1 + flops)[:, None]], axis=1)
    return World("cells", x, flops * 1e6, groups, latency, alone)


def cell_features(ops: NDArray[np.int64]) -> Array:
    """One-hot operations of all edges and of those that count, and how many of each.

    An edge counts if a path from input to output uses it. Some devices of HW-NAS-Bench were asked
    about the rest as well (the accelerators, whose cost is a sum over all edges), others were not.

    Args:
        ops: Operation of each of the six edges, shape (N, 6); 0 is no edge.
    """
    there = ops != NONE
    from_start = np.zeros((len(ops), 4), dtype=bool)
    to_end = np.zeros((len(ops), 4), dtype=bool)
    from_start[:, 0] = to_end[:, 3] = True
    for edge, (before, after) in enumerate(EDGES):
        from_start[:, after] |= from_start[:, before] & there[:, edge]
    for edge, (before, after) in reversed(list(enumerate(EDGES))):
        to_end[:, before] |= to_end[:, after] & there[:, edge]
    live = [there[:, e] & from_start[:, a] & to_end[:, b] for e, (a, b) in enumerate(EDGES)]
    used = np.where(np.stack(live, axis=1), ops, NONE)
    onehots = [(o[:, :, None] == np.arange(OPERATIONS)).astype(float) for o in (ops, used)]
    parts = [part for o in onehots for part in (o.reshape(len(ops), -1), o.sum(axis=1))]
    return np.concatenate(parts, axis=1)


def ours(by_family: bool = False) -> World:
    """Networks of `emnas-382` on digits: this machine, Ethos-U configurations, an emulated M4.

    Args:
        by_family: Whether a held-out Ethos-U learns from no other Ethos-U.
    """
    space, rows = load_space(SPACE), dict(read_measured())
    for device, costs_of in unpack(packed_path(SPACE, DIGITS.name)).costs.items():
        rows[device] = {n: v["latency_ms"] for n, v in costs_of.items() if "latency_ms" in v}
    networks = [n for n in read_measured()[EMULATED] if all(n in row for row in rows.values())]
    latency = {device: np.array([row[n] for n in networks]) for device, row in rows.items()}
    latency = {name: np.where(row > 0, row, np.nan) for name, row in latency.items()}
    name = "our devices, by family" if by_family else "our devices"
    return _of_tokens(name, space, DIGITS, networks, latency, _families if by_family else str)


def _families(device: str) -> str:
    return "ethos" if device.startswith("ethos") else device


def original() -> World:
    """Networks of six layers of `emnas-382` on 128 × 128 images: K210, JeVois camera, a PC.

    Raises:
        DatasetError: If the data folder lacks the table.
    """
    rows = hardware_rows("sipeed_latency_ms", SLOWEST_MS)
    latency = {
        "sipeed": np.array([row.sipeed_latency_ms for row in rows], dtype=float),
        "jevois": np.array([row.jevois_latency_ms for row in rows], dtype=float),
        "pc": np.array([row.cpu_latency_ms for row in rows], dtype=float),
    }
    networks = [row.tokens for row in rows]
    return _of_tokens("dataset_3", load_space(SPACE), GRASP, networks, latency, str)


def _of_tokens(
    name: str,
    space: SearchSpace,
    task: Task,
    networks: Sequence[Tokens],
    latency: dict[str, Array],
    family: Callable[[str], str],
) -> World:
    canonical = [space.canonical_tokens(tokens) for tokens in networks]
    number = {tokens: i for i, tokens in enumerate(dict.fromkeys(canonical))}
    macs = np.array([costs.macs(space.build(tokens, task)) for tokens in networks], dtype=float)
    board = devices()[LINE]
    assert board.latency_a_ms is not None
    assert board.latency_b_ms_per_mac is not None
    latency = latency | {LINE: board.latency_a_ms + board.latency_b_ms_per_mac * macs}
    groups = np.array([number[tokens] for tokens in canonical], dtype=np.int64)
    families = {device: family(device) for device in latency}
    features = kind_sums([Architecture(space, tokens) for tokens in networks], task)
    return World(name, features, macs, groups, latency, families)
