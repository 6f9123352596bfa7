"""What the agents share whose plays are whole sequences: ff-v2, ff-v3, controller-v2."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from agents.original.masked_policy import MaskedPolicy
from agents.original.original_agent import OriginalAgent
from agents.original.original_networks import DecayingAdam, DenseStack
from agents.original.original_rows import OriginalRows, Patience
from agents.original.row_plays import RowConfig, RowPlayer
from agents.original.row_policy import RowPolicy
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem


class RowAgent(OriginalAgent):
    """An agent that gives the distributions of all rows at once, in both forms.

    Attributes:
        hidden: Hidden layers of the mended policy.
        widths: Hidden layers of the original network.
        lacks: Classes that the original network has too few: 1 where class k is token k, so that
            the last one cannot be drawn.
        zero_is_one: Whether a drawn 0 becomes token 1 in the original form.
    """

    config_type = RowConfig
    by_labels: ClassVar[bool] = True
    hidden: ClassVar[tuple[int, ...]] = (64, 64)
    widths: ClassVar[tuple[int, ...]]
    lacks: ClassVar[int] = 0
    zero_is_one: ClassVar[bool] = False

    def _policy(self, problem: Problem) -> MaskedPolicy:
        return RowPolicy(problem, self.config.width, self.hidden)

    def _redraws(self) -> int:
        """How often the original form draws a sequence again until it is a network."""
        return 0

    def _search_as_it_was(self, problem: Problem, ledger: Ledger, rng: np.random.Generator) -> None:
        config, patience = self.config, Patience(self.name)
        rows = OriginalRows(problem, config.layers)
        env = ledger.play_env(observation="ids", on_invalid="penalise", **config.rules())
        while not ledger.spent:
            patience.start()
            network = DenseStack(rows.rows, self.widths, rows.rows, rows.classes - self.lacks)
            adam = DecayingAdam(network.parameters(), config.faithful_learning_rate)
            env.reset(seed=int(rng.integers(2**31)))
            player = RowPlayer(
                network, adam, rows, env, config, rng, self.zero_is_one, self._redraws()
            )
            loss = player.run(ledger, patience)
            self._report(ledger, **{f"{self.name}__loss": loss})
