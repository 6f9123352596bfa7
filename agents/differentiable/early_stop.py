"""When a search by gradient should end before its last epoch, and which epoch it should go back to.

Both rules are told one number an epoch, and answer with the epoch whose favourite to take.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass
class SkipStop:
    """Too many skips (DARTS+, Liang et al. 2019, criterion 1).

    A favourite that never kept the rule ends nothing: a search begins with a random one.

    Attributes:
        most: Skips that a favourite may have.
    """

    most: int
    _kept: int | None = None

    def told(self, epoch: int, skips: int) -> int | None:
        """The last epoch whose favourite kept the rule, once one does not any more.

        Args:
            epoch: From 0.
            skips: Of its favourite.
        """
        if skips <= self.most:
            self._kept = epoch
            return None
        return self._kept


@dataclass
class CurvatureStop:
    """The loss bends more and more in the architecture (RobustDARTS, Zela et al. 2020).

    With c̄(i) the mean of the dominant eigenvalue over the last `window` epochs, the search ends in
    the first epoch i with c̄(i - window) / c̄(i) < `ratio`, and goes back to epoch i - window.

    Attributes:
        window: Epochs that are averaged, and between those that are compared.
        ratio: Below which it ends.
    """

    window: int = 5
    ratio: float = 0.75
    _values: list[tuple[int, float]] = field(default_factory=list)

    def told(self, epoch: int, eigenvalue: float) -> int | None:
        """The epoch to go back to, once the curvature has grown so much.

        Args:
            epoch: From 0.
            eigenvalue: Dominant eigenvalue of the Hessian of the validation loss.
        """
        self._values.append((epoch, eigenvalue))
        if len(self._values) <= self.window:
            return None
        values = [abs(value) for _, value in self._values]
        now, before = _mean(values, self.window), _mean(values[: -self.window], self.window)
        back = self._values[-1 - self.window][0]
        return back if before < self.ratio * now else None


def _mean(values: Sequence[float], window: int) -> float:
    return float(np.mean(values[-window:]))
