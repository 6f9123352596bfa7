"""Parquet files of tables, through pyarrow where it is installed."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled

from emnas_gym.errors import TableFileError
from emnas_gym.table_columns import Column

KEY = b"emnas-table"
MAX_BYTES = 1 << 30  # of all columns, unpacked


def read_parquet(
    path: Path, check_size: Callable[[int, int], None]
) -> tuple[bytes, dict[str, Column]]:
    """The header and the columns of a file.

    Args:
        path: The file.
        check_size: Refuses too many rows or columns, before any is read.

    Raises:
        TableFileError: If it cannot be read, or holds something else than numbers and texts.
        DependencyNotInstalled: If pyarrow is missing.
    """
    arrow, parquet = _part("pyarrow"), _part("pyarrow.parquet")
    try:
        with parquet.ParquetFile(path) as file:
            about = file.metadata
            check_size(about.num_rows, about.num_columns)
            groups = [about.row_group(i).total_byte_size for i in range(about.num_row_groups)]
            if sum(groups) > MAX_BYTES or file.schema_arrow.names != list(
                dict.fromkeys(file.schema_arrow.names)
            ):
                raise TableFileError(f"{path}: is too large, or has two columns of one name")
            header = (file.schema_arrow.metadata or {}).get(KEY, b"{}")
            found = file.read()
    except (arrow.ArrowException, OSError) as error:
        raise TableFileError(f"{path}: is no Parquet file, or damaged: {error}") from error
    return header, {n: _column(path, n, found.column(n)) for n in found.column_names}


def _column(path: Path, name: str, column: Any) -> Column:  # noqa: ANN401
    """Texts and whole numbers as they are, other numbers with NaN where there is none."""
    values: Column = column.to_numpy()
    if values.dtype.kind in "fiub":
        return values
    if not all(isinstance(value, str) for value in values.tolist()):
        raise TableFileError(f"{path}: {name} is made of numbers or of texts, without other gaps")
    return np.array(values.tolist(), dtype=object)


def write_parquet(path: Path, header: str, columns: Mapping[str, Column]) -> None:
    """Writes the header and the columns; NaN becomes a null.

    Raises:
        DependencyNotInstalled: If pyarrow is missing.
    """
    arrow, parquet = _part("pyarrow"), _part("pyarrow.parquet")
    arrays = [arrow.array(values, from_pandas=True) for values in columns.values()]
    table = arrow.Table.from_arrays(arrays, names=list(columns))
    parquet.write_table(table.replace_schema_metadata({KEY: header.encode()}), path)


def _part(module: str) -> Any:  # noqa: ANN401
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DependencyNotInstalled(
            "pyarrow is not installed, run `pip install 'emnas-gym[table]'`"
        ) from error
