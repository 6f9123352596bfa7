"""Agents guided by a model: their rules in closed form, their candidates, and the contract."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optimum_contract import check_finds_optimum
from scipy.integrate import quad
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from table_worlds import small_table
from tiny_worlds import formula

from agents.base import OptionError
from agents.guided.acquisition import expected_improvement, independent_thompson, top
from agents.guided.bananas import Bananas
from agents.guided.cartographer import Cartographer, normal_scores
from agents.guided.description import Description, live_groups, table_groups
from agents.guided.gaussian_search import GaussianSearch, standardised, window
from agents.guided.guided_agent import EstimatorAgent
from agents.guided.kernel_process import KernelProcess, believers, negative_likelihood, squares
from agents.guided.pnas import Pnas
from agents.guided.pool import Pool
from agents.guided.train_sort import TrainSort
from agents.runs import make_agent
from emnas_gym.errors import EvaluationError, UnknownName
from emnas_gym.evaluator import Result
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem
from emnas_gym.space import sample_tokens
from emnas_gym.table_env import table_problem
from emnas_gym.table_space import TableSpace
from emnas_gym.testing import ScriptedEvaluator, tiny_problem
from emnas_gym.wiring import Wiring
from predictors.estimators.elastic_net import ElasticNetRegressor
from predictors.estimators.gaussian_process import GaussianRegressor

WIRED = Wiring(((0, 1), (0, 2), (1, 2)), "none")
TINY: dict[str, dict[str, Any]] = {
    "bananas": {"estimator": "gaussian_process", "initial": 5, "batch": 2, "pool": 10},
    "pnas": {"estimator": "gaussian_process", "beam": 5, "expansions": 12},
    "train-sort": {"estimator": "gaussian_process", "train": 5, "sort": 20, "batch": 2},
    "gp": {"initial": 4, "pool": 12},
    "cartographer": {"initial": 3},
}


# ---------------------------------------------------------------------------------- acquisition


@pytest.mark.parametrize(("mean", "deviation", "best"), [(0, 1, 0), (1, 0.5, 2), (-3, 2, -4)])
def test_expected_improvement_is_the_integral(mean: float, deviation: float, best: float) -> None:
    density = norm(mean, deviation).pdf
    end = mean + 12 * deviation
    integral = quad(lambda f: (f - best) * density(f), best, max(end, best), epsabs=1e-12)[0]
    found = expected_improvement(np.array([mean]), np.array([deviation]), best)
    assert found == pytest.approx(integral, abs=1e-9)


def test_expected_improvement_without_doubt_is_the_improvement() -> None:
    found = expected_improvement(np.array([1.0, 3.0]), np.zeros(2), 2.0)
    assert found.tolist() == [0.0, 1.0]


def test_thompson_chooses_as_often_as_a_candidate_is_best() -> None:
    mean, deviation = np.array([0.0, 1.0]), np.array([1.0, 2.0])
    rng, count = np.random.default_rng(0), 20_000
    wins = sum(independent_thompson(mean, deviation, rng).argmax() for _ in range(count)) / count
    chance = norm.cdf((mean[1] - mean[0]) / np.sqrt(5.0))
    assert abs(wins - chance) < 3 * np.sqrt(chance * (1 - chance) / count)


def test_top_is_stable() -> None:
    assert top(np.array([1.0, 3.0, 3.0, 2.0]), 3).tolist() == [1, 2, 3]


# -------------------------------------------------------------------------------------- process


def _rows(count: int = 25, width: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(count, width))
    return x, np.sin(x[:, 0]) + 0.1 * rng.normal(size=count)


def test_posterior_equals_scikit_learns() -> None:
    x, y = _rows()
    process = KernelProcess([4], logs=np.log([1.7, 0.3, 0.05]))
    process.condition(x, y)
    kernel = ConstantKernel(1.7) * RBF(np.sqrt(1 / (2 * 0.3)))
    peer = GaussianProcessRegressor(kernel, alpha=0.05 + 1.7e-6, optimizer=None).fit(x, y)
    at = np.random.default_rng(4).normal(size=(40, 4))
    mean, deviation = process.predict(at)
    expected, doubt = peer.predict(at, return_std=True)
    np.testing.assert_allclose(mean, expected, atol=1e-9)
    np.testing.assert_allclose(deviation, doubt, atol=1e-7)
    joint_mean, covariance = process.joint(at)
    np.testing.assert_allclose(joint_mean, expected, atol=1e-9)
    np.testing.assert_allclose(covariance, peer.predict(at, return_cov=True)[1], atol=1e-7)
    shift = 12.5 * np.log(2 * np.pi)
    value, _ = negative_likelihood(np.log([1.7, 0.3, 0.05]), [squares(x, x)], y)
    assert -value - shift == pytest.approx(peer.log_marginal_likelihood_value_)


def test_gradient_of_the_likelihood_is_that_of_differences() -> None:
    x, y = _rows()
    apart = [squares(x[:, :1], x[:, :1]), squares(x[:, 1:], x[:, 1:])]
    logs = np.array([0.2, -0.7, -1.5, -2.0])
    _, gradient = negative_likelihood(logs, apart, y)
    for i, step in enumerate(1e-5 * np.eye(4)):
        ahead, behind = (negative_likelihood(logs + s, apart, y)[0] for s in (step, -step))
        assert gradient[i] == pytest.approx((ahead - behind) / 2e-5, rel=1e-5, abs=1e-7)


def test_learning_finds_the_group_that_matters() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4))
    process = KernelProcess([2, 2])
    process.learn(x, standardised(np.sin(2 * x[:, 0]) + x[:, 1]))
    assert process.logs is not None
    assert process.logs[1] > process.logs[2] + 2


@pytest.mark.parametrize("rewards", [np.zeros(8), np.array([0.0] * 7 + [1.0])])
def test_equal_rows_and_constant_rewards_are_no_trouble(rewards: np.ndarray) -> None:
    process = KernelProcess([3])
    x = np.ones((8, 3))
    process.learn(x, rewards)
    process.condition(x, rewards)
    mean, deviation = process.predict(np.vstack([x, np.zeros((1, 3))]))
    assert np.isfinite(mean).all()
    assert np.isfinite(deviation).all()


@pytest.mark.parametrize("liar", [None, 1.5])
def test_a_batch_is_what_one_by_one_would_be(liar: float | None) -> None:
    """Conditioning the process anew after every choice gives the same batch."""
    x, y = _rows()
    at = np.random.default_rng(5).normal(size=(30, 4))
    process = KernelProcess([4], logs=np.log([1.0, 0.4, 0.02]))
    process.condition(x, y)
    best, chosen = float(y.max()), list[int]()
    batch = believers(process, at, best, 4, liar)
    for _ in range(4):
        worth = expected_improvement(*process.predict(at), best)
        worth[chosen] = -np.inf
        chosen.append(int(worth.argmax()))
        told = float(process.predict(at[chosen[-1:]])[0][0]) if liar is None else liar
        x, y, best = np.vstack([x, at[chosen[-1]]]), np.append(y, told), max(best, told)
        process.condition(x, y)
    assert batch == chosen
    assert len(set(batch)) == 4


def test_window_keeps_the_best_half_and_the_latest() -> None:
    assert window(np.array([9.0, 1, 8, 2, 3, 4]), 4).tolist() == [0, 2, 4, 5]
    assert window(np.array([1.0, 2.0]), 10).tolist() == [0, 1]


def test_normal_scores_of_ranks_by_hand() -> None:
    found = normal_scores([0.1, -5.0, 0.2, 0.1])
    assert found == pytest.approx(norm.ppf([0.5, 0.125, 0.875, 0.5]))


# ---------------------------------------------------------------------------------- description


def _wired() -> tuple[TableSpace, np.ndarray]:
    space = TableSpace(replace(small_table(), wiring=WIRED), classes=False)
    named = [("conv", "conv", "a"), ("none", "pool", "b"), ("conv", "none", "b")]
    rows = [space.encode(dict(zip(space.table.positions, n, strict=True))) for n in named]
    return space, np.array(rows)


def test_live_paths_by_hand() -> None:
    """Operations are conv, pool, a, b; ways are the second edge, and the first with the third."""
    space, tokens = _wired()
    hot, words, sets, counts = live_groups(space, tokens)
    assert counts.tolist() == [[2, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 1]]
    assert hot.sum(axis=1).tolist() == [3, 1, 2]
    conv, pool, conv_a, conv_b = 0, 1, 4 * 1 + 3 - 1, 4 * 1 + 4 - 1
    expected = np.zeros((3, 20))
    expected[[0, 0, 1, 2], [conv, conv_a, pool, conv_b]] = 1
    assert np.array_equal(words, expected)
    assert np.array_equal(sets, expected), "these paths are in the order of their operations"


def test_a_choice_on_no_live_path_changes_nothing() -> None:
    space, tokens = _wired()
    other = tokens[1].copy()
    other[2] = space.first_token[2]  # third = a, behind an edge that is none
    parts = zip(live_groups(space, tokens[1:2]), live_groups(space, other[None]), strict=True)
    assert all(np.array_equal(a, b) for a, b in parts)


def test_a_table_without_a_graph_by_hand() -> None:
    space = TableSpace(small_table(), classes=False)
    hot, stretches, counts = table_groups(space, np.array([[1, 3, 6]]))  # none, none, a
    assert np.flatnonzero(hot).tolist() == [0, 2, 5]
    assert counts.tolist() == [[2, 0, 0, 1, 0]]
    none, a, none_none, none_a = 0, 3, 5 * 1 + 1 - 1, 5 * 1 + 4 - 1
    assert stretches[0, [none, a, none_none, none_a]].tolist() == [2, 1, 1, 1]
    assert stretches.sum() == 5


@pytest.mark.parametrize("what", ["all", "plain", "paths"])
def test_every_space_is_described_in_groups(what: str) -> None:
    for problem in (tiny_problem(), Problem.make(), table_problem(small_table())[0]):
        rng = np.random.default_rng(0)
        networks = [sample_tokens(problem.automaton, rng) for _ in range(6)]
        describe = Description(problem, what)
        describe.standardise(networks)
        rows = describe(networks)
        assert rows.shape == (6, sum(describe.groups))
        assert np.isfinite(rows).all()
        assert np.array_equal(describe(networks[::-1]), rows[::-1])
    with pytest.raises(UnknownName, match="description"):
        Description(problem, "everything")


# ----------------------------------------------------------------------------------------- pool


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["tiny", "table", "gaps", "chain"]), st.booleans())
def test_candidates_are_fresh_and_legal(seed: int, world: str, listed: bool) -> None:
    tables = {"table": small_table(), "gaps": small_table(incomplete=True)}
    problem = {"tiny": tiny_problem, "chain": Problem.make}.get(
        world, lambda: table_problem(tables[world])[0]
    )()
    rng = np.random.default_rng(seed)
    pool = Pool(problem, rng, listed)
    table, canonical = problem.automaton, problem.space.canonical_tokens
    for _ in range(6):
        seen = {sample_tokens(table, rng) for _ in range(3)}
        pool.see(seen)
        found = pool.around(list(seen), 6, 0.5)
        near = pool.children(list(seen), 4, distance=2, cross=0.5)
        for candidates in (found, near, pool.random(3)):
            keys = [canonical(tokens) for tokens in candidates]
            assert len(set(keys)) == len(keys)
            assert not pool.seen & set(keys)
            assert all(map(table.fits, candidates))


def test_a_listed_space_ends_where_everything_was_seen() -> None:
    problem = tiny_problem()
    pool = Pool(problem, np.random.default_rng(0))
    found = []
    while new := pool.around(found, 5, 0.5):
        found += new
        pool.see(new)
    every = {a.canonical for a in problem.space.enumerate(problem.task)}
    assert {problem.space.canonical_tokens(tokens) for tokens in found} == every
    assert pool.random(3) == []


# --------------------------------------------------------------------------------------- agents


@pytest.mark.parametrize("name", TINY)
def test_the_best_of_twelve_is_found(name: str) -> None:  # B17, B19, B25
    check_finds_optimum(lambda: make_agent(name, **TINY[name]))


def _stages(problem: Problem, ledger: Ledger) -> list[list[tuple[int, ...]]]:
    batches: dict[int, list[tuple[int, ...]]] = {}
    for row in ledger.rows:
        batches.setdefault(row.batch, []).append(row.tokens)
    return list(batches.values())


def test_complexity_grows_level_by_level() -> None:  # B19
    problem = Problem.make(max_layers=7)
    ledger = formula(problem, 4 * 6)
    agent = Pnas.with_options(estimator="gaussian_process", beam=6, expansions=12)
    agent.search(problem, ledger, 0)
    stages = _stages(problem, ledger)
    assert [sorted({len(tokens) for tokens in stage}) for stage in stages] == [[4], [5], [6], [7]]
    for before, after in itertools.pairwise(stages):
        for child in after:
            gaps = {child[:i] + child[i + 1 :] for i in range(len(child))}
            assert gaps & set(before), "each network is one of the stage before with a layer more"


def test_a_stage_of_a_table_keeps_what_was_chosen() -> None:  # B19
    table = small_table()
    problem, evaluator = table_problem(table, classes=False)
    ledger = Ledger(evaluator, problem, 6)
    agent = Pnas.with_options(estimator="gaussian_process", beam=2, expansions=12)
    agent.search(problem, ledger, 1)
    stages = _stages(problem, ledger)
    assert [len(stage) for stage in stages] == [2, 2, 2]
    for number, (before, after) in enumerate(itertools.pairwise(stages), 1):
        assert {child[:number] for child in after} <= {parent[:number] for parent in before}


def test_what_a_predictor_ranks_first_is_better_than_what_it_learnt_from() -> None:  # B17
    problem = Problem.make()
    ledger = formula(problem, 60)
    estimator = GaussianRegressor()
    agent = TrainSort(TrainSort.config_type(train=40, sort=60, batch=20), None, estimator)
    agent.search(problem, ledger, 0)
    trained, ranked = (
        [row.reward for row in part] for part in (ledger.rows[:40], ledger.rows[40:])
    )
    assert np.mean(ranked) > np.mean(trained) + np.std(trained) / 2
    assert {row.batch for row in ledger.rows} == {1, 2}


@pytest.mark.parametrize("agent_type", [Bananas, TrainSort, Pnas])
def test_an_estimator_is_injected_and_left_as_it_was(agent_type: type[EstimatorAgent]) -> None:
    fitted = []

    class Watched(ElasticNetRegressor):
        def fit(self, x: Any, y: Any) -> Watched:
            fitted.append(len(y))
            super().fit(x, y)
            return self

    problem = Problem.make()
    options = {"train": 12} if agent_type is TrainSort else {}
    estimator = Watched()
    agent = agent_type(agent_type.config_type(**options), None, estimator)
    agent.search(problem, formula(problem, 40), 0)
    assert fitted
    assert not hasattr(estimator, "model_")


def test_other_encodings_of_layers() -> None:
    problem = Problem.make()
    ledger = formula(problem, 14)
    options = {"encoding": "counts", "estimator": "mlp", "batch": 2, "pool": 6}
    Bananas.with_options(**options).search(problem, ledger, 0)
    assert ledger.count == 14


@pytest.mark.parametrize("name", ["gp", "cartographer"])
def test_batches_are_measured_together(name: str) -> None:
    problem = Problem.make()
    ledger = formula(problem, 42)
    make_agent(name, batch=6, initial=6, pool=12).search(problem, ledger, 0)
    sizes = np.bincount([row.batch for row in ledger.rows])[1:]
    assert (sizes[1:] == 6).all()


def test_the_window_bounds_what_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    remembered: list[int] = []
    condition = KernelProcess.condition

    def watched(self: KernelProcess, rows: Any, rewards: Any) -> None:
        remembered.append(len(rows))
        condition(self, rows, rewards)

    monkeypatch.setattr(KernelProcess, "condition", watched)
    problem = Problem.make()
    for agent in (
        GaussianSearch.with_options(window=12, pool=8, batch=4),
        Cartographer.with_options(window=12, pool=8, batch=4),
    ):
        agent.search(problem, formula(problem, 40), 0)
    assert max(remembered) == 12


class Unlucky(ScriptedEvaluator):
    """Every other network fails."""

    def _evaluate(self, batch: Any) -> list[Result]:
        results = super()._evaluate(batch)
        failed = [sum(architecture.tokens) % 2 for architecture in batch]
        return [
            EvaluationError("did not build") if bad else result
            for bad, result in zip(failed, results, strict=True)
        ]


@pytest.mark.parametrize("name", TINY)
def test_failures_do_not_break_the_search(name: str) -> None:
    problem = tiny_problem()
    ledger = Ledger(Unlucky(problem), problem, 40)
    make_agent(name, **TINY[name]).search(problem, ledger, 0)
    assert ledger.count == 40


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("bananas", {"pool": 5, "batch": 10}),
        ("bananas", {"encoding": "tea leaves"}),
        ("pnas", {"beam": 1}),
        ("train-sort", {"train": 1}),
        ("gp", {"rule": "truth"}),
        ("cartographer", {"window": 1}),
        ("cartographer", {"cross": 1.5}),
    ],
)
def test_options_are_checked(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        make_agent(name, **options)


def test_an_unknown_estimator_is_refused() -> None:
    with pytest.raises(UnknownName, match="ensemble"):
        make_agent("bananas", estimator="ensembel")
