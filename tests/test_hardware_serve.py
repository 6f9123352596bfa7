"""The Linux agent, as a program of its own, on good and bad lines; nightly on an emulated arm64."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
import tty
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from arm64_board import agent_command, make_system
from driver_contract import REPEATS, check_driver
from faulty_line import Faults, FaultyLine, compiled
from hardware_deployments import small_deployment
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from outside_programs import needs_program

from emnas_gym.errors import EmNASError
from hardware.backend import find_backend
from hardware.bundle import write_bundle
from hardware.deployment import deploy_file
from hardware.drivers.framed import FramedDriver
from hardware.errors import DeviceLost, DeviceRefused, DeviceTimeout, ProtocolError
from hardware.link.framing import Frame, Unpacker, pack
from hardware.link.messages import (
    BEGIN,
    COMMIT,
    HELLO,
    INPUT,
    MAGIC,
    OUTPUT,
    PROFILE,
    PUT,
    READ,
    REPORT,
    RUN,
    TFLITE,
)
from hardware.link.port import Port
from hardware.link.remote import Remote
from hardware.link.session import Session
from hardware.linux.agent import Agent
from hardware.linux.runner import Runner
from hardware.linux.serve import FILES, checksum, serve_socket
from hardware.reading import Repeats

pytest.importorskip("serial", reason="needs the package pyserial")
pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("agent") / "agent.pyz")


@pytest.fixture(scope="module")
def program(bundle: Path) -> list[str]:
    return [sys.executable, "-I", str(bundle), "--stdio"]


@pytest.fixture
def line(program: list[str]) -> Iterator[FaultyLine]:
    with FaultyLine(program) as one:
        yield one


# ----------------------------------------------------------------------------------- the one file


def test_the_one_file_holds_the_agent_and_nothing_else(bundle: Path, tmp_path: Path) -> None:
    names = set(zipfile.ZipFile(bundle).namelist())
    assert {f"hardware/{name}" for name in FILES} <= names
    assert not any(name.startswith("emnas_gym") for name in names)
    assert write_bundle(tmp_path / "again.pyz").read_bytes() == bundle.read_bytes()
    done = subprocess.run(
        [sys.executable, "-I", str(bundle), "--help"], capture_output=True, text=True, cwd=tmp_path
    )
    assert "--listen" in done.stdout
    with pytest.raises(EmNASError, match="cannot be written"):
        write_bundle(tmp_path / "no" / "folder.pyz")


def test_the_agent_keeps_the_contract_of_drivers(program: list[str]) -> None:  # E10
    with FaultyLine(program) as line:
        reading = check_driver(lambda: FramedDriver(line.path, seconds=20), small_deployment())
    assert reading.provenance == "board"
    assert reading.difference is not None
    assert f"{checksum():08x}" in reading.firmware
    assert find_backend().name in reading.firmware


def test_it_takes_tflite_files_of_a_user_s_own(line: FaultyLine, tmp_path: Path) -> None:
    path = tmp_path / "mine.tflite"
    path.write_bytes(small_deployment().tflite)
    with FramedDriver(line.path, seconds=20) as driver:
        assert driver.measure(deploy_file(path), REPEATS).latency_ms > 0


def test_more_runs_than_fit_a_request_are_asked_for_in_parts(line: FaultyLine) -> None:
    repeats = Repeats(timed=230, warm_up=1)
    with FramedDriver(line.path, seconds=20) as driver:
        assert len(driver.measure(small_deployment(), repeats).ticks) == 230


def test_an_output_that_is_too_far_off_is_no_measurement(line: FaultyLine) -> None:
    good = small_deployment()
    wrong = replace(good, expected=bytes((b + 128) % 256 for b in good.expected))
    with FramedDriver(line.path, seconds=20) as driver:
        with pytest.raises(ProtocolError, match="differs from the reference kernels' by"):
            driver.measure(wrong, REPEATS)
        assert driver.measure(good, REPEATS).latency_ms > 0


def test_a_tty_and_a_network_port(bundle: Path) -> None:
    near, far = os.openpty()
    tty.setraw(near)
    tty.setraw(far)
    command = [sys.executable, "-I", str(bundle)]
    server = subprocess.Popen(
        [*command, "--listen", "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    board = subprocess.Popen([*command, "--port", os.ttyname(far)], stderr=subprocess.DEVNULL)
    try:
        os.set_blocking(near, False)
        unpacker, frames, deadline = Unpacker(), [], time.monotonic() + 30
        while not frames and time.monotonic() < deadline:
            os.write(near, pack(Frame(HELLO, 5, MAGIC + b"\x01")))
            time.sleep(0.2)
            try:
                frames = unpacker.feed(os.read(near, 4096))
            except BlockingIOError:
                continue
        assert frames[0].kind == HELLO | 0x80
        assert server.stdout is not None
        address = server.stdout.readline().split()[-1]
        for _ in range(2):  # one host after the other
            with FramedDriver(f"socket://{address}", seconds=20) as driver:
                assert driver.measure(small_deployment(), REPEATS).difference is not None
    finally:
        for process in (server, board):
            process.kill()
            process.wait()
        os.close(near)
        os.close(far)
    with pytest.raises(ValueError, match="neither a port nor host:port"):
        serve_socket("board")


# ------------------------------------------------------------------------------------ what it says


def agent_answers(frames: list[Frame]) -> list[Frame]:
    """What the agent answers, in this process."""
    sent: list[bytes] = []
    agent = Agent(Runner(find_backend()), sent.append, "here")
    agent.take(b"".join(map(pack, frames)))
    return Unpacker().feed(b"".join(sent))


def upload(slot: int, data: bytes, seq: int) -> list[Frame]:
    begin = struct.pack("<BII", slot, len(data), zlib.crc32(data))
    chunks = [data[i : i + 1000] for i in range(0, len(data), 1000)]
    puts = [
        Frame(PUT, seq + 1 + i, struct.pack("<BI", slot, 1000 * i) + chunk)
        for i, chunk in enumerate(chunks)
    ]
    return [Frame(BEGIN, seq, begin), *puts, Frame(COMMIT, seq + len(puts) + 1, bytes([slot]))]


RUN_ONCE = Frame(RUN, 99, struct.pack("<HH", 1, 0))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ([Frame(0x44, 1)], "no such request"),
        ([Frame(PROFILE, 1)], "no such request"),
        ([Frame(HELLO, 1, b"EMNX\x01")], "not a greeting"),
        ([Frame(HELLO, 1, MAGIC + b"\x09")], "version 1"),
        ([Frame(BEGIN, 1, b"\x03")], "another length"),
        ([Frame(BEGIN, 1, struct.pack("<BII", 9, 1, 1))], "no such slot"),
        ([Frame(BEGIN, 1, struct.pack("<BII", TFLITE, 1 << 31, 1))], "larger than the memory"),
        ([Frame(BEGIN, 1, struct.pack("<BII", 0, 1, 1))], "larger than the memory"),
        ([Frame(PUT, 1, struct.pack("<BI", TFLITE, 4) + b"x")], "before these are missing"),
        ([Frame(PUT, 1, struct.pack("<BI", TFLITE, 0) + b"x")], "beyond the announced length"),
        ([upload(INPUT, b"four", 1)[0], Frame(COMMIT, 2, bytes([INPUT]))], "not all bytes"),
        ([Frame(READ, 1, struct.pack("<BIH", OUTPUT, 0, 4))], "nothing whole"),
        ([Frame(RUN, 1, struct.pack("<HH", 0, 0))], "1 to 100 repeats"),
        ([Frame(RUN, 1, struct.pack("<HH", 1, 0))], "no model"),
        ([*upload(TFLITE, b"junk" * 20, 1), RUN_ONCE], "no input"),
        (
            [*upload(TFLITE, b"junk" * 20, 1), *upload(INPUT, b"x", 50), RUN_ONCE],
            "not a .tflite file",
        ),
        (
            [*upload(TFLITE, small_deployment().tflite, 1), *upload(INPUT, b"x", 50), RUN_ONCE],
            "no input of the model's size",
        ),
        (
            [*upload(TFLITE, b"junkTFL3" + bytes(80), 1), *upload(INPUT, b"x", 50), RUN_ONCE],
            "the interpreter refuses the model",
        ),
        ([*upload(INPUT, b"four", 1), Frame(READ, 9, struct.pack("<BIH", INPUT, 2, 3))], "beyond"),
    ],
)
def test_what_it_cannot_do_it_refuses_in_words(asked: list[Frame], words: str) -> None:
    last = agent_answers(asked)[-1]
    assert last.kind == 0xFF
    assert words in last.payload.decode()


def test_wrong_bytes_are_sent_again_from_the_start() -> None:
    begin = Frame(BEGIN, 1, struct.pack("<BII", INPUT, 4, zlib.crc32(b"four")))
    wrong = Frame(PUT, 2, struct.pack("<BI", INPUT, 0) + b"five")
    commit = Frame(COMMIT, 3, bytes([INPUT]))
    answers = agent_answers([begin, wrong, commit, Frame(BEGIN, 4, begin.payload)])
    assert b"the checksum differs" in answers[2].payload
    assert answers[3].payload == bytes(4)


def test_a_request_that_comes_twice_is_done_once() -> None:
    good = small_deployment()
    run = Frame(RUN, 500, struct.pack("<HH", 5, 0))
    asked = [*upload(TFLITE, good.tflite, 1), *upload(INPUT, good.image, 300), run, run]
    answers = [frame for frame in agent_answers(asked) if frame.seq == 500 and frame.kind == 0x86]
    assert len(answers) == 2
    assert answers[0] == answers[1], "five new times would differ"


REQUESTS = st.builds(Frame, st.integers(0, 9), st.integers(0, 3), st.binary(max_size=40)).map(pack)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(REQUESTS | st.binary(max_size=60), max_size=20))
def test_whatever_comes_it_answers_or_is_silent(stream: list[bytes]) -> None:
    """1,000 frames in all, whole and broken; it still answers afterwards."""
    sent: list[bytes] = []
    agent = Agent(Runner(find_backend()), sent.append, "here")
    agent.take(b"".join(stream) + pack(Frame(HELLO, 99, MAGIC + b"\x01")))
    last = Unpacker().feed(b"".join(sent))[-1]
    assert (last.kind, last.seq) == (HELLO | 0x80, 99)


# --------------------------------------------------------------------------------------- bad lines


def test_a_measurement_over_a_bad_line_is_right(program: list[str]) -> None:
    faults = Faults(drop=5e-4, flip=5e-4, double=2e-4, delay=1e-4, seed=5)
    with FaultyLine(program, faults) as line, FramedDriver(line.path, seconds=30) as driver:
        for filters in (1, 2, 3):
            assert driver.measure(small_deployment(("flat",), filters), REPEATS).difference == 0
        assert sum(line.count.values()) >= 5
        assert driver.remote.session.retries >= 1


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    needs_program("gcc")
    return compiled(tmp_path_factory.mktemp("firmware"))


@pytest.mark.parametrize("kind", [HELLO, BEGIN, PUT, COMMIT, RUN, READ, REPORT])
@pytest.mark.parametrize("happens", ["unplugged", "silent"])
@pytest.mark.parametrize("device", ["program", "firmware"])
def test_at_every_state_of_the_protocol(
    request: pytest.FixtureRequest, device: str, kind: int, happens: str
) -> None:
    """Unplugged: lost. Silent: a timeout, and on the same line it goes on afterwards."""
    short = Repeats(timed=2, warm_up=0, seconds=1.0)
    with FaultyLine(request.getfixturevalue(device)) as line, Port(line.path) as port:
        if kind != HELLO:
            Remote(Session(port), seconds=20)  # it takes a second to start
        watched, done = Unpacker(), False

        def watch(data: bytes) -> None:
            nonlocal done
            if not done and any(frame.kind == kind for frame in watched.feed(data)):
                done = True
                line.stalled = happens == "silent"
                if happens == "unplugged":
                    line.unplug()

        line.before = watch
        with pytest.raises(DeviceLost if happens == "unplugged" else DeviceTimeout):
            driver_on(port).measure(small_deployment(), short)
        assert done
        line.stalled = False
        if happens == "silent":
            assert driver_on(port, 20).measure(small_deployment(), REPEATS).difference == 0


def driver_on(port: Port, seconds: float = 1.0) -> FramedDriver:
    """A driver on a port that is open already."""
    driver = FramedDriver.__new__(FramedDriver)
    driver.remote, driver.tolerance = Remote(Session(port), seconds), 16
    return driver


@pytest.mark.parametrize("moment", ["upload", "run"])
def test_an_agent_that_is_killed_is_a_timeout(program: list[str], moment: str) -> None:
    with FaultyLine(program) as line, FramedDriver(line.path, seconds=20) as driver:
        driver.remote.seconds = 1.0
        if moment == "run":
            driver.measure(small_deployment(), REPEATS)
        line.device.kill()
        with pytest.raises(DeviceTimeout):
            driver.measure(small_deployment(), Repeats(timed=2, warm_up=0, seconds=1.0))


def test_it_refuses_what_its_interpreter_has_not(line: FaultyLine) -> None:
    damaged = replace(small_deployment(), tflite=small_deployment().tflite[:200])
    with FramedDriver(line.path, seconds=20) as driver, pytest.raises(DeviceRefused):
        driver.measure(damaged, REPEATS)


# ----------------------------------------------------------------------------------------- nightly


@pytest.mark.slow
def test_on_an_arm64_board_the_output_is_the_same(bundle: Path, tmp_path: Path) -> None:  # E10
    needs_program("qemu-aarch64")
    command = agent_command(make_system(tmp_path), bundle)
    with FaultyLine(command) as line:
        reading = check_driver(lambda: FramedDriver(line.path, seconds=60), small_deployment())
        assert "aarch64 tflite-runtime 2.14.0" in reading.firmware
        with FramedDriver(line.path, seconds=60) as driver:
            differences = [
                driver.measure(small_deployment(("flat",), filters), REPEATS).difference
                for filters in range(1, 21)
            ]
    assert differences == [0] * 20
