"""The figures of all portraits in one JSON file, which is read back with distrust."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.comparison.significance import bootstrap_interval, holm, p_greater
from benchmarks.portraits.runs import DIGITS, Run, World, curves
from emnas_gym.errors import StoreError

BASELINE = "random"
CHECKPOINTS = (50, 100, 200)  # evaluations at which means are told, those of a run being the last
LEVEL = 0.05  # of the tests, after Holm's correction
MOST_BYTES = 2_000_000
Figures = dict[str, Any]


def checkpoints(evaluations: int) -> list[int]:
    """Where means are told: the known ones before the end, and the end."""
    return [*(at for at in CHECKPOINTS if at < evaluations), evaluations]


def interval(values: Sequence[float]) -> list[float]:
    """Low end, mean and high end: 95 % by bootstrap over seeds, rounded."""
    low, high = bootstrap_interval(values)
    return [round(value, DIGITS) for value in (low, float(np.mean(values)), high)]


def record(runs: Sequence[Run], evaluations: int) -> Figures:
    """What the file holds of one agent: per checkpoint the best reward of each seed."""
    best = curves(runs, evaluations)
    return {
        "seeds": [run.seed for run in runs],
        "best": {str(at): best[:, at - 1].tolist() for at in checkpoints(evaluations)},
        "distinct": [run.repeats.count(False) for run in runs],
    }


def collected(
    world: World, evaluations: int, records: Mapping[str, Figures], command: str
) -> Figures:
    """The whole file, what follows from the records included.

    Args:
        world: What was searched.
        evaluations: Of each run.
        records: Agent → `record`, the baseline's among them.
        command: What made it.
    """
    about = {
        "command": command,
        "problem": world.problem.to_json(),
        "evaluations": evaluations,
        "optimum": world.optimum,
    }
    return about | {"agents": concluded(records, evaluations, world.optimum)}


def concluded(
    records: Mapping[str, Figures], evaluations: int, optimum: float
) -> dict[str, Figures]:
    """Adds to each record its means, regret, and the tests against the baseline.

    The family of Holm's correction are all agents but the baseline.
    """
    end = str(evaluations)
    base = records[BASELINE]["best"][end]
    p_values = {
        name: p_greater(one["best"][end], base) for name, one in records.items() if name != BASELINE
    }
    corrected = holm(p_values)
    found = {}
    for name, one in sorted(records.items()):
        means = {at: interval(values) for at, values in one["best"].items()}
        found[name] = {key: one[key] for key in ("seeds", "best", "distinct")} | {
            "mean": means,
            "regret": round(optimum - means[end][1], DIGITS),
            "optimum_found": sum(value >= optimum for value in one["best"][end]),
            "p": _significant(p_values.get(name)),
            "p_holm": _significant(corrected.get(name)),
        }
    return found


def _significant(p: float | None) -> float | None:
    """Four significant digits."""
    return None if p is None else float(f"{p:.4g}")


def text_of(figures: Figures) -> str:
    """The file's text: one line an agent."""
    agents = ",\n".join(
        f"  {json.dumps(name)}: {json.dumps(one)}" for name, one in figures["agents"].items()
    )
    head = json.dumps({key: value for key, value in figures.items() if key != "agents"}, indent=1)
    return f'{head[:-2]},\n "agents": {{\n{agents}\n }}\n}}\n'


def read_figures(path: Path) -> Figures:
    """Reads the file; all that follows from its records must follow indeed.

    Raises:
        StoreError: If it is missing, damaged, or no file of portraits.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES} bytes")
        figures: Figures = json.loads(path.read_text(encoding="utf-8"))
        _check(figures)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{path}: no figures of portraits, or damaged: {error!r}; "
            "`python -m benchmarks portraits` makes them"
        ) from error
    return figures


def _check(figures: Figures) -> None:
    """Raises ValueError, KeyError, TypeError or AttributeError if something is amiss."""
    evaluations, optimum, agents = figures["evaluations"], figures["optimum"], figures["agents"]
    if not isinstance(evaluations, int) or evaluations < 1 or not math.isfinite(optimum):
        raise ValueError("evaluations or optimum is no such number")
    if not isinstance(figures["problem"], dict) or not isinstance(figures["command"], str):
        raise ValueError("problem or command is missing")
    wanted = [str(at) for at in checkpoints(evaluations)]
    for name, one in agents.items():
        columns = [one["seeds"], one["distinct"], *one["best"].values()]
        if list(one["best"]) != wanted or len({len(column) for column in columns}) != 1:
            raise ValueError(f"{name}: its columns do not fit")
        values = [float(value) for column in one["best"].values() for value in column]
        if not values or not all(math.isfinite(v) and v <= optimum for v in values):
            raise ValueError(f"{name}: a reward is none, or above the optimum")
    if not _alike(concluded(agents, evaluations, optimum), agents):
        raise ValueError("means or tests are not those of its rewards")


def _alike(made: Any, read: Any) -> bool:  # noqa: ANN401
    """Whether plain data are equal, but for what another version of SciPy may round otherwise."""
    if isinstance(made, dict):
        same = isinstance(read, dict) and made.keys() == read.keys()
        return same and all(_alike(value, read[key]) for key, value in made.items())
    if isinstance(made, list):
        same = isinstance(read, list) and len(made) == len(read)
        return same and all(map(_alike, made, read))
    if isinstance(made, float):
        return math.isclose(made, read, rel_tol=1e-3, abs_tol=2 * 10**-DIGITS)
    return bool(made == read)
