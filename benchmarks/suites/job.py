"""One run of a suite: an agent with a seed in an environment, resumed from its history."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from agents.runs import make_agent
from benchmarks.comparison.known_table import true_rewards, winner_report
from benchmarks.comparison.run_record import findings, json_lines
from benchmarks.comparison.training_cost import training_cost, waited
from benchmarks.suites.environment import evaluator_name, open_environment
from benchmarks.suites.execution import Job, Record
from benchmarks.suites.folder import read_json, run_folder, write_json, write_text
from benchmarks.suites.progress import Counter
from emnas_gym.env import EmNASEnv
from emnas_gym.errors import StoreError
from emnas_gym.history import Row
from emnas_gym.ledger import Ledger

FIELDS = {"env", "agent", "seed", "evaluations", "best", "curve", "front", "winner"}


def folder_of(job: Job) -> Path:
    """Where the run stores its history and its result."""
    return run_folder(Path(job.folder), job.env, job.agent, job.seed)


def finished(job: Job) -> Record | None:
    """What the run found, if it ended before.

    Raises:
        StoreError: If its file is damaged, or of another run.
    """
    path = folder_of(job) / "run.json"
    record = read_json(path)
    if record is None:
        return None
    if not record.keys() >= FIELDS:
        raise StoreError(f"{path} is damaged (fields are missing); remove it to run again")
    if (record["env"], record["agent"], record["seed"]) != (job.env, job.agent, job.seed):
        raise StoreError(f"{path} is of another run; remove it to run again")
    return record


def run_job(job: Job) -> Record:
    """Runs one agent with one seed, or goes on with it, and writes down what it found.

    ``history.sqlite`` grows while it runs; ``evaluations.jsonl`` and ``run.json`` are written from
    it at the end. A run that has ended is answered from its file.

    Raises:
        StoreError: If the history is in use, damaged, of another run, or cannot be written.
        EmNASError: If the environment or the agent cannot be made, or nothing was evaluated.
    """
    if (known := finished(job)) is not None:
        return known
    folder, environment = folder_of(job), job.suite.environment(job.env)
    described = _described(job)
    env = open_environment(environment, job.seed)
    try:
        record, rows = _search(job, env, described, evaluator_name(environment))
    finally:
        env.close()
    write_text(folder / "evaluations.jsonl", json_lines(rows))
    write_json(folder / "run.json", record)
    return record


def _described(job: Job) -> dict[str, Any]:
    path = Path(job.folder) / job.env / "environment.json"
    described = read_json(path)
    if described is None:
        raise StoreError(f"{path} is not there; begin the suite with `python -m benchmarks run`")
    return described


def _search(
    job: Job, env: EmNASEnv, described: dict[str, Any], evaluator: str
) -> tuple[Record, list[Row]]:
    entry = job.suite.agent(job.agent)
    agent = make_agent(entry.agent, _logdir(job), **entry.options)
    counter = Counter(folder_of(job))
    ledger = Ledger(
        env.evaluator,
        env.problem,
        job.suite.environment(job.env).evaluations,
        folder_of(job) / "history.sqlite",
        {"agent": agent.name, "config": agent.config.to_json(), "seed": job.seed}
        | {"evaluator": evaluator, "keywords": job.suite.environment(job.env).keywords},
        watch=counter,
    )
    try:
        stored = len(ledger.history)
        wall, cpu = time.perf_counter(), time.process_time()
        agent.search(env.problem, ledger, job.seed)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        asked = [env.problem.space.architecture(row.tokens) for row in ledger.rows]
        true = true_rewards(env.evaluator, env.problem, asked)
        found = findings(ledger.rows, env.problem, described, true)
        found |= training_cost(env.evaluator, env.problem, ledger, stored)
        winner = env.problem.space.architecture(found["winner"]["tokens"])
        found |= winner_report(env.evaluator, env.problem, winner)
    finally:
        ledger.close()
        counter.close()
    return _record(job, ledger, wall + waited(ledger.rows[:stored]), cpu, found), ledger.rows


def _logdir(job: Job) -> Path | None:
    """Where the agent writes its numbers; empty, as a run that is resumed tells them all again."""
    if not job.tensorboard:
        return None
    folder = folder_of(job) / "tensorboard"
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def _record(job: Job, ledger: Ledger, wall: float, cpu: float, found: dict[str, Any]) -> Record:
    return {
        "env": job.env,
        "agent": job.agent,
        "seed": job.seed,
        "steps": ledger.steps,
        "invalid_steps": ledger.invalid_steps,
        "seconds": wall,
        "cpu_seconds": cpu,
        **found,
    }
