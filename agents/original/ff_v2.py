"""ff_v2: the distributions of all layers at once, for networks of one length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from agents.original.row_agent import RowAgent
from agents.original.row_plays import RowConfig

WIDTHS = (64, 32, 16, 8, 8, 16, 32, 64)


@dataclass(frozen=True)
class FFV2Config(RowConfig):
    """Hyperparameters of `FFV2`; those of the original form are as in `RowConfig`."""


class FFV2(RowAgent):
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
    hidden: ClassVar[tuple[int, ...]] = (64,)
    widths: ClassVar[tuple[int, ...]] = WIDTHS
    lacks: ClassVar[int] = 1
