"""``python -m agents search``: one search, its progress, and its result in a few lines."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from agents.base import Agent, OptionError
from agents.best_bar import BestBar
from agents.options import parse_limits, parse_options
from agents.runs import Plan, make_agent, open_ledger
from agents.tuned_file import read_tuned
from emnas_gym.door import print_json
from emnas_gym.errors import EvaluationError
from emnas_gym.ledger import Ledger

console = Console()
remarks = Console(stderr=True)
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]


def search(
    env: Annotated[str, typer.Option(help="Registered environment to start from.")] = "EmNAS-v0",
    agent: Annotated[
        str | None, typer.Option(help="Who searches: see `list`; reinforce if not given.")
    ] = None,
    evaluations: Annotated[
        int, typer.Option(help="Networks measured, repeats counted.", min=1)
    ] = 1000,
    seed: Annotated[int, typer.Option(help="Decides everything.", min=0)] = 0,
    out: Annotated[Path, typer.Option(help="Folder of the history.")] = Path("runs/search"),
    option: Annotated[
        list[str] | None,
        typer.Option(help="Hyperparameter, e.g. batch=32; can be repeated: see `describe`."),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(help="TOML file of an agent and its options, or the name of a shipped one."),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="digits, grasp, or the path of your own images.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Board: see `python -m hardware devices`.")
    ] = None,
    budget: Annotated[
        list[str] | None, typer.Option(help="Limit, e.g. ram_bytes=8192; can be repeated.")
    ] = None,
    reward: Annotated[
        str | None, typer.Option(help="weighted_product, linear, exponential, constrained.")
    ] = None,
    evaluator: Annotated[
        str | None,
        typer.Option(help="surrogate, trained, host, npu, analytic, or package.module:Name."),
    ] = None,
    table: Annotated[
        str | None, typer.Option(help="File that EmNASTable-v0 searches: docs/tables.md.")
    ] = None,
    jsonl: Annotated[bool, typer.Option(help="Export the history as history.jsonl too.")] = False,
    tensorboard: Annotated[bool, typer.Option(help="Write a TensorBoard log.")] = False,
    as_json: Json = False,
) -> None:
    """Searches, and writes history.sqlite: one row an evaluation, saved as soon as it is measured.

    Interrupt it as you like: the same command goes on where it stopped, and a finished search is
    answered from its file. With more --evaluations a finished search is prolonged.

    Example: python -m agents search --agent evolution --evaluations 300 --out runs/try
    """
    plan = Plan(env, task, device, parse_limits(budget or []), reward, evaluator, table)
    agent, options = _configured(agent, config, parse_options(option or []))
    made = make_agent(agent, out / "tensorboard" if tensorboard else None, **options)
    start = time.perf_counter()
    bar = BestBar(agent, evaluations, remarks, quiet=as_json)
    path = out / "history.sqlite"
    ledger = open_ledger(plan, made, evaluations, seed, path, lambda row: bar(row.reward))
    try:
        with bar.progress:
            made.search(ledger.problem, ledger, seed)
    except KeyboardInterrupt:
        stored = len(ledger.history)
        remarks.print(f"{stored} of {evaluations} evaluations are in {out}.", soft_wrap=True)
        raise
    finally:
        if jsonl:
            ledger.history.to_jsonl(out / "history.jsonl")
        ledger.close()
    summary = _summarise(ledger, made, seed, out) | {"seconds": time.perf_counter() - start}
    if as_json:
        print_json(summary)
    else:
        _show(summary)


def _configured(
    agent: str | None, config: str | None, options: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Agent and options; those on the command line come before those of the file."""
    if config is None:
        return agent or "reinforce", options
    tuned = read_tuned(config)
    if agent not in (None, tuned.agent):
        raise OptionError(f"--config {config} is of agent {tuned.agent}, --agent says {agent}")
    return tuned.agent, dict(tuned.options) | options


def _summarise(ledger: Ledger, agent: Agent, seed: int, out: Path) -> dict[str, Any]:
    """The search in plain data.

    Raises:
        EvaluationError: If nothing was measured.
    """
    best = ledger.best
    if isinstance(best.result, EvaluationError):
        raise EvaluationError(f"{agent.name} measured no network: {best.result}")
    network = ledger.problem.space.architecture(best.tokens)
    failed = sum(isinstance(row.result, EvaluationError) for row in ledger.rows)
    return {
        "agent": agent.name,
        "config": agent.config.to_json(),
        "seed": seed,
        "problem": ledger.problem.to_json(),
        "evaluations": ledger.count,
        "distinct": ledger.distinct,
        "failed": failed,
        "best": {
            "reward": best.reward,
            "tokens": list(best.tokens),
            "layers": list(network.words),
            "measurement": best.result.to_json(),
        },
        "history": str(out / "history.sqlite"),
    }


def _show(summary: dict[str, Any]) -> None:
    best = summary["best"]
    known = best["measurement"]
    figures = [f"reward {best['reward']:.4f}"]
    if "accuracy" in known:
        figures.append(f"accuracy {known['accuracy']:.3f}")
    if "latency_ms" in known:
        figures.append(f"latency {known['latency_ms']:.3f} ms")
    counts = f"{summary['evaluations']} evaluations, {summary['distinct']} distinct networks"
    console.print(f"{summary['agent']}: {counts}")
    console.print("best: " + ", ".join(figures))
    console.print(escape(" → ".join(best["layers"])))
    console.print(f"history: {summary['history']}", soft_wrap=True)
