"""The main job: search, random search beside it, verification, export, report."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from agents.base import Agent
from benchmarks.report.search.page import write_report
from benchmarks.setup import Setup
from benchmarks.told import genotype, told_by
from benchmarks.versions import versions
from benchmarks.watch import Watch, bars
from benchmarks.winners.deliver import deliver, load_weights, quantise
from benchmarks.winners.verify import Verification, Verifier, full_recipe, winners
from emnas_gym.architecture import Architecture
from emnas_gym.errors import EmNASError, EvaluationError
from emnas_gym.history import Row
from emnas_gym.ledger import Ledger
from emnas_gym.measurement import Measurement
from emnas_gym.registry import resolve
from emnas_gym.rendering.boxes import describe
from predictors.trained import TrainedEvaluator

SAMPLERS = ("uniform-length", "walk")
VERIFY_SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class SearchOptions:
    """What a search is told.

    Attributes:
        agent: Name of the agent.
        options: Its hyperparameters that differ from the defaults.
        evaluations: Networks measured, repeats counted.
        seed: Decides everything.
        verify: Winners that are really trained; 0 trains none and exports none.
        out: Folder of the results.
        command: The command as typed, for the report.
        tensorboard: Whether a TensorBoard log is written.
    """

    agent: str
    evaluations: int
    seed: int
    verify: int
    out: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    tensorboard: bool = True


@dataclass(frozen=True)
class Finding:
    """What one agent's ledger holds at the end of its search."""

    rows: list[Row]
    distinct: int
    seconds: float
    remarks: list[str] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)


def run_search(setup: Setup, options: SearchOptions, console: Console) -> dict[str, Any]:
    """Runs the main job; all of it resumes after an interruption with the same call.

    Args:
        setup: What is searched.
        options: How, and where the results go.
        console: For progress bars and remarks.

    Returns:
        The summary, which is also written as ``summary.json`` beside ``report.html``.

    Raises:
        DatasetError: If winners shall be verified on a task without images; before the search.
        EmNASError: For whatever the parts raise; what was measured is kept.
    """
    if options.verify:
        setup.images()
    options.out.mkdir(parents=True, exist_ok=True)
    agent = resolve("agent", options.agent).with_options(**options.options)
    with bars(console) as progress:

        def watch(title: str, logdir: Path | None = None) -> Watch:
            return Watch(progress, title, options.evaluations, logdir)

        logdir = options.out / "tensorboard" if options.tensorboard else None
        found = search(setup, agent, options, "history", watch(options.agent, logdir))
        random = {
            sampler: search(
                setup,
                resolve("agent", "random").with_options(sampler=sampler),
                options,
                f"random-{sampler}",
                watch(f"random, {sampler}"),
            )
            for sampler in (SAMPLERS[:1] if setup.trains else SAMPLERS)
        }
        summary = _summary(setup, agent, options, found, random)
        if options.verify:
            bar = progress.add_task("verifying winners", total=options.verify + 1)
            _verify(setup, options, found, random, summary, lambda: progress.advance(bar))
    _write(options.out, summary)
    return summary


def search(setup: Setup, agent: Agent, options: SearchOptions, name: str, watch: Watch) -> Finding:
    """Lets one agent spend one ledger; the same file again replays and goes on."""
    about = {"agent": agent.name, "config": agent.config.to_json(), "seed": options.seed}
    start = time.perf_counter()
    ledger = Ledger(
        setup.make_evaluator(),
        setup.problem,
        options.evaluations,
        options.out / f"{name}.sqlite",
        about | {"evaluator": setup.evaluator},
        watch,
    )
    try:
        agent.search(setup.problem, ledger, options.seed)
    finally:
        watch.close()
        remarks, told = ledger.remarks(), told_by(ledger)
        ledger.close()
    if not any(isinstance(row.result, Measurement) for row in ledger.rows):
        reason = next((str(row.result) for row in ledger.rows), "no network was finished")
        raise EvaluationError(f"{agent.name} measured no network: {reason}")
    seconds = time.perf_counter() - start
    return Finding(ledger.rows, ledger.distinct, seconds, remarks, told)


def _summary(
    setup: Setup, agent: Agent, options: SearchOptions, found: Finding, random: dict[str, Finding]
) -> dict[str, Any]:
    problem = setup.problem
    chosen = winners(found.rows, problem, max(options.verify, 5))
    if not chosen:
        raise EvaluationError("no network that was measured keeps all budgets; allow more of them")
    return {
        "problem": problem.to_json(),
        "device": {name: value for name, value in vars(problem.device).items()},
        "evaluator": setup.evaluator,
        "agent": {"name": agent.name, "config": agent.config.to_json()},
        "seed": options.seed,
        "evaluations": len(found.rows),
        "distinct": found.distinct,
        "failed": sum(isinstance(row.result, EvaluationError) for row in found.rows),
        "seconds": found.seconds,
        "command": options.command,
        "versions": versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **_curves(found),
        **found.told,
        "genotype": genotype(problem.space, chosen[0]),
        "random": {name: _curves(f) | {"best": _best(f)} for name, f in random.items()},
        "best": _describe(setup, chosen[0]),
        "winners": [
            {"rank": rank} | _describe(setup, row) | {"verified": None, "int8": None}
            for rank, row in enumerate(chosen, 1)
        ],
        "export": None,
        "random_verified": None,
        "notes": [*(setup.data.notes if setup.data is not None else []), *found.remarks],
    }


def _curves(found: Finding) -> dict[str, Any]:
    curve = [None if isinstance(r.result, EvaluationError) else r.reward for r in found.rows]
    points = [
        [r.result.latency_ms, r.result.accuracy]
        for r in found.rows
        if isinstance(r.result, Measurement)
    ]
    return {"curve": curve, "points": points}


def _best(found: Finding) -> float:
    return max(row.reward for row in found.rows)


def _describe(setup: Setup, row: Row) -> dict[str, Any]:
    assert isinstance(row.result, Measurement)
    architecture = Architecture(setup.problem.space, row.tokens)
    reward, terms = setup.problem.reward(row.result)
    return {
        "tokens": list(row.tokens),
        "layers": list(architecture.words),
        "reward": reward,
        "terms": terms,
        "measurement": row.result.to_json(),
        "graph": describe(architecture.graph(setup.problem.task)),
    }


def _verify(
    setup: Setup,
    options: SearchOptions,
    found: Finding,
    random: dict[str, Finding],
    summary: dict[str, Any],
    advance: Any,  # noqa: ANN401
) -> None:
    """Trains the winners and random search's best, exports the best winner."""
    problem, data = setup.problem, setup.images()
    chosen = winners(found.rows, problem, options.verify)
    rival = winners(max(random.values(), key=_best).rows, problem, 1)  # of the stronger sampler
    trainer = TrainedEvaluator(data, full_recipe())
    verifier = Verifier(trainer, problem, VERIFY_SEEDS, options.out / "verified.json")
    try:
        results = verifier.verify([*chosen, *rival], advance)
    finally:
        trainer.close()
    judged = {
        index: result for index, result in enumerate(results) if isinstance(result, Verification)
    }
    for index, result in judged.items():
        if index >= len(chosen):
            summary["random_verified"] = result.to_json()
            continue
        entry = summary["winners"][index]
        entry["verified"] = result.to_json()
        entry["int8"] = _quantise(setup, verifier, chosen[index])
    summary["notes"] += [
        f"winner {i + 1} could not be trained: {result}"
        for i, result in enumerate(results)
        if isinstance(result, EvaluationError)
    ]
    finalists = [index for index in judged if index < len(chosen)]
    if not finalists:
        raise EvaluationError(f"no winner could be trained: {summary['notes'][-1]}")
    best = max(finalists, key=lambda index: judged[index].choice)
    _export(setup, options, verifier, chosen[best], best, summary)


def _quantise(setup: Setup, verifier: Verifier, row: Row) -> dict[str, Any]:
    architecture = Architecture(setup.problem.space, row.tokens)
    done = quantise(architecture, load_weights(verifier.weights_path(row)), setup.images())
    return {
        "accuracy": done.int8_accuracy,
        "float_accuracy": done.float_accuracy,
        "agreement": done.agreement,
        "flash_bytes": len(done.content),
        "file": None,
    }


def _export(
    setup: Setup,
    options: SearchOptions,
    verifier: Verifier,
    row: Row,
    index: int,
    summary: dict[str, Any],
) -> None:
    architecture = Architecture(setup.problem.space, row.tokens)
    weights = load_weights(verifier.weights_path(row))
    done = quantise(architecture, weights, setup.images())
    summary["export"] = deliver(architecture, weights, setup.images(), options.out, done) | {
        "rank": index + 1
    }
    summary["winners"][index]["int8"]["file"] = summary["export"]["file"]
    summary["best"] = _describe(setup, row)
    summary["genotype"] = genotype(setup.problem.space, row)
    broken = setup.problem.budgets.broken(Measurement.of("analytic", flash_bytes=len(done.content)))
    if broken:
        raise EmNASError(f"the exported file breaks its budget: {broken}")


def _write(folder: Path, summary: dict[str, Any]) -> None:
    text = json.dumps(summary, indent=1, allow_nan=False)
    (folder / "summary.json").write_text(text, encoding="utf-8")
    write_report(summary, folder)


def headline(summary: dict[str, Any]) -> Sequence[str]:
    """The result in a few lines for the terminal."""
    best, random = summary["best"], {k: run["best"] for k, run in summary["random"].items()}
    stronger = max(random, key=lambda sampler: random[sampler])
    lines = [
        f"best reward {best['reward']:.4f}; random search at as many evaluations "
        f"{random[stronger]:.4f} (sampler {stronger}, the stronger one here)",
        "layers: " + " → ".join(best["layers"]),
    ]
    export = summary["export"]
    if export:
        verified = summary["winners"][export["rank"] - 1]["verified"]
        lines.append(
            f"verified test accuracy {verified['mean']:.3f} ± {verified['std']:.3f} "
            f"(predicted {best['measurement']['accuracy']:.3f}); "
            f"int8 {export['int8_accuracy']:.3f}, {export['bytes']:,} bytes: {export['file']}"
        )
    return lines
