"""ff_v2: the distributions of all layers at once, for networks of one length."""

from __future__ import annotations

from dataclasses import dataclass
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

WIDTHS = (64, 32, 16, 8, 8, 16, 32, 64)


@dataclass(frozen=True)
class FFV2Config(RowConfig):
    """Hyperparameters of `FFV2`; those of the original form are as in `RowConfig`."""


class FFV2(OriginalAgent):
    """EMNAS ff_v2 (2021): a play is a whole sequence, y = p + α · Ĝ · (onehot(a) − p) for each row.

    Mended: every play starts from zeros and is a decision of its own, Ĝ = (r − b) / σ; rows see the
    layer before; tokens are drawn from legal ones, the end token among them.

    Original (`faithful`), on `EmNASPlayEnv`: rows are drawn independently of each other, class k is
    token k, so that the last token cannot be drawn and 0 can; Ĝ_t is the discounted, standardised
    return over the plays of an episode, which starts from zeros. What is no network has the reward
    of illegal ones, where the original asked a predictor all the same.

    Attributes:
        policy_: The policy of the last search, in its mended form.
    """

    name: ClassVar[str] = "ff-v2"
    summary: ClassVar[str] = "EMNAS ff_v2: all layers at once, gradient as labels; or faithful."
    config_type = FFV2Config
    by_labels: ClassVar[bool] = True

    def _policy(self, problem: Problem) -> MaskedPolicy:
        return RowPolicy(problem, self.config.width, (64,))

    def _search_as_it_was(self, problem: Problem, ledger: Ledger, rng: np.random.Generator) -> None:
        config, patience = self.config, Patience(self.name)
        rows = OriginalRows(problem, config.layers)
        env = ledger.play_env(observation="ids", on_invalid="penalise", **config.rules())
        while not ledger.spent:
            patience.start()
            network = DenseStack(rows.rows, WIDTHS, rows.rows, rows.classes - 1)
            adam = DecayingAdam(network.parameters(), config.faithful_learning_rate)
            env.reset(seed=int(rng.integers(2**31)))
            loss = RowPlayer(network, adam, rows, env, config, rng).run(ledger, patience)
            self._report(ledger, **{f"{self.name}__loss": loss})
