"""The first controller: an LSTM, rules kept by redrawing, and the loss that ignores the action."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from agents.original.lstm_v1 import LSTMV1, LSTMV1Config, measured
from agents.original.original_networks import OneStepLSTM
from agents.original.original_rows import OriginalRows, Patience, choose
from emnas_gym.grammar import Grammar
from emnas_gym.ledger import Ledger

LEAST, SCALE = 0.01, 1000.0
REDRAWS = 100  # of a sequence that the batch has already


@dataclass(frozen=True)
class ControllerV1Config(LSTMV1Config):
    """Hyperparameters of `ControllerV1`; those of the original form are as in `LSTMV1Config`."""

    batch: int = 10
    """Networks of an update, drawn in lock-step and measured together."""

    passes: int = 4
    """Gradient steps on each batch."""

    fits: int = 200
    """Original form: gradient steps of an epoch, all on the same sequences."""


class ControllerV1(LSTMV1):
    """The controller of the first EMNAS pipeline (2021), "with custom loss".

    Mended: as lstm-v1, with several steps on each batch by the clipped surrogate (Schulman et al.
    2017), so that fitting the same sequences again does no harm:
    −Σ_t min(ρ_t A, clip(ρ_t, 1 ± 0.2) A), A = (r − b) / σ, ρ_t = π(a_t) / π_before(a_t).

    Original (`faithful`): tokens that break the rules of the space are drawn again, token by token,
    sequences that the batch has already too; what does not build or fit has the reward of illegal
    networks. Rewards become 1000 · (clip(r, 0.01, max of the batch) − baseline)³, and the loss is
    that of lstm-v1: −log(p) · Ř for every class, whatever was drawn.

    Attributes:
        policy_: The policy of the last search, in its mended form.
    """

    name: ClassVar[str] = "controller-v1"
    summary: ClassVar[str] = "EMNAS's first controller, with the custom loss; mended or faithful."
    config_type = ControllerV1Config

    def _epoch(
        self,
        network: OneStepLSTM,
        rows: OriginalRows,
        ledger: Ledger,
        patience: Patience,
        rng: np.random.Generator,
    ) -> tuple[list[list[int]], list[float]]:
        """Sequences, all different where that can be, and the shaped reward of each."""
        sequences = _sequences(network, rows, self.config.sequences, rng)
        found = [rows.network(sequence) for sequence in sequences]
        rewards = shaped(measured(ledger, found), self.config.baseline)
        for network_found in found:
            patience.saw(network_found is not None)
        return sequences, rewards


def shaped(rewards: list[float], baseline: float) -> list[float]:
    """1000 · (clip(r, 0.01, max r) − baseline)³ of every reward of a batch."""
    highest = max(LEAST, *rewards)
    return [SCALE * (min(max(r, LEAST), highest) - baseline) ** 3 for r in rewards]


@torch.no_grad()
def _sequences(
    network: OneStepLSTM, rows: OriginalRows, count: int, rng: np.random.Generator
) -> list[list[int]]:
    """Sequences of an epoch, all different where that can be."""
    sequences: list[list[int]] = []
    while len(sequences) < count:
        for _ in range(REDRAWS):
            drawn = _draw(network, rows, rng)
            if drawn not in sequences:
                break
        sequences.append(drawn)
    return sequences


def _draw(network: OneStepLSTM, rows: OriginalRows, rng: np.random.Generator) -> list[int]:
    """Draws token after token until each keeps the rules, which is to draw from those that do."""
    sequence = [0] * rows.rows
    for row in range(rows.rows):
        probabilities = network(torch.tensor([sequence]).float())[0].double().numpy()
        kept = keeps_rules(rows, sequence[:row])[1:]
        weights = np.where(kept, probabilities, 0.0)
        sequence[row] = 1 + choose(weights if weights.sum() > 0 else kept.astype(float), rng)
    return sequence


def keeps_rules(rows: OriginalRows, before: list[int]) -> NDArray[np.bool_]:
    """Tokens that may follow by the rules of the space alone, not by shapes, shape (K + 1,)."""
    space = rows.problem.space
    allowed: NDArray[np.bool_] = rows.allowed[len(before)].copy()
    if not isinstance(space, Grammar):
        return allowed
    mode: frozenset[str] = frozenset()
    for token in before:
        mode = space.next_mode(mode, space.spec(token).kind)
    for token, spec in enumerate(space.specs, 1):
        first = before or spec.kind in space.first
        allowed[token] = bool(first) and token != rows.end and space.allows(mode, spec.kind)
    return allowed
