"""The raw REPL against a real MicroPython of 2017, and against lines and peers that are bad."""

from __future__ import annotations

import random
import sys
import threading
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_line import FaultyLine
from microbit import Microbit
from scripted_peer import ScriptedPeer

from hardware.drivers.micropython import LIMIT, RawRepl
from hardware.drivers.micropython_files import PRELUDE, BoardFiles, number
from hardware.errors import (
    DeviceError,
    DeviceLost,
    DeviceRefused,
    DeviceTimeout,
    ProtocolError,
)
from hardware.link.port import Deadline, Port

pytest.importorskip("serial", reason="needs the package pyserial")

FAST = 1_000_000  # symbols a second; a line to an emulator has none of its own
EVERY_BYTE = bytes(range(256))


@pytest.fixture(scope="module")
def board() -> Iterator[Microbit]:
    with Microbit() as one:
        yield one


@pytest.fixture(scope="module")
def shared(board: Microbit) -> Iterator[RawRepl]:
    with Port(board.path, baud=FAST) as port:
        yield RawRepl(port, baud=FAST)


@pytest.fixture
def repl(shared: RawRepl) -> RawRepl:
    """The board's REPL, wherever the test before has left it."""
    shared.run("pass")
    return shared


class Spoiling(Microbit):
    """A micro:bit behind a line that changes every ``~`` that is sent, so many times."""

    def __init__(self, times: int) -> None:
        self.left = times
        super().__init__()

    def _spoil(self, data: bytes) -> bytes:
        spoilt = data.replace(b"~", b"!", self.left)
        self.left -= sum(a != b for a, b in zip(data, spoilt, strict=True))
        return spoilt


class InPieces(Microbit):
    """A micro:bit behind a line that brings every byte by itself."""

    def _pass_on(self, target: int, data: bytes) -> None:
        for byte in data:
            super()._pass_on(target, bytes([byte]))
            time.sleep(0.002)


# ---------------------------------------------------------------------------------- a real board


@pytest.mark.parametrize(
    "before",
    [
        b"\x02",
        b"\x02while True: pass\r\r",
        b"\x02for i in range(2):\rtry: print(",
        b"\x02\x05while True:\r",
        b"\x01while True: pass\x04",
        b"\x01x = 'half a li",
    ],
    ids=["friendly", "running", "typing", "pasting", "running raw", "typing raw"],
)
def test_raw_mode_is_entered_from_wherever_the_board_is(repl: RawRepl, before: bytes) -> None:
    repl.port.write(before, Deadline(1))
    repl.port.drain()
    again = RawRepl(repl.port, baud=FAST)
    assert again.run("print(6 * 7)") == "42\r\n"


def test_what_is_printed_comes_back(repl: RawRepl) -> None:
    assert repl.run("") == ""
    assert repl.run("for i in range(3):\n print(i)") == "0\r\n1\r\n2\r\n"
    code = "x = '" + "z" * 900 + "'\nprint(len(x))"
    assert repl.run(code) == "900\r\n", "many times what the board can buffer"
    assert repl.run("print('x' * 2000)") == "x" * 2000 + "\r\n"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("1 / 0", r"^ZeroDivisionError: division by zero$"),
        ("def f(:", r"^SyntaxError: invalid syntax$"),
        ("import ubinascii", r"^ImportError: no module named 'ubinascii'$"),
        ("raise OSError(28)", r"^OSError: 28$"),
        ("x = bytearray(60000)", r"^MemoryError: memory allocation failed"),
        (
            "print('alloc: no room')\nraise ValueError('kpu: 2006\\r\\n')",
            r"^ValueError: kpu: 2006 \(after printing 'alloc: no room'\)$",
        ),
        ("raise ValueError('\\x1b[2J' + 'z' * 999)", r"^ValueError: \?\[2Jz{184}$"),
    ],
)
def test_a_traceback_is_a_refusal_in_the_boards_words(repl: RawRepl, code: str, words: str) -> None:
    with pytest.raises(DeviceRefused, match=words):
        repl.run(code)
    assert repl.run("print(1)") == "1\r\n"


def test_an_endless_loop_is_interrupted_and_the_session_goes_on(repl: RawRepl) -> None:  # E10
    with pytest.raises(DeviceTimeout, match=r"did not finish in 0.3 s$"):
        repl.run("kept = 5\nwhile True: pass", seconds=0.3)
    assert repl.run("print(kept)") == "5\r\n", "interrupted, not reset"


def test_one_interrupt_may_not_be_enough(repl: RawRepl) -> None:
    stubborn = "try:\n while True: pass\nexcept KeyboardInterrupt:\n while True: pass"
    with pytest.raises(DeviceTimeout, match=r"did not finish"):
        repl.run(stubborn, seconds=0.3)
    assert repl.run("print(1)") == "1\r\n"


def test_a_flood_is_an_error_in_bounded_memory(repl: RawRepl) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError, match="floods the line: more than 65,536 bytes"):
            repl.run("while True: print('flood' * 20)", seconds=20)
        assert tracemalloc.get_traced_memory()[1] < 8 * LIMIT
    finally:
        tracemalloc.stop()
    assert repl.run("print(1)") == "1\r\n"


def test_output_that_looks_like_the_end_of_an_answer_is_no_answer(repl: RawRepl) -> None:
    with pytest.raises(ProtocolError, match="more than output and traceback"):
        repl.run("print('1\\x04\\x04 2>')")
    assert repl.run("print(1)") == "1\r\n"


@pytest.mark.parametrize("code", ["x = '\x03'", "\x04", "x = 'é'", "x\r"])
def test_code_that_would_steer_the_repl_is_not_sent(repl: RawRepl, code: str) -> None:
    with pytest.raises(DeviceError, match="only printable ASCII"):
        repl.run(code)
    assert repl.run("print(1)") == "1\r\n"


# ----------------------------------------------------------------------------------------- files


def _read_back(repl: RawRepl, path: str) -> bytes:
    """By other means than those of the upload: a hexadecimal number for every byte."""
    code = f"with open('{path}', 'rb') as f:\n for b in f.read():\n  print(hex(b))"
    return bytes(int(line, 16) for line in repl.run(code, 20).split())


@pytest.mark.parametrize("count", [0, 1, 95, 96, 97, 700])
def test_what_is_put_there_is_there(repl: RawRepl, count: int) -> None:
    data = random.Random(count).randbytes(count)
    files = BoardFiles(repl)
    assert files.checksum(f"file{count}") is None
    assert files.put(f"file{count}", data)
    assert files.checksum(f"file{count}") == zlib.crc32(data)
    assert _read_back(repl, f"file{count}") == data
    repl.run(f"import os\nos.remove('file{count}')")


def test_every_byte_value_arrives_and_is_not_sent_twice(repl: RawRepl) -> None:
    files = BoardFiles(repl)
    assert files.put("every.bin", EVERY_BYTE)
    assert _read_back(repl, "every.bin") == EVERY_BYTE
    assert not files.put("every.bin", EVERY_BYTE)
    assert files.put("every.bin", EVERY_BYTE[::-1])
    assert _read_back(repl, "every.bin") == EVERY_BYTE[::-1]


FILL = """
k = 0
try:
 while 1:
  f = open('z%d' % k, 'wb')
  for i in range(10): f.write('z' * 100)
  f.close()
  k += 1
except OSError:
 pass
"""


def test_a_full_board_says_so_and_keeps_nothing_broken() -> None:
    """On a board of its own: full for a second time, this file system loses other files."""
    with Microbit() as board, Port(board.path, baud=FAST) as port:
        repl = RawRepl(port, baud=FAST)
        files = BoardFiles(repl)
        repl.run(FILL, 20)
        names = "import os\nprint(sorted(os.listdir()))"
        before = repl.run(names)
        with pytest.raises(DeviceRefused, match="^OSError: no more storage space$"):
            files.put("more.bin", b"z" * 2000)
        assert repl.run(names) == before
        assert files.checksum("z0") == zlib.crc32(b"z" * 1000)


@pytest.mark.parametrize(
    "path",
    ["", "/", "a'b", "a\\b", "a\nb", "a b", "../a", "a/../b", "/sd/", "a//b", "é", "x" * 101, ".a"],
)
def test_a_path_cannot_end_its_string(repl: RawRepl, path: str) -> None:
    with pytest.raises(DeviceError, match="no path for a board"):
        BoardFiles(repl).put(path, b"")


def test_an_upload_that_was_changed_on_the_way_is_sent_again() -> None:
    with Spoiling(times=1) as line, Port(line.path, baud=FAST) as port:
        repl = RawRepl(port, baud=FAST)
        assert BoardFiles(repl).put("file", b"~~~" + EVERY_BYTE)
        assert line.left == 0
        assert _read_back(repl, "file") == b"~~~" + EVERY_BYTE


def test_an_upload_that_is_always_changed_is_an_error_and_no_file() -> None:
    with Spoiling(times=10**6) as line, Port(line.path, baud=FAST) as port:
        repl = RawRepl(port, baud=FAST)
        files = BoardFiles(repl)
        with pytest.raises(ProtocolError, match=r"file: CRC-32 \d+ on the board, \d+ sent"):
            files.put("file", b"~~~" + EVERY_BYTE)
        assert files.checksum("file") is None


def test_where_there_is_more_the_upload_takes_the_better_way(tmp_path: Path) -> None:
    """Base64, the board's own CRC-32, and a name only for the whole file, in a double of MaixPy."""
    double = [sys.executable, str(Path(__file__).with_name("raw_repl_double.py")), str(tmp_path)]
    data = random.Random(0).randbytes(5000)
    (tmp_path / "net.kmodel").write_bytes(b"another one")
    sent = bytearray()

    def note(direction: str, part: bytes) -> None:
        sent.extend(part if direction == ">" else b"")

    with FaultyLine(double) as line, Port(line.path, baud=FAST, transcript=note) as port:
        files = BoardFiles(RawRepl(port, baud=FAST))
        assert files.put("net.kmodel", data)
        assert (tmp_path / "net.kmodel").read_bytes() == data
        assert [file.name for file in tmp_path.iterdir()] == ["net.kmodel"]
        assert sent.count(b"_f.write(_d(b'") == 7
        assert not files.put("net.kmodel", data)


# ------------------------------------------------------------------------------- bad lines, peers


def test_every_byte_may_come_by_itself() -> None:
    with InPieces() as line, Port(line.path, baud=FAST) as port:
        repl = RawRepl(port, baud=FAST)
        assert repl.run("print(6 * 7)") == "42\r\n"
        with pytest.raises(DeviceRefused, match=r"^ZeroDivisionError: division by zero$"):
            repl.run("1 / 0")


def test_a_board_that_is_gone_in_the_middle_of_an_upload_is_lost() -> None:  # E10
    with Microbit() as board:
        writes = 0

        def pull(direction: str, data: bytes) -> None:
            nonlocal writes
            writes += direction == ">" and b"_f.write" in data
            if writes == 3:
                board.kill()

        with Port(board.path, baud=FAST, transcript=pull) as port:
            files = BoardFiles(RawRepl(port, baud=FAST))
            with pytest.raises(DeviceLost):
                files.put("file", bytes(5000))
            with pytest.raises(DeviceLost):
                files.checksum("file")


def test_a_board_that_is_gone_while_it_runs_is_lost() -> None:  # E10
    with Microbit() as board, Port(board.path, baud=FAST) as port:
        repl = RawRepl(port, baud=FAST)
        timer = threading.Timer(0.3, board.kill)
        timer.start()
        with pytest.raises(DeviceLost):
            repl.run("while True: pass", seconds=20)
        timer.join()


@pytest.mark.parametrize(
    ("program", "error", "words"),
    [
        (["sleep", "60"], DeviceTimeout, "no prompt in 0.5 s: is the board on"),
        (["cat"], ProtocolError, "no MicroPython, it says"),
        (["yes", "login:"], ProtocolError, "no MicroPython, it says .*login:"),
    ],
    ids=["silent", "echo", "flood"],
)
def test_what_is_no_micropython_is_found_out(
    program: list[str], error: type[DeviceError], words: str
) -> None:
    with FaultyLine(program) as line, Port(line.path) as port:
        with pytest.raises(error, match=words):
            RawRepl(port, seconds=0.5)


ENTER = (b"\x03\x03\x01", b"\r\nraw REPL; CTRL-B to exit\r\n>")


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (b"KO1\r\n\x04\x04>", ProtocolError, "instead of OK the board says b'KO1"),
        (b">>> print(1)\r\n1\r\n", ProtocolError, "instead of OK the board says b'>>> "),
        (b"OK1\r\n\x04\x04 and more>", ProtocolError, "more than output and traceback"),
        (b"OK1\r\n\x04\x04", DeviceTimeout, "did not finish in 0.2 s"),
        (b"O", DeviceTimeout, "did not finish in 0.2 s"),
    ],
)
def test_an_answer_that_cannot_be_is_an_error_and_the_prompt_is_found_again(
    answer: bytes, error: type[DeviceError], words: str
) -> None:
    dialogue = [ENTER, (b"print(1)\x04", answer), ENTER, (b"print(2)\x04", b"OK2\r\n\x04\x04>")]
    with ScriptedPeer(dialogue) as peer, Port(peer.path) as port:
        repl = RawRepl(port)
        with pytest.raises(error, match=words):
            repl.run("print(1)", seconds=0.2)
        assert repl.run("print(2)") == "2\r\n"
        assert bytes(peer.heard) == peer.expected


UNPARSED = b"MemoryError: parser could not allocate enough memory"


def refused(words: bytes) -> bytes:
    return b"OK\x04Traceback (most recent call last):\r\n" + words + b"\r\n\x04>"


def test_a_heap_too_scattered_to_parse_is_tidied_up_once() -> None:
    done = b"OK\x04\x04>"
    collect = (b"import gc\ngc.collect()\x04", done)
    dialogue = [ENTER, (b"print(1)\x04", refused(UNPARSED)), collect]
    dialogue += [(b"print(1)\x04", b"OK1\r\n\x04\x04>"), (b"print(2)\x04", refused(UNPARSED))]
    dialogue += [collect, (b"print(2)\x04", refused(UNPARSED))]
    dialogue += [(b"x\x04", refused(b"MemoryError: memory allocation failed"))]
    with ScriptedPeer(dialogue) as peer, Port(peer.path) as port:
        repl = RawRepl(port)
        assert repl.run("print(1)") == "1\r\n"
        with pytest.raises(DeviceRefused, match="parser could not allocate"):
            repl.run("print(2)")
        with pytest.raises(DeviceRefused, match="memory allocation failed"):
            repl.run("x")  # it may have begun: it is not run again
        assert bytes(peer.heard) == peer.expected


def test_the_golden_transcript_of_a_session() -> None:
    """Every byte that is sent, in its order: entering, putting a file, a refusal, leaving."""
    stale = b"[MaixPy] init end\r\n>>> raw REPL; CTRL-B to exit\r\n>"
    crc = zlib.crc32(b"kmodel!")
    done = b"OK\x04\x04>"
    dialogue = [
        (b"\x03\x03", stale),
        (b"\x01", b"\r\nraw REPL; CTRL-B to exit\r\n>"),
        (PRELUDE.encode() + b"\x04", b"OKEMNAS 1\r\n\x04\x04>"),
        (
            b"import os\nprint('EMNAS',1 if hasattr(os,'rename') else 0)\x04",
            b"OKEMNAS 1\r\n\x04\x04>",
        ),
        (b"print('EMNAS',_c('/sd/a.kmodel'))\x04", b"OKEMNAS -1\r\n\x04\x04>"),
        (b"try:\n _f.close()\nexcept:\n pass\n_f=open('/sd/a.kmodel.part','wb')\n\x04", done),
        (b"_f.write(_d(b'a21vZGVsIQ=='))\n\x04", done),
        (b"_f.close()\ngc.collect()\x04", done),
        (b"print('EMNAS',_c('/sd/a.kmodel.part'))\x04", b"OKEMNAS %d\r\n\x04\x04>" % crc),
        (
            b"import os\ntry:\n os.remove('/sd/a.kmodel')\nexcept OSError:\n pass\n"
            b"os.rename('/sd/a.kmodel.part','/sd/a.kmodel')\n\x04",
            done,
        ),
        (
            b"import KPU\x04",
            b"OK\x04Traceback (most recent call last):\r\n"
            b"ImportError: no module named 'KPU'\r\n\x04>",
        ),
        (b"\x02", b"\r\n>>> "),
    ]
    with ScriptedPeer(dialogue) as peer, Port(peer.path) as port:
        repl = RawRepl(port)
        assert BoardFiles(repl).put("/sd/a.kmodel", b"kmodel!")
        with pytest.raises(DeviceRefused, match="no module named 'KPU'"):
            repl.run("import KPU")
        repl.leave()
        port.drain()
        assert bytes(peer.heard) == peer.expected


@pytest.mark.parametrize(
    "printed",
    ["", "EMNAS\r\n", "EMNAS 1e9\r\n", "EMNAS 99999999999\r\n", "EMNAS 1\r\n" * 2, " 1\r\n"],
)
def test_a_number_that_is_none_is_no_number(printed: str) -> None:
    with pytest.raises(ProtocolError, match="should have printed a number"):
        number(printed)
