"""The sweep of λ: what its runs show, its page, and refusals. Its searches: test_agents_*."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from benchmarks.gradient.sweep import Sweep, run_sweep
from benchmarks.gradient.sweep_page import write_sweep
from benchmarks.gradient.sweep_statistics import sweep_findings
from benchmarks.suites.folder import read_json, write_json
from emnas_gym.errors import EvaluationError, StoreError, UnknownName


def _run(weight: float, seed: int, latency: float, test: float) -> dict[str, Any]:
    return {
        "weight": weight,
        "seed": seed,
        "tokens": [1, seed],
        "predicted": 1.1 * latency,
        "measured": latency,
        "valid": [test],
        "test": [test - 0.01, test + 0.01],
        "int8": test,
        "equivalents": 3.0,
        "seconds": 1.0,
        "traces": [{"entropy": 0.5}],
    }


def _result(latencies: dict[float, list[float]], tests: dict[float, float]) -> dict[str, Any]:
    runs = [
        _run(weight, seed, latency, tests[weight])
        for weight, found in latencies.items()
        for seed, latency in enumerate(found)
    ]
    sweep = Sweep(weights=tuple(latencies), seeds=2)
    return {"sweep": sweep.to_json(), "table": {"mape": 0.02}, "runs": runs, "versions": {}}


TESTS = {0.0: 0.98, 1.0: 0.975, 3.0: 0.93}


def test_findings_of_a_falling_latency() -> None:  # G20, G22
    found = sweep_findings(_result({0.0: [100, 104], 1.0: [70, 74], 3.0: [40, 44]}, TESTS))
    assert [row["latency"] for row in found["rows"]] == [102, 72, 42]
    assert found["rows"][0]["latency_error"] == pytest.approx(2.0)
    assert found["spearman"] == pytest.approx(-1.0)
    assert found["largest_step_up"] == pytest.approx(-30 / math.hypot(2, 2))
    assert found["faster"]["weight"] == 1.0
    assert found["faster"]["faster"] == pytest.approx(1 - 72 / 102)
    assert found["faster"]["loss"] == pytest.approx(0.005)
    assert found["faster"]["within_a_point"]
    assert found["prediction_error"] == pytest.approx(0.1)


def test_findings_of_latency_that_rises_or_never_changes() -> None:
    found = sweep_findings(_result({0.0: [100, 104], 1.0: [120, 124], 3.0: [95, 99]}, TESTS))
    assert found["largest_step_up"] == pytest.approx(20 / math.hypot(2, 2))
    assert found["faster"] is None
    assert -1 < found["spearman"] < 0
    same = sweep_findings(_result({0.0: [50, 50], 1.0: [50, 50], 3.0: [50, 50]}, TESTS))
    assert same["spearman"] is None
    assert same["largest_step_up"] == 0.0
    cliff = sweep_findings(_result({0.0: [50, 50], 1.0: [60, 60], 3.0: [20, 20]}, TESTS))
    assert cliff["largest_step_up"] == math.inf
    assert cliff["faster"] == {
        "weight": 3.0, "faster": pytest.approx(0.6), "loss": pytest.approx(0.05),
        "loss_error": 0.0, "within_a_point": False,
    }  # fmt: skip


def test_the_page_says_what_was_found(tmp_path: Path) -> None:
    result = _result({0.0: [100, 104], 1.0: [70, 74], 3.0: [40, 44]}, TESTS)
    page = write_sweep(result, tmp_path, "python -m benchmarks sweep")
    text = page.read_text(encoding="utf-8")
    assert page.name == "latency-ethos-u55-128.md"
    assert "| 1 | 72.0 ± 2.0 µs | 97.50 ± 0.00 % | 97.50 ± 0.00 % | 2 of 2 | 3.0 |" in text
    assert "no step leads up" in text
    assert "At λ = 1 networks are 29 % faster and lose 0.50 ± 0.00 points: within 1 point" in text
    assert "differ by 10.0 %" in text
    assert "`python -m benchmarks sweep` makes this, its picture" in text
    assert (tmp_path / "images" / "latency-ethos-u55-128.png").stat().st_size > 5_000
    figures = read_json(tmp_path / "latency-ethos-u55-128.json")
    assert figures is not None
    assert figures["findings"] == sweep_findings(result)
    assert all("traces" not in run for run in figures["runs"])


def test_pages_of_two_tasks_do_not_meet(tmp_path: Path) -> None:
    result = _result({0.0: [100, 104], 1.0: [70, 74], 3.0: [40, 44]}, TESTS)
    first = write_sweep(result, tmp_path, "python -m benchmarks sweep")
    before = first.read_bytes()
    result["sweep"]["task"] = "tables/pictures.npz"
    second = write_sweep(result, tmp_path, "python -m benchmarks sweep --task tables/pictures.npz")
    assert second.name == "latency-ethos-u55-128-pictures.md"
    assert (tmp_path / "images" / "latency-ethos-u55-128-pictures.png").exists()
    assert first.read_bytes() == before


@pytest.mark.parametrize(
    ("sweep", "error"),
    [
        (Sweep(weights=(0.0,)), EvaluationError),
        (Sweep(weights=(0.1, 1.0)), EvaluationError),
        (Sweep(weights=(0.0, 1.0, 1.0)), EvaluationError),
        (Sweep(seeds=1), EvaluationError),
        (Sweep(trainings=0), EvaluationError),
        (Sweep(target="ethos-u99"), UnknownName),
        (Sweep(space="emnas-382"), EvaluationError),
    ],
)
def test_a_sweep_that_makes_no_sense_is_refused(
    sweep: Sweep, error: type[Exception], tmp_path: Path
) -> None:
    with pytest.raises(error):
        run_sweep(sweep, tmp_path, 1, lambda: None)


def test_a_folder_of_another_sweep_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "sweep.json", Sweep(agent="darts").to_json())
    with pytest.raises(StoreError, match="holds another sweep"):
        run_sweep(Sweep(), tmp_path, 1, lambda: None)
