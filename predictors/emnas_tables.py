"""The tables of amirhpd/emnas (GPL-3.0), read from the data folder; no row of them is ours.

What the columns mean differs from table to table: in dataset_3 and variable_length an empty value
was not measured; in dataset_7 a working memory of 0 means that the conversion failed, and a
latency of 0 that the network did not run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emnas_gym.errors import DatasetError
from predictors.external import read_rows

SOURCE = "amirhpd/emnas at 945aa3a (github.com/amirhpd/emnas, GPL-3.0)"
SPACES = {
    "dataset_3": "emnas-382",
    "variable_length": "emnas-382",
    "dataset_7": "emnas-mobile-49",
}
COLUMNS = (
    "model_id",
    "token_sequence",
    "params_k",
    "sipeed_latency_ms",
    "jevois_latency_ms",
    "kmodel_memory_kb",
    "cpu_latency_ms",
    "accuracy",
)
FILLED_IN_LATER = frozenset(  # rows whose K210 latency the original added after its fit
    f"model_{number}" for number in "0037 0157 0197 0220 0578 0628 0697 0810 0822 0841".split()
)


@dataclass(frozen=True)
class Row:
    """One network of a table; None where the value is empty.

    Attributes:
        model_id: Name in the table.
        tokens: Token ids with the end token.
        params_k: Parameters in thousands.
        sipeed_latency_ms: Latency on the Sipeed Maix Bit (K210).
        jevois_latency_ms: Latency on the JeVois camera.
        kmodel_memory_kb: Working memory of the converted model, 1000 B.
        cpu_latency_ms: Latency in the framework of a PC.
        accuracy: Validation accuracy after the last epoch.
    """

    model_id: str
    tokens: tuple[int, ...]
    params_k: float
    sipeed_latency_ms: float | None
    jevois_latency_ms: float | None
    kmodel_memory_kb: float | None
    cpu_latency_ms: float | None
    accuracy: float | None

    @property
    def complete(self) -> bool:
        """Whether every hardware column was measured."""
        return None not in (
            self.sipeed_latency_ms,
            self.jevois_latency_ms,
            self.kmodel_memory_kb,
            self.cpu_latency_ms,
        )

    @property
    def runs(self) -> bool:
        """Whether the network was converted and ran on the K210 (tables where 0 means no)."""
        return bool(self.kmodel_memory_kb) and bool(self.sipeed_latency_ms)


def read_table(name: str) -> list[Row]:
    """Reads a table in file order.

    Args:
        name: ``"dataset_3"``, ``"variable_length"`` or ``"dataset_7"``.

    Raises:
        DatasetError: If the file is missing or damaged.
    """
    rows = read_rows(f"emnas/{name}.csv", COLUMNS)
    try:
        return [_row(row) for row in rows]
    except ValueError as error:
        raise DatasetError(f"emnas/{name}.csv: {error}") from error


def _row(row: dict[str, str]) -> Row:
    def number(column: str) -> float | None:
        return float(row[column]) if row[column] else None

    return Row(
        row["model_id"],
        tuple(int(token) for token in row["token_sequence"].split()),
        float(row["params_k"]),
        *(number(column) for column in COLUMNS[3:]),
    )


def hardware_rows(column: str, limit_ms: float) -> list[Row]:
    """The rows of dataset_3 on which the original fitted a latency, in file order.

    Args:
        column: ``"sipeed_latency_ms"`` or ``"jevois_latency_ms"``.
        limit_ms: Slower networks were left out.
    """
    return [
        row
        for row in read_table("dataset_3")
        if row.complete and row.model_id not in FILLED_IN_LATER and getattr(row, column) <= limit_ms
    ]


def repeated_readings(rows: Sequence[Row]) -> frozenset[str]:
    """Ids of networks whose K210 latency was measured on the network before them.

    The original's driver took a line of the board's answers by its place, without a check that the
    network had run. Where one failed, the last result stood there again. In dataset_3 these are
    exactly the rows that the original filled in later (`FILLED_IN_LATER`) and left out of its fit;
    in dataset_7 they are one in seven of the measured ones.

    Args:
        rows: A whole table, in file order.
    """
    found: set[str] = set()
    last: float | None = None
    for row in rows:
        if row.sipeed_latency_ms:
            if row.sipeed_latency_ms == last:
                found.add(row.model_id)
            last = row.sipeed_latency_ms
    return frozenset(found)
