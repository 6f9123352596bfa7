"""LENNA's data generator: rows, backends, writers that are killed, memory that is not there."""

from __future__ import annotations

import csv
import itertools
import multiprocessing
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from emnas_gym import costs
from emnas_gym.errors import DatasetError, EvaluationError, StoreError, UnknownName
from predictors.lenna.backends.base import (
    Backend,
    Settings,
    block_cell,
    block_graph,
    operation_graph,
    timed,
)
from predictors.lenna.backends.exported import ExportedBlock
from predictors.lenna.backends.table import make_backend
from predictors.lenna.backends.torch_cpu import TorchBlock
from predictors.lenna.collect import Plan, collect_rows, is_want_of_memory, write_rows
from predictors.lenna.columns import (
    COLUMNS,
    EDGES,
    FIRST_EDGES,
    LEAKS,
    OPERATIONS,
    blocks_of,
    check_probabilities,
    offered,
    one_hot_type,
    to_row,
    without_type,
)
from predictors.lenna.drawing import Draw, draw_row
from predictors.lenna.gates import RATIOS, Array, Gates, balanced_gates
from predictors.lenna.measure import Stop, measure_row
from predictors.lenna.row_store import RowStore
from predictors.lenna.simulated import SimulatedDevice
from predictors.lenna.writers import is_alive, writer_of
from predictors.network import GraphNetwork

SIMULATED = Settings("simulated")
QUICK = Stop(half_width=0.2)


def plan(rows: int, **changes: object) -> Plan:
    made = Plan(SIMULATED, Draw(seed=1, channels=(1, 64)), QUICK, rows)
    return replace(made, **changes)  # type: ignore[arg-type]


def fill(path: Path, wish: Plan, backend: Backend | None = None) -> RowStore:
    used = backend or make_backend(wish.settings)
    store = RowStore(path, wish.environment(used))
    write_rows(store, used, wish)
    return store


# -------------------------------------------------------------------------------------------- rows


def test_a_row_has_the_documented_columns() -> None:  # G7
    assert len(COLUMNS) == 167
    assert COLUMNS[:4] == ("b_type", "in_ch", "3x3_Conv_0", "5x5_Conv_0")
    assert COLUMNS[2 + 11 * 7 + 8] == "3x3_maxpool_7" and COLUMNS[-1] == "Identity_14"
    assert EDGES == tuple((k, l) for l in range(1, 6) for k in range(l))  # noqa: E741
    assert all(EDGES[l * (l - 1) // 2 + k] == (k, l) for k, l in EDGES)  # noqa: E741
    assert FIRST_EDGES == (0, 1, 3, 6, 10)
    rows = np.stack([draw_row(Draw(types=(kind,)), 5)[0].row for kind in ("normal", "reduction")])
    assert rows.shape == (2, 167) and rows[0, 0] == 1 and rows[1, 0] == 0
    leaks = [COLUMNS.index(name) for name in LEAKS]
    assert (rows[1, leaks] == 0).all() and (rows[0, leaks] > 0).all(), "they tell the block type"
    hot = one_hot_type(rows)
    assert hot.shape == (2, 168)
    np.testing.assert_array_equal(hot[:, :2], [[0, 1], [1, 0]])
    np.testing.assert_array_equal(hot[:, 2:], rows[:, 1:])
    assert without_type(rows).shape == (2, 161)
    reduction, channels, probabilities = blocks_of(rows)
    assert reduction.tolist() == [False, True] and (channels == rows[:, 1]).all()
    np.testing.assert_allclose(probabilities.sum(axis=2), 1.0)
    with pytest.raises(DatasetError, match="167 columns"):
        blocks_of(hot)


def test_rows_cover_types_channels_and_ratios() -> None:  # G4, G5
    drawn = [draw_row(Draw(seed=3), index)[0] for index in range(600)]
    assert {d.ratio for d in drawn} == set(RATIOS)
    channels = np.array([d.channels for d in drawn])
    assert channels.min() <= 10 and channels.max() >= 990
    assert abs(np.mean([d.reduction for d in drawn]) - 0.5) < 4 * 0.5 / 600**0.5
    assert abs(channels.mean() - 500.5) < 4 * 289 / 600**0.5
    chosen = {draw_row(Draw(chosen=(32, 128)), i)[0].channels for i in range(40)}
    assert chosen == {32, 128}
    again, rng = draw_row(Draw(seed=3), 7)
    np.testing.assert_array_equal(again.probabilities, drawn[7].probabilities)
    assert rng.random() == draw_row(Draw(seed=3), 7)[1].random()


def test_what_no_block_has_is_refused() -> None:
    good = draw_row(Draw(types=("reduction",)), 0)[0].probabilities
    for channels in (0, 1001):
        with pytest.raises(DatasetError, match="1 to 1000 channels"):
            to_row(True, channels, good)
        with pytest.raises(DatasetError, match="1 to 1000 channels"):
            Draw(chosen=(channels,))
    with pytest.raises(DatasetError, match="go up"):
        Draw(channels=(5, 4))
    with pytest.raises(DatasetError, match="block types"):
        Draw(types=("both",))
    broken = {"not a number": np.nan, "not negative": -1.0}
    for what, value in broken.items():
        wrong = good.copy()
        wrong[3, 3] = value
        with pytest.raises(DatasetError, match=what):
            check_probabilities(True, wrong)
    with pytest.raises(DatasetError, match="no identity can shrink"):
        check_probabilities(True, np.full((15, 11), 1 / 11))
    with pytest.raises(DatasetError, match="of shape"):
        check_probabilities(True, good[:3])
    for settings in ({"side": 7}, {"forwards": 0}, {"precision": "int4"}, {"clock": "sun"}):
        with pytest.raises(DatasetError):
            Settings(**settings)  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match="simulated"):
        make_backend(Settings("simulator"))
    with pytest.raises(UnknownName, match="interval"):
        Stop("intervall")


# ---------------------------------------------------------------------------------------- backends


class Watched(Backend):
    """The simulated device, and every gate that was set on it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.inner, self.seen = make_backend(settings), []  # type: ignore[var-annotated]

    def environment(self) -> dict[str, object]:
        return self.inner.environment()

    def block(self, reduction: bool, channels: int) -> WatchedBlock:
        block = self.inner.block(reduction, channels)
        assert isinstance(block, SimulatedDevice)
        return WatchedBlock(block, self.seen)

    def alone_us(self, reduction: bool, channels: int) -> Array:
        return self.inner.alone_us(reduction, channels)


class WatchedBlock:
    def __init__(self, inner: SimulatedDevice, seen: list[Gates]) -> None:
        self.inner, self.seen = inner, seen

    def times_us(self, gates: Gates, forwards: int, rng: np.random.Generator) -> Array:
        self.seen.append(gates)
        return self.inner.times_us(gates, forwards, rng)


def test_what_is_kept_is_what_gates_are_drawn_from(tmp_path: Path) -> None:  # G5
    """Frequencies of all gates of a row against the probabilities that the file has of it."""
    wish, backend = plan(1, stop=Stop(half_width=1e-9, cap=8000)), Watched(SIMULATED)
    with fill(tmp_path / "rows.sqlite", wish, backend) as store:
        (row,) = store.read().x
    kept = row[2:].reshape(15, 11)
    np.testing.assert_array_equal(kept, draw_row(wish.draw, 0)[0].probabilities)
    gates = np.concatenate(backend.seen)
    assert len(gates) == 8000
    seen = (gates[:, :, None] == np.arange(11)).mean(axis=0)
    errors = np.sqrt(kept * (1 - kept) / len(gates))
    assert (np.abs(seen - kept) <= 4 * errors + 1e-9).all()


def test_the_operations_of_the_space_are_those_of_the_columns() -> None:  # G2
    """Same order: of every operation the multiply-accumulates that its name says."""
    for reduction, edge, pixels, width, out in ((False, 4, 64, 8, 8), (True, 3, 16, 8, 16)):
        found = [
            costs.macs(operation_graph(reduction, 8, 8, edge, i))
            for i in range(11 - (reduction and edge in FIRST_EDGES))
        ]
        known = []
        for name in OPERATIONS[: len(found)]:
            kernel = int(name[0]) if name != "Identity" else 0
            if name.endswith("Conv"):
                known.append(kernel**2 * width * out * pixels)
            elif name.endswith("DW"):
                known.append((kernel**2 * width + width * out) * pixels)
            else:
                known.append(width * out * pixels if reduction else 0)
        assert found == known
    assert block_cell(True).edges == EDGES
    assert not offered(True)[0, 10] and offered(False).all()


def test_the_torch_block_computes_what_its_graph_says() -> None:  # G1, G3
    for reduction, shape in ((False, (1, 6, 8, 8)), (True, (1, 12, 4, 4))):
        block = TorchBlock(reduction, 6, Settings("torch", side=8))
        choices = [0, 2, 10, 9, 5, 10, 1, 3, 8, 7, 6, 4, 2, 0, 1]
        operations = [block._operation(edge, choice) for edge, choice in enumerate(choices)]
        network = GraphNetwork(block_graph(reduction, 6, 8, tuple(choices))).eval()
        parts = [part for operation in operations for part in _parts(operation)]
        with torch.inference_mode():
            for mine, theirs in zip(_parts(network), parts, strict=True):
                mine.load_state_dict(theirs.state_dict())
            found = block.forward(operations)
            torch.testing.assert_close(found, network(block._images))
        assert found.shape == shape


def _parts(network: GraphNetwork) -> list[torch.nn.Module]:
    """Layers, and behind them norms, in the order of the graph."""
    names = [node.name for node in network.graph if node.name in network.layers]
    return [
        part
        for name in names
        for part in (network.layers[name], network.norms[name] if name in network.norms else None)
        if part is not None
    ]


@pytest.mark.parametrize("name", ["torch", "litert"])
def test_this_machine_times_blocks(name: str) -> None:
    """More of the same work takes longer; no time is asked for that no clock could give."""
    settings = Settings(name, side=8, forwards=5)
    backend = make_backend(settings)
    rng = np.random.default_rng(0)
    slow, fast = np.full((2, 15), 1), np.full((2, 15), 10)
    block = backend.block(False, 24)
    times = block.times_us(np.concatenate([slow, fast]), 5, rng)
    assert times.shape == (4, 5) and (times > 0).all()
    assert np.median(times[:2]) > np.median(times[2:])
    environment = backend.environment()
    assert environment["threads"] == 1 and environment["clock"] == "cpu"
    assert environment["backend"] == name


def test_an_npu_gives_one_estimate_for_one_network() -> None:
    pytest.importorskip("ethosu.regor")
    backend = make_backend(Settings("npu", side=8))
    assert backend.forwards == 1
    block = backend.block(True, 4)
    gates = balanced_gates(np.random.default_rng(0), np.full((15, 11), 1 / 11), 3) % 10
    times = block.times_us(gates, 2, np.random.default_rng(0))
    np.testing.assert_array_equal(times[:, 0], times[:, 1])
    assert isinstance(block, ExportedBlock)
    assert backend.environment()["accelerator"] == "ethos-u55-128"


def test_runs_are_timed_by_the_clock_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:  # G8
    """A scripted clock: warm-up is not timed, and each run has its own two readings."""
    from predictors.lenna.backends import base

    readings = iter([0, 5000, 10_000, 18_000])
    monkeypatch.setitem(base.CLOCKS, "cpu", lambda: next(readings))
    ran: list[int] = []
    assert timed(lambda: ran.append(1), Settings(warm_up=3), 2) == [5.0, 8.0]
    assert len(ran) == 5


# ------------------------------------------------------------------------------------------- store


def test_collecting_goes_on_where_it_ended(tmp_path: Path) -> None:  # G15
    path = tmp_path / "rows.sqlite"
    with fill(path, plan(4)) as store:
        before = store.read()
    with fill(path, plan(9)) as store:
        after = store.read()
    assert after.index.tolist() == list(range(9))
    np.testing.assert_array_equal(after.x[:4], before.x)
    np.testing.assert_array_equal(after.latency_us[:4], before.latency_us)
    with fill(tmp_path / "other.sqlite", plan(9)) as store:
        np.testing.assert_array_equal(store.read().latency_us, after.latency_us)


def test_environments_are_never_mixed(tmp_path: Path) -> None:  # G13
    path = tmp_path / "rows.sqlite"
    fill(path, plan(2)).__exit__(None, None, None)
    others = {
        "backend": plan(3, settings=replace(SIMULATED, noise=0.1)),
        "draw": plan(3, draw=Draw(seed=2)),
        "stop": plan(3, stop=Stop("documented")),
    }
    for key, wish in others.items():
        with pytest.raises(StoreError, match=rf"another environment: {key} = .*never mixed"):
            fill(path, wish)
    wish = plan(3)
    elsewhere = wish.environment(make_backend(SIMULATED)) | {"machine": "another one"}
    with pytest.raises(StoreError, match="machine"):
        RowStore(path, elsewhere)
    with RowStore.reading(path) as store:
        assert store.environment()["backend"]["backend"] == "simulated"
        assert len(store.read()) == 2


def test_the_csv_has_the_columns_and_the_latency(tmp_path: Path) -> None:  # G7
    with fill(tmp_path / "rows.sqlite", plan(3)) as store:
        assert store.export_csv(tmp_path / "rows.csv") == 3
        rows = store.read()
    with (tmp_path / "rows.csv").open(encoding="utf-8") as file:
        header, *lines = list(csv.reader(file))
    assert header == [*COLUMNS, "latency_us"]
    np.testing.assert_array_equal(np.array(lines, float)[:, :-1], rows.x)


def test_files_that_are_none_of_ours_are_refused(tmp_path: Path) -> None:
    environment = plan(1).environment(make_backend(SIMULATED))
    with pytest.raises(StoreError, match="there is no file of rows"):
        RowStore.reading(tmp_path / "none.sqlite")
    text = tmp_path / "text.sqlite"
    text.write_text("hello " * 1000)
    for ask in (lambda: RowStore(text, environment), lambda: RowStore.reading(text)):
        with pytest.raises(StoreError, match="damaged"):
            ask()
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE things (a)")
    with pytest.raises(StoreError, match="no file of rows of ours"):
        RowStore(other, environment)


# -------------------------------------------------------------------------------- what goes wrong


class Hungry(Backend):
    """Runs out of memory on wide blocks, in the ways in which that happens."""

    errors: Iterator[Exception]

    def environment(self) -> dict[str, object]:
        return {"backend": "hungry"}

    def alone_us(self, reduction: bool, channels: int) -> Array:
        return make_backend(SIMULATED).alone_us(reduction, channels)

    def block(self, reduction: bool, channels: int) -> SimulatedDevice:
        if channels > 48:
            raise next(self.errors)
        block = make_backend(SIMULATED).block(reduction, channels)
        assert isinstance(block, SimulatedDevice)
        return block


def test_a_row_without_memory_is_left_out_and_the_others_go_on(tmp_path: Path) -> None:  # G4
    torch_says = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 8 GB")
    hungry = Hungry(SIMULATED)
    hungry.errors = itertools.cycle(
        [MemoryError("8 GB"), torch_says, EvaluationError("no such operator")]
    )
    with fill(tmp_path / "rows.sqlite", plan(30), hungry) as store:
        failures = store.failures()
        assert store.count() == (30 - len(failures), len(failures))
        assert len(failures) >= 3 and all(channels > 48 for _, _, channels, _ in failures)
        assert {reason.partition(":")[0].split(" 8")[0] for *_, reason in failures} == {
            "out of memory", "no such operator",
        }  # fmt: skip
        assert write_rows(store, hungry, plan(30)) == 0, "what failed is not tried again by itself"
        assert store.forget_failures() == len(failures)
        hungry.errors = itertools.repeat(MemoryError())
        assert write_rows(store, hungry, plan(30)) == len(failures)
    hungry.errors = itertools.repeat(RuntimeError("a defect"))
    with pytest.raises(RuntimeError, match="a defect"):
        fill(tmp_path / "defect.sqlite", plan(30), hungry)
    assert not is_want_of_memory(RuntimeError("a defect"))


@pytest.mark.slow
def test_a_thousand_channels_on_a_small_machine(tmp_path: Path) -> None:  # G4
    """A process may take 64 MiB more than it begins with: wide blocks fail, narrow ones do not."""
    settings = Settings("torch", side=4, forwards=1, warm_up=0)
    wish = Plan(settings, Draw(chosen=(2, 1000)), Stop("interval", 0.9, 2, 16), 5, memory_gib=0.06)
    assert collect_rows(tmp_path / "rows.sqlite", wish) != (5, 0)
    with RowStore.reading(tmp_path / "rows.sqlite") as store:
        rows, failures = store.read(), store.failures()
    assert len(rows) + len(failures) == 5 and len(rows) and failures
    assert set(rows.x[:, 1]) == {2.0} and {f[2] for f in failures} == {1000.0}
    assert all("out of memory" in f[3] for f in failures)


def _claims_and_stays(path: Path, wish: Plan) -> None:
    store = RowStore(path, wish.environment(make_backend(wish.settings)))
    store.begin(store.claim(wish.rows, 2)[0])
    time.sleep(60)


def test_a_killed_writer_loses_nothing(tmp_path: Path) -> None:  # G15
    """Rows that a process had claimed when it was killed are measured by the next one."""
    path, wish = tmp_path / "rows.sqlite", plan(6)
    fill(path, plan(2)).__exit__(None, None, None)
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_claims_and_stays, args=(path, wish))
    process.start()
    with RowStore(path, wish.environment(make_backend(SIMULATED))) as store:
        assert process.pid is not None
        end = time.monotonic() + 60
        while not store.begun_by(writer_of(process.pid)) and time.monotonic() < end:
            time.sleep(0.02)
        assert store.begun_by(writer_of(process.pid)) == [2]
        assert is_alive(writer_of(process.pid))
        assert store.claim(6, 8) == [4, 5], "others take what it has not"
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert store.claim(6, 8) == [2, 3]
    assert not is_alive("1/0") and not is_alive("x") and not is_alive("99999999/1")


@pytest.mark.slow
def test_a_killed_generator_leaves_a_file_that_goes_on(tmp_path: Path) -> None:  # G15
    """SIGKILL at moments of chance; the rows of all attempts are those of one quiet run."""
    import subprocess
    import sys

    path, total = tmp_path / "rows.sqlite", 300
    command = [
        *(sys.executable, "-m", "benchmarks", "lenna", "collect", "--rows", str(total)),
        *("--out", str(path), "--workers", "2", "--half-width", "0.1", "--channels", "1-64"),
    ]
    counts = []
    rng = np.random.default_rng(0)
    for _ in range(3):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        end, before = time.monotonic() + 60, sum(counts[-1:])
        while time.monotonic() < end and process.poll() is None:
            if path.is_file() and _rows(path) > before + int(rng.integers(1, 20)):
                break
            time.sleep(0.05)
        process.kill()
        process.wait()
        time.sleep(0.3)  # its workers see that it is gone
        counts.append(_rows(path))
        with RowStore.reading(path) as store:
            assert np.isfinite(store.read().latency_us).all()
    assert counts == sorted(counts) and 0 < counts[0] < total
    assert subprocess.run(command, capture_output=True).returncode == 0
    wish = Plan(SIMULATED, Draw(channels=(1, 64)), Stop(half_width=0.1), total)
    with RowStore.reading(path) as store, fill(tmp_path / "quiet.sqlite", wish) as quiet:
        assert store.count() == (total, 0)
        np.testing.assert_array_equal(store.read().latency_us, quiet.read().latency_us)
        np.testing.assert_array_equal(store.read().x, quiet.read().x)


def _rows(path: Path) -> int:
    try:
        with RowStore.reading(path) as store:
            return store.count()[0]
    except StoreError:
        return 0  # killed before it made its tables


def test_several_commands_fill_one_file(tmp_path: Path) -> None:  # G15
    path, wish = tmp_path / "rows.sqlite", plan(40)
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=collect_here, args=(path, wish)) for _ in range(2)]
    for process in others:
        process.start()
    for process in others:
        process.join()
        assert process.exitcode == 0
    with RowStore.reading(path) as store, fill(tmp_path / "one.sqlite", wish) as one:
        assert store.count() == (40, 0)
        np.testing.assert_array_equal(store.read().latency_us, one.read().latency_us)


def collect_here(path: Path, wish: Plan) -> None:
    """In a process of its own: one of several writers."""
    fill(path, wish).__exit__(None, None, None)


def test_spikes_hardly_move_a_label() -> None:  # G11
    """One run in fifty takes ten times as long: labels of ten rows differ by under 1 %."""
    calm, spiked = (make_backend(replace(SIMULATED, spikes=share)) for share in (0.0, 0.02))
    stop = Stop(half_width=1e-9, cap=640)
    for index in range(10):
        labels = []
        for backend in (calm, spiked):
            drawn, rng = draw_row(Draw(seed=9), index)
            labels.append(measure_row(backend, drawn, rng, stop).latency_us)
        assert labels[1] == pytest.approx(labels[0], rel=0.01)


def test_a_rule_that_is_not_content_says_so() -> None:  # G9
    backend = make_backend(SIMULATED)
    drawn, rng = draw_row(Draw(), 0)
    capped = measure_row(backend, drawn, rng, Stop(half_width=1e-9, cap=160))
    assert (capped.resets, capped.settled) == (160, False)
    theirs = measure_row(backend, drawn, rng, Stop("documented"))
    assert theirs.settled and 11 <= theirs.resets < 1000


def test_operations_alone_add_up_to_the_block_on_this_machine() -> None:  # G14
    """LiteRT runs one operation after the other: the sum is near the block, half to twice."""
    backend = make_backend(Settings("litert", side=16, forwards=15))
    table = backend.alone_us(True, 12)
    assert (np.isnan(table) == ~offered(True)).all() and np.nanmin(table) >= 0
    gates = balanced_gates(
        np.random.default_rng(2), offered(True) / offered(True).sum(1)[:, None], 6
    )
    times = np.quantile(
        backend.block(True, 12).times_us(gates, 15, np.random.default_rng(0)), 0.4, 1
    )
    sums = np.array([sum(table[edge, choice] for edge, choice in enumerate(row)) for row in gates])
    assert 0.5 < np.median(sums / times) < 2.0
    drawn = make_backend(SIMULATED).alone_us(False, 16)
    exact = make_backend(replace(SIMULATED, noise=0.0)).alone_us(False, 16)
    np.testing.assert_allclose(drawn, exact, rtol=0.1)
    assert drawn.shape == (15, 11) and not np.array_equal(drawn, exact)
