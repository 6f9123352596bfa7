"""Runs a suite: every agent with every seed in parallel processes, then the winners' trainings."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.setup import Setup, make_setup
from benchmarks.suite import Entry, Suite
from benchmarks.suite_table import tabulate
from benchmarks.verify import Verification, Verifier, full_recipe, winners
from benchmarks.watch import bars
from emnas_gym.errors import EmNASError, EvaluationError, StoreError
from emnas_gym.history import History, Row
from emnas_gym.ledger import Ledger
from emnas_gym.registry import resolve
from predictors.trained import TrainedEvaluator
from predictors.workers import ended_on_error, make_pool

Key = tuple[str, int]  # label, seed


@dataclass(frozen=True)
class Run:
    """One agent with one seed, and what its ledger counted.

    Attributes:
        label: Of the agent.
        seed: Of the run.
        best: Highest reward.
        late_mean: Mean reward of the last tenth of the evaluations.
        distinct: Canonical networks.
        steps: Environment steps; 0 for agents that need none.
        invalid_steps: Steps whose token was illegal.
        seconds: Wall time.
    """

    label: str
    seed: int
    best: float
    late_mean: float
    distinct: int
    steps: int
    invalid_steps: int
    seconds: float


def run_suite(suite: Suite, out: Path, workers: int, console: Console) -> dict[str, Any]:
    """Runs what is not there yet, verifies the winners, and tests against the baseline.

    Args:
        suite: What is compared.
        out: Folder; each suite has its own in it.
        workers: Parallel processes; 0 is one a core.
        console: For progress bars.

    Returns:
        ``{"agents": {label: {"best": [per seed], "verified": [...], "p_vs_random": ...}}, ...}``;
        also written as ``result.json``.

    Raises:
        EmNASError: If the suite cannot be run as it is written.
    """
    folder = out / suite.name
    workers = workers or os.cpu_count() or 1
    _claim(folder, suite)
    with bars(console) as progress:
        total = len(suite.agents) * suite.seeds
        bar = progress.add_task(f"{suite.name}: runs", total=total)
        runs = _run_all(suite, folder, workers, lambda: progress.advance(bar))
        verified: dict[Key, Verification] = {}
        if suite.verify_seeds:
            bar = progress.add_task("training the winners", total=total)
            verified = _verify_all(suite, folder, workers, lambda: progress.advance(bar))
    result = tabulate(suite, runs, verified)
    (folder / "result.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    return result


def _claim(folder: Path, suite: Suite) -> None:
    """Refuses to mix the results of two versions of a suite in one folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path, text = folder / "suite.json", json.dumps(asdict(suite), indent=1)
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise StoreError(f"{folder} holds another version of the suite; give another --out")
    path.write_text(text, encoding="utf-8")


def _run_all(
    suite: Suite, folder: Path, workers: int, advance: Callable[[], None]
) -> dict[Key, Run]:
    entries = {(e.label, seed): e for seed in range(suite.seeds) for e in suite.agents}
    runs = {key: run for key in entries if (run := _finished(_path(folder, key))) is not None}
    for _ in runs:
        advance()
    pool = make_pool(workers, _start_worker, ())
    with ended_on_error(pool):  # runs resume by replay; waiting for them would take minutes
        futures = {
            pool.submit(run_one, suite, entry, key[1], _path(folder, key)): key
            for key, entry in entries.items()
            if key not in runs
        }
        for future in as_completed(futures):
            runs[futures[future]] = future.result()
            advance()
    pool.shutdown()
    return runs


def _start_worker() -> None:
    import torch

    torch.set_num_threads(1)


def _path(folder: Path, key: Key) -> Path:
    return folder / key[0] / f"seed-{key[1]}"


def _finished(folder: Path) -> Run | None:
    path = folder / "run.json"
    if not path.exists():
        return None
    try:
        return Run(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise EmNASError(f"{path} is damaged ({error}); remove it to run again") from error


def run_one(suite: Suite, entry: Entry, seed: int, folder: Path) -> Run:
    """Runs one agent with one seed; resumes from its history by replay."""
    setup = make_setup(suite.env)
    agent = resolve("agent", entry.agent).with_options(**entry.options)
    about = {"agent": agent.name, "config": agent.config.to_json(), "seed": seed}
    start = time.perf_counter()
    ledger = Ledger(
        setup.make_evaluator(),
        setup.problem,
        suite.evaluations,
        folder / "history.sqlite",
        about | {"evaluator": setup.evaluator},
    )
    try:
        agent.search(setup.problem, ledger, seed)
        run = _count(ledger, entry.label, seed, time.perf_counter() - start)
    finally:
        ledger.close()
    partial = folder / "run.part"
    partial.write_text(json.dumps(asdict(run)), encoding="utf-8")
    partial.replace(folder / "run.json")
    return run


def _count(ledger: Ledger, label: str, seed: int, seconds: float) -> Run:
    rewards = [row.reward for row in ledger.rows]
    late = rewards[-max(len(rewards) // 10, 1) :]
    return Run(
        label=label,
        seed=seed,
        best=ledger.best.reward,
        late_mean=float(np.mean(late)),
        distinct=ledger.distinct,
        steps=ledger.steps,
        invalid_steps=ledger.invalid_steps,
        seconds=seconds,
    )


def _verify_all(
    suite: Suite, folder: Path, workers: int, advance: Callable[[], None]
) -> dict[Key, Verification]:
    """Trains the network of highest predicted reward of every run."""
    setup = make_setup(suite.env)
    keys = [(entry.label, seed) for seed in range(suite.seeds) for entry in suite.agents]
    best = {key: _winner(_path(folder, key), setup) for key in keys}
    trainer = TrainedEvaluator(setup.images(), full_recipe(), workers=workers)
    seeds = tuple(range(suite.verify_seeds))
    verifier = Verifier(trainer, setup.problem, seeds, folder / "verified.json")
    try:
        results = verifier.verify(list(best.values()), advance)
    finally:
        trainer.close()
    for result in results:
        if isinstance(result, EvaluationError):
            raise result
    return {k: r for k, r in zip(keys, results, strict=True) if isinstance(r, Verification)}


def _winner(folder: Path, setup: Setup) -> Row:
    history = History(folder / "history.sqlite")
    try:
        found = winners(list(history.rows()), setup.problem, 1)
    finally:
        history.close()
    if not found:
        raise EvaluationError(f"{folder}: no network that was measured keeps all budgets")
    return found[0]
