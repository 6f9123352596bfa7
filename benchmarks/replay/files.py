"""The four files that hold winners: a search's, a suite's, a run's history, a run's JSON lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.replay.history import HISTORY, beside, read_history, rests_on
from benchmarks.replay.record import Claim, Reader, Record, Verified
from emnas_gym.errors import StoreError
from emnas_gym.history import Row
from emnas_gym.measurement import Measurement

RESULT = "result.json"
FORMAT = 2  # of a suite's result


def read_claims(path: Path, top: int) -> tuple[list[Claim], list[str]]:
    """Reads the winners that a file claims.

    Args:
        path: ``summary.json`` of a search, ``result.json`` of a suite, ``history.sqlite`` or
            ``evaluations.jsonl`` of a run.
        top: How many of the best networks of a run's record are its winners; 0 is all.

    Returns:
        The winners, and remarks such as how many lines an interrupted run has written.

    Raises:
        StoreError: If it is none of these, damaged, or holds no winner.
    """
    notes: list[str] = []
    if path.suffix == ".sqlite":
        claims = _from_history(path, top)
    elif path.suffix == ".jsonl":
        claims = _from_lines(path, top, notes)
    else:
        claims = _from_json(path, notes)
    if not claims:
        raise StoreError(f"{path}: holds no winner; was it interrupted before the first network?")
    return claims, notes


def _from_json(path: Path, notes: list[str]) -> list[Claim]:
    reader = Reader(path)
    data = reader.json(reader.text())
    if "winners" in data:
        return _from_summary(reader, data)
    if data.get("format") == FORMAT:
        return list(_from_result(reader, data, notes))
    if "agents" in data and "format" not in data:
        reader.fail("format", "a suite's result of an older version names no winners: run it again")
    reader.fail("content", "neither a search's summary.json nor a suite's result.json of format 2")


# ------------------------------------------------------------------------------ a search


def _from_summary(reader: Reader, data: Mapping[str, Any]) -> list[Claim]:
    history = beside(reader.path.parent)
    record = Record(
        file=reader.path,
        problem=reader.table(data.get("problem"), "problem"),
        evaluator=reader.name(data, "evaluator", "content"),
        rests_on=rests_on(history),
        versions=reader.table(data.get("versions", {}), "versions"),
        machine=reader.table(data.get("machine", {}), "machine"),
    )
    seed = reader.whole(data, "seed", "content")
    claims = []
    for i, row in enumerate(reader.rows(data["winners"], "winners")):
        where = f"winners[{i}]"
        claim = _claim(reader, row, where, f"winner {i + 1}", record, seed, history)
        claims.append(claim)
    return claims


def _claim(
    reader: Reader,
    row: Mapping[str, Any],
    where: str,
    label: str,
    record: Record,
    seed: int,
    history: Path | None,
    verified: object = None,
) -> Claim:
    measured = reader.table(row.get("measurement", {}), f"{where}.measurement")
    return Claim(
        label=label,
        record=record,
        tokens=reader.tokens(row.get("tokens"), f"{where}.tokens"),
        reward=reader.number(row, "reward", where),
        measurement=reader.measurement(measured, f"{where}.measurement") if measured else {},
        seed=seed,
        history=history,
        verified=_verified(reader, verified or row.get("verified"), f"{where}.verified"),
    )


def _verified(reader: Reader, value: object, where: str) -> Verified | None:
    """What trainings gave: a list per seed in a search's file, mean and number in a suite's."""
    if value is None:
        return None
    data = reader.table(value, where)
    reward = reader.number(data, "reward", where)
    if isinstance(data.get("accuracy"), list):
        known = {str(i): each for i, each in enumerate(data["accuracy"])}
        each = tuple(reader.number(known, key, f"{where}.accuracy") for key in known)
        return Verified(reward, reader.number(data, "mean", where), each, len(each))
    trainings = reader.whole(data, "trainings", where)
    return Verified(reward, reader.number(data, "accuracy", where), (), trainings)


# ------------------------------------------------------------------------------- a suite


def _from_result(reader: Reader, data: Mapping[str, Any], notes: list[str]) -> Iterator[Claim]:
    if not data.get("finished", False):
        missing = reader.rows(data.get("missing", []), "missing")
        notes.append(f"the suite is not finished: {len(missing)} runs are missing")
    worlds: dict[str, Record] = {}
    for i, row in enumerate(reader.rows(data.get("environments"), "environments")):
        world = _world(reader, data, row, f"environments[{i}]")
        worlds[reader.name(row, "label", f"environments[{i}]")] = world
    for i, row in enumerate(reader.rows(data.get("runs"), "runs")):
        yield _run(reader, worlds, row, f"runs[{i}]")


def _world(reader: Reader, data: Mapping[str, Any], row: Mapping[str, Any], where: str) -> Record:
    return Record(
        file=reader.path,
        problem=reader.table(row.get("problem"), f"{where}.problem"),
        evaluator=reader.name(row, "evaluator", where),
        rests_on=rests_on(_any_history(reader, data, row)),
        env=reader.name(row, "env", where),
        keywords=reader.table(row.get("keywords", {}), f"{where}.keywords"),
        versions=reader.table(data.get("versions", {}), "versions"),
        machine=reader.table(data.get("machine", {}), "machine"),
    )


def _run(reader: Reader, worlds: Mapping[str, Record], row: Mapping[str, Any], where: str) -> Claim:
    env, agent = (reader.name(row, key, where) for key in ("env", "agent"))
    seed = reader.whole(row, "seed", where)
    if env not in worlds:
        reader.fail(f"{where}.env", f"{env!r} is none of {', '.join(sorted(worlds))}")
    winner = reader.table(row.get("winner"), f"{where}.winner")
    history = beside(_folder(reader, env, agent, seed))
    label = f"{env} / {agent} / seed {seed}"
    return _claim(
        reader, winner, f"{where}.winner", label, worlds[env], seed, history, row.get("verified")
    )


def _folder(reader: Reader, env: str, agent: str, seed: int) -> Path:
    """The folder of a run; labels are names, and never lead out of the suite's folder."""
    for label in (env, agent):
        if Path(label).name != label or label == "..":
            reader.fail("label", f"{label!r} cannot be the name of a folder")
    return reader.path.parent / env / agent / f"seed-{seed}"


def _any_history(reader: Reader, data: Mapping[str, Any], env: Mapping[str, Any]) -> Path | None:
    """A history of one of the runs in an environment: all of them rest on the same."""
    for i, run in enumerate(reader.rows(data.get("runs"), "runs")):
        if run.get("env") == env.get("label"):
            agent, seed = reader.name(run, "agent", f"runs[{i}]"), reader.whole(run, "seed", "runs")
            if found := beside(_folder(reader, str(run["env"]), agent, seed)):
                return found
    return None


# ------------------------------------------------------------------------- a run's record


def _from_history(path: Path, top: int) -> list[Claim]:
    about, rows = read_history(path)
    record, seed = _recorded(path, about), about.get("seed")
    return [
        Claim(
            label=f"evaluation {number}",
            record=record,
            tokens=row.tokens,
            reward=row.reward,
            measurement=row.result.to_json(),
            seed=seed if type(seed) is int else None,
            history=path,
        )
        for number, row in best(enumerate(rows, 1), lambda item: item[1].reward, _network, top)
        if isinstance(row.result, Measurement)
    ]


def _network(item: tuple[int, Row]) -> tuple[int, ...] | None:
    return item[1].canonical if isinstance(item[1].result, Measurement) else None


def best(
    items: Iterator[Any], reward: Callable[[Any], float], key: Callable[[Any], object], top: int
) -> list[Any]:
    """The items of highest reward, one of each key; a key of None is left out."""
    found: dict[object, Any] = {}
    for item in sorted(items, key=lambda item: -reward(item)):
        if (which := key(item)) is not None and which not in found:
            found[which] = item
    return list(found.values())[: top or None]


def _recorded(path: Path, about: Mapping[str, Any]) -> Record:
    reader = Reader(path)
    return Record(
        file=path,
        problem=reader.table(about.get("problem"), "problem"),
        evaluator=reader.name(about, "evaluator", "about"),
        rests_on=reader.table(about.get("rests_on", {}), "rests_on"),
    )


def _from_lines(path: Path, top: int, notes: list[str]) -> list[Claim]:
    reader = Reader(path)
    record, seed, history = _world_of_lines(path)
    *lines, last = reader.text().split("\n")
    if last:
        notes.append(f"line {len(lines) + 1} is cut off: the run was interrupted there")
    rows = [(i, reader.json(line, f"line {i}")) for i, line in enumerate(lines, 1) if line]
    claims = [
        Claim(
            label=f"evaluation {i}",
            record=record,
            tokens=reader.tokens(row.get("tokens"), f"line {i}"),
            reward=reader.number(row, "reward", f"line {i}"),
            measurement=reader.measurement(row, f"line {i}"),
            seed=seed,
            history=history,
        )
        for i, row in rows
        if "error" not in row
    ]
    return best(iter(claims), lambda claim: claim.reward, lambda claim: claim.tokens, top)


def _world_of_lines(path: Path) -> tuple[Record, int | None, Path | None]:
    """The lines name networks only: what they were measured in stands in a file beside them."""
    history = beside(path.parent)
    if history is not None:
        about, _ = read_history(history)
        seed = about.get("seed")
        return _recorded(history, about), seed if type(seed) is int else None, history
    run = path.resolve().parent  # <suite>/<environment>/<agent>/seed-<n>
    result, label = run.parents[min(2, len(run.parents) - 1)] / RESULT, run.parent.parent.name
    if not result.is_file():
        raise StoreError(f"{path}: stands alone; keep it beside its {HISTORY}, which says in what")
    reader = Reader(result)
    data = reader.json(reader.text())
    for i, row in enumerate(reader.rows(data.get("environments"), "environments")):
        if row.get("label") == label:
            return _world(reader, data, row, f"environments[{i}]"), None, None
    raise StoreError(f"{path}: {result} knows no environment {label!r}")
