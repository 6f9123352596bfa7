"""What the runs of a protocol say: means with intervals, and tests against random search."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.checkpoints.known_tables import open_world
from benchmarks.checkpoints.one_run import Outcome
from benchmarks.checkpoints.protocol import Protocol, World
from benchmarks.checkpoints.runner import Cell, is_whole, pilot_seconds
from benchmarks.checkpoints.store import RunStore
from benchmarks.comparison.significance import holm, p_greater
from benchmarks.suites.checked_fields import (
    Check,
    fields,
    items,
    maybe,
    named,
    number,
    plain,
    text,
    whole,
)
from benchmarks.suites.folder import read_json
from emnas_gym.errors import DatasetError, StoreError

FORMAT = 1
Summary = Mapping[str, Any]
_point = fields(
    mean=number(0, 100),
    sd=number(0, 100),
    runs=whole(1),
    error=number(0, 100),
    p=maybe(number(0, 1)),
    p_holm=maybe(number(0, 1)),
)
_cell = fields(
    world=text(100, least=1),
    agent=text(100, least=1),
    key=text(64, least=64),
    options=named(plain),
    wall_s=number(0),
    cpu_s=number(0),
    pilot_s=number(0),
    points=named(_point, 100),
)
_world = fields(
    dataset=text(100),
    protocol=text(100),
    optimum=number(0, 100),
    networks=whole(1),
    fingerprint=text(100),
)
_check: Check = fields(
    protocol=text(100),
    title=text(),
    checkpoints=items(whole(1), 100, least=1),
    machine=named(plain),
    versions=named(text()),
    worlds=named(_world, 100),
    cells=items(_cell, 10_000),
)


def digest(key: str) -> str:
    """A cell's key in 64 characters."""
    return hashlib.sha256(key.encode()).hexdigest()


def read_summary(path: Path) -> Summary | None:
    """A summary that was written before; None if there is none.

    Raises:
        StoreError: If it is damaged or of another format.
    """
    data = read_json(path)
    if data is None:
        return None
    if data.get("format") != FORMAT:
        raise StoreError(f"{path}: format {FORMAT} is read here; remove it to compute all anew")
    try:
        _check(data, "")
    except ValueError as error:
        raise StoreError(f"{path} is damaged: {error}; remove it to compute all anew") from error
    return data


def known_cells(
    protocol: Protocol, cells: Iterable[Cell], known: Summary | None
) -> dict[str, dict[str, Any]]:
    """Cells, by key, that an earlier summary has with enough runs, for the same settings.

    Where a table is not at hand, what was computed of it is taken as it stands.
    """
    if known is None:
        return {}
    same = {w.label for w in protocol.worlds if _same_table(w, known["worlds"].get(w.label))}
    there = {one["key"]: one for one in known["cells"] if one["world"] in same}
    found = {}
    for cell in cells:
        one = there.get(digest(cell.key))
        if one is None:
            continue
        wanted = protocol.runs_of(cell.contestant, one["pilot_s"])
        if min(point["runs"] for point in one["points"].values()) >= wanted:
            found[cell.key] = one
    return found


def _same_table(world: World, known: Summary | None) -> bool:
    if known is None:
        return False
    try:
        return bool(open_world(world)[0].space.fingerprint == known["fingerprint"])
    except DatasetError:
        return True


def summarise(
    protocol: Protocol,
    cells: Sequence[Cell],
    store: RunStore,
    known: Mapping[str, dict[str, Any]],
    before: Summary | None,
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """The summary of what is there.

    Args:
        protocol: What was run.
        cells: All of it.
        store: Outcomes.
        known: Cells that are taken from an earlier summary, by key.
        before: That summary.
        about: Command, machine and versions.
    """
    new = [cell for cell in cells if cell.key not in known]
    baseline = {
        cell.world.label: store.outcomes(cell.stored_as)
        for cell in cells
        if cell.contestant == protocol.baseline and cell.world in {one.world for one in new}
    }
    found = [dict(known[cell.key]) | {"agent": cell.contestant.label}
             for cell in cells if cell.key in known]  # fmt: skip
    found += [
        _of(cell, store.outcomes(cell.stored_as), baseline[cell.world.label])
        for cell in new
        if is_whole(protocol, cell, store)
    ]
    _correct(found, protocol)
    described = {} if before is None else before["worlds"]
    return {
        "format": FORMAT,
        "protocol": protocol.name,
        "title": protocol.title,
        "checkpoints": list(protocol.checkpoints),
        **about,
        "worlds": {
            world.label: described.get(world.label) or _described(world)
            for world in protocol.worlds
        },
        "cells": found,
    }


def _described(world: World) -> dict[str, Any]:
    evaluator = open_world(world)[1]
    space = evaluator.space
    test = space.table.metrics[evaluator.metric].test.mean(axis=1)
    return {
        "dataset": world.dataset,
        "protocol": world.protocol,
        "optimum": 100.0 * float(test[space.represented].max()),
        "networks": len(np.unique(space.represented)),
        "fingerprint": space.fingerprint,
    }


def _of(cell: Cell, outcomes: Sequence[Outcome], random: Sequence[Outcome]) -> dict[str, Any]:
    return {
        "world": cell.world.label,
        "agent": cell.contestant.label,
        "key": digest(cell.key),
        "options": json.loads(cell.key)["config"],
        "wall_s": statistics.median(one.wall_s for one in outcomes),
        "cpu_s": statistics.median(one.cpu_s for one in outcomes),
        "pilot_s": pilot_seconds(outcomes),
        "points": {
            str(at): _point_of(_column(outcomes, i), _column(random, i))
            for i, at in enumerate(cell.checkpoints)
        },
    }


def _column(outcomes: Sequence[Outcome], index: int) -> list[float]:
    return [one.values[index] for one in outcomes]


def _point_of(values: Sequence[float], random: Sequence[float]) -> dict[str, Any]:
    """Mean, deviation of single runs, standard error of the mean, and a test against random."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {
        "mean": statistics.fmean(values),
        "sd": deviation,
        "runs": len(values),
        "error": deviation / len(values) ** 0.5,
        "p": p_greater(values, random) if random and list(values) != list(random) else None,
        "p_holm": None,
    }


def _correct(cells: Iterable[dict[str, Any]], protocol: Protocol) -> None:
    """Holm over the agents of a world, at each checkpoint."""
    for world in protocol.worlds:
        for at in map(str, protocol.checkpoints):
            points = {
                one["agent"]: one["points"][at] for one in cells if one["world"] == world.label
            }
            tested = {name: p["p"] for name, p in points.items() if p["p"] is not None}
            for name, value in holm(tested).items():
                points[name]["p_holm"] = value


def figures(summary: Summary) -> dict[str, Any]:
    """Mean, deviation and number of runs by data set, protocol, agent and evaluations."""
    found: dict[str, Any] = {}
    for cell in summary["cells"]:
        world = summary["worlds"][cell["world"]]
        of_world = found.setdefault(world["dataset"], {}).setdefault(world["protocol"], {})
        of_world[cell["agent"]] = {
            at: {name: point[name] for name in ("mean", "sd", "runs")}
            for at, point in cell["points"].items()
        }
    return found
