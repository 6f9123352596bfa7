"""Makes the table of a space's operations on a target, and says how well it adds up.

Every distinct operation is measured alone, and so is the sum of two maps. What is not searched, and
what operations and sums take more or less in a network than alone, is told by a few random networks
that are measured whole: their costs are fitted by a constant and a factor of either. Further
networks, which the fit has not seen, say how far what adds up is from a measurement.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import lsq_linear

from emnas_gym.architecture import Architecture
from emnas_gym.branched.cell_space import CellSpace
from emnas_gym.errors import EvaluationError
from emnas_gym.graph import LayerGraph
from emnas_gym.space import resolve_space
from emnas_gym.tasks import DIGITS, Task
from predictors.lenna.gates import Array
from predictors.lenna.latency_table import LatencyTable
from predictors.lenna.operation_sites import operation_sites, sum_sites
from predictors.lenna.targets import MACS, Measure, fixed_us, measuring, unit_of
from predictors.metrics import ranks
from predictors.supernet.wirings import wiring

NETWORKS = 12  # that fit constant and factors, and as many that are held out
PRIOR = 1e-3  # weight of a factor being 1, in relative errors: decides where networks do not


@dataclass(frozen=True)
class Sample:
    """Random networks, half of them to fit and half to hold out."""

    architectures: tuple[Architecture, ...]
    measured: Array
    parts: Array  # (N, 2) operations and sums by the uncalibrated table


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
        networks: Random networks that fit constant and factors, and as many that are held out.
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
        groups, sums = _measured_costs(found, task, measure)
        advance()
        raw = _table(found, task, target, groups, sums, 0.0, {})
        sample = _sample(raw, found, task, 2 * networks, seed, measure)
        advance()
    measured = sample.measured + fixed_us(target)
    if target == MACS or fixed_us(target):
        constant, factors = float(np.mean(measured - sample.parts.sum(axis=1))), np.ones(2)
    else:
        constant, factors = _calibrated(sample.parts[:networks], measured[:networks])
    predicted = constant + sample.parts[networks:] @ factors
    about = _agreement(predicted, measured[networks:]) | {
        "factor": float(factors[0]),
        "factor_of_sums": float(factors[1]),
        "networks": networks,
        "seed": seed,
    }
    scaled = {name: factors[0] * table for name, table in groups.items()}
    scaled_sums = {name: factors[1] * costs for name, costs in sums.items()}
    return _table(found, task, target, scaled, scaled_sums, constant, about)


def _table(
    space: CellSpace,
    task: Task,
    target: str,
    groups: dict[str, Array],
    sums: dict[str, Array],
    constant: float,
    about: dict[str, Any],
) -> LatencyTable:
    shape = tuple(task.input_shape)
    return LatencyTable(
        space.name, space.fingerprint, task.name, shape, target, unit_of(target), constant,
        groups, sums, about,
    )  # fmt: skip


def _measured_costs(
    space: CellSpace, task: Task, measure: Measure
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Costs of operations (edges, operations) and of sums (edges,) of every group."""
    operations, sums = list(operation_sites(space, task)), list(sum_sites(space, task))
    shared = [site.sum for site in operations if site.sum is not None]
    graphs = [site.graph for site in operations] + [made.graph for made in sums] + shared
    costs = _measured_once(graphs, measure)
    groups = {group: _empty(wiring(cell).operations) for group, cell in space.groups.items()}
    for site in operations:
        cost = costs[site.graph] + (costs[site.sum] / 2 if site.sum else 0.0)
        groups[site.group][site.row, site.column] += cost
    of_sums = {group: np.zeros(len(table)) for group, table in groups.items()}
    for made in sums:
        of_sums[made.group][made.row] += costs[made.graph]
    return groups, of_sums


def _measured_once(graphs: list[LayerGraph], measure: Measure) -> dict[LayerGraph, float]:
    """Costs of all distinct graphs, which take turns where that matters."""
    distinct = list(dict.fromkeys(graphs))
    return dict(zip(distinct, measure(distinct).tolist(), strict=True))


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
    parts = np.array([raw.parts(space, architecture) for architecture in architectures])
    return Sample(architectures, measured, parts)


def _calibrated(parts: Array, measured: Array) -> tuple[float, Array]:
    """Constant and factors, at least 0, of the least squares of relative errors."""
    design = np.column_stack([np.ones(len(parts)), parts]) / measured[:, None]
    prior = PRIOR * np.eye(3)[1:]
    found = lsq_linear(
        np.vstack([design, prior]),
        np.concatenate([np.ones(len(parts)), prior.sum(axis=1)]),
        ([-np.inf, 0.0, 0.0], np.inf),
        method="bvls",
    ).x
    return float(found[0]), found[1:]


def _agreement(predicted: Array, measured: Array) -> dict[str, Any]:
    error = np.abs(predicted - measured) / measured
    return {"mape": float(error.mean()), "worst": float(error.max()), **ranks(predicted, measured)}
