"""lstm_v1: tokens one by one from an LSTM, one distribution for the current layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from agents.original.custom_loss import custom_loss
from agents.original.lstm_policy import LSTMPolicy
from agents.original.masked_policy import MaskedPolicy
from agents.original.original_agent import OriginalAgent, OriginalConfig
from agents.original.original_networks import DecayingAdam, OneStepLSTM
from agents.original.original_rows import OriginalRows, Patience, Tokens
from agents.original.returns import overwritten_returns, standardised
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem

DECAY, NORM, DIGITS = 0.1, 1.0, 3  # of the step size, of each gradient, of rewards


@dataclass(frozen=True)
class LSTMV1Config(OriginalConfig):
    """Hyperparameters of `LSTMV1`."""

    layers: int = 6
    """Original form: tokens of every network, the end token included."""

    sequences: int = 10
    """Original form: sequences of an epoch."""

    fits: int = 100
    """Original form: gradient steps of an epoch, all on the same sequences."""

    baseline: float = 0.9
    """Original form: what is taken off each reward."""

    loss_alpha: float = 0.9
    """Original form: base of the powers that stand for a discount."""

    faithful_learning_rate: float = 0.01
    """Original form: first step size of Adam."""

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        whole = (self.layers, self.sequences, self.fits)
        self.require(min(whole) >= 1, "layers, sequences and fits are 1 or more")
        self.require(self.loss_alpha != 0, "loss_alpha is not 0")
        self.require(self.faithful_learning_rate > 0, "faithful_learning_rate is above 0")


class LSTMV1(OriginalAgent):
    """The first notebook of EMNAS (2021): integers in, one distribution for the current layer out.

    Mended: two LSTM layers step through the tokens that were placed, and ∇ log π(a) · (r − b) / σ
    of the tokens that were drawn from legal ones.

    Original (`faithful`): the LSTM gets the sequence so far as features of one time step; tokens
    are drawn without any rule; the loss −log(p) · Ř does not know what was drawn, on complete
    sequences instead of those that were acted on, and Ř_i = loss_alpha^(n − 1 − 2 i) · r_(n − 1),
    standardised, stays that of the first epoch. A repeat's reward is kept while its sequence is
    dropped, so that rewards belong to other sequences.

    Attributes:
        policy_: The policy of the last search, in its mended form.
    """

    name: ClassVar[str] = "lstm-v1"
    summary: ClassVar[str] = "EMNAS lstm_v1: an LSTM writes layer after layer; mended or faithful."
    config_type = LSTMV1Config

    def _policy(self, problem: Problem) -> MaskedPolicy:
        return LSTMPolicy(problem, self.config.width, by_id=True)

    def _search_as_it_was(self, problem: Problem, ledger: Ledger, rng: np.random.Generator) -> None:
        patience = Patience(self.name)
        while not ledger.spent:
            patience.start()
            self._run(OriginalRows(problem, self.config.layers), ledger, patience, rng)

    def _run(
        self, rows: OriginalRows, ledger: Ledger, patience: Patience, rng: np.random.Generator
    ) -> None:
        """One run from a fresh network, until it gives up or the ledger is spent."""
        network = OneStepLSTM(rows.rows, rows.classes - 1)
        rate = self.config.faithful_learning_rate
        adam = DecayingAdam(network.parameters(), rate, DECAY, NORM)
        traced: NDArray[np.float64] | None = None
        while not ledger.spent and not patience.gone:
            sequences, rewards = self._epoch(network, rows, ledger, patience, rng)
            if traced is None:  # a constant of the loss, once that has been compiled
                values = overwritten_returns(rewards, self.config.loss_alpha)
                traced = standardised(values)
            inputs, returns = torch.tensor(sequences).float(), torch.from_numpy(traced)
            for _ in range(self.config.fits):
                loss = custom_loss(network(inputs), returns)
                adam.step(loss)
            self._report(ledger, **{f"{self.name}__loss": float(loss.detach())})

    def _epoch(
        self,
        network: OneStepLSTM,
        rows: OriginalRows,
        ledger: Ledger,
        patience: Patience,
        rng: np.random.Generator,
    ) -> tuple[list[list[int]], list[float]]:
        """Sequences without repeats, and as many rewards, those of repeats among them."""
        sequences: list[list[int]] = []
        rewards: list[float] = []
        for _ in range(self.config.sequences * 100):
            drawn = draw_sequence(network, rows, rng)
            found = rows.network(drawn)
            patience.saw(found is not None)
            rewards.append(round(measured(ledger, [found])[0], DIGITS) - self.config.baseline)
            sequences += [] if drawn in sequences else [drawn]
            if len(sequences) == self.config.sequences or patience.gone:
                break
        while len(sequences) < self.config.sequences:  # nothing else is drawn any more
            sequences.append(sequences[-1])
            rewards.append(rewards[-1])
        return sequences, rewards[: self.config.sequences]


@torch.no_grad()
def draw_sequence(network: OneStepLSTM, rows: OriginalRows, rng: np.random.Generator) -> list[int]:
    """Draws token after token, each seen by the next draw; unfilled positions are 0."""
    sequence = [0] * rows.rows
    for row in range(rows.rows):
        probabilities = network(torch.tensor([sequence]).float())[0].double().numpy()
        sequence[row] = rows.draw(probabilities, row, rng, first=1)
    return sequence


def measured(ledger: Ledger, networks: Sequence[Tokens | None]) -> list[float]:
    """Rewards of networks; None, which is no network, has the illegal one's and is not measured."""
    space = ledger.problem.space
    batch = [space.architecture(tokens) for tokens in networks if tokens is not None]
    rewards = iter([ledger.reward(result) for result in ledger.evaluate(batch)] if batch else [])
    illegal = ledger.problem.reward.illegal
    return [illegal if tokens is None else next(rewards) for tokens in networks]
