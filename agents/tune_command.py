"""``python -m agents tune``: tries configurations of an agent, and writes the best one."""

from __future__ import annotations

import shlex
import sys
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from agents.best_bar import BestBar
from agents.runs import Plan
from agents.search_command import Json, console, remarks
from agents.tuned_file import Tuned
from agents.tuning import JUDGED, Study, best_rewards, chance_of, tune
from agents.tuning_ranges import ranges_of
from emnas_gym.door import print_json


def tune_command(
    agent: Annotated[str, typer.Argument(help="Name of an agent: see `list`.")],
    out: Annotated[Path, typer.Option(help="TOML file of the best configuration.")],
    env: Annotated[str, typer.Option(help="Registered environment to tune on.")] = "EmNASTable-v0",
    table: Annotated[str | None, typer.Option(help="File that EmNASTable-v0 searches.")] = None,
    evaluator: Annotated[str | None, typer.Option(help="As in `search`.")] = None,
    trials: Annotated[int, typer.Option(help="Configurations, the default included.", min=2)] = 30,
    seeds: Annotated[int, typer.Option(help="Searches of each.", min=2)] = 5,
    evaluations: Annotated[int, typer.Option(help="Of each search.", min=1)] = 100,
    sampler: Annotated[str, typer.Option(help="tpe (Optuna) or random.")] = "tpe",
    as_json: Json = False,
) -> None:
    """Tries configurations, and writes the best one beside what it reaches on other seeds.

    What counts is the best reward of a search, as the mean over seeds. Every trial is saved in
    OUT.trials.jsonl: interrupt it as you like, the same command goes on.

    Example: python -m agents tune reinforce --table cells.npz --out tuned.toml
    """
    plan = Plan(env=env, evaluator=evaluator, table=table)
    study = Study(agent, plan, trials, seeds, evaluations, ranges_of(agent), sampler)
    problem, made, _ = plan.parts()
    bar = BestBar(f"tuning {agent}", trials, remarks, quiet=as_json)
    try:
        with bar.progress:
            tried = tune(
                study, Path(f"{out}.trials.jsonl"), lambda t: bar(t.value), (problem, made)
            )
            best = max(tried, key=lambda trial: trial.value)
            tuned = best_rewards(study, best.options, JUDGED, (problem, made))
            default = best_rewards(study, {}, JUDGED, (problem, made))
    finally:
        made.close()
    figures: dict[str, Any] = {
        "command": shlex.join(["python", "-m", "agents", *sys.argv[1:]]),
        "on": problem.space.name,
        "date": date.today().isoformat(),
        "trials": trials,
        "seeds": seeds,
        "evaluations": evaluations,
        "tuned_reward": round(float(tuned.mean()), 6),
        "default_reward": round(float(default.mean()), 6),
        "standard_error_of_difference": _standard_error(tuned - default),
        "p": chance_of(tuned - default),
    }
    Tuned(agent, best.options, figures).write(out)
    if as_json:
        print_json({"agent": agent, "options": best.options, "tuning": figures, "file": str(out)})
        return
    console.print(
        f"{agent} on {seeds} other seeds: {figures['tuned_reward']:.4f} tuned, "
        f"{figures['default_reward']:.4f} by default, p = {figures['p']:.3f}"
    )
    console.print(f"options: {out}", soft_wrap=True)


def _standard_error(differences: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    return round(float(differences.std(ddof=1) / len(differences) ** 0.5), 6)
