"""One table of all estimators: rank correlation with full training, bias, seconds, equivalents.

Every network of the table is of the held-out part. The truth is its full training in the committed
table; what is trained here has another seed, so that the row of the full training shows how well a
second training foretells the first: the ceiling of all others.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emnas_gym.errors import EvaluationError
from emnas_gym.problem import Problem
from emnas_gym.space import SearchSpace, load_space
from emnas_gym.surrogate import SurrogateEvaluator
from emnas_gym.tasks import DIGITS
from predictors.datasets import Dataset, digits
from predictors.fitted import Figures
from predictors.metrics import ranks
from predictors.proxies.combined import RankCombination
from predictors.proxies.early_stopped import from_table
from predictors.proxies.elimination import Replay, Rule
from predictors.proxies.known_curves import KnownCurves, known_curves
from predictors.proxies.measured import MeasuredLines, Values
from predictors.proxies.power_laws import continued
from predictors.proxies.reduced import (
    FewerEpochs,
    LowerResolution,
    Narrower,
    Reduction,
    Setting,
    Shallower,
    Subset,
    estimate,
)
from predictors.proxies.zero_cost import NAMES, scores
from predictors.store import Tokens
from predictors.tables import packed_path, unpack
from predictors.training import Recipe

Array = NDArray[np.float64]
SPACE = "emnas-382"
SEED = 1  # of all that is trained here; the truth leaves trainings of this seed out
SEEN = 4  # epochs that extrapolations see, a quarter of 15
RESAMPLES = 400
COMBINED_FROM = 100  # training networks on which the zero-cost scores are combined
FULL = "full training, another seed"
REDUCED: dict[str, tuple[Reduction, ...]] = {
    FULL: (),
    "1 epoch": (FewerEpochs(1),),
    "3 epochs": (FewerEpochs(3),),
    "5 epochs": (FewerEpochs(5),),
    "25 % of the images": (Subset(0.25),),
    "12 × 12 pixels": (LowerResolution(12),),
    "half the width": (Narrower(0.5),),
    "1 in 2 plain layers less": (Shallower(2),),
    "5 epochs, 50 % of the images, half the width": (FewerEpochs(5), Subset(0.5), Narrower(0.5)),
}


@dataclass(frozen=True)
class Column:
    """What one estimator says of the networks of the table.

    Attributes:
        name: Of the estimator.
        kind: ``"trained"``, ``"curve"``, ``"zero-cost"`` or ``"model"``.
        values: (N,) estimates, NaN where there is none; larger is better.
        seconds: (N,) processor time a network.
        equivalents: (N,) full-training equivalents.
        accuracies: Whether the values are accuracies, so that they have a bias.
    """

    name: str
    kind: str
    values: Array
    seconds: Array
    equivalents: Array
    accuracies: bool = True


def measure(count: int, cache: Path, advance: Callable[[int], None] = lambda _: None) -> Figures:
    """Measures all estimators on held-out networks.

    Args:
        count: Number of networks, at most as many as are held out.
        cache: File of what was measured; a run resumes from it.
        advance: Called with the number of measurements that are done since the last call; there are
            `steps` in all.

    Raises:
        StoreError: If the cache is damaged or of other conditions.
        EvaluationError: If a network cannot be trained fully or scored.
    """
    space, data = load_space(SPACE), digits()
    held = known_curves(space, DIGITS, test=True).part(
        range(min(count, len(known_curves(space, DIGITS, test=True).networks)))
    )
    fit = known_curves(space, DIGITS).networks[:COMBINED_FROM]
    about = {"space": space.fingerprint, "task": DIGITS.name, "recipe": json.dumps(_recipe())}
    lines = MeasuredLines(cache, about)
    columns = [
        *_trained(space, data, held, lines, advance),
        *_zero_cost(space, data, held.networks, fit, lines, advance),
        _surrogate(space, held.networks),
    ]
    full = next(column for column in columns if column.name == FULL)
    columns += _curves(space, held, full, lines)
    truth = _truth(held.networks)
    rows = [figures(column, truth, full) for column in columns]
    return {
        "networks": len(held.networks),
        "space": SPACE,
        "task": DIGITS.name,
        "truth": "validation accuracy of full trainings in the table, seed 1 left out",
        "held_out": "by architecture",
        "intervals": f"95 %, {RESAMPLES} resamples of the networks",
        "rows": sorted(rows, key=lambda row: -(row["tau"][1] or 0.0)),
    }


def steps(count: int) -> int:
    """How often `measure` calls back."""
    return count * (len(REDUCED) + 1) + COMBINED_FROM


def _recipe() -> dict[str, float]:
    return Recipe().to_json()


def _truth(networks: Sequence[Tokens]) -> Array:
    known: dict[Tokens, list[float]] = {}
    for row in unpack(packed_path(SPACE, DIGITS.name)).trainings:
        if row.seed != SEED:
            known.setdefault(row.tokens, []).append(row.curve[-1])
    return np.array([np.mean(known[tokens]) for tokens in networks])


def _trained(
    space: SearchSpace,
    data: Dataset,
    held: KnownCurves,
    lines: MeasuredLines,
    advance: Callable[[int], None],
) -> Iterator[Column]:
    found: dict[str, list[Values]] = {name: [] for name in REDUCED}
    for tokens in held.networks:  # network by network: an early end has all columns of the first
        setting = Setting(space.build(tokens, DIGITS), data)
        for name, reductions in REDUCED.items():
            train = partial(_estimated, setting, reductions)
            found[name].append(lines.get(name, tokens, train))
            advance(1)
    for name, every in found.items():
        accuracy = _column(every, "accuracy")
        yield Column(
            name, "trained", accuracy, _column(every, "seconds"), _column(every, "equivalents")
        )


def _estimated(setting: Setting, reductions: Sequence[Reduction]) -> Values:
    found = estimate(setting, reductions, SEED)
    return {
        "accuracy": found.accuracy,
        "seconds": found.seconds,
        "equivalents": found.equivalents,
        "curve": list(found.curve),
    }


def _column(rows: Sequence[Values], key: str) -> Array:
    return np.array([row.get(key, np.nan) for row in rows], dtype=np.float64)


def _zero_cost(
    space: SearchSpace,
    data: Dataset,
    held: Sequence[Tokens],
    fit: Sequence[Tokens],
    lines: MeasuredLines,
    advance: Callable[[int], None],
) -> Iterator[Column]:
    rows = []
    for tokens in (*fit, *held):
        found = lines.get("zero-cost", tokens, partial(_scored, space, data, tokens))
        _there(found, "values", tokens)
        rows.append(found)
        advance(1)
    values, seconds = (
        np.array([[row[part][name] for name in NAMES] for row in rows])
        for part in ("values", "seconds")
    )
    there = len(fit)
    for i, name in enumerate(NAMES):
        free = np.zeros(len(held))
        yield Column(name, "zero-cost", values[there:, i], seconds[there:, i], free, False)
    combined = RankCombination().fit(values[:there], NAMES, _truth(fit))
    yield Column(
        f"zero-cost scores together ({combined.chosen})",
        "zero-cost",
        combined.predict(values[there:]),
        seconds[there:].sum(axis=1),
        np.zeros(len(held)),
        False,
    )


def _scored(space: SearchSpace, data: Dataset, tokens: Tokens) -> Values:
    found = scores(space.build(tokens, DIGITS), data)
    return {"values": found.values, "seconds": found.seconds}


def _surrogate(space: SearchSpace, held: Sequence[Tokens]) -> Column:
    evaluator = SurrogateEvaluator.for_problem(Problem.make(space))
    batch = [space.architecture(tokens) for tokens in held]
    evaluator.predict(batch[:1])  # what is made at the first call belongs to none
    start = time.process_time()
    values, _ = evaluator.predict(batch)
    seconds = np.full(len(held), (time.process_time() - start) / len(held))
    return Column("surrogate (shipped)", "model", values, seconds, np.zeros(len(held)))


def _curves(
    space: SearchSpace, held: KnownCurves, full: Column, lines: MeasuredLines
) -> Iterator[Column]:
    """What the first epochs of the full trainings say; they are not trained once more."""
    again = [_there(lines.get(FULL, tokens, dict), "curve", tokens) for tokens in held.networks]
    known = KnownCurves(held.networks, np.array(again), held.described)
    seen, share = known.curves[:, :SEEN], SEEN / known.curves.shape[1]
    seconds, equivalents = full.seconds * share, full.equivalents * share
    yield Column(f"accuracy after {SEEN} epochs", "curve", seen[:, -1], seconds, equivalents)
    start = time.process_time()
    laws = np.array([continued(curve, known.curves.shape[1]).accuracy for curve in seen])
    took = (time.process_time() - start) / len(seen)
    yield Column(f"power laws from {SEEN} epochs", "curve", laws, seconds + took, equivalents)
    learned = from_table(space, DIGITS)
    learned.predict(seen[:1], known.described[:1])  # fits the model
    start = time.process_time()
    predicted, _ = learned.predict(seen, known.described)
    took = (time.process_time() - start) / len(seen)
    yield Column(f"learned from {SEEN} epochs", "curve", predicted, seconds + took, equivalents)
    replay = Replay(learned, known, Rule())
    told = replay.tell(range(len(known.networks)))
    epochs = np.array([one.epochs for one in told]) / known.curves.shape[1]
    left = (full.equivalents - 1 + epochs) / full.equivalents  # only the last attempt is shortened
    values = np.array([one.accuracy for one in told])
    parts = (values, full.seconds * left, full.equivalents * left)
    yield Column("early-stopped", "curve", *parts)


def _there(values: Values, key: str, tokens: Tokens) -> Any:  # noqa: ANN401
    """A value without which there is no table."""
    if key not in values:
        raise EvaluationError(f"network {tokens} has no {key}: {values.get('error', 'none')}")
    return values[key]


def figures(column: Column, truth: Array, full: Column) -> Figures:
    """One row of the table.

    Args:
        column: What an estimator says.
        truth: (N,) accuracies of full trainings.
        full: The full training with another seed, to which seconds are compared.

    Returns:
        ``tau`` and ``bias`` as [low, value, high], the bias None where no accuracy is predicted;
        ``tau_full`` is that of the full training on the same networks.
    """
    there = np.flatnonzero(np.isfinite(column.values))
    said, true = column.values[there], truth[there]
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, len(there), len(there)) for _ in range(RESAMPLES)]
    taus = [_tau(said[rows], true[rows]) for rows in draws]
    differences = said - true
    biases = [float(differences[rows].mean()) for rows in draws]
    seconds = float(column.seconds[there].mean())
    return {
        "name": column.name,
        "kind": column.kind,
        "n": len(there),
        "tau": _interval(_tau(said, true), taus),
        "tau_full": _tau(full.values[there], true),
        "bias": _interval(float(differences.mean()), biases) if column.accuracies else None,
        "mae": float(np.abs(differences).mean()) if column.accuracies else None,
        "seconds": seconds,
        "equivalents": float(column.equivalents[there].mean()),
        "speed_up": float(full.seconds[there].mean()) / seconds,
    }


def _tau(said: Array, true: Array) -> float:
    return ranks(said, true)["tau"] or 0.0


def _interval(value: float, resampled: Sequence[float]) -> list[float]:
    low, high = np.quantile(resampled, [0.025, 0.975])
    return [float(low), value, float(high)]
