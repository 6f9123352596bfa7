"""Runs of agents over the table of every network, one line a run in a file for each agent."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.base import Agent
from agents.runs import make_agent
from emnas_gym.errors import EmNASError, EvaluationError, StoreError
from emnas_gym.evaluator import Evaluator
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem
from emnas_gym.registry import TABLES, make_evaluator

SPACE, DEVICE = "emnas-bench-8", "ethos-u55-128"
DIGITS = 6  # decimals of a reward, in all files
MOST_BYTES = 20_000_000  # of a file of runs
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")  # names become names of files


@dataclass(frozen=True)
class World:
    """What is searched: every network of it is known.

    Attributes:
        problem: The problem.
        evaluator: Looks up.
    """

    problem: Problem
    evaluator: Evaluator

    @classmethod
    def whole_table(cls) -> World:
        """The 1,860 networks of `emnas-bench-8`, latency by the compiler of an NPU.

        On the default device the best network has two layers, and random search, which draws
        lengths uniformly, meets it in one draw of 24: nothing could be told apart there.
        """
        problem = Problem.make(SPACE, device=DEVICE, budgets={})
        return cls(problem, make_evaluator("bench", problem))

    @cached_property
    def optimum(self) -> float:
        """The best reward there is, by looking at every network."""
        problem = self.problem
        every = list(problem.space.enumerate(problem.task, problem.automaton.budgets))
        ledger = Ledger(self.evaluator, problem, len(every))
        ledger.evaluate(every)
        return round(ledger.best.reward, DIGITS)


@dataclass(frozen=True)
class Run:
    """One search.

    Attributes:
        seed: Decided everything.
        rewards: Of each evaluation in order, rounded.
        repeats: For each whether the same network was measured before.
    """

    seed: int
    rewards: tuple[float, ...]
    repeats: tuple[bool, ...]

    def best_so_far(self, evaluations: int) -> NDArray[np.float64]:
        """Best reward after each evaluation, shape (evaluations,); the last one stays."""
        best = np.maximum.accumulate(np.array(self.rewards))[:evaluations]
        return np.pad(best, (0, evaluations - len(best)), mode="edge")


def curves(runs: Sequence[Run], evaluations: int) -> NDArray[np.float64]:
    """Best reward so far of every run, shape (runs, evaluations)."""
    return np.stack([run.best_so_far(evaluations) for run in runs])


def search(world: World, agent: Agent, seed: int, evaluations: int) -> Run:
    """Lets an agent search once.

    Raises:
        EvaluationError: If it measured nothing.
    """
    ledger = Ledger(world.evaluator, world.problem, evaluations)
    agent.search(world.problem, ledger, seed)
    if not ledger.rows:
        raise EvaluationError(f"{agent.name} measured no network with seed {seed}")
    known: set[tuple[int, ...]] = set()
    repeats = []
    for row in ledger.rows:
        repeats.append(row.canonical in known)
        known.add(row.canonical)
    rewards = tuple(round(row.reward, DIGITS) for row in ledger.rows)
    return Run(seed, rewards, tuple(repeats))


@dataclass(frozen=True)
class Sitter:
    """An agent to be portrayed.

    Attributes:
        source: Registered name or import string.
        agent: Made once, for its name, summary and configuration.
    """

    source: str
    agent: Agent

    @classmethod
    def of(cls, source: str) -> Sitter:
        """Finds an agent.

        Raises:
            UnknownName: If there is none of this name.
            BackendMissing: If something that it needs is not installed.
            EmNASError: If its own name cannot be that of a file, or belongs to another agent.
        """
        agent = make_agent(source)
        if not _NAME.fullmatch(agent.name):
            raise EmNASError(
                f"{source}: its name {agent.name!r} is to name a picture: use a-z, 0-9 and -"
            )
        if source != agent.name and agent.name in TABLES["agent"]:
            raise EmNASError(f"{source}: the name {agent.name!r} is that of a registered agent")
        return cls(source, agent)

    @property
    def name(self) -> str:
        """Name of the agent."""
        return self.agent.name


class RunFile:
    """The runs of one agent; a run is stored as soon as it is over.

    Args:
        folder: Where it lies.
        sitter: The agent.
        world: What it searches.
        evaluations: Of each run.
        fresh: Forgets what is stored.

    Raises:
        StoreError: If it is of other runs, or damaged.
    """

    def __init__(
        self, folder: Path, sitter: Sitter, world: World, evaluations: int, fresh: bool = False
    ) -> None:
        self.path = folder / f"{sitter.name}.jsonl"
        self._sitter, self._world, self._evaluations = sitter, world, evaluations
        if fresh:
            self.path.unlink(missing_ok=True)
        self._runs = self._read()

    def _settings(self) -> dict[str, Any]:
        """What decides about the runs, as plain data."""
        agent = self._sitter.agent
        settings = {
            "agent": agent.name,
            "config": agent.config.to_json(),
            "problem": self._world.problem.to_json(),
            "evaluations": self._evaluations,
        }
        plain: dict[str, Any] = json.loads(json.dumps(settings))
        return plain

    def _read(self) -> dict[int, Run]:
        if not self.path.exists() or not self.path.stat().st_size:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps(self._settings()) + "\n", encoding="utf-8")
            return {}
        try:
            if self.path.stat().st_size > MOST_BYTES:
                raise ValueError(f"more than {MOST_BYTES} bytes")
            head, *lines = self._whole_lines()
            known = json.loads(head) == self._settings()
            runs = (
                [_checked(json.loads(line), self._evaluations) for line in lines] if known else []
            )
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{self.path}: damaged: {error}; --fresh begins anew") from error
        if not known:
            raise StoreError(f"{self.path}: of another search or version; --fresh begins anew")
        return {run.seed: run for run in runs}

    def _whole_lines(self) -> list[str]:
        """Its lines; the beginning of one that was being written is cut off."""
        text = self.path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            self.path.write_text(whole, encoding="utf-8")
        return whole.splitlines()

    def run(self, seed: int) -> Run:
        """The run of a seed: what is stored, or a search."""
        if seed not in self._runs:
            agent = make_agent(self._sitter.source)
            found = search(self._world, agent, seed, self._evaluations)
            line = {
                "seed": seed,
                "rewards": found.rewards,
                "repeats": list(map(int, found.repeats)),
            }
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            self._runs[seed] = found
        return self._runs[seed]


def _checked(line: Any, evaluations: int) -> Run:  # noqa: ANN401
    """A run of a file.

    Raises:
        ValueError, KeyError, TypeError: If it is none.
    """
    rewards = tuple(float(value) for value in line["rewards"])
    repeats = tuple(bool(value) for value in line["repeats"])
    if not 1 <= len(rewards) == len(repeats) <= evaluations or repeats[0]:
        raise ValueError(f"seed {line['seed']}: rewards and repeats do not fit")
    if not all(map(math.isfinite, rewards)):
        raise ValueError(f"seed {line['seed']}: a reward is no number")
    return Run(int(line["seed"]), rewards, repeats)
