"""Commands that write tables of architectures in the project's own schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from emnas_gym.door import print_json
from emnas_gym.errors import TableFileError
from emnas_gym.table import Table
from emnas_gym.table_file import read_table, write_table
from predictors.cells.tables import MEASURED
from predictors.table_convert import nb201_table

Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object.")]
Source = Annotated[Path, typer.Argument(help="The table as it is.")]
Target = Annotated[Path, typer.Argument(help="Ends in .npz, .csv or .parquet.")]
converters = typer.Typer(
    no_args_is_help=True, help="Write tables for EmNASTable-v0 from other files (docs/tables.md)."
)
console = Console(stderr=True)


@converters.command("nb201")
def nb201(
    out: Annotated[Path, typer.Option(help="Ends in .npz, .csv or .parquet.")],
    dataset: Annotated[str, typer.Option(help="cifar10 or cifar100.")] = "cifar10",
    devices: Annotated[
        str, typer.Option(help="Whose costs, separated by commas; none if empty.")
    ] = ",".join(MEASURED),
    as_json: Json = False,
) -> None:
    """Writes NAS-Bench-201 with HW-NAS-Bench, from $EMNAS_DATA/nb201."""
    names = [name.strip() for name in devices.split(",") if name.strip()]
    _write(nb201_table(dataset, names), out, as_json)


@converters.command("csv")
def from_csv(source: Source, target: Target, as_json: Json = False) -> None:
    """Checks a CSV table and writes it in another format."""
    _convert(source, ".csv", target, as_json)


@converters.command("parquet")
def from_parquet(source: Source, target: Target, as_json: Json = False) -> None:
    """Checks a Parquet table and writes it in another format."""
    _convert(source, ".parquet", target, as_json)


@converters.command("npz")
def from_npz(source: Source, target: Target, as_json: Json = False) -> None:
    """Checks an npz table and writes it in another format."""
    _convert(source, ".npz", target, as_json)


def _convert(source: Path, suffix: str, target: Path, as_json: bool) -> None:
    if source.suffix != suffix:
        raise TableFileError(f"{source}: a file that ends in {suffix} is expected here")
    if target.resolve() == source.resolve():
        raise TableFileError(f"{target}: source and target are the same file")
    _write(read_table(source), target, as_json)


def _write(table: Table, path: Path, as_json: bool) -> None:
    """Writes a table and says what it holds.

    Raises:
        TableFileError: If what was written does not read back as it was.
    """
    write_table(table, path)
    if read_table(path).checksum != table.checksum:
        raise TableFileError(f"{path}: does not read back as it was written")
    about = {
        "file": str(path),
        "name": table.name,
        "architectures": len(table),
        "classes": len(set(table.first_of_class.tolist())),
        "positions": list(table.positions),
        "metrics": {name: metric.valid.shape[1] for name, metric in table.metrics.items()},
        "costs": list(table.costs),
    }
    if as_json:
        print_json(about)
        return
    for key, value in about.items():
        console.print(f"{key}: {value}")
