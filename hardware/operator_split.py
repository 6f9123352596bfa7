"""Splits the latency of a network by operation, by what our kernels execute on an emulated core.

The shares are instruction shares of our kernels. The runtime with which a board's latency was
measured has other kernels, and a real core needs more cycles for some instructions than for
others: `PROVENANCE` says so wherever the shares are shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from emnas_gym import costs
from emnas_gym.devices import Device
from emnas_gym.errors import DomainError
from emnas_gym.graph import LayerGraph
from hardware.emulator import BOARDS
from hardware.errors import ProtocolError
from hardware.operator_counts import RUNS, OperatorCounter
from hardware.program import Array

PROVENANCE = "instruction shares of our kernels on QEMU, not of the board's runtime"


@dataclass(frozen=True)
class OperatorRow:
    """One operation of a network.

    Attributes:
        name: Of the node.
        op: One of `emnas_gym.graph.OPS`.
        macs: Multiply-accumulates.
        instructions: Of our kernels on the emulated core, mean over the runs.
        share: Of all instructions; the shares of a network sum to 1.
        latency_ms: Share of the network's latency; None where that is not known.
    """

    name: str
    op: str
    macs: int
    instructions: float
    share: float
    latency_ms: float | None


@dataclass(frozen=True)
class OperatorSplit:
    """A network's operations, and what their shares rest on.

    Attributes:
        rows: One a node of the deployed graph, without its input.
        device: The board whose latency is split.
        core: The emulated core that was counted on.
        latency_ms: What is split; None where nothing is known.
        latency_source: Where that comes from.
        runs: Over which instructions are averaged.
        provenance: What the shares are.
    """

    rows: tuple[OperatorRow, ...]
    device: str
    core: str
    latency_ms: float | None
    latency_source: str
    runs: int
    provenance: str = PROVENANCE

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self) | {"rows": [asdict(row) for row in self.rows]}


def split(reading_ms: float, instructions: Sequence[float]) -> tuple[float, ...]:
    """Latency of each operation, in proportion to its instructions; see `PROVENANCE`.

    Args:
        reading_ms: Latency of the whole network.
        instructions: Of each operation.

    Returns:
        Milliseconds of each operation; they sum to ``reading_ms``.

    Raises:
        ProtocolError: If no instruction was counted at all, or one is below 0.
    """
    total = float(sum(instructions))
    if total <= 0 or min(instructions) < 0:
        raise ProtocolError(f"{total:g} instructions were counted: nothing to split by")
    return tuple(reading_ms * each / total for each in instructions)


def split_network(
    graph: LayerGraph,
    device: Device,
    *,
    core: str = "",
    reading_ms: float | None = None,
    weights: Mapping[str, Array] | None = None,
    runs: int = RUNS,
) -> OperatorSplit:
    """Counts a network's operations on the device's core and splits its latency by them.

    Args:
        graph: Any graph; training-only operations are dropped.
        device: The board; its core must be one that is emulated, unless another is named.
        core: ``"cortex-m3"``, ``"cortex-m4"`` or ``"cortex-m7"``; the device's own if empty.
        reading_ms: A measured latency; the device's line a + b · MACs if None.
        weights: By name; random ones if None.
        runs: Over which instructions are averaged.

    Raises:
        DomainError: If no emulated board has that core.
        DeviceRefused: If the network is too large for the emulated board.
        DeviceError: If that fails.
        BackendMissing: If QEMU or a package is not installed.
    """
    chosen, deployed = emulated_core(device, core), graph.deployed()
    with OperatorCounter(chosen) as counter:
        counted = counter.count(deployed, weights, runs)
    latency_ms, source = _latency(device, costs.macs(deployed), reading_ms)
    rows = tuple(
        OperatorRow(
            node.name,
            node.op,
            costs.node_macs(deployed, node),
            instructions,
            share,
            None if latency_ms is None else share * latency_ms,
        )
        for node, instructions, share in zip(
            deployed.nodes[1:], counted, split(1.0, counted), strict=True
        )
    )
    return OperatorSplit(rows, device.name, chosen, latency_ms, source, runs)


def _latency(device: Device, macs: int, reading_ms: float | None) -> tuple[float | None, str]:
    """What is split, and where it comes from."""
    if reading_ms is not None:
        return reading_ms, "given"
    if device.latency_b_ms_per_mac is None:
        return None, "unknown: the device has no line"
    latency_ms = (device.latency_a_ms or 0.0) + device.latency_b_ms_per_mac * macs
    return latency_ms, f"the line of {device.name}, ± {device.latency_error or 0.0:.0%}"


def emulated_core(device: Device, core: str = "") -> str:
    """The emulated core for a device, or the one that is named.

    Raises:
        DomainError: If there is none.
    """
    chosen = core or device.core.lower()
    if chosen not in BOARDS:
        raise DomainError(
            f"no emulated board has a {chosen}, asked for {device.name}; "
            f"name one of {', '.join(BOARDS)} to count on another core"
        )
    return chosen
