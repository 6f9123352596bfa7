"""``python -m benchmarks lenna``: collect rows, study stop rules, fit predictors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from benchmarks.lenna.datasets import DataSet, data_sets, find_data_set, gather
from benchmarks.lenna.fitting import Compared, compare_all, save_all
from benchmarks.lenna.pages import publish_fits, publish_study
from benchmarks.lenna.study import RULES, StudyPlan, study
from emnas_gym.door import print_json
from emnas_gym.errors import DatasetError
from predictors.lenna.backends.base import NAMES, Settings
from predictors.lenna.collect import Plan, collect_rows
from predictors.lenna.contenders import NAMES as PREDICTORS
from predictors.lenna.drawing import TYPES, Draw
from predictors.lenna.measure import RULES as STOP_RULES
from predictors.lenna.measure import Stop
from predictors.lenna.network_fit import HOW
from predictors.lenna.row_store import RowStore
from predictors.unfinished import Unfinished

app = typer.Typer(no_args_is_help=True, help="LENNA: a learned latency of whole blocks.")
console = Console(stderr=True)
SIMULATED = "serial,fused,groups"


@app.command()
def collect(
    out: Annotated[Path, typer.Option(help="SQLite file of the rows.")] = Path(
        "runs/lenna/rows.sqlite"
    ),
    rows: Annotated[int, typer.Option(help="Rows that there are to be.", min=1)] = 1000,
    backend: Annotated[str, typer.Option(help=f"One of {', '.join(NAMES)}.")] = "simulated",
    channels: Annotated[
        str, typer.Option(help="Range such as 1-1000, or numbers such as 16,32,64.")
    ] = "1-1000",
    types: Annotated[str, typer.Option(help="normal,reduction or one of them.")] = ",".join(TYPES),
    seed: Annotated[int, typer.Option(help="Decides all rows.")] = 0,
    rule: Annotated[
        str, typer.Option(help=f"When a label is known: {', '.join(STOP_RULES)}.")
    ] = "interval",
    half_width: Annotated[
        float, typer.Option(help="Of the interval, as a share of the mean.", min=1e-4, max=1.0)
    ] = 0.025,
    cap: Annotated[int, typer.Option(help="Resets of one row at most.", min=1)] = 1000,
    side: Annotated[int, typer.Option(help="Height and width of the block's input.")] = 32,
    forwards: Annotated[int, typer.Option(help="Timed runs of one reset.")] = 10,
    batch: Annotated[int, typer.Option(help="Images of one run (torch).")] = 1,
    precision: Annotated[str, typer.Option(help="int8 or float32 (litert).")] = "int8",
    accelerator: Annotated[str, typer.Option(help="The NPU (npu).")] = "ethos-u55-128",
    core: Annotated[str, typer.Option(help="The emulated core (qemu).")] = "cortex-m4",
    clock: Annotated[
        str, typer.Option(help="cpu or wall time (torch, litert); cpu leaves neighbours out.")
    ] = "cpu",
    fusion: Annotated[
        float, typer.Option(help="Share saved behind convolutions (simulated).", min=0, max=1)
    ] = 0.0,
    noise: Annotated[float, typer.Option(help="Of a run (simulated).", min=0, max=1)] = 0.03,
    spikes: Annotated[float, typer.Option(help="Runs ten times as long.", min=0, max=1)] = 0.01,
    workers: Annotated[int, typer.Option(help="Processes that measure.", min=1)] = 1,
    memory_gib: Annotated[
        float | None, typer.Option(help="What a process may take beyond its start.", min=0)
    ] = None,
    retry: Annotated[bool, typer.Option(help="Measure rows that failed once more.")] = False,
    csv: Annotated[Path | None, typer.Option(help="Also write the columns as CSV here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a summary as JSON.")] = False,
) -> None:
    """Measures blocks and stores their rows; stop and go on as you like, also several at a time.

    A file holds rows of one machine, backend and rule, and refuses others. A row that lacks memory
    is noted as failed, and the others go on.
    """
    settings = Settings(
        backend, side, forwards, batch, precision=precision, accelerator=accelerator, core=core,
        clock=clock, fusion=fusion, noise=noise, spikes=spikes,
    )  # fmt: skip
    kinds = tuple(kind.strip() for kind in types.split(",") if kind.strip())
    draw = _draw(channels, kinds, seed)
    stop = Stop(rule, half_width, cap=cap)
    if retry and out.is_file():
        with RowStore.reading(out) as store:
            environment = store.environment()
        with RowStore(out, environment) as store:
            store.forget_failures()
    plan = Plan(settings, draw, stop, rows, memory_gib)
    with _bar(rows) as tell:
        measured, failed = collect_rows(out, plan, workers, tell)
    summary: dict[str, Any] = {"file": str(out), "rows": measured, "failed": failed}
    with RowStore.reading(out) as store:
        summary["failures"] = [
            {"row": row, "b_type": kind, "in_ch": width, "reason": reason}
            for row, kind, width, reason in store.failures()
        ]
        if csv is not None:
            summary["csv"], _ = str(csv), store.export_csv(csv)
    if as_json:
        print_json(summary)
        return
    console.print(f"{out}: {measured} rows, {failed} failed")
    for each in summary["failures"][:10]:
        console.print(f"  row {each['row']}, {each['in_ch']:g} channels: {each['reason']}")


def _draw(channels: str, kinds: tuple[str, ...], seed: int) -> Draw:
    try:
        if "," not in channels and "-" in channels:
            least, most = (int(part) for part in channels.split("-"))
            return Draw(seed, (least, most), types=kinds)
        chosen = tuple(int(part) for part in channels.split(","))
    except ValueError as error:
        raise DatasetError(
            f"channels are a range such as 1-1000, or numbers such as 16,32, not {channels!r}"
        ) from error
    return Draw(seed, chosen=chosen, types=kinds)


@contextmanager
def _bar(total: int) -> Iterator[Any]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("measuring", total=total)

        def tell(measured: int, failed: int) -> None:
            said = f"measuring ({failed} failed)" if failed else "measuring"
            bar.update(task, completed=measured + failed, description=said)

        yield tell


@app.command("study")
def study_command(
    seeds: Annotated[int, typer.Option(help="Repetitions.", min=2)] = 12,
    blocks: Annotated[int, typer.Option(help="Blocks of one repetition.", min=2)] = 40,
    publish: Annotated[Path, typer.Option(help="Folder of page, pictures and figures.")] = Path(
        "runs/lenna/study"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Compares stop rules on the simulated device: label noise, resets, LENNA's three figures."""
    with Progress(TextColumn("{task.description}"), BarColumn(), console=console) as bar:
        task = bar.add_task("labelling", total=seeds * len(RULES))
        found = study(
            StudyPlan(seeds, blocks), lambda rule: bar.update(task, advance=1, description=rule)
        )
    written = publish_study(found, publish)
    if as_json:
        print_json(found)
        return
    table = Table("rule", "noise", "median resets")
    for name, rule in found["rules"].items():
        table.add_row(name, f"{rule['noise'][1]:.2%}", f"{rule['median_resets'][1]:.0f}")
    Console().print(table)
    runs = Table("runs a reset", "deviation from the trimmed mean", "worst")
    for name, figures in found["runs"].items():
        runs.add_row(name, f"{figures['mean']:.3%}", f"{figures['worst']:.3%}")
    Console().print(runs)
    console.print(f"page: {written[0]}")


@app.command("fit")
def fit_command(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Files of rows; those of --data if none.")
    ] = None,
    data: Annotated[
        str, typer.Option(help=f"Data sets to collect and fit: {', '.join(data_sets(1))}.")
    ] = SIMULATED,
    rows: Annotated[int, typer.Option(help="Rows of a simulated data set.", min=100)] = 3000,
    folds: Annotated[int, typer.Option(help="Parts of the cross-validation.", min=2)] = 5,
    workers: Annotated[int, typer.Option(help="Processes that measure.", min=1)] = 1,
    out: Annotated[Path, typer.Option(help="Folder of rows and predictors.")] = Path("runs/lenna"),
    publish: Annotated[
        Path | None, typer.Option(help="Folder of page, picture and figures; --out if none.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Fits LENNA's predictors, tells how well they know blocks they have not seen, and saves them.

    What was collected and compared is kept in --out: the same command goes on from there.
    """
    names = [name.strip() for name in data.split(",") if name.strip()]
    sets = {name: find_data_set(name, rows) for name in names}
    compared = _read(files) if files else _gathered(sets, out, workers)
    how = {kind: asdict(fitting) for kind, fitting in HOW.items()}
    parts_of = Unfinished(out / "fit.unfinished.json", {"folds": folds, "how": how})
    total = len(compared) * folds * len(PREDICTORS) * 2
    with Progress(TextColumn("{task.description}"), BarColumn(), console=console) as bar:
        task = bar.add_task("fitting", total=total)
        found = compare_all(
            compared, folds, parts_of, lambda what: bar.update(task, advance=1, description=what)
        )
        for name, each in compared.items():
            bar.update(task, description=f"{name}: saving")
            save_all(name, each.rows, out / "predictors")
    asked = "python -m benchmarks lenna fit" + ("" if files else f" --data {','.join(names)}")
    written = publish_fits(found, publish or out, folds, f"{asked} --publish docs")
    parts_of.finish()
    if as_json:
        print_json({name: {**each, "scatter": None} for name, each in found.items()})
        return
    for name, each in found.items():
        for split, figures in each["splits"].items():
            table = Table("predictor", "MAPE", "τ", "within 10 %", title=f"{name}, {split} split")
            for which, row in figures.items():
                values = [f"{row['mape'][1]:.2%}", f"{row['tau'][1]:.3f}"]
                table.add_row(which, *values, f"{row['within_10'][1]:.1%}")
            Console().print(table)
    console.print(f"page: {written[0]}; predictors: {out / 'predictors'}")


def _gathered(sets: dict[str, DataSet], out: Path, workers: int) -> dict[str, Compared]:
    found = {}
    for name, each in sets.items():
        with _bar(each.plan.rows) as tell:
            found[name] = Compared(each.title, gather(each, out, workers, tell))
    return found


def _read(files: list[Path]) -> dict[str, Compared]:
    found = {}
    for path in files:
        with RowStore.reading(path) as store:
            found[path.stem] = Compared(path.name, store.read())
    return found
