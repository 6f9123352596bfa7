"""What each way of adapting is worth: every device held out in turn, many draws, intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from emnas_gym.models.adapted import Prior
from emnas_gym.models.known_devices import KnownDevices
from predictors.fitted import Figures
from predictors.intervals import interval
from predictors.transfer.adapted import (
    CHOSEN,
    CHOSEN_AMONG,
    adapt_process,
    learned_prior,
    least_off,
    left_out,
)
from predictors.transfer.conditioned import ConditionedLatency, Taught, teach, teach_all
from predictors.transfer.known import fit_known
from predictors.transfer.selection import SELECTIONS
from predictors.transfer.worlds import World

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
COUNTS = (5, 10, 20, 50)
WAYS = {
    "median": "the median of the samples",
    "macs": "a line on MACs, both in logarithms",
    "scratch": "a Gaussian process on the samples alone",
    "scaled": "the nearest known device times a factor",
    "linear": "a line on the nearest known device, both in logarithms",
    "fine-tuned": "a network of all known devices, trained on",
    "weighted": "all known devices weighted, and a residual; the prior learned from them",
    "chosen": "of scaled, linear and weighted the one that tells the samples best, each left out",
    "help": "a network with a device embedding, trained on (HELP-style)",
}
FIGURES = ("spearman", "mape", "median_ape", "within_10pct")
POOL_SHARE, POOL_MOST, TEST_MOST = 0.5, 900, 1500  # networks to learn from, and to judge by


@dataclass(frozen=True)
class Setting:
    """One held-out device with all that does not depend on the draw.

    Attributes:
        device: Its name.
        known: Models of the devices from which it learns.
        pool: Networks that may be measured on it.
        test: Networks by which predictions are judged; none behaves like one of the pool.
        z: Log latency of all networks on the known devices, shape (N, K).
        x: Standardised features of all networks, shape (N, F).
        latency_ms: Latency on the device, shape (N,).
        pooled: A network that was trained on all known devices.
    """

    device: str
    known: KnownDevices
    pool: Indices
    test: Indices
    z: Array
    x: Array
    latency_ms: Array
    pooled: Taught


def split(world: World, seed: int = 0) -> tuple[Indices, Indices]:
    """Networks to learn from and networks to judge by, apart by behaviour."""
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.unique(world.groups))
    share = min(POOL_SHARE, POOL_MOST / len(groups))
    chosen = np.isin(world.groups, groups[: int(share * len(groups))])
    pool, test = np.flatnonzero(chosen), np.flatnonzero(~chosen)
    return rng.permutation(pool)[:POOL_MOST], rng.permutation(test)[:TEST_MOST]


def compare(
    world: World,
    draws: int = 10,
    counts: Sequence[int] = COUNTS,
    advance: Callable[[], None] = lambda: None,
) -> Figures:
    """Figures of every way, number of samples and selection in one world.

    Random selection is followed over all numbers of samples; the others at ten samples.

    Args:
        world: Networks and devices.
        draws: Draws of the samples for each of them.
        counts: Numbers of samples.
        advance: Called after each device.

    Returns:
        ``{selection: {count: {way: {figure: [low, mean, high], "devices": {device: …}}}}}``; an
        interval holds the mean over draws with 95 %. ``upper`` is a model of the pool: every
        network measured.
    """
    chosen = split(world)
    world = world.only(np.concatenate(chosen))
    pool, test = np.split(np.arange(len(world.x)), [len(chosen[0])])
    everything = fit_known(world.x[pool], {name: y[pool] for name, y in world.latency_ms.items()})
    plans = [("random", n) for n in counts] + [(s, 10) for s in SELECTIONS if s != "random"]
    found: dict[tuple[str, int], dict[str, dict[str, Array]]] = {plan: {} for plan in plans}
    upper: dict[str, dict[str, float]] = {}
    for device in world.targets:
        setting = _setting(world, device, everything, pool, test)
        column = everything.names.index(device)
        whole = everything.log_latency(world.x[setting.test])[:, column]
        upper[device] = scores(np.exp(whole), setting.latency_ms[setting.test])
        for plan in plans:
            for way, rows in _draw_all(world, setting, plan, draws).items():
                found[plan].setdefault(way, {})[device] = rows
        advance()
    selections: dict[str, Figures] = {selection: {} for selection, _ in plans}
    for (selection, count), ways in found.items():
        selections[selection][str(count)] = {way: _summary(rows) for way, rows in ways.items()}
    return {
        "devices": {device: len(world.known_to(device)) for device in world.targets},
        "pool": len(pool),
        "test": len(test),
        "draws": draws,
        "upper": upper,
        "selections": selections,
    }


def _setting(
    world: World, device: str, everything: KnownDevices, pool: Indices, test: Indices
) -> Setting:
    known, latency = everything.only(world.known_to(device)), world.latency_ms[device]
    runs = ~np.isnan(latency)
    return Setting(
        device,
        known,
        pool[runs[pool]],
        test[runs[test]],
        known.log_latency(world.x),
        known.standardised(world.x),
        latency,
        teach(known, world.x[pool]),
    )


def _draw_all(
    world: World, setting: Setting, plan: tuple[str, int], draws: int
) -> dict[str, Array]:
    """Way → figures of every draw, shape (draws, figures)."""
    selection, count = plan
    measured = {name: world.latency_ms[name][setting.pool] for name in setting.known.names}
    prior = learned_prior(setting.known, world.x[setting.pool], measured, count)
    x, z = setting.x[setting.pool], setting.z[setting.pool]
    seeds = [np.random.default_rng([draw, count]) for draw in range(draws)]
    samples = [setting.pool[SELECTIONS[selection](x, z, count, rng)] for rng in seeds]
    taught = teach_all(setting.known, world.x[setting.pool], [world.x[few] for few in samples])
    truth = setting.latency_ms[setting.test]
    rows: dict[str, list[list[float]]] = {way: [] for way in WAYS}
    for few, conditioned in zip(samples, taught, strict=True):
        for way in WAYS:
            if way in ("fine-tuned", "help"):
                network = conditioned if way == "help" else setting.pooled
                adapted = ConditionedLatency(network).fit(world.x[few], setting.latency_ms[few])
                predicted = adapted.predict(world.x[setting.test])
            else:
                predicted = _predict(way, world, setting, few, prior)
            figures = scores(predicted, truth)
            rows[way].append([figures[name] for name in FIGURES])
    return {way: np.array(values) for way, values in rows.items()}


def _predict(way: str, world: World, setting: Setting, few: Indices, prior: Prior) -> Array:
    """Latency in ms of the test networks by a formula or a process, shape (N,)."""
    test, y = setting.test, setting.latency_ms[few]
    if way == "median":
        return np.full(len(test), np.median(y))
    if way == "macs":
        return _line(np.log(1 + world.macs[few]), np.log(y), np.log(1 + world.macs[test]))
    z, x, logs = setting.z[few], setting.x[few], np.log(y)
    if way == CHOSEN:
        way = least_off({m: left_out(m, z, x, logs, prior) for m in CHOSEN_AMONG}, logs)
    process = adapt_process(way, z, x, logs, prior)
    return np.exp(process.predict(setting.z[test], setting.x[test])[0])


def _line(x: Array, y: Array, at: Array) -> Array:
    """Exponential of a least-squares line that never falls, at most one decade outside."""
    slope = max(float(np.cov(x, y)[0, 1] / max(np.var(x, ddof=1), 1e-9)), 0.0)
    logs = y.mean() + slope * (at - x.mean())
    line: Array = np.exp(np.clip(logs, y.min() - 2.3, y.max() + 2.3))
    return line


def scores(predicted: Array, measured: Array) -> dict[str, float]:
    """Spearman's ρ (0 for a constant), mean and median relative error, share within ±10 %."""
    relative = np.abs(predicted / measured - 1)
    constant = np.ptp(predicted) == 0
    return {
        "spearman": 0.0 if constant else float(stats.spearmanr(predicted, measured).statistic),
        "mape": float(relative.mean()),
        "median_ape": float(np.median(relative)),
        "within_10pct": float((relative <= 0.1).mean()),
    }


def _summary(devices: dict[str, Array]) -> Figures:
    """Figures over all devices, and of each."""
    over = np.mean(list(devices.values()), axis=0)
    return _intervals(over) | {"devices": {name: _intervals(v) for name, v in devices.items()}}


def _intervals(draws: Array) -> Figures:
    return {name: interval(column) for name, column in zip(FIGURES, draws.T, strict=True)}
