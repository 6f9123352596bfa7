"""One search as a command describes it: the problem, the agent, and the history it writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym

import emnas_gym  # noqa: F401  registers the environments
from agents.base import Agent
from emnas_gym.budgets import Budgets
from emnas_gym.devices import resolve_device
from emnas_gym.errors import EmNASError, UnknownName
from emnas_gym.evaluator import Evaluator
from emnas_gym.history import Row
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem
from emnas_gym.registry import make_evaluator, resolve
from emnas_gym.table_env import table_problem
from emnas_gym.table_evaluator import TableEvaluator
from emnas_gym.tasks import TASKS, Task

_OF_A_PROBLEM = ("space", "task", "device", "budgets", "reward", "min_layers", "max_layers")


@dataclass(frozen=True)
class Plan:
    """What to search, and with what; None takes what is registered for the environment.

    Attributes:
        env: Registered id.
        task: Name, path of the user's own images, or object.
        device: Name of the board.
        budgets: Limits that differ.
        reward: Name.
        evaluator: Name or import string.
        table: Path of the table, for environments that search one.
    """

    env: str = "EmNAS-v0"
    task: str | Task | None = None
    device: str | None = None
    budgets: Mapping[str, float] = field(default_factory=dict)
    reward: str | None = None
    evaluator: str | None = None
    table: str | None = None

    def problem(self) -> Problem:
        """The problem.

        With a task or device of the user's own the limits are the device's.

        Raises:
            UnknownName: If a name is unknown.
            InfeasibleBudgets: If no network fits.
        """
        known = registered(self.env)
        if "table" in known:
            return self._table_problem()[0]
        if self.table is not None:
            raise EmNASError(f"{self.env} searches no table; --env EmNASTable-v0 does")
        keywords = {key: known[key] for key in _OF_A_PROBLEM if key in known}
        if self.task is not None or self.device is not None:
            keywords.pop("budgets", None)
        changes = {"task": self.task, "device": self.device, "reward": self.reward}
        keywords |= {key: value for key, value in changes.items() if value is not None}
        keywords["task"] = _task(keywords.get("task", "digits"))
        if self.budgets:
            device = resolve_device(keywords.get("device", "stm32f446re"))
            limits = Budgets.of(keywords.get("budgets") or device.budgets)
            keywords["budgets"] = limits.to_json() | dict(self.budgets)
        problem = Problem.make(**keywords)
        _ = problem.automaton  # budgets that no network fits are an error now, not later
        return problem

    def _table_problem(self) -> tuple[Problem, TableEvaluator]:
        if self.task is not None or self.evaluator is not None:
            raise EmNASError("a table brings its own task and evaluator: leave these options out")
        table = self.table or registered(self.env)["table"]
        limits = dict(self.budgets) or None
        problem, evaluator = table_problem(table, None, self.device, limits, self.reward)
        _ = problem.automaton
        return problem, evaluator

    def parts(self) -> tuple[Problem, Evaluator, str]:
        """The problem, what measures, and how the history names that.

        Raises:
            EmNASError: As `problem` and `make_evaluator` do.
        """
        if "table" in registered(self.env):
            problem, evaluator = self._table_problem()
            return problem, evaluator, f"table, {evaluator.metric}"
        known, name = self.problem(), self.evaluator_name()
        return known, make_evaluator(name, known), name

    def evaluator_name(self) -> str:
        """The evaluator; images of the user's own are trained on, as no surrogate knows them.

        Raises:
            EmNASError: If a table is searched, which no evaluator by name knows.
        """
        if "table" in registered(self.env):
            raise EmNASError(
                "architectures of a table cannot be trained or built: search them with "
                "`python -m agents search --env EmNASTable-v0 --table FILE`"
            )
        if self.evaluator is not None:
            return self.evaluator
        if self.task is not None and getattr(self.task, "name", self.task) not in TASKS:
            return "trained"
        return str(registered(self.env).get("evaluator", "surrogate"))


def open_ledger(
    plan: Plan,
    agent: Agent,
    evaluations: int,
    seed: int,
    path: Path | None,
    watch: Callable[[Row], None] | None = None,
) -> Ledger:
    """Opens the history of a search; one that was begun is gone on with.

    Args:
        plan: What to search, and with what.
        agent: Who searches.
        evaluations: Networks measured, repeats counted.
        seed: Decides everything.
        path: ``history.sqlite``; None keeps it in memory.
        watch: Called with each evaluation.

    Raises:
        StoreError: If the file is in use, damaged, or of another run.
    """
    problem, evaluator, name = plan.parts()
    about = {"agent": agent.name, "config": agent.config.to_json(), "seed": seed}
    return Ledger(
        evaluator,
        problem,
        evaluations,
        path,
        about | {"evaluator": name},
        watch,
    )


def make_agent(name: str, logdir: Path | None = None, /, **options: Any) -> Agent:  # noqa: ANN401
    """Makes an agent from its registered name, or an import string ``"package.module:Name"``.

    Raises:
        UnknownName: If there is no such agent, or it has no such hyperparameter.
        BackendMissing: If something that it needs is not installed.
        OptionError: If a value is refused.
    """
    found = resolve("agent", name)
    if not isinstance(found, type) or not issubclass(found, Agent):
        raise EmNASError(f"{name!r} is no agent: a subclass of agents.base.Agent is needed")
    return found.with_options(logdir, **options)


def registered(env: str) -> dict[str, Any]:
    """The keywords of a registered environment.

    Raises:
        UnknownName: If there is no such id of ours.
    """
    ours = [
        spec.id
        for spec in gym.registry.values()
        if str(spec.entry_point).startswith(("emnas_gym.", "emnas_gym:"))
    ]
    if env not in ours:
        raise UnknownName("environment", env, ours)
    return dict(gym.spec(env).kwargs)


def _task(task: str | Task) -> str | Task:
    """A task by name; for a path, that of the images there."""
    if isinstance(task, Task) or task in TASKS:
        return task
    from predictors.datasets import load  # torch is loaded only for images

    return load(task).task
