"""The later controller: ff_v3 grown up, with networks drawn until one is valid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from agents.original.ff_v3 import WIDTHS
from agents.original.original_rows import PATIENCE
from agents.original.row_agent import RowAgent
from agents.original.row_plays import RowConfig


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


class ControllerV2(RowAgent):
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
    from_best: ClassVar[bool] = True
    widths: ClassVar[tuple[int, ...]] = WIDTHS
    zero_is_one: ClassVar[bool] = True

    def _redraws(self) -> int:
        return PATIENCE if self.config.valid_actions else 0
