"""Which class a fitted model in a file is of: one table, resolved when a file is read."""

from __future__ import annotations

import importlib

from emnas_gym.errors import SurrogateFileError, nearest
from emnas_gym.models.base import FittedModel

KINDS: dict[str, str] = {
    "additive": "emnas_gym.models.additive:AdditiveCosts",
    "ensemble": "emnas_gym.models.ensemble:Ensemble",
    "recurrent": "emnas_gym.models.recurrent:RecurrentEnsemble",
    "two_part": "emnas_gym.models.two_part:TwoPart",
}


def model_class(kind: object) -> type[FittedModel]:
    """The class of a kind.

    Raises:
        SurrogateFileError: If nobody knows it.
    """
    if not isinstance(kind, str) or kind not in KINDS:
        raise SurrogateFileError(f"is of kind {kind!r}{nearest(str(kind), KINDS)}")
    module, _, name = KINDS[kind].partition(":")
    found: type[FittedModel] = getattr(importlib.import_module(module), name)
    return found
