"""Early elimination: the rule by hand, what it saves on known curves, and real trainings."""

from __future__ import annotations

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from conftest import BUDGETS, TINY

import emnas_gym  # noqa: F401 - registers the environments
from emnas_gym.errors import DatasetError, EmNASError, EvaluationError
from emnas_gym.ledger import Ledger
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.space import load_space
from emnas_gym.tasks import DIGITS
from predictors.datasets import Dataset, digits
from predictors.proxies.curve_features import describe
from predictors.proxies.curves import CurveExtrapolator
from predictors.proxies.early_stopped import EarlyStoppedEvaluator
from predictors.proxies.elimination import Finished, Replay, Rule, replayed
from predictors.proxies.known_curves import KnownCurves, known_curves
from predictors.training import Recipe, train

SPACE = load_space("emnas-382")
SHORT = Recipe(epochs=5, init_images=64)
EPOCHS = 10


def _few() -> Dataset:
    data = digits()
    return replace(data, train_x=data.train_x[:200], train_y=data.train_y[:200])


def _lines(ends: list[float]) -> KnownCurves:
    """Straight curves from 0.1 to an end: two epochs tell all."""
    n = np.linspace(0, 1, EPOCHS)
    curves = np.array([0.1 + (end - 0.1) * n for end in ends])
    return KnownCurves(tuple((i,) for i in range(len(ends))), curves, np.zeros((len(ends), 1)))


# ---------------------------------------------------------------------------------------- the rule


def test_the_bound_is_the_kth_best_once_enough_have_finished() -> None:
    finished = Finished()
    for accuracy in (0.5, 0.9, 0.7):
        assert finished.bound(Rule(rank=1, spared=4)) is None
        finished.add(accuracy)
    assert finished.bound(Rule(rank=1, spared=3)) == 0.9
    assert finished.bound(Rule(rank=2, spared=1)) == 0.7
    assert finished.bound(Rule(rank=4, spared=1)) is None
    assert finished.bound(Rule(rank=1, spared=4)) is None


def test_a_search_replayed_by_hand() -> None:  # D13
    """Curves that tell all after two epochs: what ends lower than the best is stopped there."""
    rng = np.random.default_rng(0)
    learned = CurveExtrapolator(
        _lines(list(rng.uniform(0.1, 1, 200))).curves, np.zeros((200, 1)), choose_at=2
    )
    known = _lines([0.5, 0.3, 0.8, 0.7, 0.2, 0.9])
    replay = Replay(learned, known, Rule(first=2, spared=1))
    found = replay.search([0, 1, 2, 3, 4, 5])
    epochs = 3 * EPOCHS + 3 * 2  # 0.5, 0.8 and 0.9 to their ends; 0.3, 0.7 and 0.2 for two epochs
    assert found.saved == pytest.approx(1 - epochs / (6 * EPOCHS))
    assert (found.kept, found.regret, found.stopped) == (True, 0.0, 0.5)
    best_first = replay.search([5, 0, 1, 2, 3, 4])
    assert best_first.saved == pytest.approx(1 - (EPOCHS + 5 * 2) / (6 * EPOCHS))
    spared = Replay(learned, known, Rule(first=2, spared=6)).search([5, 0, 1, 2, 3, 4])
    assert (spared.saved, spared.stopped) == (0.0, 0.0)
    third = Replay(learned, known, Rule(first=2, spared=1, rank=3)).search([0, 1, 2, 3, 4, 5])
    assert third.stopped == pytest.approx(1 / 6), "only 0.2 is below the third best, 0.5"


def test_losing_the_best_is_told() -> None:
    """An extrapolator taught that all curves stay where they are stops what would still rise."""
    flat = np.repeat(np.linspace(0.05, 1, 100)[:, None], EPOCHS, axis=1)
    replay = Replay(
        CurveExtrapolator(flat, np.zeros((100, 1)), choose_at=2),
        _lines([0.5, 0.95]),
        Rule(first=2, spared=1),
    )
    found = replay.search([0, 1])
    assert not found.kept
    assert found.regret == pytest.approx(0.45)


def test_elimination_saves_epochs_and_keeps_the_best() -> None:  # D13
    """Two hundred random searches of 80 held-out networks, with 1,200 curves to learn from."""
    known = known_curves(SPACE, DIGITS).part(range(1200))
    learned = CurveExtrapolator(known.curves, known.described, model="trees")
    held = known_curves(SPACE, DIGITS, test=True)
    found = replayed(Replay(learned, held, Rule()), searches=200, length=80)
    assert np.mean([one.saved for one in found]) >= 0.4
    assert np.mean([one.kept for one in found]) >= 0.9
    assert np.mean([one.regret for one in found]) <= 0.002


# ----------------------------------------------------------------------------------- the evaluator


def _extrapolator(recipe: Recipe = SHORT) -> CurveExtrapolator:
    """From trainings of the tiny space, with the evaluator's own recipe and images."""
    rng, curves, graphs = np.random.default_rng(0), [], []
    for seed in range(24):
        graphs.append(TINY.sample(rng, DIGITS).graph(DIGITS))
        curves.append(train(graphs[-1], _few(), seed, recipe).curve)
    return CurveExtrapolator(np.array(curves), describe(graphs, recipe), model="ridge")


@pytest.fixture(scope="module")
def learned() -> CurveExtrapolator:
    return _extrapolator()


NETWORKS = [
    TINY.architecture(tokens)
    for tokens in ((1, 2, 7, 9), (2, 1, 9), (5, 5, 5, 5, 9), (4, 4, 9), (3, 3, 9))
]


def test_what_is_stopped_is_predicted_and_what_finishes_is_trained(
    learned: CurveExtrapolator,
) -> None:  # D13
    rule = Rule(first=2, spared=1, probability=0.9)
    evaluator = EarlyStoppedEvaluator(_few(), SHORT, rule, learned)
    results = evaluator.evaluate(NETWORKS)
    origins, images = [], 0
    for network, result in zip(NETWORKS, results, strict=True):
        assert isinstance(result, Measurement)
        whole = train(network.graph(DIGITS), _few(), 0, SHORT)
        if result.provenance["accuracy"] == "trained":
            assert result.accuracy == whole.valid_accuracy, "the very training it would have been"
            images += whole.images
        else:
            assert 0 <= float(result.accuracy or 0) <= 1
        origins.append(result.provenance["accuracy"])
    assert origins[0] == "trained"
    assert origins.count("predicted") == evaluator.stopped > 0
    assert len(evaluator.finished.accuracies) == origins.count("trained")
    assert (
        images
        < evaluator.images
        < sum(train(network.graph(DIGITS), _few(), 0, SHORT).images for network in NETWORKS)
    )
    assert evaluator.equivalents == evaluator.images / (5 * 200)
    (remark,) = evaluator.remarks()
    assert f"{evaluator.stopped} of 5 trainings were stopped" in remark
    assert f"{evaluator.equivalents:.1f} full-training equivalents" in remark


def test_a_rule_that_never_holds_is_full_training(learned: CurveExtrapolator) -> None:
    evaluator = EarlyStoppedEvaluator(_few(), SHORT, Rule(first=2, probability=1.0), learned)
    for network, result in zip(NETWORKS, evaluator.evaluate(NETWORKS), strict=True):
        whole = train(network.graph(DIGITS), _few(), 0, SHORT)
        assert isinstance(result, Measurement)
        assert result == Measurement.of("trained", accuracy=whole.valid_accuracy)


def test_without_known_curves_it_learns_from_the_first_trainings() -> None:
    recipe = Recipe(epochs=3, init_images=64, attempts=1)
    evaluator = EarlyStoppedEvaluator(
        _few(), recipe, Rule(first=1, probability=0.95, spared=1), warm_up=20
    )
    rng = np.random.default_rng(0)
    batch = [TINY.sample(rng, DIGITS) for _ in range(30)]
    results = evaluator.evaluate(batch)
    origins = [r.provenance["accuracy"] for r in results if isinstance(r, Measurement)]
    assert origins[:20] == ["trained"] * 20
    assert evaluator.extrapolator is not None
    assert "predicted" in origins[20:]
    with pytest.raises(EmNASError, match="give 20 or more"):
        EarlyStoppedEvaluator(_few(), recipe, warm_up=19)
    with pytest.raises(EmNASError, match="of 3 epochs say nothing of trainings of 15"):
        EarlyStoppedEvaluator(_few(), Recipe(), extrapolator=evaluator.extrapolator)


def test_a_failure_keeps_its_place(learned: CurveExtrapolator) -> None:
    with np.errstate(all="ignore"):
        broken = replace(_few(), train_x=np.full_like(_few().train_x, np.inf))
    results = EarlyStoppedEvaluator(broken, SHORT, Rule(), learned).evaluate(NETWORKS[:1])
    assert isinstance(results[0], EvaluationError)


def test_an_environment_takes_it_by_name() -> None:  # D13
    env = gym.make("EmNAS-v0", evaluator="early-stopped")
    _, info = env.reset(seed=0)
    terminated = False
    while not terminated:
        legal = np.flatnonzero(info["action_mask"])
        _, _, terminated, _, info = env.step(legal[-1])  # the end, as soon as it may
    assert 0 <= info["measurement"]["accuracy"] <= 1
    remarks = " ".join(env.unwrapped.evaluator.remarks())  # type: ignore[attr-defined]
    assert "0 of 1 trainings were stopped" in remarks, "the first is never stopped"
    env.close()
    with pytest.raises(DatasetError, match="no images"):
        EarlyStoppedEvaluator.for_problem(Problem.make(task="grasp", device="sipeed-maix-bit"))


def test_a_ledger_tells_what_was_stopped(learned: CurveExtrapolator) -> None:
    problem = Problem.make(TINY, budgets=BUDGETS)
    rule = Rule(first=2, spared=1, probability=0.9)
    ledger = Ledger(EarlyStoppedEvaluator(_few(), SHORT, rule, learned), problem, evaluations=3)
    ledger.evaluate(NETWORKS[:3])
    assert any("trainings were stopped" in remark for remark in ledger.remarks())
    ledger.close()
