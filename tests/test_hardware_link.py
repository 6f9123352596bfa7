"""The link against the firmware's own end of it, over a line that loses and changes bytes."""

from __future__ import annotations

import os
import random
import select
import struct
import subprocess
import sys
import threading
import time
import tty
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_line import CHECKED, Faults, FaultyLine, compiled
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from network_port import NetworkPort
from outside_programs import needs_program

from hardware.errors import (
    DeviceError,
    DeviceLost,
    DeviceRefused,
    DeviceTimeout,
    ProtocolError,
)
from hardware.link.framing import Frame, Unpacker, pack
from hardware.link.port import Deadline, Port
from hardware.link.remote import (
    BEGIN,
    COMMIT,
    HELLO,
    INPUT,
    MAGIC,
    MODEL,
    PUT,
    READ,
    Greeting,
    Remote,
)
from hardware.link.session import Session

pytest.importorskip("serial", reason="needs the package pyserial")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    needs_program("gcc")
    return compiled(tmp_path_factory.mktemp("firmware"), *CHECKED)


@pytest.fixture
def line(program: list[str]) -> Iterator[FaultyLine]:
    with FaultyLine(program) as one:
        yield one


def _bytes(count: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(count)


# ------------------------------------------------------------------------------------ a good line


def test_a_device_says_who_it_is(line: FaultyLine) -> None:
    with Port(line.path) as port:
        greeting = Remote(Session(port)).greeting
    assert greeting.name == "posix"
    assert greeting.max_payload == 1024
    assert greeting.capacities == (16 << 20, 1 << 20, 1 << 18)
    assert greeting.ticks_per_second == 10**9


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 5000])
def test_what_is_put_there_is_there(line: FaultyLine, count: int) -> None:
    arrived: list[int] = []
    with Port(line.path) as port:
        remote = Remote(Session(port))
        remote.upload(MODEL, _bytes(count), arrived.append)
        assert remote.download(MODEL, count) == _bytes(count)
    assert arrived == sorted(arrived)
    assert arrived[-1] == count


def test_an_upload_that_broke_off_goes_on_where_it_was(line: FaultyLine) -> None:
    data = _bytes(4000)
    with Port(line.path) as port:
        remote = Remote(Session(port))

        def unplugged(count: int) -> None:
            if count > 2000:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            remote.upload(MODEL, data, unplugged)
        arrived: list[int] = []
        Remote(Session(port)).upload(MODEL, data, arrived.append)
        assert 2000 < arrived[0] < 2600
        assert remote.download(MODEL, 4000) == data
        arrived.clear()
        remote.upload(MODEL, data[::-1], arrived.append)
        assert arrived[0] == 0, "other bytes begin anew"


def test_the_device_says_no_in_its_own_words(line: FaultyLine) -> None:
    with Port(line.path) as port:
        session = Session(port)
        remote = Remote(session)
        with pytest.raises(DeviceRefused, match="larger than the memory"):
            remote.upload(INPUT, bytes((1 << 20) + 1))
        with pytest.raises(DeviceRefused, match="nothing whole"):
            remote.download(INPUT, 4)
        remote.upload(INPUT, b"four")
        with pytest.raises(DeviceRefused, match="beyond the end"):
            remote.download(INPUT, 5)
        for kind, payload, words in [
            (0x55, b"", "no such request"),
            (HELLO, b"EMNS", "not a greeting"),
            (HELLO, MAGIC + b"\x07", "version 1"),
            (BEGIN, b"\x00", "too short"),
            (BEGIN, struct.pack("<BII", 9, 1, 1), "no such slot"),
            (PUT, struct.pack("<BI", INPUT, 100), "bytes before these are missing"),
            (PUT, struct.pack("<BI", INPUT, 2) + b"abc", "beyond the announced length"),
            (READ, struct.pack("<BIH", INPUT, 0, 2000), "beyond the end"),
            (READ, struct.pack("<BIH", INPUT, 2**32 - 1, 2), "beyond the end"),
        ]:
            with pytest.raises(DeviceRefused, match=words):
                session.request(kind, payload)
        session.request(BEGIN, struct.pack("<BII", MODEL, 4, 1234))
        with pytest.raises(DeviceRefused, match="not all bytes"):
            session.request(COMMIT, bytes([MODEL]))
        session.request(PUT, struct.pack("<BI", MODEL, 0) + b"abcd")
        with pytest.raises(DeviceRefused, match="checksum differs"):
            session.request(COMMIT, bytes([MODEL]))


def test_a_request_that_comes_twice_is_done_once(line: FaultyLine) -> None:
    """Its second answer is the first one again, even where doing it again would be refused."""
    with Port(line.path) as port:
        unpacker, answers = Unpacker(), []
        begin = Frame(BEGIN, 7, struct.pack("<BII", MODEL, 4, 1))
        put = Frame(PUT, 8, struct.pack("<BI", MODEL, 0) + b"abcd")
        commit = Frame(COMMIT, 9, bytes([MODEL]))  # the checksum is wrong: nothing is kept
        for frame in (begin, put, commit, commit, commit):
            port.write(pack(frame), Deadline(1))
            while len(answers) == 0 or answers[-1][0] != frame.seq:
                answers += [(f.seq, f.payload) for f in unpacker.feed(port.read(Deadline(2)))]
            time.sleep(0.05)
            answers += [(f.seq, f.payload) for f in unpacker.feed(port.drain(0.05))]
    words = [payload for seq, payload in answers if seq == 9]
    assert len(words) == 3
    assert len(set(words)) == 1, "a second commit alone would say that bytes are missing"


# ------------------------------------------------------------------------------------- a bad line


@pytest.mark.parametrize(
    ("faults", "some"),
    [
        (Faults(drop=1e-4, flip=1e-4, double=1e-4, seed=1), 1),
        (Faults(drop=5e-4, flip=5e-4, double=2e-4, delay=2e-4, seed=2), 20),
        (Faults(drop=1e-3, seed=3), 20),
        (Faults(flip=1e-3, seed=4), 20),
    ],
    ids=["few", "many", "drop", "flip"],
)
def test_64_kibibytes_arrive_whole(program: list[str], faults: Faults, some: int) -> None:
    data = _bytes(64 << 10)
    with FaultyLine(program, faults) as line, Port(line.path) as port:
        session = Session(port)
        remote = Remote(session, seconds=20)
        remote.upload(MODEL, data)
        assert remote.download(MODEL, 4096) == data[:4096]
        assert sum(line.count.values()) >= some
        assert session.retries >= some / 4


@pytest.mark.slow
@pytest.mark.parametrize(
    "faults",
    [Faults(drop=1e-4, flip=1e-4, double=1e-4, delay=1e-5, seed=6), Faults(drop=1e-3, seed=7)],
    ids=["few", "drop"],
)
def test_a_mebibyte_arrives_whole(program: list[str], faults: Faults) -> None:
    """The C end is built with AddressSanitizer and UBSan."""
    data = _bytes(1 << 20)
    with FaultyLine(program, faults) as line, Port(line.path) as port:
        session = Session(port)
        remote = Remote(session, seconds=30)
        remote.upload(MODEL, data)
        assert remote.download(MODEL, 1 << 20) == data
        assert sum(line.count.values()) >= 300
        assert session.retries >= 100


def test_what_a_slow_line_takes_is_not_sent_twice() -> None:
    """The other end reads nothing for longer than one attempt to write takes, ten times over."""
    near, far = os.openpty()
    tty.setraw(near)
    tty.setraw(far)
    data, arrived = _bytes(32_000), bytearray()

    def read() -> None:
        while len(arrived) < len(data):
            if select.select([near], [], [], 5)[0]:
                arrived.extend(os.read(near, 3200))
                time.sleep(0.12)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        with Port(os.ttyname(far)) as port:
            port.write(data, Deadline(30))
            reader.join()
        assert bytes(arrived) == data
    finally:
        os.close(near)
        os.close(far)


def test_a_line_that_stands_still_is_a_timeout_and_then_goes_on(line: FaultyLine) -> None:
    with Port(line.path) as port:
        session = Session(port)
        remote = Remote(session)
        line.stalled = True
        begin = time.monotonic()
        with pytest.raises(DeviceTimeout, match=r"no answer to request 0x02 in 0.6 s, asked"):
            session.request(BEGIN, struct.pack("<BII", MODEL, 4, 1), seconds=0.6)
        assert time.monotonic() - begin < 2
        line.stalled = False
        remote.upload(MODEL, _bytes(900))
        assert session.stale >= 1, "the late answers were no answers to later requests"
        assert remote.download(MODEL, 900) == _bytes(900)


@pytest.mark.parametrize("moment", [0, 1, 3, 7])
def test_unplugged_at_whatever_moment_it_is_lost(program: list[str], moment: int) -> None:
    with FaultyLine(program) as line, Port(line.path) as port:
        remote = Remote(Session(port))

        def pull(count: int) -> None:
            if count >= moment * 256:
                line.unplug()

        with pytest.raises((DeviceLost, DeviceTimeout)) as caught:
            remote.upload(MODEL, _bytes(3000), pull)
        assert isinstance(caught.value, DeviceLost)
        with pytest.raises(DeviceLost):
            remote.download(MODEL, 4)


def test_two_programs_cannot_have_one_port(line: FaultyLine) -> None:
    elsewhere = (
        "import sys; from hardware.link.port import Port; from hardware.errors import DeviceError\n"
        "try: Port(sys.argv[1])\n"
        "except DeviceError as error: print(error)\n"
        "else: print('opened')"
    )
    command = [sys.executable, "-c", elsewhere, line.path]
    root = Path(__file__).parents[1]

    def other() -> str:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
        return done.stdout

    with Port(line.path), pytest.raises(DeviceError, match="in use by another program"):
        Port(line.path)
    with Port(line.path):
        assert "in use by another program" in other()
    assert other() == "opened\n"


def test_a_port_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="cannot be opened.*doctor"):
        Port(str(tmp_path / "ttyUSB9"))
    with pytest.raises(DeviceError, match="cannot be opened"):
        Port("nothing://here")


# --------------------------------------------------------------------------- what a device may say


class Scripted(FaultyLine):
    """A line whose far end is a Python expression that is called with every request."""

    SOURCE = """
import os, sys
sys.path[:0] = [{root!r}]
from hardware.link.framing import Frame, Unpacker, pack
unpacker = Unpacker()
while data := os.read(0, 4096):
    for asked in unpacker.feed(data):
        for answer in {answers}:
            os.write(1, answer)
"""

    def __init__(self, answers: str) -> None:
        source = self.SOURCE.format(root=str(Path(__file__).parents[1]), answers=answers)
        super().__init__([sys.executable, "-c", source])


GREETING = struct.pack("<4sBBHI", MAGIC, 1, 3, 1024, 1000)
SIZES = struct.pack("<3I", 4096, 4096, 4096)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (GREETING + struct.pack("<3I", 2**32 - 1, 1, 1), "slot of 4,294,967,295 bytes"),
        (struct.pack("<4sBBHI", MAGIC, 2, 3, 1024, 0) + SIZES, "speaks version 2"),
        (struct.pack("<4sBBHI", b"HTTP", 1, 3, 1024, 0) + SIZES, "begins with b'HTTP'"),
        (struct.pack("<4sBBHI", MAGIC, 1, 3, 0, 0) + SIZES, "frames of 0 bytes"),
        (struct.pack("<4sBBHI", MAGIC, 1, 3, 65_535, 0) + SIZES, "frames of 65535 bytes"),
        (struct.pack("<4sBBHI", MAGIC, 1, 255, 1024, 0) + SIZES, "255 slots in 12 bytes"),
        (GREETING, "3 slots in 0 bytes"),
        (b"", "greeting of 0 bytes"),
    ],
)
def test_a_greeting_that_cannot_be_is_refused(answer: bytes, words: str) -> None:
    with pytest.raises(ProtocolError, match=words):
        Greeting.parse(answer)


def test_a_name_is_only_printed() -> None:
    greeting = Greeting.parse(GREETING + SIZES + b"board\x1b[2J\xff" + b"x" * 500)
    assert greeting.name.startswith("board?[2J")
    assert len(greeting.name) == 64


@given(st.binary(max_size=80))
def test_no_greeting_does_worse_than_a_protocol_error(answer: bytes) -> None:
    try:
        Greeting.parse(answer)
    except ProtocolError:
        pass


@pytest.mark.parametrize(
    ("answers", "error", "words"),
    [
        ("[pack(Frame(asked.kind | 0x80, asked.seq ^ 1))]", DeviceTimeout, "no answer"),
        ("[pack(Frame(0x99, asked.seq))]", ProtocolError, "answered by 0x99"),
        ("[b'login: ' * 20]", DeviceTimeout, "no answer"),
        ("[bytes(range(256)) * 4096]", DeviceTimeout, "no answer"),
        ("iter(lambda: pack(Frame(0xfe, asked.seq)), 0)", DeviceTimeout, "no answer"),
        ("iter(lambda: pack(Frame(0xfd, 0, b'note')), 0)", DeviceTimeout, "no answer"),
        ("[pack(Frame(0xff, asked.seq, b'no memory'))]", DeviceRefused, "no memory"),
        ("[pack(Frame(asked.kind | 0x80, asked.seq, b'abc'))]", ProtocolError, "greeting of 3"),
        ("[sys.exit(0)]", DeviceTimeout, "no answer"),
    ],
    ids=["old", "kind", "noise", "flood", "busy", "notes", "no", "short", "dead"],
)
def test_a_device_gone_wrong_is_the_right_error_in_time(
    answers: str, error: type[DeviceError], words: str
) -> None:
    with Scripted(answers) as line, Port(line.path) as port:
        begin = time.monotonic()
        with pytest.raises(error, match=words):
            Remote(Session(port), seconds=1.5)
        assert time.monotonic() - begin < 10, "a flood is read no longer than the deadline"


def test_notes_of_the_device_are_kept_but_not_for_ever() -> None:
    answers = (
        "[pack(Frame(0xfd, 0, b'note %d' % i)) for i in range(300)]"
        " + [pack(Frame(asked.kind | 0x80, asked.seq, b'done'))]"
    )
    with Scripted(answers) as line, Port(line.path) as port:
        session = Session(port)
        assert session.request(1) == b"done"
        assert list(session.notes) == [f"note {i}" for i in range(200, 300)]


FRAMES = st.builds(
    Frame, st.integers(0, 255), st.sampled_from([6, 7, 8]), st.binary(max_size=40)
).map(pack)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(FRAMES | st.binary(max_size=40), min_size=20, max_size=30))
def test_whatever_comes_the_host_has_an_answer_or_an_error(stream: list[bytes]) -> None:
    """1,200 frames and more in all, whole and broken, under the number that is waited for too."""
    near, far = os.openpty()
    tty.setraw(near)
    tty.setraw(far)
    try:
        with Port(os.ttyname(far)) as port:
            session = Session(port, start=6)
            os.write(near, b"".join(stream))
            try:
                answer = session.request(3, b"", seconds=0.05)
            except (DeviceTimeout, DeviceRefused, ProtocolError):
                return
            assert pack(Frame(0x83, 7, answer)) in stream, "an answer that nobody gave"
    finally:
        os.close(near)
        os.close(far)


def test_a_port_behind_a_network(program: list[str]) -> None:
    """RFC 2217, against a server made of pyserial's own parts."""
    with FaultyLine(program) as line, NetworkPort(line.path) as server:
        with Port(f"rfc2217://127.0.0.1:{server.number}") as port:
            remote = Remote(Session(port))
            remote.upload(MODEL, _bytes(3000))
            assert remote.download(MODEL, 3000) == _bytes(3000)
        server.close()


# ------------------------------------------------------------------------------ the device's end


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.builds(Frame, st.integers(0, 8), st.integers(0, 3), st.binary(max_size=40)).map(pack)
        | st.binary(max_size=60)
        | st.just(pack(Frame(0x44, 1, bytes(1024)))),
        max_size=10,
    )
)
def test_whatever_comes_in_the_firmware_answers_or_is_silent(
    program: list[str], stream: list[bytes]
) -> None:
    """Under AddressSanitizer and UBSan; 1,000 frames in all, and it still answers afterwards."""
    hello = pack(Frame(HELLO, 99, MAGIC + b"\x01"))
    done = subprocess.run(program, input=b"".join(stream) + hello, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    last = Unpacker().feed(done.stdout)[-1]
    assert (last.kind, last.seq) == (HELLO | 0x80, 99)
    assert Greeting.parse(last.payload).name == "posix"


def test_both_ends_pack_alike(program: list[str]) -> None:
    """What the firmware reads back is packed by it and unpacked here, runs of 254 included."""
    for data in (bytes(300), b"\x01" * 254, b"\x01" * 255, b"\x07" * 508 + b"\0" + b"\x09" * 254):
        asked = [
            Frame(BEGIN, 1, struct.pack("<BII", MODEL, len(data), zlib.crc32(data))),
            Frame(PUT, 2, struct.pack("<BI", MODEL, 0) + data),
            Frame(COMMIT, 3, bytes([MODEL])),
            Frame(READ, 4, struct.pack("<BIH", MODEL, 0, len(data))),
        ]
        done = subprocess.run(
            program, input=b"".join(map(pack, asked)), capture_output=True, timeout=60
        )
        answers = Unpacker().feed(done.stdout)
        assert [frame.kind for frame in answers] == [0x82, 0x83, 0x84, 0x85]
        assert answers[-1].payload == data


def test_a_tty_of_its_own(program: list[str]) -> None:
    """The agent opens the tty that it is given and sets it to raw bytes."""
    near, far = os.openpty()
    device = subprocess.Popen([*program, os.ttyname(far)])
    try:
        time.sleep(0.3)
        os.write(near, pack(Frame(HELLO, 5, MAGIC + b"\x01")))
        unpacker, frames, deadline = Unpacker(), [], time.monotonic() + 10
        while not frames and time.monotonic() < deadline:
            frames = unpacker.feed(os.read(near, 4096))
        assert frames[0].kind == HELLO | 0x80
    finally:
        device.kill()
        device.wait()
        os.close(near)
        os.close(far)
