"""What every operation of a space takes on every edge, as a table that a file holds."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from emnas_gym.architecture import Architecture
from emnas_gym.branched.cell_space import CellSpace
from emnas_gym.errors import DomainError, SurrogateFileError
from emnas_gym.tasks import Task
from predictors.lenna.gates import Array
from predictors.supernet.wirings import wiring

FORM = "emnas latency table 2"
MAX_BYTES = 16 << 20
UNITS = ("us", "macs")


@dataclass(frozen=True)
class LatencyTable:
    """Costs that add up over the edges of a network's cells, and over the sums at their nodes.

    Attributes:
        space: Name of the space.
        fingerprint: Of the space.
        task: Name of the task.
        input_shape: Of the task.
        target: What they were measured on, such as ``"ethos-u55-128"``.
        unit: ``"us"`` (microseconds) or ``"macs"``.
        constant: Of all that is not searched.
        groups: For every group of decisions, in the order of the space, the sum over the places
            where its cell stands, shape (edges, operations); 0 for no edge (``none``), not a number
            where an edge has no such operation.
        sums: For every group what an edge costs besides where another that runs ends at its node
            too, shape (edges,), equal for all edges into a node: n such edges make n - 1 sums.
        about: How it came about, and how well it holds, as plain data.
    """

    space: str
    fingerprint: str
    task: str
    input_shape: tuple[int, ...]
    target: str
    unit: str
    constant: float
    groups: Mapping[str, Array]
    sums: Mapping[str, Array]
    about: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def check(self, space: CellSpace, task: Task) -> None:
        """Checks that it is the table of a space and task.

        Raises:
            DomainError: If it is not; says what differs.
        """
        asked = (space.name, space.fingerprint, task.name, tuple(task.input_shape))
        known = (self.space, self.fingerprint, self.task, self.input_shape)
        names = ("space", "fingerprint of the space", "task", "input shape")
        for name, mine, theirs in zip(names, known, asked, strict=True):
            if mine != theirs:
                raise DomainError(
                    f"the table was made for {name} {mine}, and is asked for {theirs}: "
                    "make one with predictors.lenna.make_table"
                )
        shapes = {
            group: (len(names), max(map(len, names)))
            for group, names in ((g, wiring(c).operations) for g, c in space.groups.items())
        }
        if shapes != {group: table.shape for group, table in self.groups.items()}:
            raise DomainError(f"the table has not the groups, edges and operations of {space.name}")
        for group, cell in space.groups.items():
            if any(np.ptp(self.sums[group][edges]) for edges in wiring(cell).into):
                raise DomainError(f"sums of {group} cost what depends on the edge, not on the node")

    @property
    def has_sums(self) -> bool:
        """Whether sums cost anything."""
        return any(bool(costs.any()) for costs in self.sums.values())

    def total(self, space: CellSpace, architecture: Architecture) -> float:
        """What a network takes: the constant and the costs of all operations that run in it.

        Args:
            space: The space of the table.
            architecture: A network of it; as it is written, not its canonical form.

        Raises:
            DomainError: If it belongs to another space.
        """
        if architecture.space.fingerprint != self.fingerprint:
            raise DomainError(f"{architecture!r} is no network of {self.space}")
        return self.constant + sum(self.parts(space, architecture))

    def parts(self, space: CellSpace, architecture: Architecture) -> tuple[float, float]:
        """What the operations and the sums of a network of the table's space take.

        Args:
            space: The space of the table.
            architecture: A network of it; as it is written, not its canonical form.
        """
        operations, sums = 0.0, 0.0
        for group, choices in space.choices(architecture.tokens).items():
            wires, filled = wiring(space.groups[group]), set()
            for row, column in wires.running(choices):
                operations += float(self.groups[group][row, column])
                target = wires.edges[row][1]
                sums += float(self.sums[group][row]) if target in filled else 0.0
                filled.add(target)
        return operations, sums

    def save(self, path: str | Path) -> Path:
        """Writes it as JSON.

        Returns:
            The path.
        """
        groups = {
            name: [[None if math.isnan(v) else v for v in row] for row in table.tolist()]
            for name, table in self.groups.items()
        }
        sums = {name: costs.tolist() for name, costs in self.sums.items()}
        content = {**vars(self), "groups": groups, "sums": sums, "about": dict(self.about)}
        text = json.dumps(content | {"form": FORM}, allow_nan=False, indent=1)
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Reads what `save` wrote.

        Raises:
            SurrogateFileError: If it is missing, too large, damaged, or makes no sense.
        """
        path = Path(path)
        try:
            if path.stat().st_size > MAX_BYTES:
                raise SurrogateFileError(f"is larger than {MAX_BYTES} bytes")
            return cls._of(json.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise SurrogateFileError(f"{path}: cannot be read: {error.strerror}") from error
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise SurrogateFileError(f"{path}: {error}; make the table again") from error

    @classmethod
    def _of(cls, content: Any) -> Self:  # noqa: ANN401
        if not isinstance(content, dict) or content.pop("form", None) != FORM:
            raise SurrogateFileError("is no table of latencies of this version")
        groups = {
            str(name): np.array(
                [[np.nan if v is None else float(v) for v in row] for row in rows], np.float64
            )
            for name, rows in content.pop("groups").items()
        }
        for name, table in groups.items():
            if table.ndim != 2 or (table < 0).any() or np.isinf(table).any():
                raise SurrogateFileError(f"{name} is no table of costs, all at least 0")
            if np.isnan(table).all(axis=1).any():
                raise SurrogateFileError(f"{name} has an edge without an operation")
        sums = {str(n): np.array(costs, np.float64) for n, costs in content.pop("sums").items()}
        if {n: costs.shape for n, costs in sums.items()} != {
            n: (len(table),) for n, table in groups.items()
        } or not all((np.isfinite(costs) & (costs >= 0)).all() for costs in sums.values()):
            raise SurrogateFileError("its sums have not one cost of at least 0 for every edge")
        constant = content.pop("constant")
        if not isinstance(constant, float) or not math.isfinite(constant):
            raise SurrogateFileError(f"has the constant {constant!r}")
        if content["unit"] not in UNITS or not isinstance(content["about"], dict):
            raise SurrogateFileError(f"has the unit {content['unit']!r}")
        shape = tuple(int(side) for side in content.pop("input_shape"))
        texts = ("space", "fingerprint", "task", "target", "unit")
        return cls(
            **{name: str(content[name]) for name in texts},
            input_shape=shape,
            constant=constant,
            groups=groups,
            sums=sums,
            about=content["about"],
        )
