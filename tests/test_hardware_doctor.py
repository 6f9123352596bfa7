"""What is installed."""

from __future__ import annotations

import sys

import pytest

from hardware.doctor import examine
from hardware.versions import package_version, program_version


def test_it_tries_what_it_finds() -> None:
    pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")
    found = {finding.name: finding for finding in examine()}
    assert found["ai-edge-litert"].works is True
    assert found["numpy"].version


def test_a_missing_interpreter_is_reported_not_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.schema_py_generated", None)
    found = {finding.name: finding for finding in examine()}
    assert found["ai-edge-litert"].works is False
    assert "emnas-gym[litert]" in found["ai-edge-litert"].advice


def test_what_is_not_there_has_no_version() -> None:
    assert package_version("no-such-distribution") == ""
    assert program_version("no-such-program") == ""
    assert program_version("python3")
