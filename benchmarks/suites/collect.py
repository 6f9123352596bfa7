"""The result of a suite, from the files of whatever runs have ended."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.comparison.compare import (
    compare,
    predicted_against_verified,
    reward_curves,
    reward_profiles,
    stronger,
)
from benchmarks.suites.execution import Job, Record
from benchmarks.suites.folder import read_json, stored_suite
from benchmarks.suites.job import finished
from benchmarks.suites.suite import BASELINE, Suite
from emnas_gym.errors import EmNASError, StoreError
from emnas_gym.registry import resolve

FORMAT = 2
Runs = dict[str, dict[str, list[Record]]]  # environment → agent → runs by seed


def collect_result(folder: Path) -> dict[str, Any]:
    """Builds the result of what is there: of a finished suite, of an interrupted or a running one.

    Args:
        folder: Of the suite, e.g. ``runs/bench/first``.

    Returns:
        Plain data; ``finished`` says whether all runs (and the trainings of their winners, where
        the suite asks for them) are there, ``missing`` which are not.

    Raises:
        StoreError: If no suite was begun there, or a file is damaged.
        BackendMissing: If rliable is not installed.
    """
    suite = stored_suite(folder)
    about = read_json(folder / "about.json")
    if about is None:
        raise StoreError(f"{folder / 'about.json'} is not there; the suite was hardly begun")
    described = _described(suite, folder)
    records, missing = _records(suite, folder)
    runs: Runs = {
        label: {entry.label: [] for entry in suite.agents if _plays(suite, label, entry.label)}
        for label in described
    }
    for record in records:
        runs[record["env"]][record["agent"]].append(record)
    return {
        "format": FORMAT,
        "suite": suite.name,
        "title": suite.title,
        "command": about["command"],
        "finished": not missing and not _unverified(suite, records),
        "missing": missing,
        "machine": about["machine"],
        "versions": about["versions"],
        "started": about["started"],
        "seeds": suite.seeds,
        **_summed_up(suite, described, runs),
        "agents": [_agent(entry.label, entry.agent, entry.options) for entry in suite.agents],
        "runs": records,
    }


def _described(suite: Suite, folder: Path) -> dict[str, dict[str, Any]]:
    """What was found out of every environment before its first run."""
    known = {one.label: read_json(folder / one.label / "environment.json")
             for one in suite.environments}  # fmt: skip
    found = {label: described for label, described in known.items() if described is not None}
    if not found:
        raise StoreError(f"{folder}: no run of the suite was begun; the same command goes on")
    return found


def _plays(suite: Suite, env: str, agent: str) -> bool:
    only = suite.agent(agent).only
    return not only or env in only


def _records(suite: Suite, folder: Path) -> tuple[list[Record], list[dict[str, Any]]]:
    """The runs that have ended, with what verification found, and those that have not."""
    records, missing = [], []
    verified = {
        one.label: (read_json(folder / one.label / "winners.json") or {}).get("runs", {})
        for one in suite.environments
    }
    for env, agent, seed in suite.runs():
        record = finished(Job(suite, env, agent, seed, str(folder)))
        if record is None:
            missing.append({"env": env, "agent": agent, "seed": seed})
        else:
            known = verified[env].get(verified_key(agent, seed))
            records.append({**record, "verified": known})
    return records, missing


def verified_key(agent: str, seed: int) -> str:
    """Under which name ``winners.json`` has what a run's winner reached."""
    return f"{agent}/seed-{seed}"


def _unverified(suite: Suite, records: list[Record]) -> bool:
    return any(
        record["verified"] is None
        for record in records
        if suite.environment(record["env"]).verify_seeds
    )


def _agent(label: str, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    try:
        summary = str(getattr(resolve("agent", name), "summary", ""))
    except EmNASError:  # its library is not installed where the result is read
        summary = ""
    return {"label": label, "agent": name, "options": dict(options), "summary": summary}


def _summed_up(suite: Suite, described: Mapping[str, dict[str, Any]], runs: Runs) -> dict[str, Any]:
    random = [entry.label for entry in suite.agents if entry.agent == BASELINE]
    baselines = {env: stronger(of, random) for env, of in runs.items()}
    return {
        "baseline": _overall(baselines, random),
        "environments": [
            {**described[env], "baseline": baselines[env] or random[0]} for env in described
        ],
        "statistics": {env: compare(runs[env], baselines[env]) for env in described},
        "profiles": {env: reward_profiles(runs[env]) for env in described},
        "curves": {
            env: reward_curves(runs[env], one["evaluations"]) for env, one in described.items()
        },
        "predicted_verified": {env: predicted_against_verified(runs[env]) for env in described},
    }


def _overall(baselines: Mapping[str, str | None], random: list[str]) -> str:
    """The random search that is the stronger one in most environments; of equals the first."""
    found = list(baselines.values())
    return max(random, key=lambda label: found.count(label))
