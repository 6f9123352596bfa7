"""Task `digits` on `emnas-mobile-49`: accuracy and measured latencies from our own table."""

from __future__ import annotations

from emnas_gym.space import load_space
from emnas_gym.surrogate_file import Surrogate
from emnas_gym.tasks import DIGITS
from predictors.accuracy_fit import FEW, fit_accuracy, layers_of
from predictors.fit_digits import accuracy_figures, committed, fit_latencies, labels, split
from predictors.fitted import surrogate
from predictors.tables import Table

SPACE = "emnas-mobile-49"
WHAT = "digits-mobile"
MAX_MACS = 4_000_000  # of the networks of the table
NOTE = "One training of each network."


def fit(table: Table | None = None) -> list[Surrogate]:
    """Fits accuracy, and the latency of every device that was measured, on training networks.

    Args:
        table: The table; the committed one if None.
    """
    table = table or committed(SPACE)
    return [_fit_accuracy(table), *fit_latencies(table, SPACE, WHAT, MAX_MACS)]


def _fit_accuracy(table: Table) -> Surrogate:
    space = load_space(SPACE)
    networks, accuracy = labels(table)
    train, _ = split(space, networks)
    layers = layers_of(space, DIGITS, [networks[i] for i in train])
    model, scores = fit_accuracy(layers, accuracy[train], FEW)
    return surrogate(
        "accuracy",
        space,
        DIGITS,
        model,
        what=WHAT,
        source="our own table of trained networks, predictors/tables/emnas-mobile-49_digits.npz",
        held_out=accuracy_figures(model, table, SPACE),
        chosen_by=scores,
        note=NOTE,
        max_macs=MAX_MACS,
    )
