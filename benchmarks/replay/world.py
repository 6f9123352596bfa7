"""The environment of a recorded result, made anew: same problem, same evaluator, or a clear no."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym

from agents.runs import registered
from benchmarks.replay.record import Record
from benchmarks.setup import SHORT
from emnas_gym.env import EmNASEnv
from emnas_gym.errors import EmNASError
from emnas_gym.evaluator import Evaluator
from emnas_gym.problem import Problem
from emnas_gym.registry import PREDICTOR, make_evaluator, names
from emnas_gym.space import SearchSpace, load_space
from emnas_gym.tasks import TASKS, Task
from predictors.datasets import Dataset, load
from predictors.trained import TrainedEvaluator
from predictors.training import Recipe

TRAINS = ("trained", "trained-ray")  # equal bits, wherever they train
OURS = "emnas_gym.env:EmNASEnv"
MOST = {"epochs": 10_000, "batch_size": 1 << 20, "init_images": 1 << 20, "attempts": 100}
MOST_SEEDS = 1000


class OtherVersion(EmNASError, ValueError):
    """A result of another space, surrogate, recipe or problem than is here: what differs."""


@dataclass(frozen=True)
class Given:
    """What the user says where a file cannot be taken at its word.

    Attributes:
        evaluator: Import string of the user's own evaluator, or another name.
        space: TOML file of the user's own space.
    """

    evaluator: str | None = None
    space: Path | None = None


def make_world(record: Record, given: Given) -> gym.Env[Any, Any]:
    """Makes the environment in which a winner was measured.

    Args:
        record: What the file tells of it.
        given: What the user tells.

    Returns:
        An environment in which an illegal token ends the episode.

    Raises:
        OtherVersion: If something has another fingerprint than the file says.
        EmNASError: If it cannot be made here, or the file names code to run.
    """
    if record.env and gym.spec(_checked_id(record.env)).entry_point != OURS:
        return _by_id(record, given)
    problem = make_problem(record, given)
    evaluator = _evaluator(record, problem, given)
    _compare("evaluator", record.rests_on, evaluator.rests_on)
    return EmNASEnv(evaluator=evaluator, **problem.keywords(), on_invalid="end")


def _checked_id(env: str) -> str:
    registered(env)  # only ids of ours: gym.make would import a module that an id names
    return env


def _by_id(record: Record, given: Given) -> gym.Env[Any, Any]:
    """An environment of another kind, by its id and keywords."""
    _refuse_code(record.keywords, "keywords", given)
    try:
        env = gym.make(record.env, **dict(record.keywords))
    except TypeError as error:
        raise OtherVersion(
            f"{record.env} does not take {dict(record.keywords)}: {error}"
        ) from error
    problem = getattr(env.unwrapped, "problem", None)
    if isinstance(problem, Problem):
        _compare("problem", record.problem, problem.to_json())
    evaluator = getattr(env.unwrapped, "evaluator", None)
    if isinstance(evaluator, Evaluator):
        _compare("evaluator", record.rests_on, evaluator.rests_on)
    return env


def make_problem(record: Record, given: Given) -> Problem:
    """The recorded problem, each of its fingerprints checked.

    Raises:
        OtherVersion: If a fingerprint or a constant differs.
        EmNASError: If a name is unknown here.
    """
    told = record.problem
    reward = dict(told["reward"]) if isinstance(told.get("reward"), Mapping) else {}
    if reward.get("name") == "constrained":
        reward.pop("budgets", None)  # they are the problem's
    try:
        shortest, longest = told["lengths"]
        problem = Problem.make(
            space=_space(record, given),
            task=_task(told),
            device=told["device"],
            budgets=told["budgets"],
            reward=reward,
            min_layers=shortest,
            max_layers=longest,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, EmNASError):
            raise
        raise OtherVersion(f"{record.file}: describes no problem: {error!r}") from error
    _compare(f"space {problem.space.name}", told, problem.to_json())
    return problem


def _space(record: Record, given: Given) -> SearchSpace:
    if given.space is not None:
        return load_space(given.space)
    told = record.keywords.get("space", record.problem["space"])
    return load_space(told if isinstance(told, str) else "")


def _task(told: Mapping[str, Any]) -> str | Task:
    name = str(told["task"])
    return name if name in TASKS else load(name, int(told["input_shape"][0])).task


def _evaluator(record: Record, problem: Problem, given: Given) -> Evaluator:
    name = given.evaluator or record.evaluator
    if name in TRAINS:
        return make_evaluator([trainer(record, images(problem))], problem)
    if given.evaluator is None:
        _refuse_code(name, "evaluator", given)
        if name not in names("evaluator") and not name.endswith(PREDICTOR):
            raise OtherVersion(f"nothing here is called {name!r}: name yours by --evaluator")
    return make_evaluator(name, problem)


def images(problem: Problem) -> Dataset:
    """The images of a problem's task, of its size."""
    return load(problem.task.name, problem.task.input_shape[0])


def trainer(record: Record, data: Dataset) -> TrainedEvaluator:
    """Trains as was trained; by the short recipe of candidates where nobody wrote the recipe down.

    Raises:
        OtherVersion: If the recipe in the file is none.
    """
    told = record.rests_on.get("recipe")
    seeds = record.rests_on.get("seeds", 1)
    if type(seeds) is not int or not 1 <= seeds <= MOST_SEEDS:
        raise OtherVersion(f"{record.file}: {seeds!r} is no number of seeds")
    recipe = SHORT if told is None else _recipe(record.file, told)
    return TrainedEvaluator(data, recipe, seeds, workers=1)


def _recipe(file: Path, told: object) -> Recipe:
    known, always = asdict(Recipe()), set(Recipe().to_json())
    if not isinstance(told, Mapping) or not always <= set(told) <= set(known):
        raise OtherVersion(f"{file}: a recipe has {', '.join(known)}; in the file: {told!r}")
    for name, value in told.items():
        whole = type(known[name]) is int
        fits = type(value) is int if whole else isinstance(value, (int, float))
        if not fits or isinstance(value, bool) or not 0 <= value <= MOST.get(name, 1e3):
            raise OtherVersion(f"{file}: {name} = {value!r} is no part of a recipe")
    return Recipe(**told)


def _refuse_code(value: object, where: str, given: Given) -> None:
    """Refuses import strings: importing a module that a file names would run it."""
    if isinstance(value, str) and ":" in value and value != given.evaluator:
        raise OtherVersion(
            f"{where}: the file names code, {value!r}, and code that a file names is not run: "
            "if it is yours, say so by --evaluator"
        )
    if isinstance(value, (list, tuple)):
        for part in value:
            _refuse_code(part, where, given)
    if isinstance(value, Mapping):
        for part in value.values():
            _refuse_code(part, where, given)


def _compare(what: str, told: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Says which entries differ; what the file does not tell is not compared."""
    different = [
        f"{name} is {told.get(name)!r} in the file, {here.get(name)!r} here"
        for name in sorted({*told, *here} if told else ())
        if told.get(name) != here.get(name)
    ]
    if different:
        raise OtherVersion(f"another version, {what}: {'; '.join(different)}")
