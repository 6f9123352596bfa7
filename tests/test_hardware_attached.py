"""What is attached, and who answers: a real tty with our firmware behind it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from faulty_line import FaultyLine, compiled
from outside_programs import needs_program

from hardware.attached import attached
from hardware.cli import app
from hardware.link.port import Port

list_ports = pytest.importorskip("serial.tools.list_ports", reason="needs the package pyserial")


def plug(monkeypatch: pytest.MonkeyPatch, *ports: SimpleNamespace) -> None:
    monkeypatch.setattr(list_ports, "comports", lambda: list(ports))


def port_at(path: str, vid: int | None = None, pid: int | None = None) -> SimpleNamespace:
    return SimpleNamespace(device=path, vid=vid, pid=pid, description="a thing")


def test_a_board_that_answers_is_named_only_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_program("gcc")
    with FaultyLine(compiled(tmp_path)) as line:
        plug(monkeypatch, port_at(line.path, 0x0483, 0x374B))
        (quiet,) = attached()
        assert (quiet.usb, quiet.driver, quiet.state) == ("0483:374b", "framed", "free")
        assert "NUCLEO" in quiet.what
        assert quiet.answers == ""
        (asked,) = attached(ask=True)
        assert asked.answers.startswith("framed: name posix, clock 1,000,000,000 ticks")


def test_a_port_in_use_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs_program("gcc")
    with FaultyLine(compiled(tmp_path)) as line, Port(line.path):
        plug(monkeypatch, port_at(line.path))
        (found,) = attached(ask=True)
    assert "in use by another program" in found.state
    assert (found.what, found.usb, found.answers) == ("a thing", "", "")


def test_what_no_driver_understands_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultyLine(["cat"]) as line:  # it says everything back
        plug(monkeypatch, port_at(line.path))
        (found,) = attached(ask=True)
    assert found.answers == "nothing that a driver understands"


def test_the_doctor_shows_the_ports(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with FaultyLine(["cat"]) as line:
        plug(monkeypatch, port_at(line.path, 0x1D6B, 0x0102))
        app(["doctor"], standalone_mode=False)
        text = capsys.readouterr().out
        app(["doctor", "--json"], standalone_mode=False)
        (row,) = json.loads(capsys.readouterr().out)["attached"]
    assert line.path in text
    assert "doctor --ask" in text
    assert (row["driver"], row["what"]) == ("jevois", "JeVois camera")
    plug(monkeypatch)
    app(["doctor"], standalone_mode=False)
    assert "no serial port is attached" in capsys.readouterr().out
