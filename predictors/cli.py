"""The door of `predictors`: commands that make the table and fit what is shipped."""

from __future__ import annotations

import typer

from emnas_gym.door import run_door
from emnas_gym.late_commands import LateCommand, add_late

app = typer.Typer(
    no_args_is_help=True,
    help="Estimate performance: collect tables, fit surrogates, see what they are worth.",
)
COMMANDS = (
    LateCommand(
        "collect",
        "predictors.cli_collect:collect_command",
        "Draws networks, really trains them, and stores one row a training.",
    ),
    LateCommand(
        "pack",
        "predictors.cli_fit:pack",
        "Packs a collected table into the small file that is committed.",
    ),
    LateCommand(
        "fit",
        "predictors.cli_fit:fit",
        "Fits what is shipped, or with --csv or --table a predictor of your own measurements.",
    ),
    LateCommand(
        "evaluate",
        "predictors.cli_fit:evaluate",
        "Shows held-out figures of every shipped surrogate, beside baselines and label noise.",
    ),
    LateCommand(
        "report",
        "predictors.cli_fit:report",
        "Fits every estimator on its training rows, reads its test rows once, and shows both.",
    ),
    LateCommand(
        "table",
        "predictors.cli_fit:table",
        "Shows what a packed table holds: networks, accuracies, label noise, costs, origin.",
    ),
    LateCommand(
        "proxies",
        "predictors.cli_proxies:proxies",
        "Compares training less, continued curves, zero-cost scores and the shipped surrogate.",
    ),
    LateCommand(
        "transfer",
        "predictors.cli_transfer:transfer",
        "Compares ways to predict a new device's latency from a few measurements.",
    ),
    LateCommand(
        "transfer-devices",
        "predictors.cli_transfer:devices",
        "Measures some hundred networks of the table on further devices, for `transfer`.",
    ),
    LateCommand(
        "adapt",
        "predictors.cli_transfer:adapt",
        "Fits the latency of a new device from about ten measurements, and from the known devices.",
    ),
    LateCommand(
        "audit",
        "predictors.cli_audit:audit",
        "Shows what a search makes of a weak predictor, and what doubt and verification change.",
    ),
    LateCommand(
        "convert",
        "predictors.cli_convert:converters",
        "Write tables for EmNASTable-v0 from other files (docs/tables.md).",
    ),
    LateCommand(
        "shared",
        "predictors.cli_shared:shared",
        "Ranks networks by shared weights, and by training each of them alone.",
    ),
)
add_late(app, COMMANDS)


def main() -> None:
    """Runs the command line."""
    run_door(app, "All that was measured is saved; the same command goes on from there.")
