"""From the named columns of a file to a checked `Table`; every complaint says what and where.

All formats have the same columns, one row an architecture:

- ``op/POSITION``: name of the operation at a position (in npz its index in the header's list);
- ``valid/METRIC`` or ``valid/METRIC/TRIAL``: share of 0 … 1 that a search sees;
- ``test/METRIC`` or ``test/METRIC/TRIAL``: the same for reports alone;
- ``seconds/METRIC``: time that the training took;
- ``cost/FIELD`` or ``cost/FIELD/DEVICE``: a field of `Measurement`; empty where there is none;
- ``class``: equal for architectures that compute the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emnas_gym.errors import TableFileError, nearest
from emnas_gym.measurement import FIELDS
from emnas_gym.table import Choices, Metric, Table, Values
from emnas_gym.tasks import Task
from emnas_gym.wiring import Wiring

Column = NDArray[Any]  # (N,): numbers, or texts
COSTS = tuple(name for name in FIELDS if name != "accuracy")
KINDS = ("op", "valid", "test", "seconds", "cost", "class")
HEADER = ("format", "name", "task", "operations", "incomplete", "source", "licence", "graph")
FORMAT = 1
MAX_ROWS, MAX_CELLS = 1 << 20, 1 << 26
MAX_POSITIONS, MAX_OPERATIONS, MAX_TEXT = 64, 256, 200


@dataclass
class TableReader:
    """Checks the columns of one file.

    Attributes:
        path: Named in every complaint.
        header: What the file says about itself; see `HEADER`.
        columns: Column → values.
        place: Names a row by its index, e.g. ``"line 7"``.
    """

    path: str
    header: Mapping[str, Any]
    columns: Mapping[str, Column]
    place: Callable[[int], str] = field(default=lambda row: f"row {row}")

    def fail(self, message: str) -> TableFileError:
        """The error that says what is wrong with the file."""
        return TableFileError(f"{self.path}: {message}")

    def table(self) -> Table:
        """The checked table.

        Raises:
            TableFileError: If anything does not hold.
        """
        self._check_header()
        parts = [self._split(name) for name in self.columns]
        lengths = {len(column) for column in self.columns.values()}
        if len(lengths) != 1 or 0 in lengths:
            raise self.fail("holds no architecture, or columns of different lengths")
        positions = [rest for kind, rest in parts if kind == "op"]
        operations, choices = self._choices(positions)
        names = dict.fromkeys(rest.split("/")[0] for kind, rest in parts if kind == "valid")
        if not names:
            raise self.fail("has no column valid/METRIC: what should a search see?")
        for kind, rest in parts:
            if kind in ("test", "seconds") and rest.split("/")[0] not in names:
                raise self.fail(f"{kind}/{rest}: no such metric{nearest(rest, names)}")
        table = Table(
            name=self._text("name", self.path),
            task=self._task(),
            operations=operations,
            choices=choices,
            metrics={name: self._metric(name, parts) for name in names},
            costs={
                rest: self._values(f"cost/{rest}", gaps=True) for k, rest in parts if k == "cost"
            },
            labels=self._labels() if "class" in self.columns else None,
            incomplete=bool(self.header.get("incomplete", False)),
            source=self._text("source", ""),
            licence=self._text("licence", ""),
            wiring=self._wiring(operations),
        )
        self._check_rows(table)
        return table

    # ------------------------------------------------------------------------------- header

    def _check_header(self) -> None:
        for key in self.header:
            if key not in HEADER:
                raise self.fail(f"header: unknown key {key!r}{nearest(key, HEADER)}")
        if self.header.get("format", FORMAT) != FORMAT:
            raise self.fail(f"header: format {self.header['format']!r} instead of {FORMAT}")
        if not isinstance(self.header.get("incomplete", False), bool):
            raise self.fail("header: incomplete is true or false")
        if not isinstance(self.header.get("operations", {}), dict):
            raise self.fail("header: operations is position → list of names")

    def _text(self, key: str, default: str) -> str:
        value = self.header.get(key, default)
        if not isinstance(value, str) or len(value) > 10 * MAX_TEXT:
            raise self.fail(f"header: {key} is a text of at most {10 * MAX_TEXT} characters")
        return value

    def _task(self) -> Task:
        """A name alone, or name, input_shape and classes; the latter two are for people here."""
        value = self.header.get("task", self._text("name", self.path))
        known = {"name": value} if isinstance(value, str) else value
        if not isinstance(known, dict) or not set(known) <= {"name", "input_shape", "classes"}:
            raise self.fail("header: task is a name, or has name, input_shape and classes")
        name, shape = known.get("name"), known.get("input_shape", [1, 1, 1])
        classes = known.get("classes", 2)
        if not isinstance(name, str) or not name:
            raise self.fail("header: task has a name")
        sides = shape if isinstance(shape, list) and len(shape) == 3 else [0]
        if not all(type(n) is int and 0 < n < 1 << 20 for n in [*sides, classes]):
            raise self.fail("header: input_shape is [height, width, channels], classes a number")
        return Task(name, (sides[0], sides[1], sides[2]), classes, has_images=False)

    def _wiring(self, operations: Mapping[str, tuple[str, ...]]) -> Wiring | None:
        """The graph, where the header tells it: an edge of every position, and what is no edge."""
        graph = self.header.get("graph")
        if graph is None:
            return None
        if not isinstance(graph, dict) or set(graph) != {"edges", "dead"}:
            raise self.fail(
                'header: graph is {"edges": {position: [source, target]}, "dead": name}'
            )
        edges, dead = graph["edges"], graph["dead"]
        if not isinstance(edges, dict) or set(edges) != set(operations):
            raise self.fail("header: graph: edges has every position and no other")
        for position, edge in edges.items():
            if not isinstance(edge, list) or [type(node) for node in edge] != [int, int]:
                raise self.fail(f"header: graph: the edge of {position} is [source, target]")
        known = list(dict.fromkeys(name for names in operations.values() for name in names))
        if dead not in known:
            raise self.fail(f"header: graph: no operation {dead!r}{nearest(str(dead), known)}")
        try:
            return Wiring(tuple((edges[p][0], edges[p][1]) for p in operations), dead)
        except TableFileError as error:
            raise self.fail(f"header: {error}") from error

    def _split(self, name: str) -> tuple[str, str]:
        """Kind and rest of a column's name, checked."""
        kind, _, rest = name.partition("/")
        words = rest.split("/")
        if kind not in KINDS or len(name) > MAX_TEXT:
            raise self.fail(f"unknown column {name[:MAX_TEXT]!r}{nearest(kind, KINDS)}")
        most = {"class": 0, "op": 99, "seconds": 1}.get(kind, 2)
        if (kind == "class") != (not rest) or not all(words) != (not rest) or len(words) > most + 1:
            raise self.fail(f"column {name!r} is not of the form of {kind} columns")
        if kind in ("valid", "test") and len(words) == 2 and not words[1].isdecimal():
            raise self.fail(f"column {name!r}: a trial is a number")
        if kind == "cost" and words[0] not in COSTS:
            raise self.fail(f"column {name!r}: unknown field{nearest(words[0], COSTS)}")
        return kind, rest

    # ------------------------------------------------------------------------ architectures

    def _choices(self, found: Sequence[str]) -> tuple[dict[str, tuple[str, ...]], Choices]:
        listed = self.header.get("operations", {})
        for position in listed:
            if position not in found:
                raise self.fail(f"has no column op/{position}{nearest(str(position), found)}")
        if not 1 <= len(found) <= MAX_POSITIONS:
            raise self.fail(f"has {len(found)} columns op/POSITION, not 1 to {MAX_POSITIONS}")
        order = [*listed, *(position for position in found if position not in listed)]
        operations, indices = {}, []
        for position in order:
            names, index = self._indices(position, listed.get(position))
            operations[position] = names
            indices.append(index)
        return operations, np.stack(indices, axis=1).astype(np.int64)

    def _indices(self, position: str, names: object) -> tuple[tuple[str, ...], Choices]:
        """Names of the operations of a position, and which of them each row has."""
        column, where = self.columns[f"op/{position}"], f"op/{position}"
        texts = column.dtype.kind in "UO"
        if names is None and texts:
            names = list(dict.fromkeys(column.tolist()))
        if not isinstance(names, list) or not 1 <= len(names) <= MAX_OPERATIONS:
            raise self.fail(f"{where}: 1 to {MAX_OPERATIONS} names of operations are needed")
        if not all(isinstance(n, str) and 0 < len(n) <= MAX_TEXT for n in names):
            raise self.fail(f"{where}: an operation is a text that is not empty")
        if len(set(names)) < len(names):
            raise self.fail(f"{where}: an operation is listed twice in {names}")
        if texts:
            known = {name: i for i, name in enumerate(names)}
            index = np.array([known.get(name, -1) for name in column.tolist()])
        else:
            index = column
        bad = (index < 0) | (index >= len(names)) | (index != np.floor(index))
        if bad.any():
            row = int(bad.argmax())
            end = nearest(str(column[row]), names) if texts else f"; it has 0 to {len(names) - 1}"
            raise self.fail(f"{self.place(row)}: {where} has no operation {column[row]!r}{end}")
        return tuple(names), index.astype(np.int64)

    def _check_rows(self, table: Table) -> None:
        """Refuses rows of one architecture, and gaps that nobody announced."""
        _, first, inverse = np.unique(table.choices, axis=0, return_index=True, return_inverse=True)
        twins = np.flatnonzero(first[inverse.ravel()] != np.arange(len(table)))
        if len(twins):
            row = int(twins[0])
            other = self.place(int(first[inverse.ravel()[row]]))
            raise self.fail(f"{self.place(row)}: the same architecture as {other}")
        if len(table) < table.product and not table.incomplete:
            missing = _first_missing(table)
            raise self.fail(
                f"{table.product - len(table):,} of {table.product:,} architectures are missing, "
                f'the first is {missing}; add them, or write "incomplete": true into the header'
            )

    # ------------------------------------------------------------------------------- values

    def _metric(self, name: str, parts: Sequence[tuple[str, str]]) -> Metric:
        seconds = f"seconds/{name}"
        return Metric(
            self._trials("valid", name, parts),
            self._trials("test", name, parts),
            self._values(seconds) if seconds in self.columns else None,
        )

    def _trials(self, kind: str, name: str, parts: Sequence[tuple[str, str]]) -> Values:
        found = [rest for k, rest in parts if k == kind and rest.split("/")[0] == name]
        found.sort(key=lambda rest: int(rest.partition("/")[2] or 0))
        columns = [self._values(f"{kind}/{rest}", largest=1.0) for rest in found]
        count = len(next(iter(self.columns.values())))
        return np.stack(columns, axis=1) if columns else np.zeros((count, 0))

    def _values(self, name: str, gaps: bool = False, largest: float = np.inf) -> Values:
        """A column of numbers from 0 to the largest; NaN only where gaps may be."""
        column = self.columns[name]
        if column.dtype.kind not in "fiub":
            raise self.fail(f"{name} is not made of numbers")
        values = column.astype(np.float64)
        bad = ~((values >= 0) & (values <= largest) & (values < np.inf))
        if gaps:
            bad &= ~np.isnan(values)
        if bad.any():
            row = int(bad.argmax())
            hint = ""
            if 1 < values[row] <= 100:
                hint = "; are these percent? Divide by 100"
            elif np.isnan(values[row]):
                hint = ": a gap; only costs may have gaps"
            elif gaps and values[row] < 0:
                hint = "; leave empty what was not measured"
            limit = f"from 0 to {largest:g}" if largest < np.inf else "of 0 or more"
            found = f"{self.place(row)}: {name} = {values[row]:g}"
            raise self.fail(f"{found} is no number {limit}{hint}")
        return values

    def _labels(self) -> NDArray[np.int64]:
        """Classes numbered by their first rows."""
        column = self.columns["class"]
        if column.dtype.kind not in "UOiub":
            raise self.fail("class is made of whole numbers or texts, without gaps")
        values = [str(value) for value in column.tolist()]
        if "" in values:
            raise self.fail(f"{self.place(values.index(''))}: class is empty")
        known: dict[str, int] = {}
        return np.array([known.setdefault(v, len(known)) for v in values], dtype=np.int64)


def _first_missing(table: Table) -> str:
    """The first architecture of the product that no row is, in words."""
    sizes = [range(len(names)) for names in table.operations.values()]
    rows = {tuple(row) for row in table.choices.tolist()}
    missing = next(cell for cell in itertools.product(*sizes) if cell not in rows)
    pairs = zip(table.operations.items(), missing, strict=True)
    return ", ".join(f"{position} = {names[i]}" for (position, names), i in pairs)


def header_of(table: Table) -> dict[str, Any]:
    """What a file of the table says about itself, as plain data."""
    task = table.task
    wiring = table.wiring
    graph = {} if wiring is None else {"graph": wiring.to_json(table.positions)}
    return graph | {
        "format": FORMAT,
        "name": table.name,
        "task": {
            "name": task.name,
            "input_shape": list(task.input_shape),
            "classes": task.classes,
        },
        "operations": {position: list(names) for position, names in table.operations.items()},
        "incomplete": table.incomplete,
        "source": table.source,
        "licence": table.licence,
    }
