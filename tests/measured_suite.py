"""A small suite as its runner writes it: real searches, counted and summed up with plain numpy."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agents.base import Agent
from benchmarks.comparison.significance import bootstrap_interval, holm, p_greater
from benchmarks.versions import versions
from emnas_gym.architecture import Architecture
from emnas_gym.ledger import Ledger
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.registry import make_evaluator, resolve

TOPS = ("10", "5", "1", "0.1")
SMALL = {"flash_bytes": 2200, "ram_bytes": 8192, "macs": 800}  # 379 networks of four tokens
OBJECTIVES = [
    {"field": "accuracy", "better": "higher"},
    {"field": "latency_ms", "better": "lower"},
    {"field": "flash_bytes", "better": "lower"},
]
AGENTS = (
    ("random", "random", {}),
    ("walk", "random", {"sampler": "walk"}),
    ("evolution", "evolution", {"population": 20, "tournament": 6}),
)


@dataclass(frozen=True)
class World:
    """An environment, and a sample of its networks or all of them."""

    label: str
    keywords: dict[str, Any]
    evaluations: int
    known: bool = False  # whether all networks are enumerated, so that the optimum is known
    problem: Problem = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "problem", Problem.make("emnas-382", **self.keywords))

    def reference(self) -> np.ndarray:
        """Rewards of all networks, or of 150 random ones, best first; shape (networks,)."""
        evaluator = make_evaluator("surrogate", self.problem)
        networks = list(_all_networks(self.problem)) if self.known else self._sample(150)
        measured = evaluator.evaluate(networks)
        rewards = [self.problem.reward(m)[0] for m in measured if isinstance(m, Measurement)]
        return np.sort(np.array(rewards))[::-1]

    def _sample(self, count: int) -> list[Architecture]:
        rng, problem = np.random.default_rng(0), self.problem
        return [problem.space.sample(rng, problem.task, problem.budgets) for _ in range(count)]


def worlds(evaluations: int) -> tuple[World, ...]:
    """The default problem, a small one whose optimum is known, and another device."""
    budgets = {"ram_bytes": 8192, "flash_bytes": 32768}
    small = {"budgets": SMALL, "min_layers": 4, "max_layers": 4}
    return (
        World("digits on a Cortex-M4", {"budgets": budgets}, evaluations),
        World("small", small, evaluations, known=True),
        World("digits on an RP2040", {"budgets": budgets, "device": "rp2040"}, evaluations),
    )


def _all_networks(problem: Problem) -> Iterator[Architecture]:
    """Every network that fits, by depth first search over what is legal next."""
    table = problem.automaton
    canonical = np.array(table.grammar.canonical_token)
    stack: list[tuple[int, ...]] = [()]
    while stack:
        tokens = stack.pop()
        cursor = table.start()
        for token in tokens:
            table.step(cursor, token)
        if cursor.done:
            yield problem.space.architecture(tokens)
            continue
        legal = table.legal(cursor, problem.max_layers)
        stack += [(*tokens, int(t)) for t in legal[canonical[legal] == legal]]


def measured_suite(
    evaluations: int = 40,
    seeds: int = 4,
    agents: Sequence[tuple[str, str, dict[str, Any]]] = AGENTS,
    verify: int = 0,
    verified_seeds: int = 2,
) -> dict[str, Any]:
    """The result of a suite on the surrogate.

    Args:
        evaluations: Of every run.
        seeds: Of every agent.
        agents: Label, name and options of each.
        verify: Epochs by which winners of the first environment are trained; 0 trains none.
        verified_seeds: Of each agent, whose winners are trained.
    """
    places = worlds(evaluations)
    references = {w.label: w.reference() for w in places}
    runs = [
        _run(w, label, resolve("agent", name).with_options(**options), seed, references[w.label])
        for w in places
        for label, name, options in agents
        for seed in range(seeds)
    ]
    if verify:
        mine = [r for r in runs if r["env"] == places[0].label and r["seed"] < verified_seeds]
        _verify(places[0].problem, mine, verify)
    labels = [label for label, _, _ in agents]
    by_env = {w.label: [r for r in runs if r["env"] == w.label] for w in places}
    return {
        "format": 2,
        "suite": "small-three",
        "title": "Three agents on three small problems",
        "command": "python -m benchmarks run small-three.toml --out runs/bench",
        "finished": True,
        "missing": [],
        "machine": {"cpu": platform.machine(), "cores": 2, "memory_gib": 7.8,
                    "os": platform.system(), "python": platform.python_version()},
        "versions": versions(),
        "started": "2025-01-31T12:00:00+00:00",
        "seeds": seeds,
        "baseline": labels[0],
        "environments": [_environment(w, references[w.label]) for w in places],
        "agents": [
            {"label": label, "agent": name, "options": options,
             "summary": str(resolve("agent", name).__doc__).partition("\n")[0]}
            for label, name, options in agents
        ],
        "runs": runs,
        "statistics": {env: _statistics(of, labels) for env, of in by_env.items()},
        "profiles": {env: _profile(of, labels) for env, of in by_env.items()},
        "curves": {env: _curves(of, labels, evaluations) for env, of in by_env.items()},
        "predicted_verified": {env: _agreement(of) for env, of in by_env.items()},
    }  # fmt: skip


def _environment(world: World, reference: np.ndarray) -> dict[str, Any]:
    best = float(reference[0])
    return {
        "label": world.label,
        "env": "EmNAS-v0",
        "keywords": world.keywords,
        "evaluations": world.evaluations,
        "objectives": OBJECTIVES,
        "problem": world.problem.to_json(),
        "evaluator": "surrogate",
        "optimum": {"reward": best, "interval": None} if world.known else None,
        "reward_range": [float(reference[-1]), best],
    }


def _run(world: World, label: str, agent: Agent, seed: int, reference: np.ndarray) -> dict:
    ledger = Ledger(make_evaluator("surrogate", world.problem), world.problem, world.evaluations)
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        agent.search(world.problem, ledger, seed)
        seconds = time.perf_counter() - wall, time.process_time() - cpu
        rows, rewards = ledger.rows, [row.reward for row in ledger.rows]
        best = ledger.best
        curve = _improvements(rewards)
        assert isinstance(best.result, Measurement)
        optimum = float(reference[0]) if world.known else None
        return {
            "env": world.label,
            "agent": label,
            "seed": seed,
            "evaluations": len(rows),
            "distinct": ledger.distinct,
            "steps": ledger.steps,
            "invalid_steps": ledger.invalid_steps,
            "seconds": seconds[0],
            "cpu_seconds": seconds[1],
            "trainings": 0.0,
            "simulated_seconds": None,
            "best": best.reward,
            "best_at": rewards.index(best.reward) + 1,
            "late_mean": float(np.mean(rewards[-max(len(rewards) // 10, 1) :])),
            "curve": curve,
            "regret": None if optimum is None else optimum - best.reward,
            "test": None,
            "test_regret": None,
            "to_top": {p: _first(rewards, reference, float(p)) for p in TOPS},
            "hypervolume": _hypervolume([r.result for r in rows]),
            "front": _front([(r.tokens, r.result) for r in rows]),
            "winner": {"tokens": list(best.tokens), "reward": best.reward,
                       "measurement": best.result.to_json()},
            "verified": None,
        }  # fmt: skip
    finally:
        ledger.close()


def _improvements(rewards: Sequence[float]) -> list[list[float]]:
    so_far = np.maximum.accumulate(rewards)
    steps = [[i + 1, float(r)] for i, r in enumerate(so_far) if i == 0 or r > so_far[i - 1]]
    if steps[-1][0] != len(rewards):
        steps.append([len(rewards), float(so_far[-1])])
    return steps


def _first(rewards: Sequence[float], reference: np.ndarray, percent: float) -> int | None:
    """The first evaluation whose reward is among the best few of the reference."""
    threshold = reference[max(int(len(reference) * percent / 100) - 1, 0)]
    return next((i for i, r in enumerate(rewards, 1) if r >= threshold), None)


def _costs(result: Any) -> tuple[float, float] | None:
    return (result.latency_ms, result.accuracy) if isinstance(result, Measurement) else None


def _hypervolume(results: Sequence[Any]) -> list[list[float]]:
    """Area that is dominated between accuracy 0 and a latency of 1 ms, after each improvement."""
    points: list[tuple[float, float]] = []
    steps: list[list[float]] = []
    for i, costs in enumerate(map(_costs, results), 1):
        if costs is not None:
            points.append(costs)
        area, height = 0.0, 0.0
        for latency, accuracy in sorted(points):
            if accuracy > height and latency < 1.0:
                area += (accuracy - height) * (1.0 - latency)
                height = accuracy
        if not steps or area > steps[-1][1] or i == len(results):
            steps.append([i, area])
    return steps


def _front(rows: Sequence[tuple[tuple[int, ...], Any]]) -> list[dict[str, Any]]:
    names = [objective["field"] for objective in OBJECTIVES]
    signs = np.array([1 if o["better"] == "lower" else -1 for o in OBJECTIVES])
    known = {tokens: r for tokens, r in rows if isinstance(r, Measurement)}
    values = np.array([[getattr(r, n) for n in names] for r in known.values()]) * signs
    found = []
    for i, (tokens, result) in enumerate(known.items()):
        beaten = (values <= values[i]).all(axis=1) & (values < values[i]).any(axis=1)
        if not beaten.any():
            found.append({"tokens": list(tokens)} | {n: getattr(result, n) for n in names})
    return found


def _verify(problem: Problem, runs: list[dict[str, Any]], epochs: int) -> None:
    """Really trains each run's winner with one seed."""
    from predictors.datasets import load
    from predictors.trained import TrainedEvaluator
    from predictors.training import Recipe

    trainer = TrainedEvaluator(load("digits"), Recipe(epochs=epochs, attempts=1))
    try:
        for run in runs:
            tokens = run["winner"]["tokens"]
            found = trainer.evaluate([problem.space.architecture(tokens)])[0]
            assert isinstance(found, Measurement)
            predicted = Measurement.from_json(run["winner"]["measurement"])
            accuracy = found.accuracy
            true = predicted.overridden(Measurement.of("trained", accuracy=accuracy))
            run["verified"] = {
                "reward": problem.reward(true)[0],
                "accuracy": accuracy,
                "deviation": None,
                "trainings": 1.0,
                "predicted_reward": run["best"],
                "predicted_accuracy": predicted.accuracy,
            }
    finally:
        trainer.close()


# ----------------------------------------------------------------------------------- statistics


def _by_agent(runs: Sequence[dict[str, Any]], labels: Sequence[str]) -> dict[str, list[Any]]:
    return {label: [r for r in runs if r["agent"] == label] for label in labels}


def _statistics(runs: Sequence[dict[str, Any]], labels: Sequence[str]) -> dict[str, Any]:
    mine = _by_agent(runs, labels)
    best = {label: [r["best"] for r in of] for label, of in mine.items()}
    true = {k: [r["verified"]["reward"] for r in of if r["verified"]] for k, of in mine.items()}
    base = labels[0]
    p = {k: p_greater(v, best[base]) for k, v in best.items() if k != base}
    q = {k: p_greater(v, true[base]) for k, v in true.items() if k != base and v}
    held, checked = holm(p), holm(q)
    return {
        label: {
            "n": len(values),
            "mean": float(np.mean(values)),
            "interval": list(bootstrap_interval(values)),
            "median": float(np.median(values)),
            "iqm": _iqm(values),
            "iqm_interval": _iqm_interval(values),
            "p": p.get(label),
            "p_holm": held.get(label),
            "better_than_baseline": held.get(label, 1.0) < 0.05,
            "probability_of_improvement": None if label == base else _improves(values, best[base]),
            "verified_mean": float(np.mean(true[label])) if true[label] else None,
            "verified_interval": list(bootstrap_interval(true[label])) if true[label] else None,
            "verified_p": q.get(label),
            "verified_p_holm": checked.get(label),
        }
        for label, values in best.items()
    }


def _iqm(values: Sequence[float]) -> float:
    cut = len(values) // 4
    return float(np.mean(sorted(values)[cut : len(values) - cut]))


def _iqm_interval(values: Sequence[float]) -> list[float]:
    rng = np.random.default_rng(0)
    drawn = [_iqm(list(rng.choice(values, len(values)))) for _ in range(500)]
    return [float(v) for v in np.quantile(drawn, [0.025, 0.975])]


def _improves(values: Sequence[float], base: Sequence[float]) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    ours, theirs = np.array(values), np.array(base)

    def share(a: np.ndarray, b: np.ndarray) -> float:
        above = a[:, None] - b[None, :]
        return float((above > 0).mean() + 0.5 * (above == 0).mean())

    draws = [
        share(rng.choice(ours, len(ours)), rng.choice(theirs, len(theirs))) for _ in range(500)
    ]
    low, high = np.quantile(draws, [0.025, 0.975])
    return {"value": share(ours, theirs), "interval": [float(low), float(high)]}


def _banded(rows: np.ndarray) -> list[tuple[float, float, float]]:
    """Mean and interval of every column."""
    return [(float(c.mean()), *bootstrap_interval(c, draws=300)) for c in rows.T]


def _profile(runs: Sequence[dict[str, Any]], labels: Sequence[str]) -> dict[str, Any]:
    values = [r["best"] for r in runs]
    thresholds = np.linspace(min(values), max(values), 25)
    agents = {}
    for label, of in _by_agent(runs, labels).items():
        best = np.array([r["best"] for r in of])
        columns = _banded((best[:, None] >= thresholds[None, :]).astype(float))
        share, low, high = (list(c) for c in zip(*columns, strict=True))
        agents[label] = {"share": share, "low": low, "high": high}
    return {"reward": [float(t) for t in thresholds], "agents": agents}


def _curves(runs: Sequence[dict[str, Any]], labels: Sequence[str], count: int) -> dict[str, Any]:
    grid = np.unique(np.linspace(1, count, min(count, 60)).astype(int))
    agents = {}
    for label, of in _by_agent(runs, labels).items():
        rows = np.array([_at(r["curve"], grid) for r in of])
        mean, low, high = (list(c) for c in zip(*_banded(rows), strict=True))
        agents[label] = {"mean": mean, "low": low, "high": high}
    return {"evaluations": [int(g) for g in grid], "agents": agents}


def _at(curve: Sequence[Sequence[float]], grid: np.ndarray) -> np.ndarray:
    steps, values = np.array([c[0] for c in curve]), np.array([c[1] for c in curve])
    return values[np.searchsorted(steps, grid, side="right") - 1]


def _agreement(runs: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    from scipy.stats import kendalltau, pearsonr, spearmanr

    pairs = [(r["verified"]["predicted_reward"], r["verified"]["reward"]) for r in runs
             if r["verified"]]  # fmt: skip
    if len(pairs) < 3:
        return None
    x, y = zip(*pairs, strict=True)
    return {
        "pearson": float(pearsonr(x, y).statistic),
        "spearman": float(spearmanr(x, y).statistic),
        "tau": float(kendalltau(x, y).statistic),
        "n": len(pairs),
    }
