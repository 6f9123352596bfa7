"""Every estimator keeps one contract: scikit-learn's, and that of its numpy model and its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from emnas_gym.models.constant import Constant
from emnas_gym.models.inputs import encode
from emnas_gym.space import SearchSpace
from emnas_gym.tasks import DIGITS
from predictors.estimators.additive import AdditiveRegressor
from predictors.estimators.bagged import BaggedRegressor
from predictors.estimators.base import Estimator
from predictors.estimators.centred_sum import CentredSumRegressor
from predictors.estimators.count import CountRegressor
from predictors.estimators.elastic_net import ElasticNetRegressor
from predictors.estimators.ensemble import EnsembleRegressor
from predictors.estimators.gaussian_process import GaussianRegressor
from predictors.estimators.graph_network import GraphNetworkRegressor
from predictors.estimators.matrix import MatrixEstimator
from predictors.estimators.median import MedianRegressor
from predictors.estimators.mlp import MlpRegressor
from predictors.estimators.pairwise import PairwiseRanker
from predictors.estimators.pooled import PooledRegressor
from predictors.estimators.recurrent import RecurrentRegressor
from predictors.estimators.seed_network import SeedNetworkRegressor
from predictors.estimators.stack import StackRegressor
from predictors.estimators.table import ESTIMATORS, estimator_class
from predictors.estimators.testing import check_predictor
from predictors.estimators.trees import TreesRegressor
from predictors.estimators.two_part import TwoPartRegressor

QUICK = TreesRegressor(trees=20)
MIXED = (
    ("features", ElasticNetRegressor(mixes=(0.5,), penalties=5)),
    ("counts", QUICK),
    ("layers", RecurrentRegressor(state=4, hidden=4, members=1, epochs=2, link="identity")),
    ("terms", AdditiveRegressor()),
)
CASES: dict[str, tuple[str, Estimator]] = {  # encoding, estimator
    "additive": ("terms", AdditiveRegressor()),
    "bagged": ("counts", BaggedRegressor(QUICK, members=3)),
    "bagged layers": (
        "layers",
        BaggedRegressor(RecurrentRegressor(state=4, hidden=4, members=1, epochs=2), members=2),
    ),
    "centred_sum": ("counts", CentredSumRegressor(neighbours=20)),
    "count": ("counts", CountRegressor("macs", link="log")),
    "elastic_net": ("features", ElasticNetRegressor(mixes=(0.5,), penalties=5, link="log")),
    "ensemble": ("features", EnsembleRegressor((8,), members=2, epochs=3)),
    "gaussian_process": ("counts", GaussianRegressor(link="log")),
    "gaussian_process rbf": ("counts", GaussianRegressor(smoothness=float("inf"), rows=30)),
    "graph_network": ("graph", GraphNetworkRegressor(8, 2, members=2, epochs=2)),
    "median": ("path", MedianRegressor()),
    "mlp": ("matrix", MlpRegressor((8,), members=2, max_iter=20, link="logit")),
    "pairwise": ("features", PairwiseRanker(8, members=2, steps=5)),
    "pooled": ("layers", PooledRegressor(8, 8, 8, epochs=2)),
    "recurrent": ("layers", RecurrentRegressor(state=4, hidden=4, members=2, epochs=2)),
    "seed_network": ("onehot", SeedNetworkRegressor(positions=15, epochs=1)),
    "stack": ("counts", StackRegressor((("", QUICK), ("", MedianRegressor())), folds=3)),
    "stack of encodings": ("features&counts&layers&terms", StackRegressor(MIXED, folds=3)),
    "two_part": ("layers", TwoPartRegressor(4, 4, members=2, epochs=2)),
    "trees": ("features", TreesRegressor(trees=20, link="log")),
}
PARTS = (("", QUICK), ("", CountRegressor()), ("", MedianRegressor()))
CHECKED: list[Estimator] = [  # on matrices: scikit-learn's own checks, with the link identity
    MedianRegressor(),
    CountRegressor(),
    ElasticNetRegressor(mixes=(0.9,), penalties=5, folds=3),
    MlpRegressor((8,), max_iter=40),
    TreesRegressor(trees=40),
    GaussianRegressor(),
]
SLOW: list[Estimator] = [
    BaggedRegressor(QUICK, members=3),
    StackRegressor(PARTS, folds=3),
    SeedNetworkRegressor(epochs=2),
    EnsembleRegressor((16,), members=2, epochs=120, link="identity"),
]


@pytest.fixture(scope="module")
def networks(space: SearchSpace) -> list[Any]:
    rng = np.random.default_rng(4)
    return [space.sample(rng) for _ in range(60)]


@pytest.fixture(scope="module")
def targets(networks: list[Any]) -> np.ndarray:
    """Shares that fall with MACs and sigmoids: above 0 and below 1, so that every link fits."""
    counts = encode("counts", networks, DIGITS)
    standard = (counts - counts.mean(axis=0)) / counts.std(axis=0)
    return 1 / (1 + np.exp(0.7 * standard[:, 1] + 0.5 * standard[:, 6]))


@pytest.mark.parametrize("case", CASES)
def test_contract(  # D1, E18
    case: str, networks: list[Any], targets: np.ndarray, tmp_path: Path
) -> None:
    encoding, estimator = CASES[case]
    check_predictor(estimator, encode(encoding, networks, DIGITS), targets, tmp_path)


def test_every_estimator_of_the_table_is_tested() -> None:
    covered = {type(estimator) for _, estimator in CASES.values()}
    assert covered == {estimator_class(name) for name in ESTIMATORS}
    checked = {type(estimator) for estimator in [*CHECKED, *SLOW]}
    assert checked >= {c for c in covered if issubclass(c, MatrixEstimator)}


@parametrize_with_checks(CHECKED)
def test_rules_of_scikit_learn(estimator: Estimator, check: Any) -> None:
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks(SLOW)
def test_rules_of_scikit_learn_slow(estimator: Estimator, check: Any) -> None:
    check(estimator)


class Unseeded(MedianRegressor):
    """Forgets that equal arguments give equal bits."""

    def _fitted(self, x: np.ndarray, y: np.ndarray) -> Constant:
        return Constant(float(np.random.default_rng().normal()), 1.0)


class Negative(MedianRegressor):
    """Has doubts below nothing."""

    def _fitted(self, x: np.ndarray, y: np.ndarray) -> Constant:
        return Constant(1.0, -1.0)


class Swallowing(MedianRegressor):
    """Takes whatever it is given."""

    def fit(self, x: Any, y: Any) -> Swallowing:
        self.model_ = Constant(1.0, 1.0)
        return self

    def _checked(self, x: Any) -> Any:
        return x


@pytest.mark.parametrize(
    ("broken", "message"),
    [(Unseeded, "equal bits"), (Negative, "not negative"), (Swallowing, "nan in x")],
)
def test_the_contract_finds_what_breaks_it(
    broken: type[Estimator],
    message: str,
    networks: list[Any],
    targets: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = f"{broken.__module__}:{broken.__qualname__}"
    monkeypatch.setitem(ESTIMATORS, "broken", path)
    x = encode("counts", networks, DIGITS)
    with pytest.raises(AssertionError, match=message):
        check_predictor(broken(), x, targets, tmp_path)


@pytest.mark.parametrize("link", ["log", "logit"])
def test_targets_off_the_scale_are_refused(link: str, networks: list[Any]) -> None:
    x = encode("counts", networks, DIGITS)
    for estimator in (CountRegressor(link=link), TreesRegressor(link=link)):
        with pytest.raises(ValueError, match=r"above 0|0 … 1"):
            clone(estimator).fit(x, np.linspace(-1, 2, len(x)))
    with pytest.raises(LookupError, match="did you mean log"):
        CountRegressor(link="logg").fit(x, np.ones(len(x)))
