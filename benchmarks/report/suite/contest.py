"""One environment of a suite with all that was found there, and one colour for each agent."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from benchmarks.suites.result import Result

COLOURS, DASHES = 6, 4  # of the style sheet; after as many agents the colours return, dashed


@dataclass(frozen=True)
class Contest:
    """The runs of one environment.

    Attributes:
        name: Start of the names of its figures; letters, digits and hyphens.
        environment: As the result describes it.
        roles: For each agent's label the classes of its marks, in the order of the suite.
        baseline: Label against which the others are tested.
        runs: Of this environment.
        statistics: By label; empty where nothing is there.
        profile: Shares of runs over thresholds of reward, or None.
        curves: Mean best rewards over evaluations, or None.
        agreement: Of predicted and verified rewards, or None.
    """

    name: str
    environment: Result
    roles: dict[str, str]
    baseline: str
    runs: tuple[Result, ...]
    statistics: Result
    profile: Result | None
    curves: Result | None
    agreement: Result | None

    @property
    def label(self) -> str:
        """Of the environment."""
        return str(self.environment["label"])

    @cached_property
    def ranked(self) -> list[str]:
        """Labels of the agents that have runs here, the highest mean first."""
        known = {str(run["agent"]) for run in self.runs}
        means = {label: self.figure(label, "mean") for label in self.roles if label in known}
        found = [label for label, mean in means.items() if mean is not None]
        unknown = [label for label, mean in means.items() if mean is None]
        return sorted(found, key=lambda label: -means[label]) + unknown

    def figure(self, label: str, name: str) -> Any:  # noqa: ANN401
        """One figure of an agent's statistics; None where it is not there."""
        return self.statistics.get(label, {}).get(name)

    def of(self, label: str) -> list[Result]:
        """The runs of an agent by seed."""
        mine = [run for run in self.runs if run["agent"] == label]
        return sorted(mine, key=lambda run: run["seed"])


def contests(result: Result) -> list[Contest]:
    """All environments of a suite."""
    roles = agent_roles([str(agent["label"]) for agent in result["agents"]], result["baseline"])
    found = []
    for i, environment in enumerate(result["environments"], 1):
        label = environment["label"]
        found.append(
            Contest(
                name=f"{i}-{slug(label)}",
                environment=environment,
                roles=roles,
                baseline=str(environment.get("baseline", result["baseline"])),
                runs=tuple(run for run in result["runs"] if run["env"] == label),
                statistics=result["statistics"].get(label, {}),
                profile=result["profiles"].get(label),
                curves=result["curves"].get(label),
                agreement=result["predicted_verified"].get(label),
            )
        )
    return found


def agent_roles(labels: Sequence[str], baseline: str) -> dict[str, str]:
    """Classes of marks: the baseline is grey, the others take the colours in their order."""
    others = [label for label in labels if label != baseline]
    roles = {}
    for i, label in enumerate(others):
        dash = min(i // COLOURS, DASHES - 1)
        roles[label] = f"series s{i % COLOURS}" + (f" dash{dash}" if dash else "")
    return {label: roles.get(label, "series base") for label in labels}


def slug(label: str) -> str:
    """Letters, digits and hyphens of a label: what a file or an anchor is named by."""
    return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[:40] or "environment"
