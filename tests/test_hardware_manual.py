"""Times typed by a person: the parser, the table, and the driver that asks."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import tty
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import pytest
from driver_contract import check_driver
from hardware_deployments import small_deployment
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.console import Console

from emnas_gym.errors import StoreError
from emnas_gym.registry import resolve
from hardware.drivers.manual import ManualDriver
from hardware.drivers.manual_table import COLUMNS, ManualTable, Row, import_table
from hardware.drivers.typed_times import (
    HOUR,
    MICROSECONDS,
    BadTime,
    Times,
    parse_times,
)
from hardware.errors import DeviceError, DeviceRefused
from hardware.reading import Repeats

pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")

REPEATS = Repeats(timed=3, warm_up=1)
HEADER = ",".join(COLUMNS) + "\n"


# ------------------------------------------------------------------------------- what people type


@pytest.mark.parametrize(
    ("text", "values", "unit"),
    [
        ("12.3 ms", (12.3,), "ms"),
        (" 850us\n", (850.0,), "us"),
        ("850 µs", (850.0,), "us"),
        ("850 \u03bcs", (850.0,), "us"),
        ("0.4 S", (0.4,), "s"),
        ("7\u00a0ns", (7.0,), "ns"),
        ("12.3 ms, 12.5 ms", (12.3, 12.5), "ms"),
        ("12.3 ms,12.5 ms", (12.3, 12.5), "ms"),
        ("12.3, 12.5 ms", (12.3, 12.5), "ms"),
        ("12.3,12.5,12.75 ms", (12.3, 12.5, 12.75), "ms"),
        ("12 13 14 ms", (12.0, 13.0, 14.0), "ms"),
        ("12; 13;14 ms", (12.0, 13.0, 14.0), "ms"),
        (".5 ms 1e3 us", (500.0, 1000.0), "us"),
        ("3600 s", (3600.0,), "s"),
    ],
)
def test_what_is_understood(text: str, values: tuple[float, ...], unit: str) -> None:
    assert parse_times(text) == Times(values, unit)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("12.3", "no unit"),
        ("12.3 ms, 12.5", "12.5 has no unit"),
        ("12 min", "'min' is none of s, ms, us, ns"),
        ("12 mss", "is none of"),
        ("0 ms", "above 0"),
        ("-3 ms", "above 0"),
        ("1e-400 s", "above 0"),
        ("nan ms", "no number"),
        ("inf s", "no number"),
        ("1e999 ms", "at most an hour"),
        ("3600.1 s", "at most an hour"),
        ("12,3 ms", "one value or two"),
        ("1,234.5 ms", "one value or two"),
        ("1.234,5 ms", "one value or two"),
        ("12,13,14 ms", "one value or two"),
        ("12.3.4 ms", "no number"),
        ("12.3 ms,", "no number"),
        (", 3 ms", "no number"),
        ("twelve ms", "no number"),
        ("ms", "no number"),
        ("", "no number"),
        ("1 ms " * 3000, "too many"),
        ("1" * 9999 + "x", "none of"),
        ("1" + " " * 9000 + "x", "none of"),
    ],
)
def test_what_is_not_understood_says_why(text: str, words: str) -> None:
    with pytest.raises(BadTime, match=words):
        parse_times(text)


def test_a_column_of_units_and_decimal_commas() -> None:
    assert parse_times("12.3 12.5", "ms") == Times((12.3, 12.5), "ms")
    assert parse_times("12,3 12,5", "µs", decimal_comma=True) == Times((12.3, 12.5), "us")
    assert parse_times("12,3; 12,5 ms", decimal_comma=True) == Times((12.3, 12.5), "ms")
    assert parse_times("12 ms", "s") == Times((12.0,), "ms"), "the nearer unit"
    with pytest.raises(BadTime, match="no number"):
        parse_times("1.234,5", "ms", decimal_comma=True)
    with pytest.raises(BadTime, match="'hours' is none of"):
        parse_times("12", "hours")


units = st.sampled_from(list(MICROSECONDS))


@st.composite
def some_times(draw: st.DrawFn) -> Times:
    unit = draw(units)
    most = HOUR / MICROSECONDS[unit]
    value = st.floats(1e-12, most, exclude_max=True)
    return Times(tuple(draw(st.lists(value, min_size=1, max_size=5))), unit)


@settings(deadline=None)
@given(some_times())
def test_times_read_back_as_they_are(times: Times) -> None:  # E16
    assert parse_times(times.text, times.unit) == times
    assert parse_times(f"{times.text} {times.unit}") == times
    assert parse_times(times.text.replace(".", ","), times.unit, decimal_comma=True) == times
    typed = ", ".join(f"{value!r} {times.unit}" for value in times.values)
    assert parse_times(typed).microseconds == times.microseconds


@settings(deadline=None)
@given(st.text(max_size=40) | st.text(alphabet="0123456789.,;eE+- msunµ", max_size=30), units)
@example("1" * 400, "ms")
@example("1e" + "9" * 100, "ms")
def test_whatever_is_typed_is_a_time_or_a_reason(text: str, unit: str) -> None:
    for comma in (False, True):
        try:
            times = parse_times(text, unit, comma)
        except BadTime as error:
            assert str(error)
        else:
            assert all(0 < value <= HOUR * 1.001 for value in times.microseconds)
            assert parse_times(times.text, times.unit) == times


# -------------------------------------------------------------------------------------- the table


def table(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    "text",
    [
        HEADER + "1a2b3c4d,12.3 12.5,ms,M4,cold,2021-05-01\n",
        HEADER + '0x1A2B3C4D,"12.3, 12.5",ms,M4,cold,2021-05-01',
        HEADER.replace(",", ";") + "1a2b3c4d;12,3 12,5;ms;M4;cold;2021-05-01\r\n;;;;;\r\n",
        HEADER.replace(",", ";") + '1a2b3c4d;"12,3; 12,5";ms;M4;cold;2021-05-01;;\n\n',
        HEADER.replace(",", "\t") + "1a2b3c4d\t12.3 12.5\tms\tM4\tcold\t2021-05-01\n",
        "Date,Note,Device,Unit , VALUES,extra,Model\n"
        "2021-05-01,cold,M4,,12300us 12500 us,x,1a2b3c4d\n",
        HEADER + "1a2b3c4d,12.3 12.5,ms,M4,cold,2021-05-01\n" * 2,
        HEADER + "1a2b3c4d,,,,,\n1a2b3c4d,12.3 12.5,ms,M4,cold,2021-05-01\n",
    ],
    ids=["ours", "quoted", "semicolons", "semi-list", "tabs", "columns", "twice", "waited"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_tables_as_spreadsheets_write_them(tmp_path: Path, text: str, encoding: str) -> None:  # E16
    (row,) = import_table(table(tmp_path / "t.csv", text, encoding))
    assert row.model == 0x1A2B3C4D
    assert row.times.microseconds == pytest.approx((12300.0, 12500.0))
    assert (row.device, row.note, row.date) == ("M4", "cold", "2021-05-01")


GOOD = "1a2b3c4d,12.3,ms,M4,,\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD, ":1: the header needs the columns model, values, unit once"),
        ("model,values,units\n", ":1: .*; unit is not so"),
        ("model,model,values,unit\n", ":1: .*; model is not so"),
        ("\n" + HEADER + GOOD, ":1: the header"),
        (HEADER + GOOD + "1a2b3c4e,12,minutes,,,\n", ":3: the unit 'minutes'"),
        (HEADER + "1a2b3c4e,12,,,,\n", ":2: 12 has no unit"),
        (HEADER + "1a2b3c4e,0,ms,,,\n", ":2: 0 ms is no time"),
        (HEADER + "1a2b3c4e,-1,ms,,,\n", ":2: -1 ms is no time"),
        (HEADER + "1a2b3c4e,NaN,ms,,,\n", ":2: 'nan' is no number"),
        (HEADER + "1a2b3c4e,3601,s,,,\n", ":2: 3601 s is no time"),
        (HEADER + '1a2b3c4e,"12,3",ms,,,\n', ":2: 12,3 can be one value or two"),
        (HEADER + "1a2b3c4e,12.Mrz,ms,,,\n", ":2: the unit 'mrz' is none of"),
        (HEADER + GOOD + GOOD.replace("12.3", "12.4"), ":3: .*1a2b3c4d something else than line 2"),
        (HEADER + GOOD + GOOD.replace("M4", "M7"), ":3: .*something else than line 2"),
        (HEADER + "12345,12,ms,,,\n", ":2: the model '12345' is no CRC of 8 hex digits"),
        (HEADER + "1.2E+45,12,ms,,,\n", ":2: the model .*make it a column of text"),
        (HEADER + "model_0001,12,ms,,,\n", ":2: the model"),
        (HEADER + ",12,ms,,,\n", ":2: the model ''"),
        (HEADER + "1a2b3c4e,12\n", ":2: 2 cells, where the header has 6"),
        (HEADER + "1a2b3c4e,12,ms,,,,more\n", ":2: 7 cells"),
        (HEADER + '1a2b3c4e,12,ms,,"two\nlines",\nx,1,ms,,,\n', ":4: the model 'x'"),
        (HEADER + GOOD + '1a2b3c4e,"12,ms\n', ":3: is no CSV"),
        (HEADER + GOOD + '1a2b3c4e,"12"3,ms,,,\n', ":3: is no CSV"),
        ("PK\x03\x04", ":1: the header"),
    ],
)
def test_what_is_wrong_with_a_table_names_its_line(tmp_path: Path, text: str, words: str) -> None:
    path = table(tmp_path / "t.csv", text)
    with pytest.raises(StoreError, match=f"t.csv{words}"):
        import_table(path)
    with pytest.raises(StoreError, match=f"t.csv{words}"):
        ManualDriver(str(path))
    assert path.read_text() == text


def test_what_is_no_table_at_all(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such file"):
        import_table(tmp_path / "none.csv")
    with pytest.raises(StoreError, match="cannot be read"):
        import_table(tmp_path)
    with pytest.raises(StoreError, match="not UTF-8; save it as"):
        import_table(table(tmp_path / "u16.csv", HEADER, "utf-16"))
    with (tmp_path / "large.csv").open("wb") as file:
        file.truncate(17 << 20)
    with pytest.raises(StoreError, match="larger than 16 MiB"):
        import_table(tmp_path / "large.csv")


@settings(deadline=None)
@given(st.text(max_size=80) | st.text(alphabet='model,values unit;"\n\r\t1a.', max_size=80))
def test_whatever_the_file_says_it_is_rows_or_a_typed_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    for content in (text, HEADER + GOOD + text):
        path.write_bytes(content.encode("utf-8", "surrogatepass"))
        try:
            rows = import_table(path)
        except StoreError as error:
            assert str(path) in str(error)
        else:
            assert all(isinstance(row, Row) for row in rows)


cells = st.text(alphabet="ab ,;\"'\t\nµé=", max_size=12)


@settings(deadline=None)
@given(
    st.dictionaries(st.integers(0, 2**32 - 1), st.tuples(some_times(), cells, cells), max_size=4),
    st.sampled_from(",;\t"),
    st.booleans(),
)
def test_rows_read_back_as_they_were_put(
    tmp_path_factory: pytest.TempPathFactory,
    rows: dict[int, tuple[Times, str, str]],
    delimiter: str,
    marked: bool,
) -> None:
    path = tmp_path_factory.getbasetemp() / "put.csv"
    header = HEADER.replace(",", delimiter)
    path.write_bytes(header.encode("utf-8-sig" if marked else "utf-8"))
    for model, (times, device, note) in rows.items():
        written = ManualTable(path)
        if model % 2:
            written.wait_for(model, device)
        written.put(Row(model, times, device, note))
    read = {row.model: row for row in import_table(path)}
    assert {m: row.times for m, row in read.items()} == {m: t for m, (t, _, _) in rows.items()}
    for model, (_, device, note) in rows.items():
        shown = [text.strip().replace("\n", " ").replace("\t", " ") for text in (device, note)]
        assert [read[model].device, read[model].note] == shown
    assert path.read_bytes().startswith(b"\xef\xbb\xbf") == marked
    assert not path.with_name("put.csv.part").exists()


def test_what_a_person_wrote_stays_as_it_is(tmp_path: Path) -> None:
    text = 'Model ;values;unit;mood\r\n0000000a;"1,50";ms;good\r\n\r\n0000000b;;;"two\r\nlines"\r\n'
    path = table(tmp_path / "t.csv", text + "0000000c;;;", "utf-8-sig")
    written = ManualTable(path)
    assert written.waiting[0xB].line == 4
    written.put(Row(0xB, Times((2.5, 3.0), "us"), "M4"))
    written.put(Row(0xD, Times((0.25,), "s"), "M4"))
    assert path.read_bytes().decode("utf-8-sig") == (
        'Model ;values;unit;mood\r\n0000000a;"1,50";ms;good\r\n\r\n'
        '0x0000000b;2,5 3,0;us;"two\r\nlines"\r\n0000000c;;;\r\n0x0000000d;0,25;s;\r\n'
    )
    assert [row.model for row in import_table(path)] == [0xA, 0xB, 0xD]


def test_a_table_that_cannot_be_written_stays(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", HEADER + GOOD)
    written = ManualTable(path)
    (tmp_path / "t.csv.part").mkdir()
    with pytest.raises(StoreError, match="cannot be written"):
        written.put(Row(1, Times((1.0,), "ms")))
    assert path.read_text() == HEADER + GOOD


# ------------------------------------------------------------------------------------- the driver


class Person(io.StringIO):
    """Somebody at a terminal who types lines that were thought of before."""

    def isatty(self) -> bool:
        return True


def asked(path: Path, answers: str, **options: Any) -> tuple[ManualDriver, io.StringIO]:
    shown = io.StringIO()
    console = Console(file=shown, width=200)
    return ManualDriver(str(path), source=Person(answers), console=console, **options), shown


CRC = zlib.crc32(small_deployment().tflite)


def test_a_filled_table_keeps_the_contract_of_all_drivers(tmp_path: Path) -> None:  # E16
    path = table(tmp_path / "t.csv", f"{HEADER}{CRC:08x},12.3 12.5 12.4,ms,M4,cold,\n")
    reading = check_driver(lambda: ManualDriver(str(path), device="M4"), small_deployment())
    assert reading.provenance == "manual"
    assert reading.clock == "typed by hand"
    assert reading.ticks == pytest.approx((12300.0, 12500.0, 12400.0))
    assert reading.latency_ms == pytest.approx(12.4)
    assert reading.difference is None
    assert reading.notes == ("M4", "cold")
    assert resolve("driver", "manual") is ManualDriver


def test_what_is_asked_is_remembered(tmp_path: Path) -> None:
    path = tmp_path / "new" / "t.csv"
    driver, shown = asked(path, "12,3\n12.3 min\n12.3 ms, 12.5 ms\n", device="[red]M4")
    with driver:
        first = driver.measure(small_deployment(), REPEATS)
        assert first.ticks == pytest.approx((12300.0, 12500.0))
        assert driver.measure(small_deployment(), REPEATS) == first, "nobody is asked twice"
        assert driver.describe()["filled in"] == "1 rows"
    text = shown.getvalue()
    assert f"Model {CRC:08x}: flash one of model.tflite, model.flat from" in text
    assert "to [red]M4; run it 1 times unmeasured" in text
    assert "Not understood: 12,3 can be one value or two" in text
    assert "Not understood: the unit 'min'" in text
    assert text.count("Time of one run") == 3
    folder = path.parent / f"{CRC:08x}"
    assert (folder / "model.tflite").read_bytes() == small_deployment().tflite
    assert (folder / "model.flat").read_bytes() == small_deployment().files["flat"]
    assert sorted(p.name for p in folder.iterdir()) == ["model.flat", "model.tflite"]
    again, shown = asked(path, "")
    with again:  # another day
        assert again.measure(small_deployment(), REPEATS) == first
    assert shown.getvalue() == ""


@pytest.mark.parametrize("answer", ["\n", "skip\n", " SKIP \n", ""])
def test_what_is_skipped_is_refused_and_asked_again_later(tmp_path: Path, answer: str) -> None:
    path = tmp_path / "t.csv"
    other = small_deployment(filters=2)
    driver, _ = asked(path, answer + "5 ms\n")
    with driver:
        if answer:
            refusal, reading = driver.measure_all([small_deployment(), other], REPEATS)
            assert isinstance(refusal, DeviceRefused)
            assert not isinstance(reading, Exception)
            assert [row.model for row in import_table(path)] == [zlib.crc32(other.tflite)]
    driver, _ = asked(path, answer)
    with driver, pytest.raises(DeviceRefused, match=f"{CRC:08x} was skipped"):
        driver.measure(small_deployment(), REPEATS)


def test_five_bad_answers_are_enough(tmp_path: Path) -> None:
    driver, shown = asked(tmp_path / "t.csv", "12\n" * 5 + "12 ms\n")
    with driver, pytest.raises(DeviceRefused, match="5 answers .* were no time: 12 has no unit"):
        driver.measure(small_deployment(), REPEATS)
    assert shown.getvalue().count("Time of one run") == 5
    assert not (tmp_path / "t.csv").exists()


def test_where_nobody_is_there_a_row_waits(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    other = small_deployment(filters=2)
    with ManualDriver(str(path), device="M4", source=io.StringIO("12 ms\n")) as driver:
        for _ in range(2):
            answers = driver.measure_all([small_deployment(), other], REPEATS)
            assert [str(answer).partition(": ")[2].split(" (")[0] for answer in answers] == [
                f"measure a file of {tmp_path / f'{CRC:08x}'}, and fill in line 2 of {path}",
                f"measure a file of {tmp_path / f'{zlib.crc32(other.tflite):08x}'}, "
                f"and fill in line 3 of {path}",
            ]
        assert driver.describe()["to fill in"] == "2 rows"
    assert import_table(path) == []
    filled = path.read_text().replace(f"0x{CRC:08x},,,M4", f"0x{CRC:08x},12.5,ms,M4")
    path.write_text(filled)
    driver, _ = asked(path, "850 us\n")
    with driver:  # and the other one at a terminal
        assert driver.measure(small_deployment(), REPEATS).latency_ms == pytest.approx(12.5)
        assert driver.measure(other, REPEATS).latency_ms == pytest.approx(0.85)
    assert len(path.read_text().splitlines()) == 3, "in the place of the row that waited"
    assert import_table(path)[1].device == "M4"


def test_a_row_that_somebody_filled_in_meanwhile_stays(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", HEADER)

    class Meanwhile(Person):
        def readline(self, size: int | None = -1) -> str:  # type: ignore[override]
            path.write_text(f"{HEADER}{CRC:08x},7,ms,,,\n")
            return "12 ms\n"

    console = Console(file=io.StringIO())
    with ManualDriver(str(path), source=Meanwhile(), console=console) as driver:
        assert driver.measure(small_deployment(), REPEATS).latency_ms == pytest.approx(7)
    assert path.read_text() == f"{HEADER}{CRC:08x},7,ms,,,\n"


def test_standard_input_without_a_terminal_is_asked_nothing(tmp_path: Path) -> None:
    source = (
        "import sys; from hardware.drivers.manual import ManualDriver\n"
        "from hardware.errors import DeviceRefused; from hardware.reading import Repeats\n"
        "from hardware_deployments import small_deployment\n"
        "try: ManualDriver(sys.argv[1]).measure(small_deployment(), Repeats())\n"
        "except DeviceRefused as refusal: print(refusal)\n"
    )
    root = Path(__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}"}
    done = subprocess.run(
        [sys.executable, "-c", source, str(tmp_path / "t.csv")],
        cwd=root,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert f"fill in line 2 of {tmp_path / 't.csv'}" in done.stdout, done.stderr


@contextmanager
def terminal(answers: bytes) -> Iterator[tuple[TextIO, Console]]:
    """A pty at whose other end somebody types."""
    near, far = os.openpty()
    tty.setcbreak(far)
    try:
        with open(far, closefd=False) as source:
            console = Console(file=io.StringIO(), width=100)
            typist = threading.Thread(target=os.write, args=(near, answers))
            typist.start()
            yield source, console
            typist.join()
    finally:
        os.close(near)
        os.close(far)


def test_a_real_terminal_is_asked(tmp_path: Path) -> None:
    with terminal(b"soon\n12.3 ms\n") as (source, console):
        with ManualDriver(str(tmp_path / "t.csv"), source=source, console=console) as driver:
            assert driver.measure(small_deployment(), REPEATS).latency_ms == pytest.approx(12.3)
        assert "'soon' is no number with a unit" in console.file.getvalue()  # type: ignore[attr-defined]


def test_two_programs_cannot_have_one_table(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    (tmp_path / "link.csv").symlink_to(path)
    with ManualDriver(str(path)):
        for name in ("t.csv", "link.csv"):
            with pytest.raises(DeviceError, match="in use by another process"):
                ManualDriver(str(tmp_path / name))
    ManualDriver(str(path)).close()
    with pytest.raises(StoreError):
        ManualDriver(str(table(path, GOOD)))
    table(path, HEADER)
    ManualDriver(str(path)).close()  # what could not be opened was let go


def test_files_that_cannot_be_written_are_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / f"{CRC:08x}").write_text("in the way")
    driver, _ = asked(tmp_path / "t.csv", "12 ms\n")
    with driver, pytest.raises(DeviceError, match="cannot be written"):
        driver.measure(small_deployment(), REPEATS)
