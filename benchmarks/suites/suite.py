"""Suites: agents × environments × seeds × budgets, as a TOML file says them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Self

from benchmarks.suites.file import read_suite_file
from emnas_gym.errors import EmNASError, UnknownName

FOLDER = Path(str(resources.files("benchmarks").joinpath("suites")))
BASELINE = "random"  # the agent that every comparison has


@dataclass(frozen=True)
class Environment:
    """One environment of a suite.

    Attributes:
        label: Name in tables and of its folder.
        env: Registered id.
        evaluations: Of every run.
        keywords: Of the environment, as `gymnasium.make` takes them; a text ``"$seed"`` stands for
            the seed of the run.
        verify_seeds: Trainings of each run's winner; 0 verifies none.
        prepare: Command that makes the file that it needs.
    """

    label: str
    env: str
    evaluations: int
    keywords: dict[str, Any] = field(default_factory=dict)
    verify_seeds: int = 0
    prepare: str = ""


@dataclass(frozen=True)
class Entry:
    """One agent of a suite.

    Attributes:
        label: Name in tables and of its folders.
        agent: Registered name.
        options: Hyperparameters that differ from the defaults.
        only: Labels of the environments it takes part in; all if empty.
    """

    label: str
    agent: str
    options: dict[str, Any] = field(default_factory=dict)
    only: tuple[str, ...] = ()


@dataclass(frozen=True)
class Suite:
    """What is compared.

    Attributes:
        name: Of the suite and of its folder.
        title: The question in a sentence.
        seeds: Runs of every agent in every environment.
        environments: What is searched.
        agents: Who takes part; random search is among them everywhere.
        reference: Networks drawn at random by which runs are judged (best p %, hypervolume);
            0 draws none.
    """

    name: str
    title: str
    seeds: int
    environments: tuple[Environment, ...]
    agents: tuple[Entry, ...]
    reference: int = 2000

    def environment(self, label: str) -> Environment:
        """The environment of a label.

        Raises:
            UnknownName: If there is none.
        """
        known = {one.label: one for one in self.environments}
        if label not in known:
            raise UnknownName(f"environment of {self.name}", label, known)
        return known[label]

    def agent(self, label: str) -> Entry:
        """The agent of a label.

        Raises:
            UnknownName: If there is none.
        """
        known = {one.label: one for one in self.agents}
        if label not in known:
            raise UnknownName(f"agent of {self.name}", label, known)
        return known[label]

    def runs(self) -> Iterator[tuple[str, str, int]]:
        """Labels of environment and agent, and the seed, of every run.

        Seeds are outermost, so that what stands after half of the time compares all agents.
        """
        for seed in range(self.seeds):
            for environment in self.environments:
                for entry in self.agents:
                    if not entry.only or environment.label in entry.only:
                        yield environment.label, entry.label, seed

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Reads what `to_json` gave.

        Raises:
            KeyError, TypeError: If it is something else.
        """
        environments = tuple(Environment(**one) for one in data["environments"])
        agents = tuple(Entry(**one | {"only": tuple(one["only"])}) for one in data["agents"])
        return cls(**{**data, "environments": environments, "agents": agents})


def load_suite(name: str, seeds: int | None = None, evaluations: int | None = None) -> Suite:
    """Loads a suite by name or path.

    Args:
        name: Name of a suite of the project, or path of a TOML file.
        seeds: Replaces the number of the file.
        evaluations: Replaces the numbers of the file.

    Raises:
        UnknownName: If there is no such suite.
        EmNASError: If the file has a wrong key or value, or one is missing.
    """
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        hint = "A path of a .toml file is understood too."
        raise UnknownName("suite", name, suite_names(), hint)
    data = read_suite_file(path, {"seeds": seeds, "evaluations": evaluations})
    suite = Suite.from_json(data)
    _check_baseline(path, suite)
    return suite


def _check_baseline(path: Path, suite: Suite) -> None:
    """Refuses a comparison with nothing to compare with."""
    for environment in suite.environments:
        taking_part = [e for e in suite.agents if not e.only or environment.label in e.only]
        if all(entry.agent != BASELINE for entry in taking_part):
            raise EmNASError(
                f"{path}: {environment.label!r} has no agent {BASELINE!r}: random search at equal "
                f"evaluations is the baseline of every comparison; add [[agents]] with "
                f'label = "random" and agent = "{BASELINE}"'
            )


def suite_names() -> list[str]:
    """Names of the suites of the project."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))
