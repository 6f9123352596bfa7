"""Named boards: core, clock, memories, and how their latency and energy are estimated."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from functools import lru_cache
from importlib import resources

from emnas_gym.budgets import Budgets
from emnas_gym.errors import UnknownName


@dataclass(frozen=True)
class Device:
    """A board and the sources of its figures.

    Attributes:
        name: Registered name.
        title: Name for people.
        core: Processor core, e.g. ``"Cortex-M4"``.
        clock_mhz: Clock in MHz.
        flash_bytes: Flash of the board; None where models lie on other storage.
        ram_bytes: RAM of the board.
        kind: ``"mcu"`` (memory planned by us), ``"npu"`` (its compiler decides), ``"kpu"``
            (measured tables only), ``"host"`` (this machine) or ``"table"`` (known to a table of
            architectures alone).
        latency_a_ms: Constant of the analytic latency a + b · MACs.
        latency_b_ms_per_mac: Slope of the analytic latency.
        latency_error: Leave-one-model-out mean absolute relative error of that line.
        transfer_error: How far boards of this core differ in cycles, on average; None where the
            line rests on times at this board's clock, or nothing is known.
        active_power_mw: Power while it computes; energy = power · latency.
        accelerator: Configuration of the NPU compiler, e.g. ``"ethos-u55-128"``.
        source: Where the figures come from.
    """

    name: str
    title: str
    core: str
    clock_mhz: float
    kind: str
    source: str
    ram_bytes: int | None = None
    flash_bytes: int | None = None
    latency_a_ms: float | None = None
    latency_b_ms_per_mac: float | None = None
    latency_error: float | None = None
    transfer_error: float | None = None
    active_power_mw: float | None = None
    accelerator: str | None = None

    @property
    def budgets(self) -> Budgets:
        """The memories of the board as limits."""
        return Budgets(ram_bytes=self.ram_bytes, flash_bytes=self.flash_bytes)


@lru_cache(maxsize=1)
def devices() -> dict[str, Device]:
    """All devices of the package by name."""
    text = resources.files("emnas_gym").joinpath("devices.toml").read_text(encoding="utf-8")
    known = {f.name for f in fields(Device)}
    table = tomllib.loads(text)["device"]
    return {
        name: Device(name=name, **{k: v for k, v in row.items() if k in known})
        for name, row in table.items()
    }


def resolve_device(device: str | Device) -> Device:
    """Returns a device by name, or as given.

    Raises:
        UnknownName: If no device has this name.
    """
    if isinstance(device, Device):
        return device
    if device not in devices():
        raise UnknownName("device", device, devices())
    return devices()[device]
