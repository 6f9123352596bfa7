"""From an environment of a suite to the real one, and to what is told of it in the result."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import load_env_creator

from agents.runs import registered
from benchmarks.comparison.known_table import known_optimum, parts
from benchmarks.comparison.reference import draw_reference
from benchmarks.suites.suite import Environment
from emnas_gym.env import EmNASEnv
from emnas_gym.errors import DatasetError, EmNASError, StoreError, UnknownName
from emnas_gym.evaluator import Evaluator
from emnas_gym.tasks import TASKS, Task

SEED = "$seed"  # a keyword of this value is the seed of the run
OWN = "the environment's own"  # evaluator of an environment that takes none


def open_environment(environment: Environment, seed: int = 0) -> EmNASEnv:
    """Makes the environment of one run.

    Args:
        environment: As the suite says it.
        seed: Of the run; put in place of ``"$seed"``.

    Raises:
        UnknownName: If the id or a keyword is unknown.
        StoreError: If a table is missing; says which command makes it.
        EmNASError: If the environment refuses its keywords.
    """
    known = registered(environment.env)
    _check_keywords(environment, known)
    _check_table(environment, known)
    keywords = {k: seed if v == SEED else v for k, v in environment.keywords.items()}
    task = keywords.get("task")
    if isinstance(task, str) and task not in TASKS:
        from predictors.datasets import load  # torch is loaded only for images

        keywords["task"] = load(task).task
    try:
        env = gym.make(environment.env, disable_env_checker=True, **keywords).unwrapped
    except (TypeError, ValueError) as error:
        if isinstance(error, EmNASError):
            raise
        raise EmNASError(
            f"environment {environment.label!r}: {environment.env} refuses {keywords}: {error}"
        ) from error
    if not isinstance(env, EmNASEnv):
        raise EmNASError(f"environment {environment.label!r}: {environment.env} is no EmNASEnv")
    _train_in_turn(env.evaluator)
    return env


def _parameters(env: str) -> Mapping[str, inspect.Parameter]:
    entry = gym.spec(env).entry_point
    creator = load_env_creator(entry) if isinstance(entry, str) else entry
    return inspect.signature(creator).parameters if creator is not None else {}


def _check_keywords(environment: Environment, known: Mapping[str, Any]) -> None:
    parameters = _parameters(environment.env)
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return
    for name in environment.keywords:
        if name not in parameters:
            kind = f"keyword of {environment.env} (environment {environment.label!r})"
            raise UnknownName(kind, name, {*parameters, *known})


def _check_table(environment: Environment, known: Mapping[str, Any]) -> None:
    """Says how a table is made before an environment only says that it is not there."""
    table = environment.keywords.get("table", known.get("table"))
    if isinstance(table, str) and Path(table).suffix and not Path(table).is_file():
        how = environment.prepare or "python -m predictors convert --help"
        raise StoreError(
            f"environment {environment.label!r}: the table {table} is not there; make it first: "
            f"{how}"
        )


def _train_in_turn(evaluator: Evaluator) -> None:
    """Lets evaluators train in the process of the run: the runs are what is done in parallel."""
    if "predictors.trained" not in sys.modules:  # none of its kind can be there
        return
    from predictors.trained import TrainedEvaluator

    for part in parts(evaluator):
        if isinstance(part, TrainedEvaluator):
            part.workers = 1


def evaluator_name(environment: Environment) -> str:
    """What measures, as the suite, the registration or the environment's default says it."""
    default = _parameters(environment.env).get("evaluator")
    found = registered(environment.env).get("evaluator", default.default if default else OWN)
    named = environment.keywords.get("evaluator", found)
    return " + ".join(map(str, named)) if isinstance(named, list) else str(named)


def describe(environment: Environment, reference: int) -> dict[str, Any]:
    """What the result says of an environment, and the reference sample that judges its runs.

    Args:
        environment: As the suite says it.
        reference: Networks of the sample; 0 draws none.

    Raises:
        DatasetError: If winners are to be trained, and the task has no images.
        EmNASError: If the environment cannot be made.
    """
    env = open_environment(environment)
    try:
        reward, problem = env.problem.reward, env.problem
        _check_images(environment, problem.task)
        sample = draw_reference(problem, env.evaluator, reference)
        noisy = SEED in environment.keywords.values()  # the best of one draw is no optimum
        exact = sample["optimum"] if sample and not noisy else None
        return {
            "label": environment.label,
            "env": environment.env,
            "keywords": environment.keywords,
            "evaluations": environment.evaluations,
            "objectives": [
                {"field": field, "better": "higher" if sign > 0 else "lower"}
                for field, sign in zip(reward.objectives, reward.signs, strict=True)
            ],
            "problem": problem.to_json(),
            "evaluator": evaluator_name(environment),
            "optimum": known_optimum(env.evaluator, problem) or exact,
            "reward_range": list(reward.range),
            "reference": sample,
        }
    finally:
        env.close()


def _check_images(environment: Environment, task: Task) -> None:
    """Refuses, before hours of search, to verify where nothing can be trained."""
    if environment.verify_seeds and not task.has_images:
        raise DatasetError(
            f"environment {environment.label!r}: the task {task.name!r} has no images, so that no "
            "winner can be trained: give it verify_seeds = 0"
        )
