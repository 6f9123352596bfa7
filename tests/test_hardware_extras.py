"""Optional packages."""

from __future__ import annotations

import subprocess
import sys

import pytest

from emnas_gym.errors import BackendMissing
from hardware.extras import advice, load


def test_a_missing_package_names_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(BackendMissing, match=r"pip install 'emnas-gym\[serial\]'"):
        load("serial")


def test_a_package_of_no_extra_is_installed_by_its_name() -> None:
    assert advice("something") == "pip install something"


def test_importing_the_folder_needs_no_optional_package() -> None:
    code = (
        "import sys\n"
        "for name in ('ai_edge_litert', 'flatbuffers', 'ethosu', 'torch', 'serial', 'typer'):\n"
        "    sys.modules[name] = None\n"
        "import hardware.export, hardware.host, hardware.npu, hardware.doctor, hardware.timing\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
