"""lstm_v2_1: the details of layers in, one distribution for the current layer out."""

from __future__ import annotations

from typing import ClassVar

from agents.original.lstm_policy import LSTMPolicy
from agents.original.masked_policy import MaskedPolicy
from agents.original.original_agent import MendedAgent
from emnas_gym.problem import Problem


class LSTMV21(MendedAgent):
    """EMNAS lstm_v2_1: each token is expanded to its layer's details, and the LSTM reads these.

    The rule is lstm-v1's mended one: ∇ log π(a) · (r − b) / σ of masked tokens. Built after the
    README of EMNAS (2021), whose notebook is not to be had; it has no original form.
    """

    name: ClassVar[str] = "lstm-v2-1"
    summary: ClassVar[str] = "EMNAS lstm_v2_1 after its README: an LSTM reads layers' details."

    def _policy(self, problem: Problem) -> MaskedPolicy:
        return LSTMPolicy(problem, self.config.width, by_id=False)
