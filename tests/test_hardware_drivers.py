"""The drivers that need nothing but this machine and QEMU, against the contract of all drivers."""

from __future__ import annotations

import pytest
from driver_contract import check_driver
from hardware_deployments import small_deployment
from outside_programs import needs_program

from emnas_gym.errors import UnknownName
from hardware.drivers.framed import EmulatedDriver
from hardware.emulator import BOARDS

pytest.importorskip("serial", reason="needs the package pyserial")
pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")


@pytest.mark.parametrize("core", BOARDS)
def test_emulated_boards_keep_the_contract(core: str) -> None:  # E3, E10
    needs_program("qemu-system-arm")
    reading = check_driver(lambda: EmulatedDriver(core), small_deployment())
    assert reading.provenance == "emulated-insn"
    assert reading.difference == 0


def test_a_core_that_no_board_has_is_named() -> None:
    with pytest.raises(UnknownName, match="cortex-m4"):
        EmulatedDriver("cortex-m5")
