"""Boards that speak MLPerf Tiny's protocol: our firmware as the real peer, and boards that lie."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import threading
import time
import tty
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from driver_contract import REPEATS, check_driver
from faulty_line import CHECKED, FaultyLine
from hardware_deployments import small_deployment
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlperf_boards import FlashableBoard, Liar, RecordingLine, header_folder, native
from outside_programs import needs_program

from emnas_gym.errors import EmNASError, UnknownName
from emnas_gym.registry import resolve
from hardware.deployment import Deployment
from hardware.drivers.flash_command import FlashCommand
from hardware.drivers.framed import EmulatedDriver
from hardware.drivers.mlperf_protocol import Dialogue, Inference
from hardware.drivers.mlperf_tiny import MLPerfTinyDriver
from hardware.emulator import BOARDS, Emulator
from hardware.errors import (
    DeviceError,
    DeviceLost,
    DeviceRefused,
    DeviceTimeout,
    ProtocolError,
)
from hardware.firmware_builder import build_mlperf_board
from hardware.link.port import Port
from hardware.reading import Repeats

pytest.importorskip("serial", reason="needs the package pyserial")
pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")
ONCE = Repeats(timed=1, warm_up=0, seconds=20.0)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    needs_program("gcc")
    return native(tmp_path_factory.mktemp("board"), small_deployment(), *CHECKED)


@pytest.fixture(scope="module")
def anonymous(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The same network, but the board does not say which one it is."""
    needs_program("gcc")
    return native(tmp_path_factory.mktemp("ic01"), small_deployment(), '-DMLPERF_MODEL="ic01"')


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> Path:
    needs_program("arm-none-eabi-gcc")
    needs_program("qemu-system-arm")
    folder = header_folder(tmp_path_factory.mktemp("arm"), small_deployment())
    return build_mlperf_board(BOARDS["cortex-m4"], folder, folder / "board.elf")


@pytest.fixture
def emulator(firmware: Path) -> Iterator[Emulator]:
    with Emulator(BOARDS["cortex-m4"], firmware) as one:
        yield one


def _real(deployment: Deployment) -> str:
    """The results that the firmware must print."""
    integers = np.frombuffer(deployment.expected, np.int8).astype(int)
    reals = (integers - deployment.output.zero_point) * deployment.output.scale
    return ",".join(f"{value:.6f}" for value in reals)


# ------------------------------------------------------------------------------------ real boards


def test_the_firmware_here_keeps_the_contract(program: list[str]) -> None:  # E3, E10
    made = resolve("driver", "mlperf_tiny")
    with FaultyLine(program) as line:
        reading = check_driver(
            lambda: made(line.path, seconds=3.0, provenance="host"), small_deployment()
        )
    assert reading.provenance == "host"
    assert reading.difference == 0
    assert reading.warm_up >= 2, "the runs that reckoned how many make a call count as well"
    assert reading.ticks_per_second == 1e6
    crc = zlib.crc32(small_deployment().tflite)
    assert reading.firmware == (
        f"EmNAS Gym on posix, EmNAS Gym, one network, 1, model emnas-{crc:08x}"
    )


def test_the_emulated_board_keeps_the_contract_and_the_count(emulator: Emulator) -> None:  # E3, E10
    """What two protocols say of one network on one core differs by the copying of the input."""
    deployment = small_deployment()

    def opened() -> MLPerfTinyDriver:
        return MLPerfTinyDriver(emulator.url, seconds=3.0, provenance="emulated-insn")

    reading = check_driver(opened, deployment)
    assert reading.provenance == "emulated-insn"
    assert reading.difference == 0
    assert max(reading.ticks) / min(reading.ticks) < 1.001
    with EmulatedDriver("cortex-m4") as framed:
        other = framed.measure(deployment, REPEATS)
    assert other.latency_ms < reading.latency_ms < 1.05 * other.latency_ms


def test_a_board_of_another_maker_is_judged_by_its_results(anonymous: list[str]) -> None:
    with FaultyLine(anonymous) as line, MLPerfTinyDriver(line.path) as driver:
        assert driver.describe()["model"] == "ic01"
        assert driver.measure(small_deployment(), ONCE).difference == 0
        with pytest.raises(ProtocolError, match=r"model is not this network; .*steps of the"):
            driver.measure(replace(small_deployment(), expected=bytes(4)), ONCE)
        with pytest.raises(ProtocolError, match="not this network.*4 results, not 5"):
            driver.measure(replace(small_deployment(), expected=bytes(5)), ONCE)
        with pytest.raises(DeviceRefused, match="Bytes that the network takes: 64"):
            driver.measure(replace(small_deployment(), image=bytes(65)), ONCE)
        with pytest.raises(ProtocolError, match="not this network; flash it, or give flash="):
            driver.measure(small_deployment(filters=5), ONCE)


def test_our_firmware_names_its_network_by_checksum(program: list[str]) -> None:
    other = small_deployment(filters=5)
    with FaultyLine(program) as line, MLPerfTinyDriver(line.path) as driver:
        with pytest.raises(ProtocolError, match=f"not {zlib.crc32(other.tflite):08x}"):
            driver.measure(other, ONCE)


def test_image_models_take_bytes_without_a_sign(tmp_path: Path) -> None:
    needs_program("gcc")
    board = native(tmp_path, small_deployment(), "-DMLPERF_INPUT_FLIP=0x80")
    with FaultyLine(board) as line:
        with MLPerfTinyDriver(line.path, unsigned=True) as driver:
            assert driver.measure(small_deployment(), ONCE).difference == 0
        with MLPerfTinyDriver(line.path) as driver, pytest.raises(ProtocolError, match="steps"):
            driver.measure(small_deployment(), ONCE)


SESSION = """\
> name%
< m-name-dut-[EmNAS Gym on posix]
< m-ready
> profile%
< m-profile-[EmNAS Gym, one network, 1]
< m-model-[ic01]
< m-ready
"""
INFERENCE = """\
> infer {runs} {warm_ups}%
< m-warmup-start-{warm_ups}
< m-warmup-done
< m-infer-start-{runs}
< m-lap-us-T
< m-lap-us-T
< m-infer-done
< m-results-[{results}]
< m-ready
"""
LOAD = """\
> db load 64%
< m-[Expecting 64 bytes]
< m-ready
> db {0}%
< m-ready
> db {1}%
< m-ready
> db {2}%
< m-load-done
< m-ready
"""


def test_a_whole_session_goes_over_the_line_like_this(anonymous: list[str]) -> None:
    deployment = small_deployment()
    with RecordingLine(anonymous) as line, MLPerfTinyDriver(line.path) as driver:
        driver.measure(deployment, Repeats(timed=2, warm_up=3, seconds=20.0))
        said = re.sub(r"m-lap-us-\d+", "m-lap-us-T", line.transcript)
    tries = re.findall(r"> infer (\d+) (\d+)%", said)
    assert tries[0] == ("1", "3")
    assert tries[-1] == tries[-2]
    assert 3 <= len(tries) <= 7
    pieces = [deployment.image[i : i + 31].hex() for i in (0, 31, 62)]
    golden = SESSION + SESSION + LOAD.format(*pieces)
    for runs, warm_ups in tries:
        golden += INFERENCE.format(runs=runs, warm_ups=warm_ups, results=_real(deployment))
    assert said == golden.rstrip()


def test_all_that_the_firmware_can_be_asked(program: list[str]) -> None:
    asked = "help%db print%timestamp%results%infer%results%db load 64%db 00ff%db print%infer 1%"
    asked += (
        "db 0%db 0g%db%db load%infer 0%infer 1 x%infer 10001%no-such%%" + "n" * 81 + "%\r\nname%"
    )
    done = subprocess.run(program, input=asked.encode(), capture_output=True, timeout=300)
    answers = [a.split("\r\n")[:-1] for a in done.stdout.decode().split("m-ready\r\n")[:-1]]
    assert len(answers) == asked.count("%")
    image, results = small_deployment().image, f"m-results-[{_real(small_deployment())}]"
    assert len(answers[0]) == 7
    rows = [image[i : i + 8].hex("-") for i in range(0, 64, 8)]
    assert answers[1] == [f"m-buffer-{row}" for row in rows], "the input that came with it"
    assert re.fullmatch(r"m-lap-us-\d+", answers[2][0])
    assert answers[3] == ["e-[There are no results before the first inference]"]
    assert answers[4][0] == "m-warmup-start-10"
    assert answers[4][-1] == results
    assert answers[5] == [results]
    assert answers[6] == ["m-[Expecting 64 bytes]"]
    assert answers[7] == []
    assert answers[8] == ["m-buffer-00-ff"]
    assert answers[9] == ["e-[Bytes of the input that are here: 2]"]
    words = ["Two hex", "Not a hex", "db is followed", "Bytes that", *["Inferences and"] * 3]
    words += ["Unknown command: no-such", "No command", "Longer than 80"]
    for answer, begin in zip(answers[10:-1], words, strict=True):
        assert len(answer) == 1
        assert answer[0].startswith(f"e-[{begin}")
    assert answers[-1] == ["m-name-dut-[EmNAS Gym on posix]"]


def test_a_damaged_network_is_refused_in_words(tmp_path: Path) -> None:
    needs_program("gcc")
    good = small_deployment()
    flat = b"BAD!" + good.file("flat")[4:]
    board = native(tmp_path, replace(good, files={"flat": flat}))
    with FaultyLine(board) as line, MLPerfTinyDriver(line.path) as driver:
        assert driver.describe()["model"] == "emnas-00000000"
        with pytest.raises(ProtocolError, match="checksum is 00000000"):
            driver.measure(good, ONCE)
    done = subprocess.run(board, input=b"infer%name%", capture_output=True, timeout=300)
    assert done.stdout.startswith(b"e-[not a model of this firmware's format]\r\nm-ready")


# --------------------------------------------------------------------------------------- flashing


def test_every_network_is_flashed_before_it_is_measured(tmp_path: Path) -> None:  # E10
    needs_program("gcc")
    first, second = small_deployment(), small_deployment(filters=5)
    with FlashableBoard(tmp_path, first) as board:
        with MLPerfTinyDriver(board.path) as driver:
            before = driver.describe()["model"]
        with MLPerfTinyDriver(board.path, flash=board.command) as driver:
            for deployment in (second, first):
                reading = driver.measure(deployment, ONCE)
                assert reading.difference == 0
                assert reading.model == zlib.crc32(deployment.tflite)
                assert driver.describe()["model"] == f"emnas-{reading.model:08x}"
            assert driver.describe()["model"] == before
        with pytest.raises(DeviceError, match="was closed"):
            driver.measure(first, ONCE)


def _python(source: str) -> str:
    return shlex.join([sys.executable, "-c", source]) + " {tflite} {flat}"


def test_a_command_that_fails_says_why_and_the_next_network_goes_on(tmp_path: Path) -> None:
    refused = _python("import sys; sys.exit('region FLASH overflowed by 9 bytes')")
    with MLPerfTinyDriver("/dev/null", flash=refused) as driver:
        answers = driver.measure_all([small_deployment(), small_deployment()], ONCE)
    assert [type(answer) for answer in answers] == [DeviceRefused, DeviceRefused]
    assert "status 1: region FLASH overflowed by 9 bytes" in str(answers[0])
    words = "import sys; print(*(open(p, 'rb').read()[4:8] for p in sys.argv[1:])); sys.exit(3)"
    with pytest.raises(DeviceRefused, match=r"status 3: b'TFL3' b'"):
        FlashCommand(_python(words), 30)(small_deployment())
    with pytest.raises(DeviceRefused, match="give tokens, not a file"):
        FlashCommand("make flash FLAT={flat}", 30)(replace(small_deployment(), files={}))
    with pytest.raises(DeviceError, match="killed by signal 9"):
        FlashCommand(_python("import os; os.kill(os.getpid(), 9)"), 30)(small_deployment())
    with pytest.raises(DeviceError, match="nowhere cannot be started"):
        FlashCommand(f"{tmp_path}/nowhere {{tflite}}", 30)(small_deployment())


def test_a_command_that_hangs_is_ended_with_all_that_it_started() -> None:
    needs_program("gcc")
    hang = "sh -c 'sleep 300 & echo child $! >&2; wait' sh {tflite}"
    with pytest.raises(DeviceTimeout, match=r"did not end in 0.5 s: child \d+") as caught:
        FlashCommand(hang, 0.5)(small_deployment())
    child = Path("/proc") / str(caught.value).rpartition(" ")[2]
    end = time.monotonic() + 10
    while child.exists() and "(zombie)" not in (child / "status").read_text():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("make flash", r"takes none of \{tflite\}, \{flat\}, \{header\}"),
        ("make '{tflite}", "No closing quotation"),
    ],
)
def test_a_template_that_cannot_flash(template: str, words: str) -> None:
    with pytest.raises(EmNASError, match=words):
        MLPerfTinyDriver("/dev/null", flash=template)


def test_a_provenance_is_one_of_ours() -> None:
    with pytest.raises(UnknownName, match="emulated-insn"):
        MLPerfTinyDriver("/dev/null", provenance="simulated")


# ----------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("lose", "error", "words"),
    [
        (b"0b", ProtocolError, "after 64 of 64 bytes.*not all: some were lost"),
        (b"0c0", DeviceRefused, "Two hexadecimal digits"),
        (b"3f%", DeviceTimeout, "no m-ready to 'db 3e3f'"),
    ],
)
def test_bytes_of_the_input_that_get_lost(
    program: list[str], lose: bytes, error: type[DeviceError], words: str
) -> None:
    deployment = replace(small_deployment(), image=bytes(range(64)))
    with RecordingLine(program, lose) as line, MLPerfTinyDriver(line.path, seconds=2.0) as driver:
        with pytest.raises(error, match=words):
            driver.measure(deployment, ONCE)
        assert driver.measure(small_deployment(), ONCE).difference == 0, "and then it goes on"


RESULTS = _real(small_deployment())


def _measure(line: FaultyLine, seconds: float = 6.0) -> float:
    with MLPerfTinyDriver(line.path, seconds=seconds) as driver:
        return driver.measure(small_deployment(), ONCE).latency_ms


def _changed(old: bytes, new: bytes) -> str:
    return f"[good.replace({old!r}, {new!r})]"


def test_a_good_board_of_another_maker_is_measured() -> None:
    first = b"\x00\xff\xfe boot v1.2\nm-init-done\r\nm-ready\r\n"
    with Liar(RESULTS, first=first) as line:
        assert _measure(line) == pytest.approx(50.0)
    with Liar(RESULTS + ",", "[b'debug\\r\\n', good]") as line:  # the benchmark's own does so
        assert _measure(line) == pytest.approx(50.0)
    with Liar(RESULTS, "[b'm-ready\\r\\n' if asked == b'name' else b'', good]") as line:
        assert _measure(line) == pytest.approx(50.0), "a late answer is none to this command"
    three = ",".join(f"{float(value):.3f}" for value in RESULTS.split(","))
    with Liar(three) as line:
        assert _measure(line) == pytest.approx(50.0)


@pytest.mark.parametrize(
    ("answers", "error", "words"),
    [
        ("[]", DeviceTimeout, "no m-ready to 'name' in 0.2 s.*baud rate"),
        ("[b'login: ']", DeviceTimeout, "no m-ready"),
        ("iter(lambda: b'x' * 4096, 0)", ProtocolError, "bytes without a line's end"),
        ("iter(lambda: b'\\r\\n' * 99, 0)", ProtocolError, "256 lines without m-ready"),
        ("[bytes(range(128, 256)) * 200]", ProtocolError, "bytes without a line's end"),
        (_changed(b"m-name", b"m-nome"), DeviceTimeout, "no m-ready to 'name'"),
        (_changed(b"m-model", b"m-mode"), ProtocolError, r"no m-model-\[\.\.\.\]"),
        (
            "[b'e-[No memory \\x1b[2J]\\r\\nm-ready\\r\\n' if b'load' in asked else good]",
            DeviceRefused,
            r"said no to 'db load 64': No memory \?\[2J",
        ),
        (_changed(b"m-[Expecting 64", b"m-[Expecting 63"), DeviceRefused, "takes no input of 64"),
        (
            "[good if b'load' not in asked else b'64 exceeds maximum of 32\\nm-ready\\r\\n']",
            DeviceRefused,
            "it said: 64 exceeds maximum of 32",
        ),
        (_changed(b"m-ready", b"m-load-done\r\nm-ready"), ProtocolError, "it has all: some were"),
        (_changed(b"m-load-done", b""), ProtocolError, "it has not all: some were lost"),
        (_changed(b"us-1000", b"us-1e3"), ProtocolError, "not a number: 'm-lap-us-1e3"),
        (_changed(b"us-1000", b"us-"), ProtocolError, "not a number"),
        (_changed(b"us-1000", b"us-" + b"9" * 20), ProtocolError, "went back"),
        (_changed(b"us-5", b"us-1000\r\n"), ProtocolError, "stands still: 10000 runs took no time"),
        (_changed(b"m-lap-us-1000\r\n", b""), ProtocolError, "1 times.*measuring energy"),
        (_changed(b"infer-start-1", b"infer-start-10"), ProtocolError, "asked for 1 .* began 10"),
        (_changed(b"m-infer-start", b""), ProtocolError, "asked for 1 runs and began none"),
        (_changed(b"m-results-", b"m-res-"), ProtocolError, r"no m-results-\[\.\.\.\]"),
    ],
)
def test_a_board_gone_wrong_is_the_right_error_in_time(
    answers: str, error: type[DeviceError], words: str
) -> None:
    with Liar(RESULTS, answers) as line:
        begin = time.monotonic()
        with pytest.raises(error, match=words):
            _measure(line, 0.6 if error is DeviceTimeout else 6.0)
        assert time.monotonic() - begin < 15, "a flood is read no longer than its bounds"


@pytest.mark.parametrize(
    "results", ["nan,0,0,0", "1e999,0,0,0", "0x1,0,0,0", "1_0,0,0,0", "", "1,,0,0", "0 1,0,0,0"]
)
def test_results_that_are_no_numbers(results: str) -> None:
    with Liar(results) as line, pytest.raises(ProtocolError, match="not a number of a network"):
        _measure(line)


def test_a_board_that_stands_still_times_out_and_then_goes_on(emulator: Emulator) -> None:
    with MLPerfTinyDriver(emulator.url, seconds=3.0) as driver:
        stop = threading.Timer(0.7, emulator.control, ["stop"])
        stop.start()
        with pytest.raises(DeviceTimeout):
            driver.measure(small_deployment(), Repeats(timed=1000, warm_up=1, seconds=2.5))
        stop.join()
        emulator.control("cont")
        assert driver.measure(small_deployment(), ONCE).difference == 0


def test_a_board_that_dies_in_the_middle_of_a_run_is_lost(emulator: Emulator) -> None:
    with MLPerfTinyDriver(emulator.url, seconds=3.0) as driver:
        end = threading.Timer(0.7, emulator.control, ["quit"])
        end.start()
        with pytest.raises(DeviceLost):
            driver.measure(small_deployment(), Repeats(timed=1000, warm_up=1, seconds=60.0))
        end.join()
        with pytest.raises(DeviceLost):
            driver.measure(small_deployment(), ONCE)


def test_the_firmware_killed_behind_a_line_that_stands_is_silence(program: list[str]) -> None:
    with FaultyLine(program) as line, MLPerfTinyDriver(line.path, seconds=1.0) as driver:
        end = threading.Timer(0.7, line.device.kill)
        end.start()
        with pytest.raises(DeviceTimeout):
            driver.measure(small_deployment(), Repeats(timed=1000, warm_up=1, seconds=1.5))
        end.join()


# --------------------------------------------------------------------------------------- fuzzing

WORDS = ["name", "profile", "timestamp", "results", "help", "db", "load", "print", "infer"]
NUMBERS = [
    "0",
    "1",
    "7",
    "63",
    "64",
    "65",
    "300",
    "10001",
    "4294967297",
    "9" * 30,
    "-1",
    "+1",
    "1.5",
]
BYTES = st.binary(max_size=45).map(bytes.hex)
LINES = (
    st.lists(st.sampled_from(WORDS + NUMBERS) | BYTES | st.text(max_size=6), max_size=6).map(
        " ".join
    )
    | st.tuples(
        st.sampled_from(["infer", "db", "db load", "db print"]), st.sampled_from(NUMBERS)
    ).map(" ".join)
    | BYTES.map("db {}".format)
    | st.text(max_size=120)
).map(lambda line: line.encode("utf-8", "replace").replace(b"%", b"$") + b"%")


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        LINES | st.binary(max_size=99).map(lambda b: b.replace(b"%", b"$") + b"%"),
        min_size=10,
        max_size=10,
    )
)
def test_whatever_is_asked_the_firmware_comes_back_ready(
    program: list[str], lines: list[bytes]
) -> None:
    """Under AddressSanitizer and UBSan; 1,000 commands in all, and it still runs its network."""
    asked = b"".join(lines) + b"db load 64%" + b"db 00%" * 64 + b"infer 1 0%"
    done = subprocess.run(program, input=asked, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    said = done.stdout.decode("ascii").split("\r\n")
    assert said.count("m-ready") == asked.count(b"%")
    assert said[-3].startswith("m-results-[")


@pytest.fixture(scope="module")
def terminal() -> Iterator[tuple[int, Dialogue]]:
    """A dialogue, and the board's end of its line."""
    near, far = os.openpty()
    tty.setraw(far)
    with Port(os.ttyname(far)) as port:
        yield near, Dialogue(port, seconds=5.0)
    os.close(near)
    os.close(far)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from([b"m-ready", b"\r\n", b"e-[", b"]", b"m-lap-us-", b"m-[Expecting 1 bytes]"])
        | st.binary(max_size=12),
        max_size=12,
    )
)
def test_whatever_comes_the_dialogue_ends_in_lines_or_a_typed_error(
    terminal: tuple[int, Dialogue], parts: list[bytes]
) -> None:
    near, dialogue = terminal
    os.write(near, b"".join(parts) + b"\r\nm-ready\r\n")
    try:
        lines = dialogue.command("name")
        assert not any(line.endswith("m-ready") or "\n" in line for line in lines)
    except DeviceRefused as refusal:
        assert str(refusal).isprintable()
    finally:
        assert os.read(near, 64) == b"name%"


ANSWER = [
    "m-warmup-start-0",
    "m-infer-start-3",
    "m-lap-us-10",
    "m-lap-us-70",
    "m-results-[0.5,-1e-3,2]",
]


@given(
    st.lists(
        st.sampled_from(ANSWER)
        | st.text(max_size=9).map("m-lap-us-{}".format)
        | st.text(max_size=9).map("m-infer-start-{}".format)
        | st.text("0123456789.,-+eE_naif x", max_size=30).map("m-results-[{}]".format)
        | st.text(max_size=30),
        max_size=8,
    )
    | st.permutations(ANSWER)
)
def test_an_answer_is_read_wholly_or_not_at_all(lines: list[str]) -> None:
    try:
        read = Inference.parse(lines, 3)
    except ProtocolError as error:
        assert str(error)
    else:
        assert read.microseconds >= 0
        assert read.runs == 3
        assert np.isfinite(read.results).all()
        assert read.results


def test_an_answer_is_read() -> None:
    assert Inference.parse(ANSWER, 3) == Inference(60, 3, (0.5, -0.001, 2.0))
