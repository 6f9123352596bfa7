"""Where data that is not ours lies: the folder named by the environment variable EMNAS_DATA."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from emnas_gym.errors import DatasetError

VARIABLE = "EMNAS_DATA"


def data_file(relative: str) -> Path:
    """Path of a file of the data folder.

    Args:
        relative: Path inside the folder, e.g. ``"emnas/dataset_3.csv"``.

    Raises:
        DatasetError: If the variable is not set or the file is missing.
    """
    folder = os.environ.get(VARIABLE)
    if not folder:
        raise DatasetError(f"{relative} is needed: set {VARIABLE} to the folder that holds it")
    path = Path(folder) / relative
    if not path.is_file():
        raise DatasetError(f"{path}: no such file; {VARIABLE} names the folder that should hold it")
    return path


def read_rows(relative: str, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Rows of a CSV file as texts.

    Args:
        relative: Path inside the data folder.
        columns: Columns that must be there.

    Raises:
        DatasetError: If the file is missing, not text, or lacks a column.
    """
    path = data_file(relative)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: is not a CSV file: {error}") from error
    missing = [name for name in columns if name not in (reader.fieldnames or [])]
    if missing:
        raise DatasetError(f"{path}: lacks the columns {', '.join(missing)}")
    return rows
