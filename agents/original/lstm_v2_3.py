"""lstm_v2_3: one distribution per layer parameter."""

from __future__ import annotations

from typing import ClassVar

from agents.original.masked_policy import MaskedPolicy
from agents.original.original_agent import MendedAgent
from agents.original.parameter_policy import ParameterPolicy
from emnas_gym.problem import Problem


class LSTMV23(MendedAgent):
    """EMNAS lstm_v2_3: kind, filters, units, kernel, stride, padding, activation drawn in turn.

    log π(token) = Σ over parameters of log π(value | values before), over values that lead to a
    legal token, and ∇ log π(a) · (r − b) / σ. Built after the README of EMNAS (2021), whose
    notebook is not to be had; it has no original form.
    """

    name: ClassVar[str] = "lstm-v2-3"
    summary: ClassVar[str] = "EMNAS lstm_v2_3 after its README: one distribution per parameter."

    def _policy(self, problem: Problem) -> MaskedPolicy:
        return ParameterPolicy(problem, self.config.width)
