"""The driver of MaixPy boards: a real MicroPython with a KPU that is none, and doubles.

What no test here shows is a K210: the KPU of `microbit` and of `raw_repl_double` only has the real
one's functions, errors and limit of networks.
"""

from __future__ import annotations

import dataclasses
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from driver_contract import REPEATS, check_driver
from faulty_line import FaultyLine
from hardware_deployments import small_deployment
from microbit import KPU, TOOLS, Microbit
from scripted_peer import ScriptedPeer

from emnas_gym.registry import resolve
from hardware.deployment import Deployment
from hardware.drivers.kpu_script import input_lines, parse_answers
from hardware.drivers.maixpy import MaixPyDriver
from hardware.drivers.maixpy_2021 import latency_ms_of_2021
from hardware.drivers.micropython import RawRepl
from hardware.drivers.micropython_files import BoardFiles
from hardware.errors import (
    DeviceError,
    DeviceLost,
    DeviceRefused,
    DeviceTimeout,
    ProtocolError,
)
from hardware.link.port import Deadline, Port
from hardware.reading import Reading, Repeats

pytest.importorskip("serial", reason="needs the package pyserial")
pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")

FAST = 1_000_000  # symbols a second; a line to an emulator has none of its own
V3, V4, V5 = (3).to_bytes(8, "little"), b"LDMK\x04\0\0\0", b"LDMK\x05\0\0\0"
SOON = Repeats(timed=3, warm_up=1, seconds=1.0)


def network(does: bytes = b"fine", version: bytes = V3) -> Deployment:
    """The small network with a kmodel that tells the KPU of the tests what to do.

    Its image has eight values: the micro:bit's heap is nearly full with a float for every pixel.
    """
    deployment = small_deployment()
    files = {**deployment.files, "kmodel": version + does}
    image = np.round(deployment.real_image * 7) / 7
    return dataclasses.replace(deployment, files=files, real_image=image)


@pytest.fixture(scope="module")
def board() -> Iterator[Microbit]:
    with Microbit() as one:
        with Port(one.path, baud=FAST) as port:
            files = BoardFiles(RawRepl(port, baud=FAST))
            files.put("KPU.py", KPU)
            files.put("tools.py", TOOLS)
        yield one


def made(board: FaultyLine, path: str = "emnas.kmodel", **options: object) -> MaixPyDriver:
    options = {"loading": 0.5, **options}
    return MaixPyDriver(board.path, FAST, path, **options)  # type: ignore[arg-type]


@contextmanager
def opened(board: FaultyLine, *path: str, **options: object) -> Iterator[MaixPyDriver]:
    """A driver that leaves the board with an empty heap, by the soft reset that it never does."""
    with made(board, *path, **options) as driver:
        yield driver
        with suppress(DeviceError):
            driver._port.write(b"\x04", Deadline(1))


@pytest.fixture
def driver(board: Microbit) -> Iterator[MaixPyDriver]:
    with opened(board) as one:
        yield one


def loaded(driver: MaixPyDriver) -> str:
    """How many networks the KPU holds."""
    return driver._repl.run("import KPU\nprint(KPU.n)").strip()


# ---------------------------------------------------------------------------------- a real board


def test_the_driver_keeps_the_contract(board: Microbit) -> None:  # E3, E10
    reading = check_driver(lambda: made(board), network())
    assert reading.provenance == "board"
    assert reading.clock == "utime.ticks_us"
    assert reading.ticks_per_second == 1e6
    assert len(reading.ticks) == REPEATS.timed
    assert reading.warm_up == REPEATS.warm_up
    assert reading.difference is None
    assert "MicroPython v1.9.2" in reading.firmware
    memory = [note for note in reading.notes if note.startswith("memory")]
    assert [note.split(":")[0] for note in memory] == [
        "memory before", "memory loaded", "memory after",
    ]  # fmt: skip


def test_it_has_a_name() -> None:
    assert resolve("driver", "maixpy") is MaixPyDriver


def test_the_time_is_that_of_forward(driver: MaixPyDriver) -> None:  # E3
    """On the board's clock; ten times the work in `forward` shows, and the same work repeats."""
    fine = driver.measure(network(), Repeats(5, 1, 10)).latency_ms
    slow = driver.measure(network(b"slow"), Repeats(5, 1, 10)).latency_ms
    assert slow > 4 * fine


def test_the_network_sees_the_image_and_its_class_is_compared(driver: MaixPyDriver) -> None:
    best = int(np.argmax(np.frombuffer(small_deployment().expected, np.int8)))
    right = driver.measure(network(b"class %d" % best), REPEATS)
    wrong = driver.measure(network(b"class %d" % (best ^ 1)), REPEATS)
    assert f"class {best}, as the reference kernels say" in right.notes
    assert f"class {best ^ 1}, not {best} as the reference kernels say" in wrong.notes


def test_the_image_arrives_as_the_list_of_its_floats(driver: MaixPyDriver) -> None:
    image = small_deployment().real_image
    for line in input_lines(image, driver._files):
        driver._repl.run(line)
    printed = driver._repl.run("for v in _x: print(v)\n_x=_p=None")
    assert [float(v) for v in printed.split()] == pytest.approx(image.ravel().tolist(), rel=1e-5)


def test_what_lies_there_is_not_sent_again(board: Microbit) -> None:
    sent = bytearray()

    def note(direction: str, part: bytes) -> None:
        sent.extend(part if direction == ">" else b"")

    with opened(board, transcript=note) as driver:
        driver.measure(network(b"new" * 50), SOON)
        assert b"_f.write(" in sent
        sent.clear()
        driver.measure(network(b"new" * 50), SOON)
        assert b"_f.write(" not in sent
        driver.measure(network(b"newer"), SOON)
        assert b"_f.write(" in sent


def test_the_kpu_says_no_in_its_own_words_and_is_left_empty(driver: MaixPyDriver) -> None:
    words = r"^ValueError: \[MAIXPY\]kpu: load error:2006, ERR_NO_MEM: memory not enough$"
    with pytest.raises(DeviceRefused, match=words):
        driver.measure(network(b"full"), SOON)
    for _ in range(6):  # one more than it holds
        with pytest.raises(
            DeviceRefused, match=r"^ValueError: \[MAIXPY\]kpu: check img format err!$"
        ):
            driver.measure(network(b"check"), SOON)
    assert loaded(driver) == "0"


def test_a_refused_network_does_not_end_the_others(driver: MaixPyDriver) -> None:
    answers = driver.measure_all([network(), network(b"full"), network()], SOON)
    assert [type(answer) for answer in answers] == [Reading, DeviceRefused, Reading]


def test_a_network_that_hangs_is_a_timeout_and_the_next_one_runs(driver: MaixPyDriver) -> None:
    with pytest.raises(DeviceTimeout, match="did not finish in 1.5 s"):
        driver.measure(network(b"hang"), SOON)
    assert loaded(driver) == "0", "deinit ran although it was interrupted"
    assert driver.measure(network(), SOON).latency_ms > 0


def test_a_network_that_floods_is_an_error_and_the_next_one_runs(driver: MaixPyDriver) -> None:
    with pytest.raises(ProtocolError, match="floods the line"):
        driver.measure(network(b"flood"), Repeats(1, 0, 20))
    assert loaded(driver) == "0"
    assert driver.measure(network(), SOON).latency_ms > 0


def test_a_board_that_was_reset_is_prepared_again(driver: MaixPyDriver) -> None:  # E10
    driver.measure(network(), SOON)
    driver._port.write(b"import microbit\nmicrobit.reset()\x04", Deadline(1))
    assert b"MicroPython v1.9.2" in driver._port.drain(0.5), "it greets anew"
    assert driver.measure(network(b"after"), SOON).latency_ms > 0


def test_a_network_that_is_no_kmodel_is_refused_before_anything_is_sent(
    driver: MaixPyDriver,
) -> None:
    with pytest.raises(DeviceRefused, match="needs the network as kmodel"):
        driver.measure(small_deployment(), SOON)
    with pytest.raises(DeviceRefused, match="version 5; MaixPy loads versions 3 and 4"):
        driver.measure(network(version=V5), SOON)


def test_a_board_that_is_gone_is_lost() -> None:  # E10
    with Microbit() as board:
        with Port(board.path, baud=FAST) as port:
            BoardFiles(RawRepl(port, baud=FAST)).put("KPU.py", KPU)

        def pull(direction: str, data: bytes) -> None:
            if direction == ">" and b"_m()" in data:
                board.kill()

        with opened(board, transcript=pull) as driver:
            with pytest.raises(DeviceLost):
                driver.measure(network(), REPEATS)
            with pytest.raises(DeviceLost):
                driver.describe()


def test_a_board_without_a_kpu_is_no_maixpy() -> None:
    with Microbit() as board:
        with pytest.raises(DeviceError, match="but no MaixPy: ImportError: no module named 'KPU'"):
            made(board)
        with Port(board.path, baud=FAST) as port:  # and the port is free again
            assert RawRepl(port, baud=FAST).run("print(1)") == "1\r\n"


def test_only_a_kmodel_can_be_loaded() -> None:
    with pytest.raises(DeviceError, match="only files that are called .kmodel"):
        MaixPyDriver("/dev/null", path="/sd/net.bin")
    with pytest.raises(DeviceError, match="no path for a board"):
        MaixPyDriver("/dev/null", path="/sd/');import os#.kmodel")


# ------------------------------------------------------------------------------- the way of 2021


def test_the_dialogue_of_2021_with_a_real_repl(board: Microbit) -> None:
    """The helper module is ours, as the original lies only on the boards of 2021."""
    with opened(board, legacy=True) as driver:
        for _ in range(2):
            reading = driver.measure(network(), Repeats(seconds=5))
            assert len(reading.ticks) == 1
            assert 0.1 < reading.latency_ms < 10_000
            assert "tools.py" in reading.clock
            assert reading.model == zlib.crc32(network().tflite)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("full", DeviceRefused, r"^ValueError: \[MAIXPY\]kpu: load error:2006, ERR_NO_MEM"),
        (
            "hang",
            DeviceTimeout,
            r"no prompt in 1.5 s after 'tools.measure_latency\(.hang.kmodel.\)'",
        ),
        ("text", ProtocolError, "says 'none yet', which is no latency"),
        ("flood", ProtocolError, "floods the line"),
    ],
)
def test_what_can_go_wrong_in_the_dialogue_of_2021(
    board: Microbit, name: str, error: type[DeviceError], words: str
) -> None:
    with opened(board, f"{name}.kmodel", legacy=True) as driver:
        with pytest.raises(error, match=words):
            driver.measure(network(), SOON)
        assert "heap" in driver.describe(), "the session goes on"


def test_the_golden_transcript_of_2021() -> None:
    stale = b"\r\n>>> "  # nothing of what follows may take it for an answer
    prompt = b"\r\n>>> "
    dialogue = [
        (b"", stale),
        (b"\x03", b"\r\nKeyboardInterrupt" + prompt),
        (b"import tools\r", b"import tools\r\n[MaixPy] init i2c2" + prompt),
        (b"import tools\r", b"import tools" + prompt),
        (b'tools.measure_latency("net.kmodel")\r', b'tools.measure_latency("net.kmodel")' + prompt),
        (b"tools.query_latency()\r", stale + b"tools.query_latency()\r\n72.33" + prompt),
    ]
    with ScriptedPeer(dialogue) as peer, Port(peer.path) as port:
        assert latency_ms_of_2021(port, "net.kmodel", 5) == 72.33
        assert bytes(peer.heard) == peer.expected


# ------------------------------------------------------- what the micro:bit has not, with a double


@pytest.fixture
def double(tmp_path: Path) -> Iterator[FaultyLine]:
    program = Path(__file__).with_name("raw_repl_double.py")
    with FaultyLine([sys.executable, str(program), str(tmp_path)]) as line:
        yield line


def test_a_network_of_version_4_is_told_its_output(double: FaultyLine) -> None:
    with opened(double) as driver:
        assert driver.describe()["free sys heap memory"] == "3400 KB"
        reading = driver.measure(network(version=V4), REPEATS)
        assert reading.latency_ms > 2, "the double sleeps so long"
        assert reading.notes[-2:] == (
            "memory loaded: 480,000 bytes of the heap are free, free gc heap memory : 400 KB, "
            "free sys heap memory: 3300 KB",
            "memory after: 480,000 bytes of the heap are free, free gc heap memory : 400 KB, "
            "free sys heap memory: 3400 KB",
        )
        words = "^ValueError: set_outputs failed .*size not match output size"
        with pytest.raises(DeviceRefused, match=words):
            driver.measure(network(b"other shape", V4), REPEATS)
        reading = driver.measure(network(b"no output"), REPEATS)
        assert "the output cannot be read: its class is not compared" in reading.notes
        assert "3400 KB" in reading.notes[-1]


def test_an_image_of_many_values_is_rounded_to_256(double: FaultyLine) -> None:
    image = np.random.default_rng(0).normal(size=(40, 50, 1)).astype(np.float32)
    with opened(double) as driver:
        for line in input_lines(image, driver._files):
            driver._repl.run(line)
        arrived = np.array(driver._repl.run("print(*_x)").split(), np.float32)
    assert len(set(arrived.tolist())) <= 256
    assert abs(arrived - image.ravel()).max() <= np.ptp(image) / 255 / 2 + 1e-6
    assert arrived.max() == pytest.approx(image.max())
    assert arrived.min() == image.min()


# -------------------------------------------------------------------------- what a board may print


@pytest.mark.parametrize(
    "printed",
    [
        "",
        "EMNAS ticks []\r\n",
        "EMNAS ticks [1, 2]\r\n",
        "EMNAS ticks [1, 2, 3, 4]\r\n",
        "EMNAS ticks [1, 0, 3]\r\n",
        "EMNAS ticks [1, -2, 3]\r\n",
        "EMNAS ticks [1, 2.5, 3]\r\n",
        "EMNAS ticks [1, 2, 99999999999999999999]\r\n",
        "EMNAS ticks [1, 2, 3] \r\n",
        "EMNAS ticks [1, 2, 3]\r\n" * 2,
        "EMNAS ticks [1, __import__('os'), 3]\r\n",
    ],
)
def test_times_that_cannot_be_are_none(printed: str) -> None:
    with pytest.raises(ProtocolError, match="3 positive times should have come"):
        parse_answers(printed, 3)


def test_what_else_a_board_prints_does_not_disturb() -> None:
    printed = (
        "init i2c2\r\nEMNAS output [nan, 1.0]\r\n###\x1b[2J: 1\r\nEMNAS ticks [7, 8, 9]\r\nbye"
    )
    answers = parse_answers(printed, 3)
    assert answers.ticks == (7, 8, 9)
    assert answers.output is None
    assert answers.memory == ()
    assert parse_answers("EMNAS output [1e-05, -2.5]\r\nEMNAS ticks [7]", 1).output == (1e-5, -2.5)
    assert parse_answers("EMNAS output [a, b]\r\nEMNAS ticks [7]", 1).output is None
