"""Reads a space of cells from TOML; a typo is an error with file, key and nearest name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from emnas_gym.branched.cell import Cell
from emnas_gym.branched.cell_space import MOST_CELLS, WIDEST, CellSpace
from emnas_gym.branched.edge_cell import EdgeCell
from emnas_gym.branched.free_cell import FreeCell
from emnas_gym.branched.isomorphism import Edge
from emnas_gym.branched.operations import NONE, OPERATIONS
from emnas_gym.branched.skeleton import JOINS, SHARES, Skeleton, Stage
from emnas_gym.checked_toml import CheckedToml, read_toml
from emnas_gym.space_file import MAX_TOKENS

MAX_NODES, MAX_EDGES = 16, 64
NAMES = {"normal", "reduction"}


def read_cell_file(path: Path, data: dict[str, Any] | None = None) -> CellSpace:
    """Reads and checks a file whose ``form`` is ``"cells"``.

    Args:
        path: A TOML file; ``nb201-cell.toml`` and others of `emnas_gym.spaces` are the examples.
        data: What it holds; read from it if None.

    Raises:
        SpaceFileError: If the file cannot be read or understood.
    """
    return _Reader(path).space(read_toml(path) if data is None else data)


class _Reader(CheckedToml):
    """Checks the file of a space of cells."""

    def space(self, data: dict[str, Any]) -> CellSpace:
        needed = {"form", "name", "share", "stem", "stages", "cells"}
        self.keys(data, "", needed | {"description"}, needed)
        name = self.text(data["name"], "name")
        skeleton = self.skeleton(data)
        tables = self.table(data["cells"], "cells")
        self.keys(tables, "cells.", NAMES, {"normal"})
        if "reduction" in tables and all(stage.join != "reduction" for stage in skeleton.stages):
            raise self.fail("cells.reduction", 'no stage has join = "reduction"')
        changed = _changed(skeleton)
        cells = {
            key: self.cell(table, f"cells.{key}.", key in changed) for key, table in tables.items()
        }
        if len({type(cell) for cell in cells.values()}) > 1:
            raise self.fail("cells", "are of one kind, all with edges or all with nodes")
        space = CellSpace(name, skeleton, cells, str(self.path))
        if space.num_tokens > MAX_TOKENS:
            raise self.fail("cells", f"{space.num_tokens:,} tokens are more than {MAX_TOKENS:,}")
        return space

    def table(self, value: object, key: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.fail(key, "is a table")
        return value

    def number(self, value: object, key: str, largest: int) -> int:
        found = self.integer(value, key)
        if found > largest:
            raise self.fail(key, f"is at most {largest:,}, not {found:,}")
        return found

    # ------------------------------------------------------------------------------ skeleton

    def skeleton(self, data: dict[str, Any]) -> Skeleton:
        stem = self.table(data["stem"], "stem")
        self.keys(stem, "stem.", {"channels", "kernel", "stride"}, {"channels"})
        share = self.choice(data["share"], "share", SHARES)
        stages = data["stages"]
        if not isinstance(stages, list) or not stages:
            raise self.fail("stages", "is one or more [[stages]] tables")
        found = tuple(self.stage(stage, f"stages[{i}].") for i, stage in enumerate(stages))
        if sum(stage.cells for stage in found) > MOST_CELLS:
            raise self.fail("stages", f"have over {MOST_CELLS} cells")
        given = self.table(data["cells"], "cells")
        return Skeleton(
            self.number(stem["channels"], "stem.channels", WIDEST),
            self.number(stem.get("kernel", 3), "stem.kernel", 7),
            self.number(stem.get("stride", 1), "stem.stride", 4),
            found,
            share,
            tuple(sorted(given)),
        )

    def stage(self, table: object, where: str) -> Stage:
        stage = self.table(table, where[:-1])
        self.keys(stage, where, {"channels", "cells", "join"}, {"channels", "cells"})
        return Stage(
            self.number(stage["channels"], where + "channels", WIDEST),
            self.number(stage["cells"], where + "cells", MOST_CELLS),
            self.choice(stage.get("join", "none"), where + "join", JOINS),
        )

    # --------------------------------------------------------------------------------- cells

    def cell(self, value: object, where: str, changes: bool) -> Cell:
        table = self.table(value, where[:-1])
        if "nodes" in table:
            self.keys(table, where, {"nodes", "operations"}, {"operations"})
            names = self.operations(table["operations"], where + "operations")
            if NONE in names:
                raise self.fail(where + "operations", "a node that chooses its edges has no none")
            return FreeCell(self.number(table["nodes"], where + "nodes", 8), names)
        known = {"edges", "operations", "first_operations"}
        self.keys(table, where, known, {"edges", "operations"})
        edges = self.edges(table["edges"], where + "edges")
        names = self.operations(table["operations"], where + "operations")
        key = "first_operations"  # of the edges that leave the input
        first = self.operations(table[key], where + key) if key in table else names
        operations = tuple(names if source else first for source, _ in edges)
        return EdgeCell(edges, operations, changes)

    def operations(self, value: object, key: str) -> tuple[str, ...]:
        if not isinstance(value, list) or not value:
            raise self.fail(key, "is a list of operations that is not empty")
        names = tuple(self.choice(item, key, OPERATIONS) for item in value)
        if len(set(names)) < len(names):
            raise self.fail(key, "names an operation twice")
        if set(names) == {NONE}:
            raise self.fail(key, "has none alone: no network would be connected")
        return names

    def edges(self, value: object, key: str) -> tuple[Edge, ...]:
        if not isinstance(value, list) or not 1 <= len(value) <= MAX_EDGES:
            raise self.fail(key, f"is a list of 1 to {MAX_EDGES} pairs [source, target]")
        edges = tuple(self.edge(item, key) for item in value)
        if len(set(edges)) < len(edges):
            raise self.fail(key, "names an edge twice")
        sources, targets = ({edge[i] for edge in edges} for i in (0, 1))
        last = max(targets)
        for node in range(last + 1):
            if node != last and node not in sources:
                raise self.fail(key, f"no edge leaves node {node}, which is not the last one")
            if node and node not in targets:
                raise self.fail(key, f"no edge enters node {node}, which is not the input")
        return tuple(sorted(edges, key=lambda edge: edge[::-1]))

    def edge(self, value: object, key: str) -> Edge:
        pair = value if isinstance(value, list) else []
        if len(pair) != 2 or not all(type(v) is int for v in pair):
            raise self.fail(key, f"an edge is [source, target], not {value!r}")
        source, target = pair
        if not 0 <= source < MAX_NODES or not 0 <= target < MAX_NODES:
            raise self.fail(key, f"[{source}, {target}]: nodes are 0 to {MAX_NODES - 1}")
        if source >= target:
            raise self.fail(
                key, f"[{source}, {target}] leads back: an edge leads to a larger node, else the "
                "cell could have a cycle"
            )  # fmt: skip
        return source, target


def _changed(skeleton: Skeleton) -> set[str]:
    """Names of the cells that change the shape of their input somewhere."""
    found, channels, before = set(), skeleton.channels, -1
    for place in skeleton.places:
        stage = skeleton.stages[place.stage]
        if place.stage != before and stage.join == "residual":
            channels = stage.channels
        before = place.stage
        if place.stride > 1 or channels != stage.channels:
            found.add(place.cell)
        channels = stage.channels
    return found
