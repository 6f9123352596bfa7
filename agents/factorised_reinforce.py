"""REINFORCE whose action is factorised into the fields of a layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from agents.factorised_policy import FactorisedPolicy
from agents.reinforce import Reinforce, ReinforceConfig
from agents.token_policy import TokenPolicy
from emnas_gym.problem import Problem


@dataclass(frozen=True)
class FactorisedReinforceConfig(ReinforceConfig):
    """Hyperparameters of `FactorisedReinforce`: those of `reinforce`, with an LSTM."""

    cell: str = "lstm"
    """Recurrent cell that reads the tokens: gru or lstm."""


class FactorisedReinforce(Reinforce):
    """REINFORCE with one head for each field of a layer: kind, filters, kernel, stride and so on.

    π(token) = Π_j π_j(field j | fields before it, tokens before it): what is learned about 3×3
    kernels holds for all filters. A head is renormalised over the values that still lead to a legal
    token, so that masks are exact. All else is `reinforce`: ∇ = mean(A ∇ log π), a moving baseline,
    an entropy bonus that halves, imitation of the best networks. After the per-field outputs of the
    controllers of Zoph and Le (2017).
    """

    name: ClassVar[str] = "factorised-reinforce"
    summary: ClassVar[str] = "REINFORCE with one head for each field of a layer, masks exact."
    config_type = FactorisedReinforceConfig

    def _policy(self, problem: Problem) -> TokenPolicy:
        """A policy that has learned nothing."""
        config: FactorisedReinforceConfig = self.config
        return FactorisedPolicy(problem, config.hidden, config.width, config.cell)
