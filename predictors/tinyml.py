"""Latency lines of microcontrollers: cycles = A + B · MACs, fitted on MLPerf Tiny v1.1.

The rule. A line is fitted per core and set of runtimes on whole-network int8 times of the closed
division, as cycles = clock · time, so that it serves boards of the same core at another clock
(flash wait states differ; that error is part of what the line ignores). Runtimes: what is free to
use on the maker's chips, X-CUBE-AI and CMSIS-NN through microTVM on ST's, CMSIS-NN on Nordic's;
Bosch's HALE on Cortex-M0+, where nothing else was handed in; ONNC, Plumerai's and HALE where they
are all that was measured on a board, and then on its own times alone. Every runtime and benchmark
weighs the same, however many systems handed it in. Four networks hardly determine a constant, so
one constant is shared by all lines; see `shared_constant`. What the clock's law itself is worth,
boards of one core with one runtime at several clocks show; see `transfer_errors`.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from emnas_gym.errors import DatasetError
from predictors.external import read_rows
from predictors.tinyml_networks import MACS

SOURCE = (
    "MLPerf Tiny v1.1 results, closed division (github.com/mlcommons/tiny_results_v1.1, Apache-2.0)"
)
TABLE = "tinyml/mlperf_tiny_v1.1.csv"
CONSTANTS = tuple(range(10_000, 400_001, 10_000))  # cycles tried for the shared constant


@dataclass(frozen=True)
class Board:
    """How the line of a board is found.

    Attributes:
        core: Core on whose times the line is fitted.
        clock_mhz: Clock of the board.
        runtimes: Runtimes whose times are used.
        system: Part of a system's name in the table where the board itself is there; for its power.
        own: Whether only the board's own times are used.
    """

    core: str
    clock_mhz: float
    runtimes: tuple[str, ...]
    system: str = ""
    own: bool = False


FREE = ("X-CUBE-AI", "CMSIS-NN")
RUNTIMES = (*FREE, "HALE", "ONNC", "PLUMERAI")
BOARDS = {
    "stm32f446re": Board("M4", 180, FREE),
    "stm32l4r5zi": Board("M4", 120, FREE, "L4R5ZI"),
    "stm32f746zg": Board("M7", 216, FREE),
    "stm32h7a3zi": Board("M7", 280, FREE, "H7A3ZI"),
    "stm32f767zi": Board("M7", 216, FREE),
    "stm32h743zi": Board("M7", 480, FREE),
    "stm32u575zi": Board("M33", 160, FREE, "U575ZI"),
    "nrf5340": Board("M33", 128, ("CMSIS-NN",), "NRF5340"),
    "stm32g0b1re": Board("M0+", 64, ("HALE",), "G0B1RE"),
    "rp2040": Board("M0+", 133, ("HALE",)),
    "nrf52840": Board("M4", 64, ("CMSIS-NN",)),
    "stm32f746g-disco": Board("M7", 216, ("HALE", "PLUMERAI"), "F746NG", own=True),
    "numaker-m467hj": Board("M4", 200, ("ONNC",), "M467HJ", own=True),
    "cy8cproto-062-4343w": Board("M4", 150, ("PLUMERAI",), "CY8CPROTO", own=True),
}


@dataclass(frozen=True)
class Time:
    """One benchmark network on one system.

    Attributes:
        benchmark: ``"ad"``, ``"ic"``, ``"kws"`` or ``"vww"``.
        system: Name of the system.
        core: ``"M4"``, ``"M7"`` …
        runtime: One of `RUNTIMES`.
        cycles: Clock · latency.
        power_mw: Energy ÷ latency; None where energy was not measured.
        clock_mhz: At which it was measured.
    """

    benchmark: str
    system: str
    core: str
    runtime: str
    cycles: float
    power_mw: float | None
    clock_mhz: float = 0.0

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the benchmark network."""
        return MACS[self.benchmark]


def read_times() -> list[Time]:
    """Times on Cortex-M systems with a runtime that we know.

    Raises:
        DatasetError: If the table is missing or has no such row.
    """
    needed = (
        "benchmark",
        "system",
        "processor",
        "freq",
        "framework",
        "latency_ms",
        "energy_uj_inf",
    )
    times = [time for row in read_rows(TABLE, needed) if (time := _time(row)) is not None]
    if not times:
        raise DatasetError(f"{TABLE}: no times of Cortex-M systems")
    return times


def _time(row: dict[str, str]) -> Time | None:
    words = f"{row['system']} {row['framework']}".upper().replace("_", "-")
    core = re.search(r"Cortex\S*-(M\d+\+?)", row["processor"])
    runtime = next((name for name in RUNTIMES if name in words), None)
    if core is None or runtime is None:
        return None
    clock_mhz, latency = float(row["freq"].split()[0]), float(row["latency_ms"])
    energy = row["energy_uj_inf"]
    power = float(energy) / latency if energy else None  # µJ ÷ ms = mW
    cycles = clock_mhz * 1e3 * latency
    return Time(row["benchmark"], row["system"], core[1], runtime, cycles, power, clock_mhz)


def _weights(times: Sequence[Time]) -> np.ndarray:
    """Equal weight for every runtime and benchmark, shape (times,)."""
    count = Counter((t.runtime, t.benchmark) for t in times)
    return np.array([1.0 / count[t.runtime, t.benchmark] for t in times])


def slope(times: Sequence[Time], constant: float) -> float:
    """Cycles a MAC by relative least squares, the constant given; never negative.

    Minimises Σ w · ((constant + slope · MACs) / cycles − 1)².
    """
    cycles = np.array([t.cycles for t in times])
    per_macs = np.array([t.macs for t in times]) / cycles
    weights = _weights(times)
    best = (weights * per_macs * (1 - constant / cycles)).sum() / (weights * per_macs**2).sum()
    return float(max(best, 0.0))


def errors(times: Sequence[Time], constant: float) -> dict[str, float]:
    """Mean relative error on each network when it is left out."""
    found = {}
    for name in sorted({t.benchmark for t in times}):
        held = [t for t in times if t.benchmark == name]
        rate = slope([t for t in times if t.benchmark != name], constant)
        relative = [abs((constant + rate * t.macs) / t.cycles - 1) for t in held]
        found[name] = float(np.average(relative, weights=_weights(held)))
    return found


def shared_constant(groups: Iterable[Sequence[Time]]) -> float:
    """The smallest constant of `CONSTANTS` that the data do not speak against.

    Four networks of 0.26 to 12.5 million MACs hardly say what an inference of a few thousand costs:
    the error on left-out networks is nearly flat in the constant. By the one-standard-error rule
    the smallest constant counts whose mean error lies within one standard error of the least, so
    that small networks are not all given the same, unmeasured time.
    """
    groups = list(groups)
    scores = np.array([[e for g in groups for e in errors(g, c).values()] for c in CONSTANTS])
    means = scores.mean(axis=1)
    best = scores[means.argmin()]
    allowed = means.min() + best.std(ddof=1) / np.sqrt(len(best))
    return float(CONSTANTS[int(np.argmax(means <= allowed))])


def _choose(times: Sequence[Time], board: Board) -> list[Time]:
    return [
        t
        for t in times
        if t.core == board.core
        and t.runtime in board.runtimes
        and (not board.own or board.system in t.system.upper())
    ]


def transfer_errors(times: Sequence[Time]) -> dict[str, float]:
    """How far boards of one core differ in cycles, on average over what both have run.

    Compared are two clocks with the same runtime and network: the larger number of cycles ÷ the
    smaller - 1. A line that serves a board at a clock at which nothing was measured carries this
    error beside its own.

    Returns:
        For each core that was measured at two clocks at least.
    """
    cycles: dict[tuple[str, str, str], dict[float, list[float]]] = {}
    for t in times:
        cell = cycles.setdefault((t.core, t.runtime, t.benchmark), {})
        cell.setdefault(t.clock_mhz, []).append(t.cycles)
    found: dict[str, list[float]] = {}
    for (core, _, _), by_clock in cycles.items():
        middles = [float(np.median(values)) for values in by_clock.values()]
        for a, b in itertools.combinations(middles, 2):
            found.setdefault(core, []).append(max(a, b) / min(a, b) - 1)
    return {core: float(np.mean(values)) for core, values in found.items()}


def fit_lines() -> dict[str, dict[str, object]]:
    """Fits the line of every board of `BOARDS`.

    Returns:
        For each board what `devices.toml` carries, and what the line rests on. ``latency_error``
        is the mean relative error over the four networks, each predicted by a slope and a constant
        that were chosen without it; ``errors`` are those with the constant that is shipped;
        ``transfer_error`` stands where nothing was measured at the board's clock.

    Raises:
        DatasetError: If the table is missing.
    """
    times = read_times()
    groups = {name: _choose(times, board) for name, board in BOARDS.items()}
    distinct = list({tuple(group): group for group in groups.values()}.values())
    constant = shared_constant(distinct)
    without = {name: shared_constant(_without(g, name) for g in distinct) for name in MACS}
    transfer = transfer_errors(times)
    lines = {name: _line(name, group, constant, without) for name, group in groups.items()}
    for name, line in lines.items():
        if not _measured_at(groups[name], BOARDS[name]) and BOARDS[name].core in transfer:
            line["transfer_error"] = _round(transfer[BOARDS[name].core])
    return lines


def _measured_at(times: Sequence[Time], board: Board) -> bool:
    return any(t.clock_mhz == board.clock_mhz for t in times)


def _without(times: Sequence[Time], benchmark: str) -> list[Time]:
    return [t for t in times if t.benchmark != benchmark]


def _line(
    name: str, times: Sequence[Time], constant: float, without: dict[str, float]
) -> dict[str, object]:
    board = BOARDS[name]
    rate, left_out = slope(times, constant), errors(times, constant)
    nested = np.mean([errors(times, c)[b] for b, c in without.items()])
    powers = measured_powers(times, board.system)
    known = [p for values in powers.values() for p in values]
    line: dict[str, object] = {
        "latency_a_ms": _round(constant / board.clock_mhz / 1e3),
        "latency_b_ms_per_mac": _round(rate / board.clock_mhz / 1e3),
        "latency_error": _round(float(nested)),
        "errors": {b: _round(e) for b, e in left_out.items()},
        "constant_cycles": constant,
        "cycles_per_mac": _round(rate),
        "core": board.core,
        "clock_mhz": board.clock_mhz,
        "runtimes": sorted({t.runtime for t in times}),
        "systems": sorted({t.system for t in times}),
        "times": len(times),
    }
    if known:
        line["active_power_mw"] = _round(float(np.median(known)))
        line["power_mw"] = {name: _round(float(np.median(v))) for name, v in powers.items()}
        line["power_spread"] = {
            name: _round(float(np.std(v) / np.mean(v))) for name, v in powers.items()
        }
    return line


def measured_powers(times: Sequence[Time], system: str) -> dict[str, list[float]]:
    """Energy ÷ latency in mW of each network, by who handed it in.

    Args:
        times: Among them those of the board.
        system: Part of the board's name in the table; none is measured if it is empty.
    """
    found: dict[str, list[float]] = {}
    for t in times:
        if system and system in t.system.upper() and t.power_mw is not None:
            found.setdefault(t.system, []).append(t.power_mw)
    return found


def _round(value: float) -> float:
    return float(f"{value:.4g}")
