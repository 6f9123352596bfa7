"""Commands around the fits: pack a table, fit what is shipped, show what both are worth."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table as RichTable

from emnas_gym.bench_file import is_bench, read_bench, shipped_bench, write_bench
from emnas_gym.devices import devices
from emnas_gym.door import print_json
from emnas_gym.errors import StoreError, UnknownName
from emnas_gym.space import load_space
from emnas_gym.surrogate_file import Surrogate, shipped_folder, write_surrogate
from emnas_gym.tasks import DIGITS
from predictors import evaluate as evaluation
from predictors import fit_digits, fit_digits_mobile, fit_grasp, fit_mobile
from predictors.bench_card import card
from predictors.bench_table import bench_table, describe_bench
from predictors.datasets import digits
from predictors.own_fit import fit_collected, fit_rows
from predictors.report import ROWS, report_table
from predictors.report import report as full_report
from predictors.report_page import write_page
from predictors.sampled_table import describe_table, write_card
from predictors.scales import digits_scales, steady, write_scales
from predictors.tables import pack as pack_table
from predictors.tables import packed_path, read_store
from predictors.tinyml import fit_lines
from predictors.toml_values import replace_values

LINE_KEYS = (
    "latency_a_ms",
    "latency_b_ms_per_mac",
    "latency_error",
    "transfer_error",
    "active_power_mw",
)
FITS: dict[str, Callable[[], list[Surrogate]]] = {
    "digits": fit_digits.fit,
    fit_digits_mobile.WHAT: fit_digits_mobile.fit,
    "grasp": fit_grasp.fit,
    "mobile": fit_mobile.fit,
}
COLLECTED_BY = "python -m predictors collect --costs host --costs ethos-u55-128"
AsJson = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object.")]
console = Console(stderr=True)


def pack(
    store: Annotated[Path, typer.Argument(help="SQLite file that `collect` wrote.")],
    out: Annotated[
        Path | None, typer.Option(help="File to write; the committed one if none is given.")
    ] = None,
    command: Annotated[
        str, typer.Option(help="The command that collected it, for the header.")
    ] = COLLECTED_BY,
    space: Annotated[str, typer.Option(help="Search space of the table.")] = fit_digits.SPACE,
    whole: Annotated[
        bool, typer.Option("--whole", help="Write the table that evaluator bench looks up.")
    ] = False,
) -> None:
    """Packs a collected table into the small file that is committed.

    The file may still be growing: what is in it now is packed. `collect` begins from the committed
    file where there is no SQLite file yet. A table for `bench` must be complete.
    """
    data, chosen, collected = digits(), load_space(space), read_store(store)
    images = (len(data.valid_y), len(data.test_y))
    if collected.about.get("space") != chosen.fingerprint:
        raise StoreError(f"{store}: is not a table of {chosen.name}; name its space with --space")
    if whole:
        path = out or shipped_bench()
        write_bench(bench_table(collected, chosen, data.task, images), path)
    else:
        path = out or packed_path(chosen.name, data.task.name)
        pack_table(collected, path, images, command)
    console.print(f"{path}: {path.stat().st_size:,} bytes")


def fit(
    what: Annotated[
        str,
        typer.Option(help="digits, digits-mobile; or, with EMNAS_DATA, mcu, grasp, mobile."),
    ] = "digits",
    csv: Annotated[
        Path | None, typer.Option(help="Your own measurements; then --what does not matter.")
    ] = None,
    table: Annotated[
        Path | None, typer.Option(help="SQLite file of `collect`; then --what does not matter.")
    ] = None,
    space: Annotated[
        str, typer.Option(help="Of --csv or --table: a name or a .toml file.")
    ] = fit_digits.SPACE,
    task: Annotated[
        str, typer.Option(help="Of --csv or --table: a name, or your images.")
    ] = DIGITS.name,
    device: Annotated[
        str | None, typer.Option(help="Of --csv or --table: where latencies were taken.")
    ] = None,
    value: Annotated[str | None, typer.Option(help="Of --csv: its column of values.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder, that of the package if none; of your own a .json file."),
    ] = None,
) -> None:
    """Fits what is shipped, or with --csv or --table a predictor of your own measurements.

    `digits` and `digits-mobile` rest on the committed tables. The others rest on data of others, in
    the folder that the variable EMNAS_DATA names; the figures are ours, no row is in the project.
    The device lines of `mcu` come first: the scales that `digits` writes follow from them.

    A CSV file has a column `tokens` (ids with the end token, separated by spaces) and one of
    latency_ms, latency_us, latency_s, accuracy, accuracy_percent. `python -m hardware measure
    --samples` writes one. Impossible values and repeated networks are refused by their lines. Of
    several estimators the best by cross-validation is kept, and gym.make(..., evaluator=FILE)
    takes it. With --table it is the accuracy of the networks that `collect` trained, or with
    --device their latency there, that is fitted so.
    """
    if csv is not None and table is not None:
        raise typer.BadParameter("give --csv or --table, not both")
    if csv is not None:
        fit_rows(csv, space, task, device, value, out)
        return
    if table is not None:
        fit_collected(table, space, task, device, out)
        return
    if what == "mcu":
        _fit_lines()
        return
    if what not in FITS:
        raise UnknownName("fit", what, [*FITS, "mcu"])
    with console.status(f"fitting {what}: cross-validation, then the models that are shipped"):
        fitted = FITS[what]()
    for surrogate in fitted:
        path = write_surrogate(surrogate, out or shipped_folder())
        console.print(f"{path.name}: {json.dumps(surrogate.about['held_out'])}")
    if what == "digits" and out is None:
        path = shipped_folder().parent / "scales.toml"
        known = tomllib.loads(path.read_text(encoding="utf-8"))[DIGITS.name]
        write_scales(path, steady(digits_scales(fit_digits.committed(), fit_digits.SPACE), known))


def _fit_lines() -> None:
    lines = fit_lines()
    path = shipped_folder().parent / "devices.toml"
    for name, line in lines.items():
        numbers = {k: float(str(line[k])) for k in LINE_KEYS if k in line}
        replace_values(path, f"device.{name}", numbers)
        console.print(f"{devices()[name].title}: {json.dumps(numbers)}")
    evaluation.LINES.write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")


def evaluate(as_json: AsJson = False) -> None:
    """Shows held-out figures of every shipped surrogate, beside baselines and label noise.

    Those on digits are computed anew from the committed table. Those that rest on data of others
    are computed anew where EMNAS_DATA names their folder, and else are what the fit wrote down.
    """
    _show(evaluation.evaluate(), as_json, ("surrogate", "figure", "value"))


def report(
    rows: Annotated[
        list[str] | None, typer.Argument(help=f"Of {', '.join(ROWS)}; all if none is given.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for a page and its figures, estimators.md, .json.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fits every estimator on its training rows, reads its test rows once, and shows both.

    Each row stands beside the median, the original's own figure where it has one, what the noise
    of the labels allows, and what was to be reached. Rows of other people's data need EMNAS_DATA.
    """
    with console.status("begins") as status:
        found = full_report(rows or (), lambda name: status.update(f"fitting and testing {name}"))
    if out is not None:
        console.print(f"{write_page(found, out)}")
    if as_json:
        print_json(found)
    else:
        Console().print(report_table(found))


def table(
    file: Annotated[
        Path | None, typer.Argument(help="A packed table; the committed one if none is given.")
    ] = None,
    space: Annotated[
        str | None, typer.Option(help="The table's space, if that is a file of yours.")
    ] = None,
    card_file: Annotated[
        Path | None,
        typer.Option(
            "--card",
            help="Write its data card here, a page of Markdown; of a sample with a picture.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Shows what a packed table holds: networks, accuracies, label noise, costs, origin.

    Of a table that is whole, such as that of evaluator `bench`, the optimum is shown as well.
    """
    if file is not None and is_bench(file):
        chosen = None if space is None else load_space(space)
        figures = describe_bench(file, read_bench(file), chosen)
        if card_file is not None:
            card_file.write_text(card(figures), encoding="utf-8")
    else:
        figures = describe_table(file)
        if card_file is not None:
            write_card(card_file, file, figures, space)
    _show(figures, as_json, ("part", "figure", "value"))


def _show(figures: dict[str, Any], as_json: bool, columns: tuple[str, ...]) -> None:
    if as_json:
        print_json(figures)
        return
    table = RichTable(*columns)
    for name, part in figures.items():
        for key, value in _flat(part):
            table.add_row(name, key, f"{value:.4g}" if isinstance(value, float) else str(value))
    Console().print(table)


def _flat(part: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    """Paths and values of nested tables."""
    if not isinstance(part, dict):
        yield prefix, part
        return
    for key, value in part.items():
        yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))
