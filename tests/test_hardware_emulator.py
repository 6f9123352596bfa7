"""The firmware on emulated boards: rebuilt as it is committed, right to the bit, hard to upset."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from int8_programs import GRAPHS, programs
from outside_programs import needs_program
from test_hardware_graphs import images_for

from emnas_gym.errors import BackendMissing
from hardware.emulator import BOARDS, PREBUILT, Board, Emulator
from hardware.errors import DeviceError, DeviceLost, DeviceRefused, DeviceTimeout
from hardware.firmware_builder import build_board
from hardware.flat_model import write_flat
from hardware.interpreter import Model
from hardware.link.port import Port
from hardware.link.remote import INPUT, MODEL, OUTPUT, Remote
from hardware.link.session import Session

pytest.importorskip("serial", reason="needs the package pyserial")
pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")
TEN = [0, 3, 7, 19, 42, 60, 65, 71, 80, 88]  # of the random graphs: branches, chains, all operators


@pytest.fixture(scope="module", params=list(BOARDS))
def board(request: pytest.FixtureRequest) -> Board:
    needs_program("qemu-system-arm")
    return BOARDS[request.param]


@pytest.fixture(scope="module")
def remote(board: Board) -> Iterator[Remote]:
    with Emulator(board) as emulator, Port(emulator.url) as port:
        yield Remote(Session(port))


@pytest.mark.parametrize("core", list(BOARDS))
def test_what_is_committed_is_what_the_sources_make(core: str, tmp_path: Path) -> None:
    needs_program("arm-none-eabi-gcc")
    board = BOARDS[core]
    built = build_board(board, tmp_path / "firmware.elf").read_bytes()
    assert built == (PREBUILT / f"{board.machine}.elf").read_bytes(), "run: make firmware"


def test_a_board_says_who_it_is(remote: Remote, board: Board) -> None:
    assert remote.greeting.name == board.machine
    assert remote.greeting.ticks_per_second == 25_000_000
    state = remote.state()
    assert state.arena_capacity == 512 << 10
    assert state.firmware != 0


def test_ten_networks_are_right_to_the_bit(remote: Remote) -> None:  # E10, F1
    for index in TEN:
        program, content = programs(GRAPHS[index], index)
        model = Model(content, reference=True)
        image = model.quantize(images_for(GRAPHS[index], 1, index))
        remote.upload(MODEL, write_flat(program, content))
        remote.upload(INPUT, image.tobytes())
        remote.run(1, 0, seconds=60)
        expected = model.raw(image)[0].ravel()
        got = np.frombuffer(remote.download(OUTPUT, expected.size), np.int8)
        np.testing.assert_array_equal(got, expected, err_msg=f"graph {index}")


def test_counts_repeat_and_their_parts_make_the_whole(remote: Remote) -> None:  # E3
    program, content = programs(GRAPHS[65], 65)
    image = Model(content).quantize(images_for(GRAPHS[65], 1, 1))
    remote.upload(MODEL, write_flat(program, content))
    remote.upload(INPUT, image.tobytes())
    ticks = remote.run(10, 1, seconds=60)
    assert len(ticks) == 10
    assert max(ticks) - min(ticks) <= 2
    parts = remote.profile(seconds=60)
    assert len(parts) == len(program.operators)
    assert sum(parts) == pytest.approx(ticks[0], rel=0.02, abs=2 * len(parts))
    state = remote.state()
    assert 500 < state.stack_bytes < 8192
    assert 0 < state.arena_bytes <= state.arena_capacity


# ----------------------------------------------------------------------------------------- faults


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    needs_program("qemu-system-arm")
    with Emulator(BOARDS["cortex-m4"]) as one:
        yield one


def _ready(remote: Remote) -> None:
    program, content = programs(GRAPHS[65], 65)
    remote.upload(MODEL, write_flat(program, content))
    image = Model(content).quantize(images_for(GRAPHS[65], 1, 1))
    remote.upload(INPUT, image.tobytes())


def test_a_board_that_stands_still_times_out_and_then_goes_on(emulator: Emulator) -> None:
    data = bytes(range(256)) * 40
    with Port(emulator.url) as port:
        remote = Remote(Session(port))
        remote.seconds = 1.0

        def freeze(count: int) -> None:
            if count > 3000:
                emulator.control("stop")

        with pytest.raises(DeviceTimeout):
            remote.upload(MODEL, data, freeze)
        emulator.control("cont")
        remote.seconds = 20.0
        remote.upload(MODEL, data)
        assert remote.download(MODEL, len(data)) == data
        _ready(remote)
        emulator.control("stop")
        with pytest.raises(DeviceTimeout):
            remote.run(1, 0, seconds=1.0)
        emulator.control("cont")
        assert len(remote.run(2, 0, seconds=30)) == 2, "the late answer belongs to the run before"


def test_a_board_that_is_reset_has_forgotten_and_says_so(emulator: Emulator) -> None:
    with Port(emulator.url) as port:
        remote = Remote(Session(port))

        def reset(count: int) -> None:
            if 1000 < count < 1500:
                emulator.control("system_reset")

        with pytest.raises(DeviceRefused, match="beyond the announced length|bytes before these"):
            remote.upload(MODEL, bytes(4000), reset)
        remote.upload(MODEL, bytes(4000))
        emulator.control("system_reset")
        with pytest.raises(DeviceRefused, match="no model"):
            remote.run(1, 0, seconds=10)
        _ready(remote)
        assert remote.run(1, 0, seconds=30)


@pytest.mark.parametrize("moment", ["upload", "run"])
def test_a_board_that_is_gone_is_lost(emulator: Emulator, moment: str) -> None:
    with Port(emulator.url) as port:
        remote = Remote(Session(port))
        _ready(remote)

        def gone(count: int) -> None:
            if count > 1000:
                emulator.control("quit")

        with pytest.raises(DeviceLost):
            if moment == "run":
                emulator.control("quit")
                remote.run(1, 0, seconds=10)
            remote.upload(MODEL, bytes(4000), gone)


def test_what_does_not_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        with pytest.raises(BackendMissing, match="apt-get install qemu-system-arm"):
            Emulator(BOARDS["cortex-m4"])
    needs_program("qemu-system-arm")
    with pytest.raises(DeviceError, match=r"nowhere.elf: no such firmware"):
        Emulator(BOARDS["cortex-m4"], tmp_path / "nowhere.elf")
    with pytest.raises(DeviceError, match="ended at once"):
        Emulator(Board("mps2-none", "Cortex-M4"), PREBUILT / "mps2-an386.elf")
    with Emulator(BOARDS["cortex-m4"]) as emulator, pytest.raises(DeviceError, match="dance"):
        emulator.control("dance")
