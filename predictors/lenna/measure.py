"""Measures one row: gates are reset and timed until the mean latency of the block is known."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from emnas_gym.errors import UnknownName
from predictors.lenna.backends.base import Backend
from predictors.lenna.drawing import DrawnRow
from predictors.lenna.labels import (
    ANALYSED,
    COMMITTED,
    DOCUMENTED,
    ConfidenceRule,
    CumulativeRule,
    Label,
    TimedBlock,
    balanced_estimates,
    confident_label,
    cumulative_label,
    independent_estimates,
)

THEIRS: dict[str, CumulativeRule] = {
    "documented": DOCUMENTED,
    "committed": COMMITTED,
    "analysed": ANALYSED,
}
RULES = ("interval", *THEIRS)


@dataclass(frozen=True)
class Stop:
    """When a label is good enough.

    Attributes:
        rule: ``"interval"``: rounds of resets in which every edge chooses in proportion, until a
            95 % interval of their mean is narrow enough; or one of LENNA's, whose resets are
            independent: ``"documented"``, ``"committed"``, ``"analysed"``.
        half_width: Half of that interval as a share of the mean.
        resets: In one round.
        cap: Resets at most, as LENNA's code has it (its README has no end); no label is settled
            there.
    """

    rule: str = "interval"
    half_width: float = 0.025
    resets: int = 16
    cap: int = 1000

    def __post_init__(self) -> None:
        """Checks the rule's name.

        Raises:
            UnknownName: If there is no such rule.
        """
        if self.rule not in RULES:
            raise UnknownName("stop rule", self.rule, RULES)

    def to_json(self) -> dict[str, Any]:
        """Plain data: what matters for the rule."""
        if self.rule == "interval":
            return asdict(self)
        return {"rule": self.rule, **asdict(THEIRS[self.rule]), "cap": self.cap}


@dataclass(frozen=True)
class Measured:
    """A label and what it took.

    Attributes:
        latency_us: The label.
        resets: Of the gates.
        settled: Whether the rule was content before its cap.
    """

    latency_us: float
    resets: int
    settled: bool


def measure_row(
    backend: Backend, drawn: DrawnRow, rng: np.random.Generator, stop: Stop = Stop()
) -> Measured:
    """The label of a row.

    Args:
        backend: What runs blocks.
        drawn: The row; its probabilities are what gates are drawn from.
        rng: Where chance comes from.
        stop: When it ends.

    Raises:
        EvaluationError: If the backend cannot run the block, or times are no measurements.
        MemoryError: If there is not enough.
    """
    block = backend.block(drawn.reduction, drawn.channels)
    label = label_of(block, drawn, rng, stop, backend.forwards)
    factor = stop.resets if stop.rule == "interval" else 1
    return Measured(label.value, label.values * factor, label.settled)


def label_of(
    block: TimedBlock, drawn: DrawnRow, rng: np.random.Generator, stop: Stop, forwards: int
) -> Label:
    """The label of a block; see `measure_row`."""
    if stop.rule == "interval":
        rounds = max(stop.cap // stop.resets, 1)
        rule = ConfidenceRule(stop.half_width, cap=rounds)
        return confident_label(
            balanced_estimates(block, drawn.probabilities, rng, stop.resets, forwards), rule
        )
    theirs = THEIRS[stop.rule]
    rule_with_cap = CumulativeRule(theirs.tolerance, theirs.hits, theirs.first, stop.cap)
    return cumulative_label(
        independent_estimates(block, drawn.probabilities, rng, forwards), rule_with_cap
    )
