"""Training less: what each reduction changes, exactly, and what it costs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from emnas_gym import costs
from emnas_gym.errors import EmNASError, ShapeError
from emnas_gym.graph import GraphBuilder, LayerGraph
from emnas_gym.space import load_space
from emnas_gym.tasks import DIGITS
from predictors.datasets import Dataset, digits
from predictors.proxies.area_average import area_averaged
from predictors.proxies.rebuild import rebuilt
from predictors.proxies.reduced import (
    FewerEpochs,
    LowerResolution,
    Narrower,
    Setting,
    Shallower,
    Subset,
    estimate,
    reduce,
)
from predictors.training import Recipe, train

GOOD = (68, 140, 380, 382)  # conv 16 3×3/2, conv 32 3×3/2, dense 40, all relu
MOBILE = (3, 26, 10, 48, 14, 27, 21, 49)


def _few(count: int = 200) -> Dataset:
    data = digits()
    return replace(data, train_x=data.train_x[:count], train_y=data.train_y[:count])


def _setting(recipe: Recipe | None = None) -> Setting:
    graph = load_space("emnas-382").build(GOOD, DIGITS)
    return Setting(graph, _few(), recipe or Recipe(epochs=4))


def test_without_reductions_it_is_the_full_training() -> None:  # D1
    full = estimate(_setting(), (), seed=3)
    direct = train(_setting().graph, _few(), 3, Recipe(epochs=4))
    assert (full.accuracy, full.curve) == (direct.valid_accuracy, direct.curve)
    assert full.equivalents == direct.images / (4 * 200)


def test_the_cost_is_counted_in_images() -> None:  # D2, D3
    """Exact fractions: a quarter of the epochs, half of the images, an eighth both."""
    once = _setting(Recipe(epochs=4, attempts=1))
    assert estimate(once, (), 0).equivalents == 1.0
    assert estimate(once, [FewerEpochs(1)], 0).equivalents == 0.25
    half = reduce(once, [Subset(0.5)])
    exact = len(half.data.train_x) / 200
    assert exact == pytest.approx(0.5, abs=0.02)
    assert estimate(once, [Subset(0.5)], 0).equivalents == exact
    assert estimate(once, [Subset(0.5), FewerEpochs(1)], 0).equivalents == exact / 4
    for same in (Narrower(0.5), Shallower(), LowerResolution(12)):
        assert estimate(once, [same], 0).equivalents == 1.0


def test_a_subset_is_balanced_and_leaves_the_other_parts_alone() -> None:  # D3
    data = digits()
    setting = replace(_setting(), data=data)
    for share in (0.5, 0.1, 0.001):
        part = Subset(share).apply(setting).data
        whole, kept = np.bincount(data.train_y), np.bincount(part.train_y)
        assert np.abs(kept - np.maximum(whole * share, 1)).max() <= 0.5
        images = {image.tobytes() for image in data.train_x}
        assert all(image.tobytes() in images for image in part.train_x)
        assert len({image.tobytes() for image in part.train_x}) == len(part.train_x)
        assert part.valid_x is data.valid_x
        assert part.test_x is data.test_x
    one, same, other = (Subset(0.2, s).apply(setting).data.train_x for s in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert _labelled(Subset(0.2).apply(setting).data) <= _labelled(data), "each keeps its class"


def _labelled(data: Dataset) -> set[tuple[bytes, int]]:
    pairs = zip(data.train_x, data.train_y.tolist(), strict=True)
    return {(image.tobytes(), label) for image, label in pairs}


def test_area_average_by_hand() -> None:  # D4
    image = np.arange(9, dtype=np.float32).reshape(1, 3, 3, 1)
    assert area_averaged(image, 1, 1)[0, 0, 0, 0] == pytest.approx(4)
    halves = area_averaged(image, 2, 3)[0, :, :, 0]  # 1.5 rows each: the middle one is shared
    assert halves == pytest.approx(np.array([[1, 2, 3], [5, 6, 7]]))
    big = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype(np.float32)
    blocks = big.reshape(2, 8, 2, 8, 2, 3).mean(axis=(2, 4))
    assert area_averaged(big, 8, 8) == pytest.approx(blocks, abs=1e-6)
    assert area_averaged(big, 16, 16) == pytest.approx(big)


def test_lower_resolution_builds_the_network_anew() -> None:  # D4
    smaller = reduce(_setting(), [LowerResolution(12)])
    assert smaller.data.task.input_shape == smaller.graph.input_shape == (12, 12, 1)
    assert smaller.data.test_x.shape[1:] == (12, 12, 1)
    assert [n.op for n in smaller.graph] == [n.op for n in _setting().graph]
    assert costs.macs(smaller.graph) < costs.macs(_setting().graph)
    valid = GraphBuilder((16, 16, 1))
    valid.window("conv2d", 9, 1, "valid", filters=4)
    valid.dense(10)
    deep = Setting(valid.build(), _few())
    with pytest.raises(ShapeError, match="a window of 9 does not fit a map of 8"):
        LowerResolution(8).apply(deep)


def test_a_narrower_network_has_rounded_up_widths_and_all_classes() -> None:  # D5
    graph = reduce(_setting(), [Narrower(0.3)]).graph
    assert [n.shape[-1] for n in graph if n.op in ("conv2d", "dense")] == [5, 10, 12, 10]
    depthwise = load_space("emnas-mobile-49").build(MOBILE, DIGITS)
    half = reduce(Setting(depthwise, _few()), [Narrower(0.5)]).graph
    assert half.output_shape == (10,)
    assert [n.op for n in half] == [n.op for n in depthwise]
    assert costs.params(half) < 0.35 * costs.params(depthwise)


def _stack() -> LayerGraph:
    b = GraphBuilder((16, 16, 1))
    for filters, stride in ((4, 1), (5, 1), (6, 2), (7, 1), (8, 1)):
        b.window("conv2d", 3, stride, "same", filters=filters)
        b.pointwise("sigmoid")
    b.dense(9, "relu")
    b.dense(10)
    b.pointwise("softmax")
    return b.build()


def test_a_shallower_network_loses_layers_by_the_stated_rule() -> None:  # D5
    """The first layer, the strided one and the classifier stay; of the rest go 1st, 3rd …"""
    setting = Setting(_stack(), _few())

    def widths(every: int) -> list[int]:
        graph = Shallower(every).apply(setting).graph
        assert sum(n.op == "sigmoid" for n in graph) == sum(n.op == "conv2d" for n in graph)
        return [n.shape[-1] for n in graph if n.op in ("conv2d", "dense")]

    assert widths(2) == [4, 6, 7, 9, 10]  # of 5, 7, 8, 9
    assert widths(1) == [4, 6, 10]
    assert widths(3) == [4, 6, 7, 8, 10]
    assert widths(99) == [4, 6, 7, 8, 9, 10]


def test_rebuilt_unchanged_is_the_same_graph() -> None:
    b = GraphBuilder((8, 8, 3))
    first = b.window("conv2d", 3, 1, "same", filters=4, activation="relu", batch_norm=True)
    b.pad((1, 0, 0, 1))
    b.slice((1, 0, 0), (9, 8, 4), (1, 1, 1))
    b.join("add", (first, b.window("depthwise_conv2d", 3, 1, "same", dilation=2)))
    b.window("avg_pool2d", 2, 2, "valid")
    b.pointwise("dropout", rate=0.2)
    b.mean()
    b.dense(10)
    b.pointwise("softmax")
    rng = np.random.default_rng(0)
    graphs = [b.build(), load_space("emnas-mobile-49").build(MOBILE, DIGITS)]
    graphs += [load_space("emnas-382").sample(rng, DIGITS).graph(DIGITS) for _ in range(20)]
    for graph in graphs:
        assert rebuilt(graph) == graph


@pytest.mark.parametrize(
    "reduction",
    [FewerEpochs(0), Subset(0.0), Subset(1.5), Narrower(0), LowerResolution(99), Shallower(0)],
    ids=str,
)
def test_nonsense_is_refused(reduction: object) -> None:
    with pytest.raises(EmNASError, match="a training proxy cannot be made"):
        reduction.apply(_setting())  # type: ignore[attr-defined]


def test_watching_a_training_changes_nothing_until_it_stops_it() -> None:  # D1, D13
    setting = _setting()
    whole = train(setting.graph, setting.data, 0, setting.recipe)
    seen: list[list[float]] = []
    watched = train(
        setting.graph, setting.data, 0, setting.recipe, watch=lambda c: bool(seen.append(c))
    )
    assert (watched.curve, watched.images) == (whole.curve, whole.images)
    assert seen == [list(whole.curve[: i + 1]) for i in range(4)]
    stopped = train(
        setting.graph, setting.data, 0, setting.recipe, watch=lambda curve: len(curve) == 2
    )
    assert stopped.curve == whole.curve[:2]
    assert stopped.train_loss == whole.train_loss[:2]
    assert stopped.images == 2 * 200


def test_what_is_stopped_before_it_learned_begins_again() -> None:
    """Two epochs of each of six attempts, as six whole attempts without a watch."""
    graph = load_space("emnas-382").build((297, 340, 246, 192, 382), DIGITS)
    stuck = train(graph, _few(), 0, Recipe(epochs=3), watch=lambda curve: len(curve) == 2)
    assert stuck.images == 6 * 2 * 200
