"""Accuracy of networks of six tokens on grasp verification, the original's split."""

from __future__ import annotations

from predictors.fitted import Figures
from predictors.grasp_study import accuracy_row


def row() -> Figures:
    """Figures of the two-part model on the test rows of the table.

    Raises:
        DatasetError: If a table is missing.
    """
    return accuracy_row("fixed")
