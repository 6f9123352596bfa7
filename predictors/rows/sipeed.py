"""Latency on a Sipeed Maix Bit (K210), 382-token space, the split of the original.

The sum is over the steps that the compiler makes of a network (`emnas_gym.models.kpu_program`). How
far two measurements of one network differ is not known: each was measured once, as a mean of 20
runs, and no two networks of the table behave alike. So there is no ceiling to name.
"""

from __future__ import annotations

from predictors.fitted import Figures
from predictors.rows.seed_split import seed_split

SEED_MSE = 38_611.7
TARGET = {"mae": 10.0, "tau": 0.93}


def row() -> Figures:
    """Figures on the 96 test rows, chosen and fitted on the 860 others.

    Raises:
        DatasetError: If the table is missing.
    """
    return seed_split("sipeed-maix-bit", SEED_MSE, TARGET)[0]
