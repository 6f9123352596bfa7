"""Several devices at once: who does the work, and what becomes of those that fail."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hardware_deployments import small_deployment
from outside_programs import needs_program
from scripted_driver import SCRIPTS, Script

from emnas_gym.errors import BackendMissing, EmNASError, EvaluationStopped, UnknownName
from emnas_gym.ledger import Ledger
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.registry import make_evaluator
from hardware.boards import BoardEvaluator
from hardware.deployment import Deployment
from hardware.drivers.spec import DeviceSpec, parse_options, read_farm
from hardware.emulated import EmulatedEvaluator
from hardware.errors import DeviceError, DeviceLost, DeviceRefused, DeviceTimeout, FarmStopped
from hardware.farm import Farm, Patience
from hardware.reading import Reading, Repeats

pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")
QUICK = Patience(rest_seconds=0.02, rests=2)
ONCE = Repeats(timed=1, warm_up=0)


@pytest.fixture(autouse=True)
def scripts() -> Iterator[dict[str, Script]]:
    yield SCRIPTS
    SCRIPTS.clear()


def farm_of(*scripts: Script, patience: Patience = QUICK) -> Farm:
    names = [f"d{number}" for number in range(len(scripts))]
    SCRIPTS.update(zip(names, scripts, strict=True))
    specs = [DeviceSpec("scripted_driver:ScriptedDriver", name) for name in names]
    return Farm(specs, ONCE, patience)


def networks(count: int) -> list[Deployment]:
    return [small_deployment(("flat",), filters) for filters in range(1, count + 1)]


def models(deployments: list[Deployment]) -> list[int]:
    return [zlib.crc32(deployment.tflite) for deployment in deployments]


def fails(error: DeviceError, when: Callable[[int], bool]) -> Callable[[int], None]:
    def before(model: int) -> None:
        if when(model):
            raise error

    return before


def times(count: int) -> Callable[[int], bool]:
    """True so many times."""
    left = iter([True] * count)
    return lambda _: next(left, False)


def check_all_measured(answers: list[Reading | DeviceError], wanted: list[Deployment]) -> None:
    assert [a.model for a in answers if isinstance(a, Reading)] == models(wanted)


def test_all_devices_work_and_every_answer_is_in_its_place() -> None:
    wanted = networks(12)
    farm = farm_of(*(Script(seconds=0.02) for _ in range(3)))
    check_all_measured(farm.measure(wanted), wanted)
    measured = [row["measured"] for row in farm.report()]
    assert sum(map(int, measured)) == 12
    assert all(int(count) > 0 for count in measured)
    names = {row["device"] for row in farm.report()}
    again = farm.measure(wanted)
    assert {a.device for a in again if isinstance(a, Reading)} <= names
    farm.close()
    assert all(script.opened == script.closed == 1 for script in SCRIPTS.values())


def test_a_fast_device_takes_more_than_a_slow_one() -> None:
    wanted = networks(12)
    farm = farm_of(Script(seconds=0.01), Script(seconds=0.2))
    check_all_measured(farm.measure(wanted), wanted)
    fast, slow = (int(row["measured"]) for row in farm.report())
    assert fast > slow


def test_a_network_that_is_late_is_taken_over_by_whoever_is_free() -> None:
    wanted, hangs = networks(6), threading.Event()
    slow = models(wanted)[3]
    first = iter([True])

    def before(model: int) -> None:
        if model == slow and next(first, False):
            hangs.wait(20)

    farm = farm_of(Script(seconds=0.01, before=before), Script(seconds=0.01, before=before))
    start = time.monotonic()
    check_all_measured(farm.measure(wanted), wanted)
    assert time.monotonic() - start < 15  # it did not wait for the one that hangs
    hangs.set()
    check_all_measured(farm.measure(wanted), wanted)  # which is never given two at once
    farm.close()


@pytest.mark.parametrize("failures", [1, 2, 4])
def test_a_device_that_fails_is_opened_anew_and_goes_on(failures: int) -> None:  # E10
    wanted = networks(4)
    farm = farm_of(Script(before=fails(DeviceLost("unplugged"), times(failures))))
    check_all_measured(farm.measure(wanted), wanted)
    (row,) = farm.report()
    assert (row["failures"], row["state"]) == (failures, "ready")
    assert SCRIPTS["d0"].opened == failures + 1


def test_the_others_go_on_without_a_device_that_is_dead() -> None:
    wanted = networks(8)

    def dead() -> None:
        raise DeviceLost("no such port")

    farm = farm_of(Script(seconds=0.05), Script(opening=dead))
    check_all_measured(farm.measure(wanted), wanted)
    check_all_measured(farm.measure(wanted * 2), wanted * 2)
    good, bad = farm.report()
    assert good["measured"] == 24
    assert bad["measured"] == 0
    assert bad["state"] == "given up"
    assert "no such port" in str(bad["last_error"])


def test_a_device_that_was_given_up_is_asked_again_in_the_next_batch() -> None:
    plugged = threading.Event()

    def opening() -> None:
        if not plugged.is_set():
            raise DeviceLost("no such port")

    farm = farm_of(Script(opening=opening))
    with pytest.raises(FarmStopped, match="d0: given up, no such port"):
        farm.measure(networks(2))
    plugged.set()
    check_all_measured(farm.measure(networks(2)), networks(2))


def test_a_network_that_brings_every_device_down_is_the_culprit() -> None:
    wanted = networks(6)
    poison = models(wanted)[2]
    crash = fails(DeviceLost("crashed"), lambda model: model == poison)
    farm = farm_of(Script(before=crash), Script(before=crash))
    answers = farm.measure(wanted)
    assert isinstance(answers[2], DeviceLost)
    assert [a.model for a in answers if isinstance(a, Reading)] == [
        model for model in models(wanted) if model != poison
    ]
    assert sum(script.asked[poison] for script in SCRIPTS.values()) == QUICK.tries
    assert {row["state"] for row in farm.report()} == {"ready"}


def test_what_a_device_refuses_is_not_tried_again() -> None:
    wanted = networks(3)
    refused = models(wanted)[1]
    no = fails(DeviceRefused("needs a larger arena"), lambda model: model == refused)
    farm = farm_of(Script(before=no))
    answers = farm.measure(wanted)
    assert isinstance(answers[1], DeviceRefused)
    assert SCRIPTS["d0"].asked[refused] == 1
    assert farm.report()[0]["failures"] == 0


def test_a_device_of_another_kind_is_left_out() -> None:
    wanted = networks(10)
    farm = farm_of(Script(ms=1.0, seconds=0.02), Script(ms=1.9, seconds=0.0))
    answers = farm.measure(wanted)
    assert len({a.latency_ms for a in answers if isinstance(a, Reading)}) == 1
    assert [row["state"] for row in farm.report()].count("left out") == 1


def test_a_device_that_dies_halfway_loses_nothing() -> None:
    wanted = networks(6)
    dies = iter([False] * 3 + [True] * 99)
    farm = farm_of(Script(before=fails(DeviceTimeout("silent"), lambda _: next(dies))))
    with pytest.raises(FarmStopped) as stopped:
        farm.measure(wanted)
    kept = stopped.value.answers
    assert [a.model for a in kept[:3] if isinstance(a, Reading)] == models(wanted)[:3]
    assert kept[3:] == [None, None, None]


def test_what_no_other_device_would_mend_is_raised_at_once() -> None:
    def missing() -> None:
        raise BackendMissing("pyserial is not installed")

    with pytest.raises(BackendMissing, match="pyserial"):
        farm_of(Script(opening=missing)).measure(networks(1))
    with pytest.raises(DeviceError, match="without a device"):
        Farm([])
    with pytest.raises(UnknownName, match="did you mean"):
        Farm(["framd:/dev/ttyUSB0"])


# ------------------------------------------------------------------------------- as an evaluator


def test_a_search_goes_on_after_the_last_device_has_died(tmp_path: Path) -> None:
    """What was measured when the farm stopped is answered from the history afterwards."""
    problem = Problem.make()
    rng = np.random.default_rng(0)
    batch = [problem.space.sample(rng, problem.task) for _ in range(5)]
    dies = iter([False] * 3 + [True] * 99)
    script = Script(before=fails(DeviceLost("burnt"), lambda _: next(dies)))
    broken = farm_of(script)
    path = tmp_path / "history.sqlite"
    parts = make_evaluator(["surrogate", BoardEvaluator(problem.task, broken)], problem)
    ledger = Ledger(parts, problem, 10, path)
    with pytest.raises(EvaluationStopped, match="mend a device and run the same again"):
        ledger.evaluate(batch)
    assert ledger.count == 0
    ledger.close()
    first = sum(script.asked.values())
    mended = farm_of(Script(ms=2.0))
    parts = make_evaluator(["surrogate", BoardEvaluator(problem.task, mended)], problem)
    again = Ledger(parts, problem, 10, path)
    results = again.evaluate(batch)
    again.close()
    latencies = [r.latency_ms for r in results if isinstance(r, Measurement)]
    assert latencies == [1.0, 1.0, 1.0, 2.0, 2.0]
    assert sum(SCRIPTS["d0"].asked.values()) == 2
    assert first >= 4


def Counter_of(script: Script) -> int:
    return sum(script.asked.values())


def test_what_became_of_the_devices_is_told(tmp_path: Path) -> None:
    problem = Problem.make()
    rng = np.random.default_rng(0)
    farm = farm_of(Script(before=fails(DeviceLost("unplugged"), times(1))))
    stack = make_evaluator(["surrogate", BoardEvaluator(problem.task, farm)], problem)
    ledger = Ledger(stack, problem, 3)
    ledger.evaluate([problem.space.sample(rng, problem.task) for _ in range(3)])
    (remark,) = ledger.remarks()
    assert remark.endswith("d0: 3 networks measured; failures: 1 (now ready; the last: unplugged)")


def test_energy_is_power_times_time() -> None:  # E4
    problem = Problem.make()
    network = problem.space.sample(np.random.default_rng(1), problem.task)
    for power in (10.0, 20.0):
        evaluator = BoardEvaluator(problem.task, farm_of(Script(ms=3.0)), power_mw=power)
        (result,) = evaluator.evaluate([network])
        assert isinstance(result, Measurement)
        assert result.energy_mj == pytest.approx(power * 3.0 / 1e3)
        assert result.provenance["energy_mj"] == "board"


def test_boards_are_named_by_a_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("EMNAS_DEVICES", raising=False)
    problem = Problem.make(device="stm32l4r5zi")
    with pytest.raises(EmNASError, match="EMNAS_DEVICES"):
        make_evaluator(["surrogate", "boards"], problem)
    monkeypatch.setenv("EMNAS_DEVICES", "host")
    evaluator = BoardEvaluator.for_problem(problem)
    assert [member.name for member in evaluator.farm.members] == ["host"]
    assert "energy_mj" in evaluator.provides
    path = tmp_path / "farm.toml"
    path.write_text('[[device]]\ndriver = "host"\nthreads = 2\n')
    monkeypatch.setenv("EMNAS_DEVICES", str(path))
    assert BoardEvaluator.for_problem(problem).farm.members[0].spec.options == {"threads": 2}


def test_two_emulated_boards_count_what_one_does() -> None:  # E10
    needs_program("qemu-system-arm")
    pytest.importorskip("serial", reason="needs the package pyserial")
    problem = Problem.make(budgets={"ram_bytes": 8192, "flash_bytes": 32768, "macs": 50_000})
    rng = np.random.default_rng(2)
    batch = [problem.space.sample(rng, problem.task, problem.budgets) for _ in range(6)]
    counts = []
    for boards in (1, 2):
        with closing(EmulatedEvaluator(problem.task, boards=boards)) as evaluator:
            for _ in range(20):  # the second board may come up only when all is measured
                results = evaluator.evaluate(batch)
                counts.append([r.instructions for r in results if isinstance(r, Measurement)])
                if len({reading.device for reading in evaluator.readings.values()}) == boards:
                    break
            else:
                pytest.fail("one board never measured anything")
    for other in counts[1:]:
        np.testing.assert_allclose(other, counts[0], rtol=0, atol=80)


# --------------------------------------------------------------------------------- naming devices


def test_devices_are_named_in_one_word() -> None:
    spec = DeviceSpec.parse("framed:socket://board:5555", {"baud": 9600})
    assert (spec.driver, spec.address) == ("framed", "socket://board:5555")
    mine = DeviceSpec.parse("[scripted_driver:ScriptedDriver]:d7")
    assert (mine.driver, mine.address) == ("scripted_driver:ScriptedDriver", "d7")
    assert DeviceSpec.parse("host").name == "host"
    with pytest.raises(UnknownName, match="did you mean baud"):
        DeviceSpec.parse("framed:/dev/null", {"bauds": 1}).open()
    with pytest.raises(EmNASError, match="expected int"):
        DeviceSpec.parse("framed:/dev/null", {"baud": "fast"}).open()
    with pytest.raises(EmNASError, match="is no driver"):
        DeviceSpec.parse("[math:sqrt]:x").open()


def test_options_are_read_as_toml_or_as_text() -> None:
    words = ["baud=9600", "legacy=true", "path=/sd/a.kmodel", 'name="x"', "rate=1.5"]
    assert parse_options(words) == {
        "baud": 9600,
        "legacy": True,
        "path": "/sd/a.kmodel",
        "name": "x",
        "rate": 1.5,
    }
    with pytest.raises(EmNASError, match="options are key=value"):
        parse_options(["baud"])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "expected \\[\\[device\\]\\] tables"),
        ("[[device]]\naddress = 'x'", "device 1 needs driver"),
        ("[[device]]\ndriver = 'host'\naddress = 5", "address is a text"),
        ("[[devices]]\ndriver = 'host'", "expected \\[\\[device\\]\\]"),
        ("[[device", "cannot be read as TOML"),
    ],
)
def test_a_farm_s_file_with_a_mistake_is_explained(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "farm.toml"
    path.write_text(text)
    with pytest.raises(EmNASError, match=why):
        read_farm(path)
