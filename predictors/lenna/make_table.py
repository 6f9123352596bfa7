"""Makes the table of a space's operations on a target, and says how well it adds up.

Every distinct operation is measured alone. What is not searched, and what an operation takes more
or less in a network than alone, is told by a few random networks that are measured whole: their
costs are fitted by a constant and one factor. Further networks, which the fit has not seen, say how
far a sum is from a measurement.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from emnas_gym.architecture import Architecture
from emnas_gym.branched.cell_space import CellSpace
from emnas_gym.errors import EvaluationError
from emnas_gym.graph import LayerGraph
from emnas_gym.space import resolve_space
from emnas_gym.tasks import DIGITS, Task
from predictors.lenna.gates import Array
from predictors.lenna.latency_table import LatencyTable
from predictors.lenna.operation_sites import OperationSite, operation_sites
from predictors.lenna.targets import MACS, Measure, fixed_us, measuring, unit_of
from predictors.metrics import ranks
from predictors.supernet.wirings import wiring

NETWORKS = 12  # that fit constant and factor, and as many that are held out


@dataclass(frozen=True)
class Sample:
    """Random networks, half of them to fit and half to hold out."""

    architectures: tuple[Architecture, ...]
    measured: Array
    summed: Array  # of the uncalibrated table, without a constant


def make_table(
    space: CellSpace | str,
    target: str,
    task: Task = DIGITS,
    networks: int = NETWORKS,
    seed: int = 0,
    advance: Callable[[], object] = lambda: None,
) -> LatencyTable:
    """The table of a space on a target.

    Args:
        space: A space of cells, or the name of one.
        target: One of `predictors.lenna.targets.target_names`.
        task: Input shape and classes.
        networks: Random networks that fit constant and factor, and as many that are held out.
        seed: Decides which.
        advance: Called after each part: operations, networks.

    Raises:
        UnknownName: If there is no such target.
        EvaluationError: If the space has no cells, or the target cannot run an operation.
        DeviceError: If an emulated board fails, or a network is too large for it.
        BackendMissing: If what the target needs is not installed.
    """
    found = resolve_space(space)
    if not isinstance(found, CellSpace):
        raise EvaluationError(f"{found.name} is no space of cells: it has no edges to tabulate")
    if networks < 2:
        raise EvaluationError(f"a table is held against 2 networks or more, not {networks}")
    with measuring(target) as measure:
        groups = _measured_groups(found, task, measure)
        advance()
        raw = _table(found, task, target, groups, 0.0, {})
        sample = _sample(raw, found, task, 2 * networks, seed, measure)
        advance()
    measured = sample.measured + fixed_us(target)
    factor, constant = (
        (1.0, float(np.mean(measured - sample.summed)))
        if target == MACS or fixed_us(target)
        else _line(sample.summed[:networks], measured[:networks])
    )
    predicted = constant + factor * sample.summed[networks:]
    about = _agreement(predicted, measured[networks:]) | {
        "factor": factor,
        "networks": networks,
        "seed": seed,
    }
    scaled = {name: factor * table for name, table in groups.items()}
    return _table(found, task, target, scaled, constant, about)


def _table(
    space: CellSpace,
    task: Task,
    target: str,
    groups: dict[str, Array],
    constant: float,
    about: dict[str, Any],
) -> LatencyTable:
    shape = tuple(task.input_shape)
    return LatencyTable(
        space.name, space.fingerprint, task.name, shape, target, unit_of(target), constant,
        groups, about,
    )  # fmt: skip


def _measured_groups(space: CellSpace, task: Task, measure: Measure) -> dict[str, Array]:
    sites = list(operation_sites(space, task))
    costs = _measured_once(sites, measure)
    groups = {group: _empty(wiring(cell).operations) for group, cell in space.groups.items()}
    for site in sites:
        cost = costs[site.graph] + (site.sums * costs[site.join] if site.join else 0.0)
        groups[site.group][site.row, site.column] += cost
    return groups


def _measured_once(sites: list[OperationSite], measure: Measure) -> dict[LayerGraph, float]:
    """Costs of all distinct graphs, which take turns where that matters."""
    graphs = list(dict.fromkeys(g for s in sites for g in (s.graph, s.join) if g is not None))
    return dict(zip(graphs, measure(graphs).tolist(), strict=True))


def _empty(operations: tuple[tuple[str, ...], ...]) -> Array:
    """Zeros, and not a number where an edge has no such operation."""
    table = np.full((len(operations), max(map(len, operations))), np.nan)
    for row, names in enumerate(operations):
        table[row, : len(names)] = 0.0
    return table


def _sample(
    raw: LatencyTable, space: CellSpace, task: Task, count: int, seed: int, measure: Measure
) -> Sample:
    rng = np.random.default_rng(seed)
    architectures = tuple(space.sample(rng, task) for _ in range(count))
    measured = measure([architecture.graph(task) for architecture in architectures])
    summed = np.array([raw.total(space, architecture) for architecture in architectures])
    return Sample(architectures, measured, summed)


def _line(x: Array, y: Array) -> tuple[float, float]:
    """Factor, at least 0, and constant of the least squares of relative errors."""
    if np.ptp(x) == 0:
        return 1.0, float(np.mean(y - x))
    factor, constant = np.polyfit(x, y, 1, w=1 / y)
    return (float(factor), float(constant)) if factor > 0 else (0.0, float(y.mean()))


def _agreement(predicted: Array, measured: Array) -> dict[str, Any]:
    error = np.abs(predicted - measured) / measured
    return {"mape": float(error.mean()), "worst": float(error.max()), **ranks(predicted, measured)}
