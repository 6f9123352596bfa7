"""How many estimates a label takes: LENNA's three documented stop rules, and ours.

On the simulated device, whose expected latency is known in closed form. One seed measures the same
blocks once by every rule; the deviation of label ÷ truth over the blocks is what a rule leaves of
noise. Intervals are those of the mean over seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from predictors.intervals import interval
from predictors.lenna.backends.base import Backend, Settings
from predictors.lenna.backends.table import make_backend
from predictors.lenna.drawing import Draw, DrawnRow, draw_row
from predictors.lenna.gates import Array, draw_gates
from predictors.lenna.labels import (
    ANALYSED,
    COMMITTED,
    DOCUMENTED,
    QUANTILE,
    ConfidenceRule,
    CumulativeRule,
    Label,
    balanced_estimates,
    confident_label,
    cumulative_label,
    estimate,
    independent_estimates,
)
from predictors.lenna.measure import THEIRS, Stop, label_of
from predictors.lenna.simulated import SimulatedDevice

RUNS = (50, 40, 30, 20, 10, 5)  # of one reset, as LENNA's notebook compares them
REFERENCE_RUNS = 100
TRIMMED = (0.2, 0.8)  # the part of the sorted reference runs that is averaged
COMMITTED_FORWARDS = 20
SHOWN_RATIO = 1.0
SHOWN_RESETS = 400
RULES = {
    "documented": "LENNA's README: the average moves by < 1 % ten times in a row",
    "committed": "its last code: the same fifteen times, 20 runs a reset, at most 1,000 resets",
    "analysed": "its analysis script: < 0.5 % ten times, from the tenth reset on",
    "interval, independent": "95 % interval of the mean within ± 2.5 %, resets independent",
    "interval": "the same over rounds of 16 resets in which every edge chooses in proportion: ours",
}


@dataclass(frozen=True)
class StudyPlan:
    """What the study asks.

    Attributes:
        seeds: Repetitions.
        blocks: Blocks that every seed measures by every rule.
        settings: The simulated device.
        draw: Where blocks come from.
        resets: Resets whose estimates are compared by the number of runs.
    """

    seeds: int = 12
    blocks: int = 40
    settings: Settings = field(default_factory=Settings)
    draw: Draw = field(default_factory=partial(Draw, seed=11))
    resets: int = 300


def study(plan: StudyPlan, advance: Callable[[str], object] = lambda what: None) -> dict[str, Any]:
    """All figures of the study as plain data.

    Args:
        plan: What is asked.
        advance: Called after each rule of each seed.
    """
    backend = make_backend(plan.settings)
    return {
        "seeds": plan.seeds,
        "blocks": plan.blocks,
        "device": asdict(plan.settings) | {"law": backend.environment()["law"]},
        "rules": _rules(plan, backend, advance),
        "runs": _runs(plan, backend),
        "series": _series(plan, backend),
    }


def _rules(
    plan: StudyPlan, backend: Backend, advance: Callable[[str], object]
) -> dict[str, dict[str, Any]]:
    drawn = [draw_row(plan.draw, index)[0] for index in range(plan.blocks)]
    blocks = [_device(backend, row) for row in drawn]
    truth = np.array(
        [block.expected_us(row.probabilities) for block, row in zip(blocks, drawn, strict=True)]
    )
    found: dict[str, dict[str, Any]] = {}
    for rule, what in RULES.items():
        seeds, labels_of_all = [], []
        for seed in range(plan.seeds):
            rng = np.random.default_rng([plan.draw.seed, seed])
            labels = [
                _label(rule, block, row, rng) for block, row in zip(blocks, drawn, strict=True)
            ]
            seeds.append(_noise(rule, labels, truth))
            labels_of_all += [label.value / true for label, true in zip(labels, truth, strict=True)]
            advance(rule)
        figures = {k: interval(np.array([each[k] for each in seeds])) for k in seeds[0]}
        found[rule] = {"what": what, **figures, "labels": labels_of_all}
    return found


def _label(rule: str, block: SimulatedDevice, row: DrawnRow, rng: np.random.Generator) -> Label:
    if rule == "interval, independent":
        estimates = independent_estimates(block, row.probabilities, rng)
        return confident_label(estimates, ConfidenceRule())
    forwards = COMMITTED_FORWARDS if rule == "committed" else Settings().forwards
    return label_of(block, row, rng, Stop(rule), forwards)


def _noise(rule: str, labels: list[Label], truth: Array) -> dict[str, float]:
    factor = Stop().resets if rule == "interval" else 1
    ratios = np.array([label.value for label in labels]) / truth
    resets = np.array([label.values * factor for label in labels])
    return {
        "noise": float(ratios.std(ddof=1)),
        "worst": float(np.abs(ratios / np.median(ratios) - 1).max()),
        "bias": float(ratios.mean() - 1),
        "median_resets": float(np.median(resets)),
        "mean_resets": float(resets.mean()),
    }


def _runs(plan: StudyPlan, backend: Backend) -> dict[str, dict[str, float]]:
    """How far the 40 % quantile of a few runs is from the trimmed mean of a hundred."""
    found: dict[int, list[Array]] = {runs: [] for runs in RUNS}
    for index in range(10):
        row, rng = draw_row(plan.draw, index)
        block = _device(backend, row)
        gates = draw_gates(rng, row.probabilities, plan.resets // 10)
        times = block.times_us(gates, REFERENCE_RUNS, rng)
        ordered = np.sort(times, axis=1)
        low, high = (round(share * REFERENCE_RUNS) for share in TRIMMED)
        trimmed = ordered[:, low:high].mean(axis=1)
        for runs in RUNS:
            found[runs].append(np.abs(estimate(times[:, :runs]) / trimmed - 1))
    return {
        str(runs): {
            "mean": float(np.concatenate(parts).mean()),
            "worst": float(np.concatenate(parts).max()),
        }
        for runs, parts in found.items()
    }


def _series(plan: StudyPlan, backend: Backend) -> dict[str, Any]:
    """The seed's three series for one block, with the resets after which the rules stop."""
    draw = replace(plan.draw, types=("normal",), chosen=(128,))
    row = next(r for r in _rows(draw) if r.ratio == SHOWN_RATIO)
    block = _device(backend, row)
    rng = np.random.default_rng(plan.draw.seed)
    estimates = [
        value
        for value, _ in zip(
            independent_estimates(block, row.probabilities, rng), range(SHOWN_RESETS), strict=False
        )
    ]
    cumulative = np.cumsum(estimates)
    average = cumulative / np.arange(1, len(estimates) + 1)
    error = np.abs(np.diff(average)) / average[1:]
    rules: dict[str, CumulativeRule] = {
        "documented": DOCUMENTED, "committed": COMMITTED, "analysed": ANALYSED,
    }  # fmt: skip
    assert set(rules) == set(THEIRS)
    stops = {name: cumulative_label(estimates, rule) for name, rule in rules.items()}
    ours = confident_label(
        balanced_estimates(block, row.probabilities, rng, Stop().resets), ConfidenceRule()
    )
    return {
        "block": {"type": "normal", "channels": row.channels, "ratio": row.ratio},
        "quantile": QUANTILE,
        "expected_us": block.expected_us(row.probabilities),
        "cumulative_us": cumulative.tolist(),
        "average_us": average.tolist(),
        "error": error.tolist(),
        "stops": {n: {"resets": lab.values, "latency_us": lab.value} for n, lab in stops.items()},
        "ours": {"resets": ours.values * Stop().resets, "latency_us": ours.value},
        "our_averages_us": list(ours.averages),
    }


def _rows(draw: Draw) -> Iterator[DrawnRow]:
    index = 0
    while True:
        yield draw_row(draw, index)[0]
        index += 1


def _device(backend: Backend, row: DrawnRow) -> SimulatedDevice:
    block = backend.block(row.reduction, row.channels)
    assert isinstance(block, SimulatedDevice)
    return block
