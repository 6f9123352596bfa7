"""Protocols: agents × worlds, many runs each, looked at after given numbers of evaluations.

Where a table answers, a run takes a fraction of a second, and means want hundreds of them: more
than have a folder each. A protocol keeps of a run what its curve is at the checkpoints.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

from benchmarks.suites.suite import BASELINE
from benchmarks.suites.toml_checks import (
    check_counts,
    check_folder_name,
    check_keys,
    distinct,
    parse,
    plain,
    tables,
)
from emnas_gym.errors import EmNASError, UnknownName

FOLDER = Path(str(resources.files("benchmarks").joinpath("checkpoints")))
SIGNALS = ("valid", "test")
KEYS = {"name", "title", "checkpoints", "least_runs", "more_runs"}
WORLD = {"dataset", "protocol", "table", "metric", "signal"}
AGENT = {"label", "agent", "options", "runs"}
COUNTS = {"least_runs": (1, 100_000), "runs": (1, 100_000)}
LAST = 100_000  # evaluations of a run, at most


@dataclass(frozen=True)
class World:
    """One table, and what a search sees of it.

    Attributes:
        dataset: First key of the result.
        protocol: Second key of the result.
        table: Name in `benchmarks.checkpoints.known_tables`, or path of a file.
        metric: Whose accuracies; the first one of the table if empty.
        signal: ``valid``: the search sees validation accuracies; ``test``: it sees those that are
            reported, as an oracle would tell them.
    """

    dataset: str
    protocol: str
    table: str
    metric: str = ""
    signal: str = "valid"

    @property
    def label(self) -> str:
        """Name in tables and commands."""
        return f"{self.dataset}-{self.protocol}"


@dataclass(frozen=True)
class Contestant:
    """One agent of a protocol.

    Attributes:
        label: Name in tables.
        agent: Registered name.
        options: Hyperparameters that differ from the defaults.
        runs: In each world; 0 lets the seconds of a run decide.
    """

    label: str
    agent: str
    options: dict[str, Any] = field(default_factory=dict)
    runs: int = 0


@dataclass(frozen=True)
class Protocol:
    """What is compared.

    Attributes:
        name: Of the protocol and of its folder.
        title: The question in a sentence.
        checkpoints: Evaluations, repeats counted, ascending; a run ends with the last.
        least_runs: Of agents that are slow.
        more_runs: Pairs of CPU seconds and runs: an agent whose runs take less than the first has
            so many; of several the most.
        worlds: What is searched.
        agents: Who takes part; random search is among them.
    """

    name: str
    title: str
    checkpoints: tuple[int, ...]
    least_runs: int
    more_runs: tuple[tuple[float, int], ...]
    worlds: tuple[World, ...]
    agents: tuple[Contestant, ...]

    @property
    def baseline(self) -> Contestant:
        """Random search."""
        return next(one for one in self.agents if one.agent == BASELINE)

    def runs_of(self, agent: Contestant, seconds: float) -> int:
        """How many runs an agent has.

        Args:
            agent: One of the protocol.
            seconds: CPU seconds of one run.
        """
        fitting = [runs for limit, runs in self.more_runs if seconds < limit]
        return agent.runs or max([self.least_runs, *fitting])

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def protocol_names() -> list[str]:
    """Names of the protocols of the project."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def find_protocol(name: str) -> Path | None:
    """The file of a protocol by name or path; None where it is none, such as a suite."""
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    return path if path.is_file() and "checkpoints" in parse(path) else None


def load_protocol(path: Path, runs: int | None = None) -> Protocol:
    """Reads a protocol.

    Args:
        path: TOML file.
        runs: Of every agent, instead of what the file says.

    Raises:
        EmNASError: If it is no protocol; says what, where and what was perhaps meant.
    """
    data = parse(path)
    check_keys(path, "", data, KEYS | {"worlds", "agents"}, KEYS - {"title", "more_runs"})
    check_counts(path, "", data, COUNTS)
    check_folder_name(path, data["name"])
    worlds = tuple(_world(path, one) for one in tables(path, data, "worlds"))
    given = tables(path, data, "agents")
    agents = tuple(_agent(path, one, runs) for one in given)
    distinct(path, [asdict(one) | {"label": one.label} for one in worlds], ("table", "label"))
    distinct(path, [asdict(one) for one in agents], ("agent", "options"))
    if all(one.agent != BASELINE for one in agents):
        raise EmNASError(f"{path}: no agent {BASELINE!r}: it is the baseline of every comparison")
    return Protocol(
        name=data["name"],
        title=str(data.get("title", data["name"])),
        checkpoints=_checkpoints(path, data["checkpoints"]),
        least_runs=data["least_runs"],
        more_runs=_more_runs(path, data.get("more_runs", [])),
        worlds=worlds,
        agents=agents,
    )


def _world(path: Path, table: dict[str, Any]) -> World:
    check_keys(path, "worlds", table, WORLD, {"dataset", "protocol", "table"})
    for key, value in table.items():
        if not isinstance(value, str) or not value:
            raise EmNASError(f"{path}: [[worlds]]: {key} is a text, not {value!r}")
    for key in ("dataset", "protocol"):
        check_folder_name(path, table[key])
    world = World(**table)
    if world.signal not in SIGNALS:
        raise UnknownName("signal", world.signal, SIGNALS, f"({path})")
    return world


def _agent(path: Path, table: dict[str, Any], runs: int | None) -> Contestant:
    check_keys(path, "agents", table, AGENT, {"agent"})
    check_counts(path, "agents", table, COUNTS)
    if not isinstance(table["agent"], str) or not table["agent"]:
        raise EmNASError(f"{path}: [[agents]]: {table['agent']!r} is no name of an agent")
    label = table.get("label", table["agent"])
    check_folder_name(path, label)
    options = plain(path, f"agent {label!r}", "options", table)
    return Contestant(label, table["agent"], options, runs or table.get("runs", 0))


def _checkpoints(path: Path, value: object) -> tuple[int, ...]:
    """Ascending whole numbers."""
    found = value if isinstance(value, list) else []
    whole = bool(found) and all(type(one) is int for one in found)
    if not whole or found != sorted(set(found)) or not 1 <= found[0] <= found[-1] <= LAST:
        raise EmNASError(
            f"{path}: checkpoints are ascending numbers of evaluations from 1 to {LAST}, not "
            f"{value!r}"
        )
    return tuple(found)


def _more_runs(path: Path, value: object) -> tuple[tuple[float, int], ...]:
    """Pairs of seconds and runs."""
    pairs: list[Any] = value if isinstance(value, list) else [value]
    for pair in pairs:
        sound = isinstance(pair, list) and len(pair) == 2
        if not sound or type(pair[0]) not in (int, float) or type(pair[1]) is not int:
            raise EmNASError(
                f"{path}: more_runs are pairs such as [0.1, 500]: the seconds that a run takes at "
                f"most, and how many are made; not {pair!r}"
            )
        check_counts(path, "more_runs", {"runs": pair[1]}, COUNTS)
    return tuple((float(seconds), runs) for seconds, runs in pairs)


def chosen(protocol: Protocol, agents: tuple[str, ...], worlds: tuple[str, ...]) -> Protocol:
    """The part of a protocol that is computed now.

    Args:
        protocol: The whole.
        agents: Labels; all if empty.
        worlds: Labels (``c10-oracle``), data sets or protocols; all if empty.

    Raises:
        UnknownName: If there is no such label.
    """
    _check("agent", agents, {one.label for one in protocol.agents})
    names = [{one.label, one.dataset, one.protocol} for one in protocol.worlds]
    _check("world", worlds, set().union(*names))
    kept: dict[str, Any] = {
        "agents": tuple(a for a in protocol.agents if not agents or a.label in agents),
        "worlds": tuple(
            world
            for world, known in zip(protocol.worlds, names, strict=True)
            if not worlds or known & set(worlds)
        ),
    }
    return replace(protocol, **kept)


def _check(kind: str, labels: tuple[str, ...], known: set[str]) -> None:
    for label in labels:
        if label not in known:
            raise UnknownName(kind, label, known)
