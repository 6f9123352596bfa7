"""The drivers that need nothing but this machine and QEMU, against the contract of all drivers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from driver_contract import REPEATS, check_driver
from hardware_deployments import small_deployment
from outside_programs import needs_program

from emnas_gym.errors import UnknownName
from emnas_gym.registry import names
from hardware.drivers.base import Driver
from hardware.drivers.framed import EmulatedDriver
from hardware.drivers.here import HostDriver, NpuDriver
from hardware.drivers.spec import DeviceSpec
from hardware.emulator import BOARDS
from hardware.errors import DeviceRefused
from hardware.reading import Reading

pytest.importorskip("serial", reason="needs the package pyserial")
pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")


@pytest.mark.parametrize("core", BOARDS)
def test_emulated_boards_keep_the_contract(core: str) -> None:  # E3, E10
    needs_program("qemu-system-arm")
    reading = check_driver(lambda: EmulatedDriver(core), small_deployment())
    assert reading.provenance == "emulated-insn"
    assert reading.difference == 0


def test_this_machine_keeps_the_contract() -> None:  # E3, E10
    reading = check_driver(lambda: HostDriver(rounds=5), small_deployment())
    assert (reading.provenance, reading.percentile, len(reading.ticks)) == ("host", 10.0, 5)
    floating = HostDriver(rounds=5, float32=True)
    with pytest.raises(DeviceRefused, match="needs the network as float32"):
        floating.measure(small_deployment(), REPEATS)
    assert HostDriver.formats_with({"float32": True}) == ("float32",)
    assert floating.measure(small_deployment(("flat", "float32")), REPEATS).latency_ms > 0


def test_a_population_takes_turns_on_the_host() -> None:
    """What is given together is timed together: every network has as many blocks."""
    population = [small_deployment(filters=filters) for filters in (1, 40)]
    with HostDriver(rounds=7) as host:
        small, large = host.measure_all(population, REPEATS)
    assert isinstance(small, Reading)
    assert isinstance(large, Reading)
    assert len(small.ticks) == len(large.ticks) == 7
    assert small.latency_ms < large.latency_ms
    assert small.model != large.model


def test_an_npu_s_compiler_keeps_the_contract() -> None:
    pytest.importorskip("ethosu.regor", reason="needs the package ethos-u-vela")
    reading = check_driver(lambda: NpuDriver("ethos-u55-128"), small_deployment())
    assert reading.provenance == "analytic"
    untrusted = replace(small_deployment(), trusted=False)
    with NpuDriver("ethos-u55-128") as driver:
        apart = driver.measure(untrusted, REPEATS)
        assert apart.ticks == reading.ticks
        with pytest.raises(DeviceRefused):
            driver.measure(replace(untrusted, tflite=untrusted.tflite[:300]), REPEATS)


def test_every_registered_driver_is_one() -> None:
    for name in names("driver"):
        assert issubclass(DeviceSpec(name).kind, Driver), name
        assert DeviceSpec(name).kind.__doc__


def test_a_core_that_no_board_has_is_named() -> None:
    with pytest.raises(UnknownName, match="cortex-m4"):
        EmulatedDriver("cortex-m5")
