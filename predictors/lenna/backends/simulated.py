"""The simulated device as a backend: known law, fusion and noise."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from predictors.lenna.backends.base import Backend
from predictors.lenna.columns import EDGES, OPERATIONS
from predictors.lenna.cost_law import CostLaw, block_table
from predictors.lenna.simulated import SERIAL, Fusion, Noise, SimulatedDevice

LAW = CostLaw()
POOLS = frozenset({"3x3_maxpool", "3x3_avgpool", "Identity"})


class SimulatedBackend(Backend):
    """Blocks of `SimulatedDevice`, one law at all widths (`predictors.lenna.cost_law`)."""

    def environment(self) -> dict[str, Any]:
        """Its settings, its law, and the version of numpy, whose chance it uses."""
        known = self.settings.of("fusion", "noise", "spikes")
        return {**known, "law": asdict(LAW), "numpy": np.__version__}

    def block(self, reduction: bool, channels: int) -> SimulatedDevice:
        """A block; see `Backend.block`."""
        settings = self.settings
        table = block_table(
            OPERATIONS, EDGES, reduction=reduction, channels=channels, side=settings.side, law=LAW
        )
        convolutions = frozenset(OPERATIONS) - POOLS
        fusion = Fusion(convolutions, POOLS, settings.fusion) if settings.fusion else SERIAL
        noise = Noise(settings.noise, settings.spikes)
        return SimulatedDevice(OPERATIONS, EDGES, table, fusion, noise)
