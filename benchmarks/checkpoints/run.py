"""Runs a protocol: what no earlier result has is computed, and all of it summed up."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.checkpoints.picture import draw
from benchmarks.checkpoints.protocol import Protocol, chosen
from benchmarks.checkpoints.runner import Cell, cells_of, compute, is_whole
from benchmarks.checkpoints.store import RunStore
from benchmarks.checkpoints.summary import known_cells, read_summary, summarise
from benchmarks.checkpoints.tables import markdown
from benchmarks.suites.folder import write_json, write_text
from benchmarks.suites.machine import machine
from benchmarks.versions import versions
from benchmarks.watch import bars

DOCS = Path(__file__).parents[2] / "docs"  # of a checkout; where there is none, nothing is known


@dataclass(frozen=True)
class Wish:
    """What is computed, and from what.

    Attributes:
        agents: Labels; all if empty.
        worlds: Labels, data sets or protocols; all if empty.
        fresh: Whether committed results count for nothing.
        workers: Processes; 0 is one a core.
        publish: Folder of a page, its figures and its picture; None writes none there.
    """

    agents: tuple[str, ...] = ()
    worlds: tuple[str, ...] = ()
    fresh: bool = False
    workers: int = 0
    publish: Path | None = None


def run_protocol(
    protocol: Protocol,
    out: Path,
    wish: Wish,
    console: Console,
    command: str,
    docs: Path = DOCS,
    executor: Executor | None = None,
) -> dict[str, Any]:
    """Computes what is missing, and writes ``result.json`` in the folder of the protocol.

    Interrupted, the same call goes on. What is committed in ``docs`` for the same settings is not
    computed again; a computation of all anew, once whole, is begun anew by the next wish for one.

    Args:
        protocol: What is compared.
        out: Folder; each protocol has its own in it.
        wish: Which part, and whether committed results count.
        console: For progress bars.
        command: That is recorded as how the result came to be.
        docs: Where committed results lie, as ``NAME.json``.
        executor: Does the runs; processes of this machine if None.

    Returns:
        The summary.

    Raises:
        StoreError: If the folder is in use, damaged or full.
        DatasetError: If a table is needed whose files are not there.
        EmNASError: If a run cannot be done.
    """
    part = chosen(protocol, wish.agents, wish.worlds)
    before = None if wish.fresh else read_summary(docs / f"{protocol.name}.json")
    cells = cells_of(protocol)
    known = known_cells(protocol, cells, before)
    folder = out / protocol.name
    with RunStore(folder / "runs.sqlite") as store:
        if wish.fresh and store.finished:
            store.clear()
        todo = _todo(protocol, part, cells, known)
        with bars(console) as progress:
            compute(protocol, todo, store, wish.workers, progress, executor)
        about = {"command": command, "machine": machine(), "versions": versions()}
        summary = summarise(protocol, cells, store, known, before, about)
        rest = (cell for cell in cells if cell.key not in known)
        store.finish(all(is_whole(protocol, cell, store) for cell in rest))
    write_json(folder / "result.json", summary)
    if wish.publish is not None:
        write_json(wish.publish / f"{protocol.name}.json", summary)
        draw(summary, wish.publish / "images" / f"{protocol.name}.png")
        write_text(wish.publish / f"{protocol.name}.md", markdown(summary))
    return summary


def _todo(
    protocol: Protocol, part: Protocol, cells: Sequence[Cell], known: dict[str, Any]
) -> list[Cell]:
    """What is missing of a part, with the random search that it is compared with."""
    wanted = [
        cell
        for cell in cells
        if cell.key not in known and cell.contestant in part.agents and cell.world in part.worlds
    ]
    worlds = {cell.world for cell in wanted}
    baselines = [
        cell for cell in cells if cell.contestant == protocol.baseline and cell.world in worlds
    ]
    return list({cell.key: cell for cell in [*baselines, *wanted]}.values())
