"""ff_v3: the distributions of all layers at once, for networks of any length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from agents.original.row_agent import RowAgent
from agents.original.row_plays import RowConfig

WIDTHS = (512, 256, 128, 64, 32, 16, 16, 32, 64, 128, 256, 512)


@dataclass(frozen=True)
class FFV3Config(RowConfig):
    """Hyperparameters of `FFV3`."""

    layers: int = 15
    """Original form: most tokens of a network, the end token included."""

    faithful_alpha: float = 1e-3
    """Original form: step of the labels."""

    faithful_learning_rate: float = 1e-4
    """Original form: step size of Adam."""

    initial: str = "best"
    """Original form: zeros, random, best_of_episode or best."""


class FFV3(RowAgent):
    """EMNAS ff_v3 (2021): as ff-v2, for any length: what follows the end token is 0.

    Mended: every play starts from the best sequence so far and is a decision of its own,
    Ĝ = (r − b) / σ; rows after the end are not learned from; a small α keeps exploring, since the
    entropy bonus stands against it.

    Original (`faithful`), on `EmNASPlayEnv`: class 0 is "no layer" and can be drawn; rows after the
    end token are learned as if 0 had been drawn; α is nearly without effect, since Adam divides it
    out again. Episodes start from the best sequence so far, the first one from a random one.

    Attributes:
        policy_: The policy of the last search, in its mended form.
    """

    name: ClassVar[str] = "ff-v3"
    summary: ClassVar[str] = "EMNAS ff_v3: all layers at once, of any length; mended or faithful."
    config_type = FFV3Config
    from_best: ClassVar[bool] = True
    widths: ClassVar[tuple[int, ...]] = WIDTHS
