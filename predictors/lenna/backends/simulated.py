"""The simulated device as a backend: known law, fusion and noise."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from predictors.lenna.backends.base import Backend
from predictors.lenna.columns import EDGES, OPERATIONS
from predictors.lenna.cost_law import CostLaw, block_table
from predictors.lenna.gates import Array
from predictors.lenna.labels import QUANTILE
from predictors.lenna.simulated import SERIAL, Fusion, Noise, SimulatedDevice

LAW = CostLaw()
CONVOLUTIONS = frozenset(name for name in OPERATIONS if "Conv" in name)


class SimulatedBackend(Backend):
    """Blocks of `SimulatedDevice`, one law at all widths (`predictors.lenna.cost_law`)."""

    def environment(self) -> dict[str, Any]:
        """Its settings, its law, and the version of numpy, whose chance it uses."""
        known = self.settings.of("fusion", "noise", "spikes")
        return {**known, "law": asdict(LAW), "numpy": np.__version__}

    def alone_us(self, reduction: bool, channels: int) -> Array:
        """Each operation's time as the law has it, and one draw of its noise."""
        table = self.block(reduction, channels).table_us
        rng = np.random.default_rng([channels, reduction])
        shape = (*table.shape, self.forwards)
        times = table[..., None] * np.exp(rng.normal(0.0, self.settings.noise, shape))
        return np.asarray(np.quantile(times, QUANTILE, axis=-1))

    def block(self, reduction: bool, channels: int) -> SimulatedDevice:
        """A block; see `Backend.block`."""
        settings = self.settings
        table = block_table(
            OPERATIONS, EDGES, reduction=reduction, channels=channels, side=settings.side, law=LAW
        )
        fusion = SERIAL
        if settings.fusion:  # what follows a convolution finds its map in the cache
            fusion = Fusion(CONVOLUTIONS, frozenset(OPERATIONS), settings.fusion)
        noise = Noise(settings.noise, settings.spikes)
        return SimulatedDevice(OPERATIONS, EDGES, table, fusion, noise)
