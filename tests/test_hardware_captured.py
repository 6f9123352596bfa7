"""Output of native code."""

from __future__ import annotations

import os

import pytest

from hardware.captured import captured


def test_what_is_written_to_the_descriptor_is_collected(capfd: pytest.CaptureFixture[str]) -> None:
    with captured(1) as printed:
        os.write(1, b"inside")
    os.write(1, b"after")
    assert printed == ["inside"]
    assert capfd.readouterr().out == "after"


def test_an_error_inside_gives_the_descriptor_back(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), captured(2) as printed:
        os.write(2, b"seen")
        raise ZeroDivisionError
    os.write(2, b"after")
    assert printed == ["seen"]
    assert capfd.readouterr().err == "after"
