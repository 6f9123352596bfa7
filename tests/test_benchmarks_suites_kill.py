"""A suite killed at any moment and resumed comes to the same rows as one that ran through."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_suites import few_draws, rows_of, run_here, small_suite, suite_text

ROOT = Path(__file__).parents[1]
KILLS = 20
pytestmark = pytest.mark.usefixtures(few_draws.__name__)
SUITE = suite_text(
    """
name = "small"
seeds = 3
evaluations = 60
reference = 20
""",
    random="batch = 1",
    evolution="population = 10, tournament = 3",
)


def _ended_after(seconds: float, work: Callable[[], object]) -> bool:
    """Does work in a process that the kernel ends after so much of its CPU time; whether it did.

    As by SIGKILL nothing is cleaned up, and it may be amid whatever the process does; but a busy
    machine does not move the moment.
    """
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_ended_at_twenty_random_moments_the_rows_are_the_same(tmp_path: Path) -> None:  # B25
    suite, rng = small_suite(), np.random.default_rng()
    run_here(suite, tmp_path / "warm")  # what a process makes once is no part of the span
    start = time.process_time()
    run_here(suite, tmp_path / "whole")
    span = time.process_time() - start
    moments = rng.uniform(0.001, span / 3, KILLS)  # runs go on: the work is soon done
    hits = [_ended_after(at, lambda: run_here(suite, tmp_path / "cut")) for at in moments]
    assert sum(hits) >= 5, "the work was done before it could be broken off"
    result = run_here(suite, tmp_path / "cut")
    assert result["finished"]
    whole = rows_of(tmp_path / "whole")
    assert len(whole) == 2 * 2 * 2
    assert whole == rows_of(tmp_path / "warm")
    assert rows_of(tmp_path / "cut") == whole
    assert all(len(rows) == 60 for path, rows in whole.items() if path.endswith(".jsonl"))


RUN = """
import sys
from pathlib import Path
from rich.console import Console
from benchmarks.comparison import aggregates
from benchmarks.suites.suite import load_suite
from benchmarks.suites.run import run_suite

aggregates.DRAWS = 20
run_suite(load_suite(sys.argv[1]), Path(sys.argv[2]), 2, Console(stderr=True))
"""


def _started(suite: Path, out: Path) -> subprocess.Popen[bytes]:
    """A runner with two worker processes, as the command has it, without the other commands."""
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(suite), str(out)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


@pytest.mark.slow
def test_a_runner_and_its_workers_killed_twenty_times(tmp_path: Path) -> None:  # B25
    suite = tmp_path / "small.toml"
    suite.write_text(SUITE, encoding="utf-8")
    start = time.perf_counter()
    assert _started(suite, tmp_path / "whole").wait(timeout=300) == 0
    span, rng = time.perf_counter() - start, np.random.default_rng()
    for _ in range(KILLS):
        process = _started(suite, tmp_path / "cut")
        time.sleep(rng.uniform(0.3 * span, span))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=300)
    assert _started(suite, tmp_path / "cut").wait(timeout=300) == 0
    whole = rows_of(tmp_path / "whole")
    assert len(whole) == 2 * 2 * 3
    assert rows_of(tmp_path / "cut") == whole
