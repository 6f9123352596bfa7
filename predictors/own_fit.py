"""Predictors of a user's own measurements: from a CSV file, or from a table of `collect`."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.status import Status
from rich.table import Table as RichTable

from emnas_gym.errors import StoreError
from emnas_gym.space import load_space
from emnas_gym.surrogate_file import Surrogate, write_surrogate
from emnas_gym.tasks import DIGITS, TASKS, Task
from predictors.datasets import load
from predictors.drawn_limit import drawn_limit
from predictors.predictor_fit import fit_predictor
from predictors.tables import read_store
from predictors.user_table import read_user_table

console = Console(stderr=True)


def fit_rows(
    csv: Path, space: str, task: str, device: str | None, value: str | None, out: Path | None
) -> None:
    """Fits the rows of a CSV file, writes the predictor and shows what was tried.

    Args:
        csv: As `predictors.user_table` describes it.
        space: Name of a search space, or the path of its file.
        task: Name of a task, or the path of images.
        device: Where latencies were taken.
        value: Column of values; found by its name if None.
        out: File to write.

    Raises:
        DatasetError: If rows are impossible, repeated or too few.
        UnknownName: If the space, the task or the column is unknown.
    """
    chosen, the_task = load_space(space), _task(task)
    table = read_user_table(csv, chosen, the_task, value)
    if table.left_out:
        console.print(f"{table.left_out} rows say that they were not measured; they are left out")
    with _fitting(len(table.values)):
        fitted = fit_predictor(
            chosen, the_task, device, table.field, table.networks, table.values, source=csv.name
        )
    _write_user(fitted, space, task, device, out)


def fit_collected(path: Path, space: str, task: str, device: str | None, out: Path | None) -> None:
    """Fits what `collect` measured, writes the predictor and shows what was tried.

    Args:
        path: SQLite file that `collect` wrote.
        space: Name of the table's search space, or the path of its file.
        task: Name of its task, or the path of its images.
        device: Of the latencies that are fitted; accuracies if None.
        out: File to write.

    Raises:
        StoreError: If there is no such table, or it is of something else.
        DatasetError: If there are too few networks.
    """
    chosen, the_task = load_space(space), _task(task)
    collected = read_store(path)
    found = tuple(collected.about.get(key) for key in ("space", "task"))
    if found != (chosen.fingerprint, the_task.name):
        raise StoreError(
            f"{path}: is not a table of {chosen.name} on {the_task.name}, but on {found[1]}; name "
            "its space and task with --space and --task"
        )
    values = collected.values(device)
    with _fitting(len(values)):
        fitted = fit_predictor(
            chosen,
            the_task,
            device,
            "accuracy" if device is None else "latency_ms",
            list(values),
            list(values.values()),
            source=path.name,
            command="python -m predictors fit --table",
            max_macs=drawn_limit(collected.about),
        )
    _write_user(fitted, space, task, device, out)


def _task(name: str) -> Task:
    return TASKS[name] if name in TASKS else load(name).task


def _fitting(networks: int) -> Status:
    return console.status(f"{networks} networks: cross-validating several estimators")


def _write_user(
    fitted: Surrogate, space: str, task: str, device: str | None, out: Path | None
) -> None:
    path = write_surrogate(fitted, out or Path("runs/predictors") / f"{fitted.name}.json")
    Console().print(_tried(fitted))
    where = f", task={task!r}" if task != DIGITS.name else ""
    where += f", device={device!r}" if device else ""
    Console().print(
        f"gym.make(..., space={space!r}{where}, evaluator={str(path)!r})", soft_wrap=True
    )


def _tried(fitted: Surrogate) -> RichTable:
    """Cross-validated errors of all candidates, the best first."""
    kind = "absolute" if fitted.field == "accuracy" else "relative"
    figures = fitted.about["held_out"]
    tau = "–" if figures["tau"] is None else f"{figures['tau']:.3f}"  # of constants there is none
    title = f"{figures['model']}: τ {tau}, MAE {figures['mae']:.4g}"
    table = RichTable("estimator", f"mean {kind} error, cross-validated", title=title)
    for name, score in sorted(fitted.about["chosen_by_cross_validation"].items(), key=_score):
        table.add_row(name, f"{score:.4f}")
    return table


def _score(item: tuple[str, float]) -> float:
    return item[1]
