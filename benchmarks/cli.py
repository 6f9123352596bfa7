"""The door of `benchmarks`: the main job, suites, and reports."""

from __future__ import annotations

import typer

from emnas_gym.door import run_door
from emnas_gym.late_commands import LateCommand, add_late

app = typer.Typer(
    no_args_is_help=True,
    help="Search end to end, compare agents fairly, write reports. Everything resumes.",
)
COMMANDS = (
    LateCommand(
        "search",
        "benchmarks.cli_search:search",
        "Searches, really trains the winners, exports the best as int8 .tflite, writes "
        "report.html.",
    ),
    LateCommand(
        "run",
        "benchmarks.cli_suites:run",
        "Runs a suite: agents × environments × seeds, winners verified, tested against "
        "random search.",
    ),
    LateCommand(
        "suites",
        "benchmarks.cli_suites:suites",
        "Lists the suites of the project: what each asks, and how many runs it takes.",
    ),
    LateCommand(
        "validate",
        "benchmarks.cli_results:validate",
        "Replays the winners of a result: the same tokens must give the same rewards "
        "(exit code 1).",
    ),
    LateCommand(
        "report",
        "benchmarks.cli_results:report",
        "Writes report.html from what is there: summary.json of a search, or runs of a suite.",
    ),
    LateCommand(
        "throughput",
        "benchmarks.cli_measures:throughput",
        "Measures how fast the parts are on this machine, beside what others take in the same run.",
    ),
    LateCommand(
        "headroom",
        "benchmarks.cli_measures:headroom_command",
        "Says how much the default reward leaves to be won, in deviations of one training's noise.",
    ),
    LateCommand(
        "agreement",
        "benchmarks.cli_measures:agreement_command",
        "Compares what stands for latency: MACs, emulated instructions, NPU cycles, time here.",
    ),
    LateCommand(
        "portraits",
        "benchmarks.portraits.command:portraits_command",
        "Draws how agents search the 1,860 networks of `emnas-bench-8`, all of which are known.",
    ),
    LateCommand(
        "cost",
        "benchmarks.cli_measures:cost_command",
        "Measures what agents themselves take: time of 1,000 evaluations that cost next "
        "to nothing.",
    ),
    LateCommand(
        "sweep",
        "benchmarks.gradient.command:sweep_command",
        "Searches by gradient with latency in the loss, for several λ; trains, exports, measures.",
    ),
    LateCommand("lenna", "benchmarks.lenna.cli:app", "LENNA: a learned latency of whole blocks."),
)
add_late(app, COMMANDS)


def main() -> None:
    """Runs the command line."""
    run_door(app, "All that was measured is saved; the same command goes on from there.")
