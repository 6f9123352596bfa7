"""What a suite found, as `result.json` holds it: read, and checked field by field before use."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.suites.checked_fields import (
    Check,
    ResultError,
    fields,
    flag,
    items,
    maybe,
    named,
    number,
    one_of,
    plain,
    row,
    shown,
    text,
    whole,
)

FORMAT = 2
LARGEST_FILE = 256 * 2**20  # bytes
MOST_RUNS = 20_000
MOST_POINTS = 200_000  # of a curve
Result = Mapping[str, Any]

_seconds = number(0.0)
_interval = row(number(), number())
_label = text(100, least=1)
_values = items(number(), MOST_POINTS)
_tokens = items(whole(), 10_000)
_steps = items(row(whole(0), number()), MOST_POINTS)
_band = fields(mean=_values, low=_values, high=_values)
_environment = fields(
    label=_label,
    env=text(),
    keywords=named(plain),
    evaluations=whole(1),
    objectives=items(fields(field=_label, better=one_of("higher", "lower")), 20),
    problem=named(plain),
    evaluator=text(),
    optimum=maybe(fields(reward=number(), interval=maybe(_interval))),
    reward_range=row(maybe(number()), maybe(number())),
)
_agent = fields(label=_label, agent=text(), options=named(plain), summary=text())
_verified = fields(
    reward=number(),
    accuracy=maybe(number()),
    deviation=maybe(_seconds),
    trainings=_seconds,
    predicted_reward=number(),
    predicted_accuracy=maybe(number()),
)
_run = fields(
    env=_label,
    agent=_label,
    seed=whole(),
    evaluations=whole(),
    distinct=whole(),
    steps=whole(),
    invalid_steps=whole(),
    seconds=_seconds,
    cpu_seconds=maybe(_seconds),
    trainings=maybe(_seconds),
    simulated_seconds=maybe(_seconds),
    best=number(),
    best_at=whole(),
    late_mean=maybe(number()),
    curve=_steps,
    regret=maybe(number()),
    test=maybe(number()),
    test_regret=maybe(number()),
    to_top=named(maybe(whole()), 20),
    hypervolume=maybe(_steps),
    front=items(fields(tokens=_tokens), 20_000),
    winner=fields(tokens=_tokens, reward=number(), measurement=named(plain)),
    verified=maybe(_verified),
)
_statistic = fields(
    n=whole(),
    mean=maybe(number()),
    interval=maybe(_interval),
    median=maybe(number()),
    iqm=maybe(number()),
    iqm_interval=maybe(_interval),
    p=maybe(number(0, 1)),
    p_holm=maybe(number(0, 1)),
    better_than_baseline=flag,
    probability_of_improvement=maybe(fields(value=number(0, 1), interval=maybe(_interval))),
    verified_mean=maybe(number()),
    verified_interval=maybe(_interval),
    verified_p=maybe(number(0, 1)),
    verified_p_holm=maybe(number(0, 1)),
)
_share = fields(share=_values, low=_values, high=_values)
_correlation = fields(
    pearson=maybe(number(-1.001, 1.001)),
    spearman=maybe(number(-1.001, 1.001)),
    tau=maybe(number(-1.001, 1.001)),
    n=whole(),
)
_check: Check = fields(
    suite=_label,
    title=text(),
    command=text(20_000),
    finished=flag,
    missing=items(fields(env=_label, agent=_label, seed=whole()), MOST_RUNS),
    machine=named(plain),
    versions=named(text()),
    started=text(100),
    seeds=whole(1, 100_000),
    baseline=_label,
    environments=items(_environment, 200, least=1),
    agents=items(_agent, 100, least=1),
    runs=items(_run, MOST_RUNS),
    statistics=named(named(_statistic, 100), 200),
    profiles=named(maybe(fields(reward=_values, agents=named(_share, 100))), 200),
    curves=named(maybe(fields(evaluations=_values, agents=named(_band, 100))), 200),
    predicted_verified=named(maybe(_correlation), 200),
)


def load_result(folder: Path) -> Result:
    """Reads and checks what a suite's folder holds.

    Args:
        folder: Has ``result.json``; where only runs are there, they are collected.

    Raises:
        ResultError: If it is damaged, foreign, of another format or absurdly large.
    """
    path = folder / "result.json"
    if not path.exists():
        return check_result(_collected(folder))
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise ResultError(f"{path}: {size:,} bytes; up to {LARGEST_FILE:,} are read")
        data = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
        return check_result(data)
    except ResultError as error:
        raise ResultError(
            error.args[0] if str(path) in str(error) else f"{path}: {error}"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ResultError(f"{path}: not the result of a suite: {error}; {_AGAIN}") from error


_AGAIN = "run the suite again to write it anew; runs that are there are kept"


def _collected(folder: Path) -> Any:  # noqa: ANN401
    """The result of the runs that are there: what an interrupted suite has."""
    from benchmarks.suites.collect import collect_result  # loads what only statistics need

    return collect_result(folder)


def _no_number(word: str) -> float:
    raise ResultError(f"{word} is no finite number")


def check_result(data: Any) -> Result:  # noqa: ANN401
    """The data itself, when every field is there and sound.

    Raises:
        ResultError: Naming the first field that is not.
    """
    if not isinstance(data, Mapping):
        raise ResultError(f"a table is expected, not {shown(data)}; {_AGAIN}")
    if data.get("format") != FORMAT or isinstance(data.get("format"), bool):
        raise ResultError(
            f"format: {FORMAT} is read here, not {shown(data.get('format'))}; {_AGAIN}"
        )
    _check(data, "")
    environments = _unique(data["environments"], "environments")
    agents = _unique(data["agents"], "agents")
    _check_baselines(data, agents)
    _check_runs(data["runs"], environments, agents)
    _check_fronts(data)
    for part in ("statistics", "profiles", "curves", "predicted_verified"):
        _check_labels(data[part], environments, part)
    for env, rows in data["statistics"].items():
        _check_labels(rows, agents, f"statistics[{env!r}]")
    _check_bands(data["curves"], "curves", "evaluations", agents)
    _check_bands(data["profiles"], "profiles", "reward", agents)
    return data


def _unique(entries: Iterable[Result], where: str) -> set[str]:
    counts = Counter(str(entry["label"]) for entry in entries)
    for label, count in counts.items():
        if count > 1:
            raise ResultError(f"{where}: the label {label!r} is there {count} times")
    return set(counts)


def _check_baselines(data: Result, agents: set[str]) -> None:
    """That of the suite, and those of environments that have their own."""
    found = {f"environments[{i}]": one for i, one in enumerate(data["environments"])}
    for where, one in {"": data, **found}.items():
        name = one.get("baseline", data["baseline"])
        if not isinstance(name, str) or name not in agents:
            place = f"{where}.baseline".strip(".")
            raise ResultError(f"{place}: {shown(name)} is the label of no agent")


def _check_runs(runs: Iterable[Result], environments: set[str], agents: set[str]) -> None:
    seen = set()
    for i, run in enumerate(runs):
        for share in run["to_top"]:
            _check_share(share, f"runs[{i}].to_top")
        for key, known in (("env", environments), ("agent", agents)):
            if run[key] not in known:
                raise ResultError(f"runs[{i}].{key}: {run[key]!r} is no label of this suite")
        place = (run["env"], run["agent"], run["seed"])
        if place in seen:
            raise ResultError(f"runs[{i}]: seed {place[2]} of {place[1]!r} is there twice")
        seen.add(place)
        for key in ("curve", "hypervolume"):
            steps = [at for at, _ in run[key] or ()]
            if steps != sorted(steps):
                raise ResultError(f"runs[{i}].{key}: evaluations do not ascend")


def _check_share(share: str, where: str) -> None:
    try:
        number(1e-9, 100)(float(share), f"{where}[{share!r}]")
    except ValueError as error:
        raise ResultError(f"{where}[{share!r}]: a share in per cent is expected") from error


def _check_fronts(data: Result) -> None:
    """Every objective of a network on a front is a number, or not known."""
    fields_of = {e["label"]: [o["field"] for o in e["objectives"]] for e in data["environments"]}
    for i, run in enumerate(data["runs"]):
        for k, network in enumerate(run["front"]):
            for field in fields_of[run["env"]]:
                maybe(number())(network.get(field), f"runs[{i}].front[{k}].{field}")


def _check_labels(table: Result, known: set[str], where: str) -> None:
    for label in table:
        if label not in known:
            raise ResultError(f"{where}[{label!r}]: no such label in this suite")


def _check_bands(bands: Result, where: str, axis: str, agents: set[str]) -> None:
    for env, band in bands.items():
        if band is None:
            continue
        _check_labels(band["agents"], agents, f"{where}[{env!r}].agents")
        if list(band[axis]) != sorted(band[axis]):
            raise ResultError(f"{where}[{env!r}].{axis}: the values do not ascend")
        for label, columns in band["agents"].items():
            for name in ("low", "high", "mean" if "mean" in columns else "share"):
                if (count := len(columns[name])) != len(band[axis]):
                    place = f"{where}[{env!r}].agents[{label!r}].{name}"
                    raise ResultError(f"{place}: {count} values for {len(band[axis])} {axis}")
