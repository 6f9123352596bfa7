"""A search whose numbers are none any more: an error that says where."""

from __future__ import annotations

import math

from torch import Tensor

from emnas_gym.errors import EmNASError


class SearchDiverged(EmNASError, ArithmeticError):
    """A loss or an architecture parameter that is no finite number: where, and what to do."""


def checked_loss(loss: Tensor | float, what: str) -> float:
    """The value of a loss.

    Args:
        loss: A scalar.
        what: Whose loss, and when.

    Raises:
        SearchDiverged: If it is not finite.
    """
    value = float(loss.detach() if isinstance(loss, Tensor) else loss)
    if not math.isfinite(value):
        raise SearchDiverged(
            f"{what} is {value}: the weights of the supernet have diverged. A smaller "
            "learning_rate keeps them; what was measured so far is in the history"
        )
    return value


def check_parameters(values: Tensor, names: tuple[tuple[str, ...], ...], where: str) -> None:
    """Checks architecture parameters.

    Args:
        values: (edges, operations).
        names: Of every edge its operations.
        where: Group of decisions and step, for the message.

    Raises:
        SearchDiverged: If one is no finite number.
    """
    wrong = (~values.detach().isfinite()).nonzero().tolist()
    if wrong:
        edge, operation = wrong[0]
        known = names[edge]
        name = known[operation] if operation < len(known) else f"operation {operation}"
        raise SearchDiverged(
            f"{where}: the architecture parameter of edge {edge}, {name}, is "
            f"{values[edge, operation].item()} ({len(wrong)} are no finite numbers). A smaller "
            "architecture_rate keeps them; what was measured so far is in the history"
        )
