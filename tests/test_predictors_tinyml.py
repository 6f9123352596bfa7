from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from data_files import MLPERF, needs

from emnas_gym.devices import devices
from emnas_gym.errors import DatasetError, EmNASError
from predictors.evaluate import LINES
from predictors.external import VARIABLE, data_file, read_rows
from predictors.tinyml import (
    BOARDS,
    Time,
    errors,
    fit_lines,
    read_times,
    slope,
    transfer_errors,
)
from predictors.tinyml_networks import MACS
from predictors.toml_values import replace_values


def _time(benchmark: str, cycles: float, runtime: str = "X-CUBE-AI") -> Time:
    return Time(benchmark, "board", "M4", runtime, cycles, None)


def test_macs_of_the_benchmark_networks() -> None:
    """Known from the benchmark's own papers: 12.5 M, 7.5 M, 2.7 M and 0.26 M."""
    assert MACS == {"ad": 264_192, "ic": 12_501_632, "kws": 2_656_768, "vww": 7_489_664}


def test_a_true_line_is_found_and_predicts_left_out_networks() -> None:
    times = [_time(name, 50_000 + 3 * macs) for name, macs in MACS.items()]
    assert slope(times, 50_000) == pytest.approx(3)
    assert list(errors(times, 50_000).values()) == pytest.approx([0, 0, 0, 0], abs=1e-12)
    assert max(errors(times, 150_000).values()) > 0.05


def test_runtimes_weigh_the_same_however_many_handed_in() -> None:
    once = [_time(n, 2 * m) for n, m in MACS.items()]
    once += [_time(n, 4 * m, "CMSIS-NN") for n, m in MACS.items()]
    often = once + [_time(n, 4 * m, "CMSIS-NN") for n, m in MACS.items()] * 5
    assert slope(often, 0) == pytest.approx(slope(once, 0))


def test_devices_carry_what_the_fit_wrote() -> None:
    lines = json.loads(LINES.read_text(encoding="utf-8"))
    assert set(lines) == set(BOARDS)
    for name, line in lines.items():
        device = devices()[name]
        assert device.clock_mhz == line["clock_mhz"]
        assert device.core.endswith(line["core"])
        for key in ("latency_a_ms", "latency_b_ms_per_mac", "latency_error"):
            assert getattr(device, key) == line[key]
        assert device.transfer_error == line.get("transfer_error")
        if "active_power_mw" in line:
            assert device.active_power_mw == line["active_power_mw"]
        assert device.latency_b_ms_per_mac is not None
        assert device.latency_b_ms_per_mac > 0
        assert 0 < line["latency_error"] < 0.5
        assert len(line["errors"]) == 4


def test_only_fitted_boards_have_a_line() -> None:
    lines = json.loads(LINES.read_text(encoding="utf-8"))
    fitted = {name for name, d in devices().items() if d.latency_b_ms_per_mac is not None}
    assert fitted == set(lines)


def test_boards_at_another_clock_carry_what_the_clocks_law_is_worth() -> None:
    times = [
        Time("ic", "one", "M4", "CMSIS-NN", 1000.0, None, 100.0),
        Time("ic", "other", "M4", "CMSIS-NN", 1300.0, None, 200.0),
        Time("ic", "other", "M4", "HALE", 9000.0, None, 200.0),  # alone: compared with nothing
        Time("ic", "one", "M7", "CMSIS-NN", 500.0, None, 100.0),
    ]
    assert transfer_errors(times) == pytest.approx({"M4": 0.3})
    for name, line in json.loads(LINES.read_text(encoding="utf-8")).items():
        elsewhere = name in ("stm32f446re", "stm32f746zg", "stm32f767zi", "stm32h743zi", "nrf52840")
        assert ("transfer_error" in line) == elsewhere


def test_measured_power_hardly_depends_on_the_network() -> None:  # E4
    """One laboratory's four networks agree; two laboratories need not, and both are kept."""
    lines = json.loads(LINES.read_text(encoding="utf-8"))
    powered = {name: line for name, line in lines.items() if "power_mw" in line}
    assert set(powered) == {"stm32l4r5zi", "stm32h7a3zi", "stm32u575zi"}
    spreads = [s for line in powered.values() for s in line["power_spread"].values()]
    assert sorted(spreads)[len(spreads) // 2] < 0.05
    for line in powered.values():
        assert min(line["power_mw"].values()) <= line["active_power_mw"]
        assert line["active_power_mw"] <= max(line["power_mw"].values())


def test_energy_of_a_network_follows_from_the_power_on_others() -> None:  # E4
    needs(MLPERF)
    for t in (times := [t for t in read_times() if t.power_mw is not None]):
        others = [o.power_mw for o in times if o.system == t.system and o.benchmark != t.benchmark]
        assert t.power_mw is not None
        predicted = float(np.median([p for p in others if p is not None]))
        assert abs(predicted / t.power_mw - 1) < 0.4  # the worst of all, ST's ic on the L4R5ZI


def test_every_device_names_its_sources() -> None:
    for device in devices().values():
        assert device.source
        assert device.kind in {"mcu", "npu", "kpu", "host"}
        if device.kind == "mcu":
            assert device.flash_bytes
            assert device.ram_bytes
    assert devices()["stm32f446re"].clock_mhz == 180


def test_the_fit_of_the_published_times_is_what_is_shipped() -> None:
    needs(MLPERF)
    times = read_times()
    assert {t.core for t in times} >= {"M4", "M7", "M33", "M0+"}
    assert all(t.cycles > 1e5 for t in times)
    assert transfer_errors(times)["M7"] < 0.05 < transfer_errors(times)["M4"] < 0.3
    assert fit_lines() == json.loads(LINES.read_text(encoding="utf-8"))


def test_missing_data_says_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(DatasetError, match="set EMNAS_DATA"):
        data_file(MLPERF)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(DatasetError, match="no such file"):
        data_file(MLPERF)
    (tmp_path / "t.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    assert read_rows("t.csv", ("a",)) == [{"a": "1", "b": "2"}]
    with pytest.raises(DatasetError, match="lacks the columns c"):
        read_rows("t.csv", ("a", "c"))
    (tmp_path / "t.csv").write_bytes(b"a,b\n\xff\xfe,2\n")
    with pytest.raises(DatasetError, match="not a CSV file"):
        read_rows("t.csv", ("a",))


def test_numbers_are_replaced_and_comments_stay(tmp_path: Path) -> None:
    path = tmp_path / "d.toml"
    path.write_text("# kept\n[a.b]\nx = 1.0\ny = 2\n\n[a.c]\nx = 5\n", encoding="utf-8")
    replace_values(path, "a.b", {"x": 1e-05, "y": 3.5})
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# kept\n")
    assert tomllib.loads(text) == {"a": {"b": {"x": 1e-05, "y": 3.5}, "c": {"x": 5}}}
    with pytest.raises(EmNASError, match="no section"):
        replace_values(path, "a.d", {"x": 1.0})
    with pytest.raises(EmNASError, match="0 lines of z"):
        replace_values(path, "a.c", {"z": 1.0})
