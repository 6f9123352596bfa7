"""What is known of many networks: one column for each field, the form of batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from emnas_gym.errors import EvaluationError
from emnas_gym.measurement import FIELDS, WHOLE, Measurement, merge

Result = Measurement | EvaluationError
Column = NDArray[np.float64]


@dataclass
class Columns:
    """Measurements of N networks.

    Attributes:
        values: Field → (N,) float64; NaN where it is not known, and where the network failed.
        provenance: Field → where it comes from; where rows differ, that of the first one.
        feasible: (N,), False where a device's compiler refused; None where nothing was asked.
        errors: Row → why there is no measurement.
        rows: The measurements as they came, where they came one by one; they also know seconds,
            and a provenance for each.
    """

    values: dict[str, Column]
    provenance: dict[str, str]
    feasible: NDArray[np.bool_] | None = None
    errors: dict[int, EvaluationError] = field(default_factory=dict)
    rows: list[Result] | None = None

    @classmethod
    def of(cls, results: Sequence[Result]) -> Columns:
        """Columns of results that came one by one."""
        known = {i: r for i, r in enumerate(results) if isinstance(r, Measurement)}
        provenance: dict[str, str] = {}
        for measurement in known.values():
            provenance = {**measurement.provenance, **provenance}
        names = [name for name in FIELDS if name in provenance]
        values = {name: np.full(len(results), np.nan) for name in names}
        feasible = np.ones(len(results), dtype=np.bool_)
        for i, measurement in known.items():
            feasible[i] = measurement.feasible is not False
            for name in measurement.provenance:
                values[name][i] = getattr(measurement, name)
        asked = any(measurement.feasible is not None for measurement in known.values())
        errors = {i: r for i, r in enumerate(results) if isinstance(r, EvaluationError)}
        provenance = {name: provenance[name] for name in names}
        return cls(values, provenance, feasible if asked else None, errors, list(results))

    def __len__(self) -> int:
        """Number of networks."""
        if self.rows is not None:
            return len(self.rows)
        return len(next(iter(self.values.values()))) if self.values else len(self.errors)

    def results(self) -> list[Result]:
        """A measurement or an error for each network."""
        if self.rows is not None:
            return list(self.rows)
        return [self.errors.get(i) or self._row(i) for i in range(len(self))]

    def _row(self, i: int) -> Measurement:
        row = {name: column.item(i) for name, column in self.values.items()}
        known = {name: value for name, value in row.items() if value == value}  # NaN is not known
        values = {k: int(v) if k in WHOLE else v for k, v in known.items()}
        feasible = None if self.feasible is None else bool(self.feasible[i])
        provenance = {name: self.provenance[name] for name in known}
        return Measurement(**values, feasible=feasible, provenance=provenance)  # type: ignore[arg-type]

    def take(self, chosen: Sequence[int] | NDArray[np.int64]) -> Columns:
        """Some of the rows."""
        index = np.asarray(chosen, dtype=np.int64)
        return Columns(
            {name: column[index] for name, column in self.values.items()},
            dict(self.provenance),
            None if self.feasible is None else self.feasible[index],
            {new: self.errors[i] for new, i in enumerate(index.tolist()) if i in self.errors},
            None if self.rows is None else [self.rows[i] for i in index.tolist()],
        )

    def measured(self) -> NDArray[np.int64]:
        """Rows that have no error, ascending."""
        keep = np.ones(len(self), dtype=np.bool_)
        keep[list(self.errors)] = False
        return np.flatnonzero(keep)

    def merged(self, later: Columns) -> Columns:
        """Both as one; ``later`` overrides what it knows, and a row that failed anywhere failed."""
        if self.rows is not None or later.rows is not None:
            pairs = zip(self.results(), later.results(), strict=True)
            return Columns.of([_merge_row(pair) for pair in pairs])
        values, provenance = dict(self.values), self.provenance | later.provenance
        for name, column in later.values.items():
            values[name] = _over(values[name], column) if name in values else column
        feasible = self.feasible if later.feasible is None else later.feasible
        return Columns(values, provenance, feasible, later.errors | self.errors).without_failed()

    def checked(self, who: str) -> Columns:
        """The columns with each row that holds infinity or NaN turned into the error that says so.

        Args:
            who: Name of what measured.
        """
        for name, column in self.values.items():
            finite = np.isfinite(column)
            if np.count_nonzero(finite) == len(column):
                continue
            for i in np.flatnonzero(~finite).tolist():
                if i not in self.errors:
                    self.errors[i] = EvaluationError(f"{who} measured {name} = {column[i]}")
        return self.without_failed()

    def without_failed(self) -> Columns:
        """The columns with NaN in each row that failed."""
        if not self.errors:
            return self
        failed = list(self.errors)
        values = {name: column.copy() for name, column in self.values.items()}
        for column in values.values():
            column[failed] = np.nan
        return Columns(values, self.provenance, self.feasible, self.errors, self.rows)


def _over(earlier: Column, later: Column) -> Column:
    """The later values, the earlier ones where those are not known."""
    unknown = np.isnan(later)
    return np.where(unknown, earlier, later) if unknown.any() else later


def _merge_row(row: Iterable[Result]) -> Result:
    parts = []
    for result in row:
        if isinstance(result, EvaluationError):
            return result
        parts.append(result)
    return merge(parts)
