"""A table of measured latencies of random networks, made unattended and resumable."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from emnas_gym import costs
from emnas_gym.architecture import Architecture
from emnas_gym.errors import EvaluationError, EvaluationStopped, StoreError
from emnas_gym.evaluator import Result
from emnas_gym.ownership import Ownership
from emnas_gym.space import SearchSpace
from emnas_gym.tasks import Task
from hardware.boards import BoardEvaluator
from hardware.farm import Farm
from hardware.reading import Reading

COLUMNS = (
    "tokens",
    "macs",
    "params",
    "latency_ms",
    "p90_ms",
    "spread_ms",
    "runs",
    "outliers",
    "provenance",
    "clock",
    "device",
    "firmware",
    "model",
    "notes",
    "error",
)
MOST_DRAWS = 1000  # for one network that is not there yet
BATCH = 16  # networks between two writes


def collect_table(
    farm: Farm,
    space: SearchSpace,
    task: Task,
    samples: int,
    seed: int,
    path: Path,
    console: Console,
) -> dict[str, Any]:
    """Measures random networks until a table has so many rows.

    Args:
        farm: The devices.
        space: Of the networks; its own sampler draws them.
        task: Input shape and classes.
        samples: Rows.
        seed: Decides which networks.
        path: The CSV file; each batch is on the disk before the next one begins.
        console: For the progress bar.

    Returns:
        What the table holds, and what became of each device.

    Raises:
        StoreError: If the file is in use, or is another table.
        EvaluationStopped: If no device is left; what was measured is in the table.
    """
    owner = Ownership(path)
    try:
        _mend(path)
        known = _read(path)
        evaluator = BoardEvaluator(task, farm)
        wanted = [a for a in _draw(space, task, samples, seed) if _text(a) not in known]
        with _bar(console) as progress:
            bar = progress.add_task("measuring", total=samples, completed=samples - len(wanted))
            for start in range(0, len(wanted), BATCH):
                batch = wanted[start : start + BATCH]
                _measure(evaluator, batch, task, path)
                progress.advance(bar, len(batch))
        rows = _read(path)
    finally:
        owner.release()
    failed = sum(1 for row in rows.values() if row["error"])
    return {
        "table": str(path),
        "rows": len(rows),
        "measured_now": len(wanted),
        "failed": failed,
        "devices": farm.report(),
    }


def _draw(space: SearchSpace, task: Task, samples: int, seed: int) -> Iterator[Architecture]:
    """Different networks, the same ones for the same seed."""
    rng = np.random.default_rng(seed)
    seen: set[tuple[int, ...]] = set()
    for _ in range(samples):
        for _ in range(MOST_DRAWS):
            architecture = space.sample(rng, task)
            if architecture.canonical not in seen:
                break
        else:
            raise StoreError(f"the space has no more than {len(seen)} networks to draw")
        seen.add(architecture.canonical)
        yield architecture


def _measure(evaluator: BoardEvaluator, batch: list[Architecture], task: Task, path: Path) -> None:
    """Measures a batch, and writes what was measured, also where the devices stop."""
    results: Sequence[Result | None] = []
    try:
        results = evaluator.evaluate(batch)
    except EvaluationStopped as stopped:
        results = stopped.results
        raise
    finally:
        pairs = zip(batch, results, strict=False)
        _write(path, [_row(a, r, evaluator, task) for a, r in pairs if r is not None])


def _row(
    architecture: Architecture,
    result: Result,
    evaluator: BoardEvaluator,
    task: Task,
) -> dict[str, object]:
    graph = architecture.graph(task)
    row: dict[str, object] = {
        "tokens": _text(architecture),
        "macs": costs.macs(graph),
        "params": costs.params(graph),
    }
    if isinstance(result, EvaluationError):
        return row | {"error": str(result)}
    reading: Reading = evaluator.readings[architecture]
    facts = reading.to_json() | {"notes": "; ".join(reading.notes)}
    return row | {name: facts[name] for name in COLUMNS if name in facts}


def _text(architecture: Architecture) -> str:
    return " ".join(map(str, architecture.tokens))


def _read(path: Path) -> dict[str, dict[str, str]]:
    """Rows by tokens; none where there is no file."""
    if not path.exists():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise StoreError(f"{path}: is another table; choose another --out")
            return {row["tokens"]: row for row in reader if row["error"] is not None}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StoreError(f"{path}: cannot be read: {error}") from error


def _mend(path: Path) -> None:
    """Cuts off a last line that was not written to its end."""
    if path.exists() and (content := path.read_bytes()) and not content.endswith(b"\n"):
        path.write_bytes(content[: content.rfind(b"\n") + 1])


def _write(path: Path, rows: list[dict[str, object]]) -> None:
    try:
        new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="")
            if new:
                writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error}") from error


def _bar(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeRemainingColumn(), console=console)
