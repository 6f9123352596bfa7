"""The later controller: ff_v3 grown up, with networks drawn until one is valid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agents.original.ff_v3 import WIDTHS
from agents.original.masked_policy import MaskedPolicy
from agents.original.original_agent import OriginalAgent
from agents.original.original_networks import DecayingAdam, DenseStack
from agents.original.original_rows import PATIENCE, OriginalRows, Patience
from agents.original.row_plays import RowConfig, RowPlayer
from agents.original.row_policy import RowPolicy
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem


@dataclass(frozen=True)
class ControllerV2Config(RowConfig):
    """Hyperparameters of `ControllerV2`."""

    batch: int = 32
    """Networks of an update, drawn in lock-step and measured together."""

    passes: int = 4
    """Gradient steps on each batch."""

    layers: int = 32
    """Original form: most tokens of a network, the end token included."""

    faithful_alpha: float = 1e-4
    """Original form: step of the labels."""

    faithful_learning_rate: float = 1e-5
    """Original form: step size of Adam."""

    dynamic_min: bool = True
    """Original form: whether that threshold rises to the best mean of an episode so far."""

    initial: str = "best"
    """Original form: zeros, random, best_of_episode or best."""

    valid_actions: bool = True
    """Original form: whether a sequence is drawn again until it is a network, or penalised."""


class ControllerV2(OriginalAgent):
    """The last controller of EMNAS (2021), which made its published networks.

    Mended: as ff-v3, with larger batches and several steps on each; labels keep the policy near
    the one that drew them, since q − y = (q − p) − Ĝ · (onehot(a) − p).

    Original (`faithful`), on `EmNASPlayEnv`: as ff-v3; a drawn 0 becomes token 1, which has the
    credit; a sequence is drawn again until it is a network (`valid_actions`) while the gradient is
    taken as if nothing had been thrown away, or what is no network is penalised. After a thousand
    invalid ones in a row the original stopped; here a fresh run goes on with what is left.

    Attributes:
        policy_: The policy of the last search, in its mended form.
    """

    name: ClassVar[str] = "controller-v2"
    summary: ClassVar[str] = "EMNAS's later controller, ff_v3 with valid draws; or faithful."
    config_type = ControllerV2Config
    by_labels: ClassVar[bool] = True
    from_best: ClassVar[bool] = True

    def _policy(self, problem: Problem) -> MaskedPolicy:
        return RowPolicy(problem, self.config.width, (64, 64))

    def _search_as_it_was(self, problem: Problem, ledger: Ledger, rng: np.random.Generator) -> None:
        config, patience = self.config, Patience(self.name)
        rows = OriginalRows(problem, config.layers)
        redraws = PATIENCE if config.valid_actions else 0
        env = ledger.play_env(observation="ids", on_invalid="penalise", **config.rules())
        while not ledger.spent:
            patience.start()
            network = DenseStack(rows.rows, WIDTHS, rows.rows, rows.classes)
            adam = DecayingAdam(network.parameters(), config.faithful_learning_rate)
            env.reset(seed=int(rng.integers(2**31)))
            player = RowPlayer(
                network, adam, rows, env, config, rng, zero_is_one=True, redraws=redraws
            )
            loss = player.run(ledger, patience)
            self._report(ledger, **{f"{self.name}__loss": loss})
