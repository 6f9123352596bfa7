"""Every estimator by name: one table, resolved when it is asked for."""

from __future__ import annotations

import importlib
from typing import Any

from emnas_gym.errors import UnknownName
from predictors.estimators.base import Estimator

ESTIMATORS: dict[str, str] = {
    "additive": "predictors.estimators.additive:AdditiveRegressor",
    "bagged": "predictors.estimators.bagged:BaggedRegressor",
    "centred_sum": "predictors.estimators.centred_sum:CentredSumRegressor",
    "count": "predictors.estimators.count:CountRegressor",
    "elastic_net": "predictors.estimators.elastic_net:ElasticNetRegressor",
    "ensemble": "predictors.estimators.ensemble:EnsembleRegressor",
    "gaussian_process": "predictors.estimators.gaussian_process:GaussianRegressor",
    "graph_network": "predictors.estimators.graph_network:GraphNetworkRegressor",
    "median": "predictors.estimators.median:MedianRegressor",
    "mlp": "predictors.estimators.mlp:MlpRegressor",
    "pairwise": "predictors.estimators.pairwise:PairwiseRanker",
    "pooled": "predictors.estimators.pooled:PooledRegressor",
    "recurrent": "predictors.estimators.recurrent:RecurrentRegressor",
    "seed_network": "predictors.estimators.seed_network:SeedNetworkRegressor",
    "stack": "predictors.estimators.stack:StackRegressor",
    "two_part": "predictors.estimators.two_part:TwoPartRegressor",
    "trees": "predictors.estimators.trees:TreesRegressor",
}


def estimator_class(name: str) -> type[Estimator]:
    """The class of a name.

    Raises:
        UnknownName: If there is none.
    """
    if name not in ESTIMATORS:
        raise UnknownName("estimator", name, ESTIMATORS)
    module, _, attribute = ESTIMATORS[name].partition(":")
    found: type[Estimator] = getattr(importlib.import_module(module), attribute)
    return found


def make_estimator(name: str, **params: Any) -> Estimator:  # noqa: ANN401
    """An estimator by name, with its parameters.

    Raises:
        UnknownName: If there is none.
        TypeError: If it has no such parameter.
    """
    return estimator_class(name)(**params)


def estimator_name(estimator: Estimator) -> str:
    """The name of an estimator.

    Raises:
        UnknownName: If its class is not in the table.
    """
    path = f"{type(estimator).__module__}:{type(estimator).__qualname__}"
    for name, known in ESTIMATORS.items():
        if known == path:
            return name
    raise UnknownName("estimator", path, ESTIMATORS.values(), "Only those of the table are saved.")
