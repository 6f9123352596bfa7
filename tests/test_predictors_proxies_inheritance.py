"""Children that compute what their parents did, to rounding, and what cannot be inherited."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from emnas_gym.errors import InvalidArchitecture, NotPreserving
from emnas_gym.graph import WEIGHTED, GraphBuilder, LayerGraph
from emnas_gym.space import SearchSpace, load_space
from emnas_gym.tasks import DIGITS
from emnas_gym.variation import mutate
from hardware.random_weights import random_weights
from predictors.datasets import digits
from predictors.network import GraphNetwork
from predictors.proxies.inheritance import closest, inherit
from predictors.proxies.rebuild import hidden_layers, rebuilt
from predictors.training import Recipe, train

SPACE = load_space("emnas-382")
MOBILE = load_space("emnas-mobile-49")
Weights = dict[str, np.ndarray]


def _token(space: SearchSpace, **fields: object) -> int:
    """Id of the first token with these fields."""
    return next(
        token
        for token in range(1, space.num_tokens + 1)
        if all(getattr(space.spec(token), name) == value for name, value in fields.items())
    )


def _conv(filters: int, kernel: int = 3, stride: int = 1, activation: str = "relu") -> int:
    fields = {"filters": filters, "kernel": kernel, "stride": stride, "activation": activation}
    return _token(SPACE, kind="conv", padding="same", **fields)


def _dense(units: int, activation: str = "relu") -> int:
    return _token(SPACE, kind="dense", units=units, activation=activation)


DEPTHWISE = _token(
    SPACE, kind="depthwise", kernel=3, stride=1, padding="same", activation="relu", filters=8
)
DROPOUT, END = _token(SPACE, kind="dropout"), SPACE.num_tokens


def _build(*tokens: int, space: SearchSpace = SPACE) -> LayerGraph:
    return space.build(tokens, DIGITS)


def _weights(graph: LayerGraph, seed: int = 0) -> Weights:
    """All parts drawn, batch norm's running figures too, so that nothing vanishes by chance."""
    weights, rng = random_weights(graph, seed), np.random.default_rng(seed)
    for name, value in weights.items():
        if name.endswith(("bias", "beta", "mean")):
            value += rng.normal(0, 0.2, value.shape).astype(np.float32)
        if name.endswith(("gamma", "variance")):
            value *= rng.uniform(0.5, 1.5, value.shape).astype(np.float32)
    return weights


def _outputs(graph: LayerGraph, weights: Weights) -> np.ndarray:
    network = GraphNetwork(graph).eval()
    network.load_weights(weights)
    images = torch.from_numpy(digits().train_x[:40].transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        return network(images).numpy()


def _check_same(parent: LayerGraph, child: LayerGraph, seed: int = 0) -> Weights:
    weights = _weights(parent, seed)
    new = inherit(parent, weights, child, seed)
    assert {n: w.shape for n, w in new.items()} == child.weight_shapes()
    before, after = _outputs(parent, weights), _outputs(child, new)
    assert np.ptp(before) > 1e-2, "the outputs say something"
    assert np.abs(before - after).max() <= 1e-4
    return new


PARENT = (_conv(8, stride=2), DEPTHWISE, _conv(16, activation="sigmoid"), _dense(8), END)
CHILDREN = {
    "equal": PARENT,
    "wider first": (_conv(40, stride=2), DEPTHWISE, PARENT[2], _dense(8), END),
    "wider under a sigmoid": (*PARENT[:2], _conv(40, activation="sigmoid"), _dense(8), END),
    "wider dense": (*PARENT[:3], _dense(40), END),
    "wider everywhere": (
        _conv(16, stride=2), DEPTHWISE, _conv(24, activation="sigmoid"), _dense(20), END,
    ),
    "one more convolution": (*PARENT[:1], _conv(8), *PARENT[1:]),
    "one more and wider": (*PARENT[:1], _conv(24), *PARENT[1:]),
    "one more of even window": (*PARENT[:1], _conv(8, kernel=2), *PARENT[1:]),
    "one more depthwise": (*PARENT[:2], DEPTHWISE, *PARENT[2:]),
    "rectifier after a sigmoid": (*PARENT[:3], _conv(16), *PARENT[3:]),
    "one more dense": (*PARENT[:4], _dense(8), END),
    "one more dense, wider": (*PARENT[:4], _dense(24), END),
    "dropout": (*PARENT[:1], DROPOUT, *PARENT[1:]),
    "all of it": (
        _conv(24, stride=2), _conv(32), DEPTHWISE, DROPOUT, DEPTHWISE,
        _conv(40, activation="sigmoid"), _dense(12), _dense(16), END,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHILDREN)
def test_a_grown_child_computes_the_same(name: str) -> None:  # D9
    child = _build(*CHILDREN[name])
    for seed in range(3):
        _check_same(_build(*PARENT), child, seed)


def test_equal_networks_inherit_equal_weights() -> None:
    graph = _build(*PARENT)
    weights = _weights(graph)
    assert all(np.array_equal(w, weights[n]) for n, w in inherit(graph, weights, graph).items())


def test_a_larger_window_has_zeros_around() -> None:  # D9
    small, large = (_build(_conv(8, k), _conv(8, 1, 2), _dense(8), END) for k in (1, 3))
    new = _check_same(small, large)
    kernel = next(value for name, value in new.items() if name.endswith("kernel"))
    assert np.count_nonzero(kernel) == 8
    even = _build(_conv(8, 2), _conv(8, 1, 2), _dense(8), END)
    _check_same(small, even)
    _check_same(even, large)


def test_shares_tell_copies_apart_and_add_up() -> None:
    """Two copies with equal shares would have equal gradients for ever."""
    parent = _build(_conv(8, stride=2), _conv(8), _dense(8), END)
    child = _build(_conv(16, stride=2), _conv(8), _dense(8), END)
    new = inherit(parent, _weights(parent), child)
    first, second = (v for n, v in new.items() if n.endswith("kernel") and v.ndim == 4)
    for i in range(8, 16):
        origin = next(j for j in range(8) if np.array_equal(first[j], first[i]))
        assert not np.allclose(second[..., i], second[..., origin])
    old = _weights(parent)[next(n for n in _weights(parent) if n.startswith("conv2d_2"))]
    assert second.sum(axis=-1) == pytest.approx(old.sum(axis=-1), abs=1e-4)


def test_batch_norm_chains_of_the_mobile_space() -> None:  # D9
    rng = np.random.default_rng(3)
    for seed in range(6):
        sampled = MOBILE.sample(rng, DIGITS).graph(DIGITS)
        layers = [n.name for n in hidden_layers(sampled) if n.op == "conv2d"]
        parent = rebuilt(sampled, widths=dict.fromkeys(layers, 12))
        grown = [n.name for n in hidden_layers(parent) if n.op == "conv2d"]
        _check_same(parent, rebuilt(parent, widths=dict.fromkeys(grown, 20)), seed)
    more = _token(MOBILE, kind="depthwise", stride=1, padding="same")
    one = _token(MOBILE, kind="conv", filters=32, kernel=3, stride=1)
    tokens = (3, 26, 10, 48, 14, 27, 21, 49)
    for extra in ((more,), (one,), (one, more)):  # relu6 after relu6 is an identity
        _check_same(_build(*tokens, space=MOBILE), _build(3, *extra, *tokens[1:], space=MOBILE))


def test_any_widening_of_sampled_networks() -> None:  # D9
    rng = np.random.default_rng(1)
    for seed in range(30):
        parent = SPACE.sample(rng, DIGITS).graph(DIGITS)
        layers = [n for n in hidden_layers(parent) if n.op != "depthwise_conv2d"]
        widths = {n.name: n.shape[-1] + int(rng.integers(0, 9)) for n in layers}
        weights = _weights(parent, seed)
        child = rebuilt(parent, widths=widths)
        gap = _outputs(parent, weights) - _outputs(child, inherit(parent, weights, child, seed))
        assert np.abs(gap).max() <= 1e-4


def test_a_dense_layer_on_a_map() -> None:
    def graph(extra: bool) -> LayerGraph:
        b = GraphBuilder((16, 16, 1))
        b.window("conv2d", 3, 4, "same", filters=5 if extra else 3, activation="relu")
        if extra:
            b.dense(4 * 4 * 5 + 3, "relu")
        b.dense(10)
        b.pointwise("softmax")
        return b.build()

    _check_same(graph(False), graph(True))


REFUSED = {
    "narrower": (_conv(8, stride=2), DEPTHWISE, _conv(8, activation="sigmoid"), _dense(8), END),
    "another activation": (*PARENT[:2], _conv(16), *PARENT[3:]),
    "another stride": (_conv(8), *PARENT[1:]),
    "fewer layers": (*PARENT[:1], *PARENT[2:]),
    "a further sigmoid": (*PARENT[:1], _conv(8, activation="sigmoid"), *PARENT[1:]),
    "a further dense layer too narrow": (*PARENT[:4], _dense(4), END),
    "a further layer that shrinks the map": (*PARENT[:1], _conv(8, stride=2), *PARENT[1:]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_preserved_is_refused(name: str) -> None:  # D9
    parent = _build(*PARENT)
    with pytest.raises(NotPreserving, match="cannot compute what its parent does: at"):
        inherit(parent, _weights(parent), _build(*REFUSED[name]))


def test_a_rectifier_on_what_may_be_negative_is_no_identity() -> None:
    def graph(extra: bool) -> LayerGraph:
        b = GraphBuilder((16, 16, 1))
        if extra:
            b.window("conv2d", 3, 1, "same", filters=1, activation="relu")
        b.window("depthwise_conv2d", 3, 2, "same")
        b.dense(10)
        return b.build()

    parent = graph(False)
    with pytest.raises(NotPreserving):
        inherit(parent, _weights(parent), graph(True))


def test_other_inputs_outputs_and_branches_are_refused() -> None:
    b = GraphBuilder((16, 16, 1))
    one = b.window("conv2d", 3, 1, "same", filters=4)
    b.join("add", (one, b.window("conv2d", 3, 1, "same", filters=4)))
    b.dense(10)
    branched, chain = b.build(), _build(*PARENT)
    with pytest.raises(NotPreserving, match="only chains"):
        inherit(branched, _weights(branched), branched)
    with pytest.raises(NotPreserving, match="is read instead of"):
        inherit(chain, _weights(chain), rebuilt(chain, (12, 12, 1)))
    classes = GraphBuilder((16, 16, 1))
    classes.dense(3)
    with pytest.raises(NotPreserving, match="is given instead of"):
        inherit(chain, _weights(chain), classes.build())


# ----------------------------------------------------------------------------------------- closest


def test_layers_that_are_alike_are_copied_in_order() -> None:
    parent, child = _build(*PARENT), _build(_conv(40), *PARENT[1:])
    weights = _weights(parent)
    new = closest(parent, weights, child)
    names = [n.name for n in child if n.op in WEIGHTED]
    assert {name.partition("/")[0] for name in new} == {names[-1]}, "maps and channels differ"
    longer = _build(*PARENT[:1], DEPTHWISE, *PARENT[1:])
    copied = closest(parent, weights, longer)
    assert len({name.partition("/")[0] for name in copied}) == 5
    assert all(np.array_equal(copied[n], w) for n, w in copied.items())
    assert closest(parent, weights, parent).keys() == weights.keys()


def test_any_mutated_child_can_begin_from_what_is_alike() -> None:
    few = replace(digits(), train_x=digits().train_x[:64], train_y=digits().train_y[:64])
    rng, recipe = np.random.default_rng(0), Recipe(epochs=1, init_images=32, attempts=1)
    for _ in range(5):
        mother = SPACE.sample(rng, DIGITS)
        parent = mother.graph(DIGITS)
        child = _build(*mutate(SPACE.automaton(DIGITS), mother.tokens, rng))
        begun = train(parent, few, 0, recipe)
        given = closest(parent, begun.weights, child)
        assert given, "a mutation leaves something as it was"
        result = train(child, few, 0, recipe, weights=given)
        assert result.images == 64


def test_training_begins_from_the_weights_it_is_given() -> None:  # D10
    """With a rate of next to nothing it ends where it began."""
    still = Recipe(epochs=1, learning_rate=1e-9, weight_decay=0, attempts=1)
    graph = _build(*PARENT)
    weights = _weights(graph)
    result = train(graph, digits(), 0, still, weights=weights)
    assert all(np.allclose(result.weights[n], w, atol=1e-5) for n, w in weights.items())
    name = next(iter(weights))
    layer = {n: w for n, w in weights.items() if n.startswith(name.partition("/")[0])}
    part = train(graph, digits(), 0, still, weights=layer).weights
    assert np.allclose(part[name], weights[name], atol=1e-5)
    assert sum(np.allclose(part[n], w, atol=1e-3) for n, w in weights.items()) < len(weights)
    with pytest.raises(InvalidArchitecture):
        train(graph, digits(), 0, still, weights={"nowhere/kernel": np.zeros(3)})


SMALL = (_conv(8, stride=2), _conv(16, stride=2), _dense(16), END)
GROWN = (_conv(16, stride=2), _conv(16), _conv(24, stride=2), _dense(32), END)


@pytest.mark.slow
def test_a_warm_start_needs_fewer_epochs() -> None:  # D10
    """Epochs until 88 % of the validation images are right, of ten pairs of parent and child."""
    parent, child = _build(*SMALL), _build(*GROWN)
    target, sooner = 0.88, 0

    def epochs(seed: int, weights: Weights | None) -> int:
        result = train(
            child, digits(), seed, Recipe(), weights=weights, watch=lambda c: c[-1] >= target
        )
        assert result.valid_accuracy >= target
        return len(result.curve)

    for seed in range(10):
        taught = train(parent, digits(), seed, Recipe(epochs=8))
        warm = epochs(seed, inherit(parent, taught.weights, child, seed))
        sooner += warm < epochs(seed, None)
    assert sooner >= 8
