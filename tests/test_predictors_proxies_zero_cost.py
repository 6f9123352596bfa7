"""Zero-cost scores against what can be computed by hand, and together on real networks."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from emnas_gym.errors import EmNASError
from emnas_gym.graph import GraphBuilder, LayerGraph
from emnas_gym.space import load_space
from emnas_gym.tasks import DIGITS
from predictors.datasets import digits
from predictors.metrics import ranks
from predictors.network import GraphNetwork
from predictors.proxies.combined import RankCombination
from predictors.proxies.zero_cost import (
    NAMES,
    grad_norm,
    kernel_score,
    naswot,
    scores,
    synflow,
)
from predictors.splits import folds, is_test
from predictors.tables import packed_path, unpack

SPACE = load_space("emnas-382")


@pytest.mark.parametrize("sigmoid", [False, True])
def test_synflow_of_two_layers_by_hand(sigmoid: bool) -> None:  # D14
    """R = 1ᵀ|V||W|1, and θ · ∂R/∂θ summed over a layer is R, so that the score is ln 2R."""
    b = GraphBuilder((1, 1, 2))
    b.window("conv2d", 1, 1, "valid", filters=2, activation="none" if sigmoid else "relu")
    if sigmoid:
        b.pointwise("sigmoid")
    b.dense(1)
    network = GraphNetwork(b.build())
    weights = network.weights()
    first, second = (name for name in weights if name.endswith("kernel"))
    weights[first] = np.array([[1.0, -2.0], [3.0, -0.5]], np.float32).reshape(2, 1, 1, 2)
    weights[second] = np.array([[-1.0, 4.0]], np.float32)
    network.load_weights(weights)
    flow = 1 * (1 + 2) + 4 * (3 + 0.5)  # 17
    assert synflow(network) == pytest.approx(math.log(2 * flow))


def test_synflow_adds_what_each_kernel_carries() -> None:
    """In a chain every layer carries the whole flow: the score is ln(layers × R)."""
    graph = SPACE.build((68, 140, 380, 382), DIGITS)
    network = GraphNetwork(graph)
    score = synflow(network)
    with torch.no_grad():
        biases_are_gone = network(torch.ones(1, 1, 16, 16))  # all weights are positive by now
    flow = float(biases_are_gone.sum())
    assert score == pytest.approx(math.log(4 * flow), rel=1e-5)


def test_naswot_kernel_by_hand() -> None:  # D14
    """Codes 11, 10, 00: K = [[2,1,0],[1,2,1],[0,1,2]], whose determinant is 4."""
    codes = np.array([[1, 1], [1, 0], [0, 0]], dtype=bool)
    assert kernel_score(codes) == pytest.approx(math.log(4))
    same = np.array([[1, 1], [1, 1]], dtype=bool)
    assert kernel_score(same) == pytest.approx(math.log(4) + math.log(1e-6)), "singular"
    assert kernel_score(np.zeros((2, 0), dtype=bool)) == pytest.approx(2 * math.log(1e-6))


@pytest.mark.parametrize("sigmoid", [False, True])
def test_naswot_reads_the_signs_of_pre_activations(sigmoid: bool) -> None:
    """A sigmoid has the code of a rectifier on the same pre-activation; the classifier has none."""
    b = GraphBuilder((1, 1, 2))
    b.window("conv2d", 1, 1, "valid", filters=2, activation="none" if sigmoid else "relu")
    if sigmoid:
        b.pointwise("sigmoid")
    b.dense(3)
    network = GraphNetwork(b.build())
    weights = network.weights()
    name = next(iter(weights))
    weights[name] = np.eye(2, dtype=np.float32).reshape(2, 1, 1, 2)
    weights[name.replace("kernel", "bias")] = np.zeros(2, np.float32)
    network.load_weights(weights)
    images = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]).reshape(3, 2, 1, 1)
    assert naswot(network, images) == pytest.approx(math.log(4))


def test_grad_norm_by_hand() -> None:  # D14
    """One linear layer: the gradient is (softmax − target) ⊗ image."""
    b = GraphBuilder((1, 1, 2))
    b.dense(2)
    network = GraphNetwork(b.build())
    weights = {n: np.zeros_like(w) for n, w in network.weights().items()}
    network.load_weights(weights)
    image = torch.tensor([3.0, 4.0]).reshape(1, 2, 1, 1)
    score = grad_norm(network, image, torch.tensor([0]))
    assert score == pytest.approx(math.log(math.hypot(0.5, 0.5) * 5))
    assert all(parameter.grad is None for parameter in network.parameters())


def test_scores_repeat_and_leave_torchs_state_alone() -> None:
    graph = SPACE.build((68, 140, 380, 382), DIGITS)
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    one = scores(graph, digits(), (0, 1))
    assert torch.equal(torch.rand(2), expected)
    assert one.values == scores(graph, digits(), (0, 1)).values
    assert set(one.values) == set(one.seconds) == set(NAMES)
    single = [scores(graph, digits(), (seed,)).values["naswot"] for seed in (0, 1)]
    assert one.values["naswot"] == pytest.approx(np.mean(single))
    assert len(set(single)) == 2
    assert one.values["params"] == pytest.approx(math.log2(1 + _params(graph)))


def _params(graph: LayerGraph) -> int:
    return sum(int(np.prod(shape)) for shape in graph.weight_shapes().values())


def test_scores_read_training_images_only() -> None:
    data = digits()
    graph = SPACE.build((68, 140, 380, 382), DIGITS)
    blind = replace(data, valid_x=data.valid_x * 0, test_x=data.test_x * 0)
    assert scores(graph, blind, (0,)).values == scores(graph, data, (0,)).values


def test_scores_of_batch_norm_and_of_networks_whose_signal_dies() -> None:
    mobile = load_space("emnas-mobile-49").build((3, 26, 10, 48, 14, 27, 21, 49), DIGITS)
    dead = SPACE.build((297, 340, 246, 192, 382), DIGITS)
    for graph in (mobile, dead):
        assert np.isfinite(list(scores(graph, digits(), (0,)).values.values())).all()


# ------------------------------------------------------------------------------------ combined


def test_the_combination_finds_what_no_single_score_shows() -> None:  # D14
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    y = x[:, 0] - x[:, 1] + 0.1 * rng.normal(size=200)
    combined = RankCombination().fit(x[:120], ("a", "b", "c"), y[:120])
    tau = ranks(combined.predict(x[120:]), y[120:])["tau"]
    alone = max(abs(float(ranks(x[120:, i], y[120:])["tau"] or 0)) for i in range(3))
    assert tau is not None
    assert tau > alone + 0.15
    assert combined.chosen in ("ridge", "trees", "mean of both")
    monotone = np.exp(3 * x)
    again = RankCombination().fit(monotone[:120], ("a", "b", "c"), y[:120])
    assert np.array_equal(again.predict(monotone[120:]), combined.predict(x[120:])), "only ranks"


def test_a_single_score_that_says_it_all_is_kept() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 4))
    falling = -np.exp(x[:, 2])
    combined = RankCombination().fit(x, ("a", "b", "c", "d"), falling)
    assert combined.chosen == "c"
    assert ranks(combined.predict(x), falling)["tau"] == pytest.approx(1)


def test_too_few_networks_are_refused() -> None:
    with pytest.raises(EmNASError, match="19 networks .* give 20 or more"):
        RankCombination().fit(np.zeros((19, 2)), ("a", "b"), np.zeros(19))


def _scored(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Training networks of the committed table: scores (count, 5) and accuracies (count,)."""
    known = unpack(packed_path("emnas-382", "digits")).accuracies()
    chosen = [t for t in known if not is_test(SPACE.canonical_tokens(t))][:count]
    rows = [scores(SPACE.build(t, DIGITS), digits(), (0,)).values for t in chosen]
    table = np.array([[row[name] for name in NAMES] for row in rows])
    return table, np.array([known[t][0] for t in chosen])


def test_together_they_are_never_much_worse_than_the_best_of_them() -> None:  # D14
    """Held out in turn: 80 networks, four parts, the whole choice made without the part."""
    x, accuracy = _scored(80)
    predicted = np.zeros(len(x))
    for train, held in folds(len(x), 4):
        fitted = RankCombination().fit(x[train], NAMES, accuracy[train])
        predicted[held] = fitted.predict(x[held])
    combined = ranks(predicted, accuracy)["tau"]
    single = {name: ranks(x[:, i], accuracy)["tau"] for i, name in enumerate(NAMES)}
    assert combined is not None
    best = max(tau for tau in single.values() if tau is not None)
    assert combined >= best - 0.05, f"{combined} beside {single}"
    assert best > 0.2, "the scores say something"
