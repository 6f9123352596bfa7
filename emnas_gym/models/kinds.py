"""Which class a fitted model in a file is of: one table, resolved when a file is read."""

from __future__ import annotations

import importlib

from emnas_gym.errors import SurrogateFileError, nearest
from emnas_gym.models.base import FittedModel

KINDS: dict[str, str] = {
    "adapted": "emnas_gym.models.adapted:AdaptedModel",
    "additive": "emnas_gym.models.additive:AdditiveCosts",
    "centred_sum": "emnas_gym.models.centred_sum:CentredSum",
    "constant": "emnas_gym.models.constant:Constant",
    "ensemble": "emnas_gym.models.ensemble:Ensemble",
    "gaussian": "emnas_gym.models.gaussian:GaussianProcess",
    "graph_network": "emnas_gym.models.graph_network:GraphNetwork",
    "linear": "emnas_gym.models.linear:Linear",
    "mixture": "emnas_gym.models.mixture:Mixture",
    "pooled": "emnas_gym.models.pooled:PooledNetwork",
    "position_network": "emnas_gym.models.position_network:PositionNetwork",
    "ranking": "emnas_gym.models.ranking:Ranking",
    "recurrent": "emnas_gym.models.recurrent:RecurrentEnsemble",
    "trees": "emnas_gym.models.trees:Trees",
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
