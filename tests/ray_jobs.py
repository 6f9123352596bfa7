"""Work for a Ray cluster under test: a real search, tasks that hold a board, tasks that die."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiny_worlds import SlowFormula, formula

from agents.runs import make_agent
from emnas_gym.errors import EvaluationError
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem

EVALUATIONS = 80


@dataclass(frozen=True)
class Job:
    """One search, as a suite would send it."""

    seed: int
    folder: str


def search_slowly(job: Job) -> list[list[Any]]:
    """A random search that takes some seconds; its rows, which any run of it must give."""
    folder = Path(job.folder) / f"seed-{job.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "pids").open("a", encoding="utf-8") as file:
        file.write(f"{os.getpid()}\n")
    problem = Problem.make()
    ledger = Ledger(SlowFormula(), problem, EVALUATIONS, folder / "history.sqlite")
    make_agent("random", batch=4).search(problem, ledger, job.seed)
    ledger.close()
    return [[list(row.tokens), row.reward, row.batch] for row in ledger.rows]


def rows_of(seed: int) -> list[list[Any]]:
    """The rows of a search that nothing disturbs, measured without a pause."""
    problem = Problem.make()
    ledger = formula(problem, EVALUATIONS)
    make_agent("random", batch=4).search(problem, ledger, seed)
    return [[list(row.tokens), row.reward, row.batch] for row in ledger.rows]


def hold(folder: str, number: int) -> int:
    """Notes when it began and ended."""
    start = time.time()
    time.sleep(0.2)
    Path(folder, f"{number}.json").write_text(json.dumps([start, time.time()]), encoding="utf-8")
    return number


def die(number: int) -> int:
    """Kills its worker."""
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def refuse(number: int) -> int:
    """Fails on purpose."""
    raise EvaluationError(f"job {number} is refused")


def stumble(number: int) -> int:
    """Fails by a defect."""
    return number // 0


def threads(number: int) -> int:
    """Threads that torch would use."""
    import torch

    return torch.get_num_threads()
