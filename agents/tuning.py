"""Tuning an agent: configurations are tried on some seeds, the best one is judged on others."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.base import OptionError
from agents.runs import Plan, make_agent
from agents.tuning_ranges import Range
from emnas_gym.errors import BackendMissing, StoreError
from emnas_gym.evaluator import Evaluator
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem

SAMPLERS = ("tpe", "random")
TRIED, JUDGED = 1000, 2000  # first seeds of both, apart from those of published tables
FLIPS = 9999  # of signs, in the test of the difference
Options = dict[str, Any]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Trial:
    """A configuration that was tried.

    Attributes:
        options: Hyperparameters; none is the default.
        value: Mean over the seeds of the best reward.
    """

    options: Options
    value: float


@dataclass(frozen=True)
class Study:
    """What is tuned, on what, and how long.

    Attributes:
        agent: Name.
        plan: What is searched.
        trials: Configurations, the default being the first.
        seeds: Searches of each.
        evaluations: Of each search.
        ranges: Option → values.
        sampler: ``"tpe"`` (Optuna) or ``"random"``.
    """

    agent: str
    plan: Plan
    trials: int
    seeds: int
    evaluations: int
    ranges: Mapping[str, Range]
    sampler: str = "tpe"

    def settings(self, problem: Problem) -> dict[str, Any]:
        """What decides about the values of trials, as plain data."""
        return {
            "agent": self.agent,
            "problem": problem.to_json(),
            "seeds": self.seeds,
            "evaluations": self.evaluations,
            "sampler": self.sampler,
        }


def best_rewards(
    study: Study, options: Options, first_seed: int, parts: tuple[Problem, Evaluator]
) -> Floats:
    """Best reward of a search for each seed, shape (seeds,)."""
    found = np.zeros(study.seeds)
    problem, evaluator = parts
    for i in range(study.seeds):
        ledger = Ledger(evaluator, problem, study.evaluations)
        make_agent(study.agent, **options).search(problem, ledger, first_seed + i)
        found[i] = ledger.best.reward if ledger.rows else problem.reward.illegal
    return found


def tune(
    study: Study, log: Path, watch: Callable[[Trial], None], parts: tuple[Problem, Evaluator]
) -> list[Trial]:
    """Tries configurations; what was tried before is read from the log and not searched again.

    The sampler is asked anew from its seed and told what is known: a study that was interrupted
    goes on as if it had not been.

    Args:
        study: What to try.
        log: One line a trial, written as soon as it is known.
        watch: Called with every trial.
        parts: Problem and evaluator of the plan.

    Raises:
        StoreError: If the log is of another study, or damaged.
        OptionError: If there is no such sampler.
        BackendMissing: If Optuna is needed and not installed.
    """
    problem, _ = parts
    known, trials = _read(log, study.settings(problem)), list[Trial]()
    for ask, tell in _proposals(study):
        options = ask
        if len(trials) < len(known):
            trial = known[len(trials)]
            if trial.options != options:
                raise StoreError(
                    f"{log}: trial {len(trials)} was {trial.options}, now {options}: made by "
                    "another version; start anew with another --out"
                )
        else:
            trial = Trial(options, float(best_rewards(study, options, TRIED, parts).mean()))
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"options": options, "value": trial.value}) + "\n")
        tell(trial.value)
        trials.append(trial)
        watch(trial)
    return trials


def _read(log: Path, settings: dict[str, Any]) -> list[Trial]:
    """Trials of the log; a new log begins with the settings."""
    if not log.exists():
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(json.dumps(settings) + "\n", encoding="utf-8")
        return []
    try:
        head, *lines = log.read_text(encoding="utf-8").splitlines()
        if json.loads(head) != json.loads(json.dumps(settings)):
            raise StoreError(f"{log}: of another study: {head}; start anew with another --out")
        rows = [json.loads(line) for line in lines]
        return [Trial(dict(row["options"]), float(row["value"])) for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{log}: damaged: {error}; delete it to start anew") from error


Proposal = tuple[Options, Callable[[float], None]]


def _proposals(study: Study) -> Iterator[Proposal]:
    """The default, then what the sampler proposes."""
    if study.sampler not in SAMPLERS:
        raise OptionError(f"sampler is one of {', '.join(SAMPLERS)}, not {study.sampler!r}")
    more = _by_optuna(study) if study.sampler == "tpe" else _at_random(study)
    yield {}, lambda value: None
    yield from more


def _at_random(study: Study) -> Iterator[Proposal]:
    rng = np.random.default_rng(0)
    for _ in range(study.trials - 1):
        options = {name: values.draw(rng) for name, values in study.ranges.items()}
        yield options, lambda value: None


def _by_optuna(study: Study) -> Iterator[Proposal]:
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise BackendMissing(
            "tuning by TPE needs optuna: pip install 'emnas-gym[optuna]', or --sampler random"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=0, n_startup_trials=max(study.trials // 3, 2))
    made = optuna.create_study(direction="maximize", sampler=sampler)
    for _ in range(study.trials - 1):
        trial = made.ask()
        options = {name: _suggest(trial, name, values) for name, values in study.ranges.items()}

        def tell(value: float, trial: optuna.trial.Trial = trial) -> None:
            made.tell(trial, value)

        yield options, tell


def _suggest(trial: Any, name: str, values: Range) -> float:  # noqa: ANN401
    if values.whole:
        return int(trial.suggest_int(name, int(values.low), int(values.high), log=values.log))
    return float(trial.suggest_float(name, values.low, values.high, log=values.log))


def chance_of(differences: Floats) -> float:
    """One-sided p of a positive mean of paired differences: signs flipped at random.

    Args:
        differences: Tuned − default, seed by seed.
    """
    rng = np.random.default_rng(0)
    signs = rng.choice([-1.0, 1.0], size=(FLIPS, len(differences)))
    as_large = (signs * differences).mean(axis=1) >= differences.mean() - 1e-12
    return float((as_large.sum() + 1) / (FLIPS + 1))
