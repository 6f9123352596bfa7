"""The supernet: its sub-networks are the deployed networks, and only what is asked is computed."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from torch import Tensor, nn  # noqa: E402

from emnas_gym.branched.cell_space import CellSpace  # noqa: E402
from emnas_gym.errors import EvaluationError, InvalidArchitecture  # noqa: E402
from emnas_gym.space import CellSpaceName, load_space  # noqa: E402
from emnas_gym.tasks import DIGITS  # noqa: E402
from predictors.network import GraphNetwork  # noqa: E402
from predictors.supernet.layout import Part, fragments  # noqa: E402
from predictors.supernet.mixed_edge import shuffled  # noqa: E402
from predictors.supernet.mixture import Mixture, gates, one_hot, path, soft, softmax  # noqa: E402
from predictors.supernet.recalibration import recalibrate  # noqa: E402
from predictors.supernet.supernet import Supernet  # noqa: E402
from predictors.supernet.wirings import wiring  # noqa: E402

SPACES = get_args(CellSpaceName)
MINE = """
form = "cells"
name = "mine"
share = "stage"
[stem]
channels = 4
stride = 2
[[stages]]
channels = 4
cells = 2
[[stages]]
channels = 6
cells = 1
join = "reduction"
[cells.normal]
edges = [[0, 1], [1, 2], [0, 2], [2, 3], [1, 3]]
operations = ["none", "skip", "sep3x3", "max_pool3x3"]
first_operations = ["skip", "conv3x3"]
"""


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> CellSpace:
    path = tmp_path_factory.mktemp("space") / "mine.toml"
    path.write_text(MINE, encoding="utf-8")
    space = load_space(path)
    assert isinstance(space, CellSpace)
    return space


def _space(name: str) -> CellSpace:
    space = load_space(name)
    assert isinstance(space, CellSpace)
    return space


def _net(space: CellSpace, **options: int) -> Supernet:
    """A supernet whose batch norms are far from the identity, in evaluation mode."""
    net = Supernet(space, DIGITS, 3, **options)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(1)
        for norm in (m for m in net.modules() if isinstance(m, nn.BatchNorm2d)):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2.0)
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_()
    return net.eval()


def _images(count: int = 4, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 1, 16, 16, generator=generator)


@contextmanager
def calls(net: Supernet) -> Iterator[Counter[tuple[int, int, str]]]:
    """How often each operation (place, edge, name) is computed."""
    counts: Counter[tuple[int, int, str]] = Counter()
    handles = []
    for i, cell in enumerate(net.cells()):
        for j in range(len(cell.edges)):
            for name in cell.edge(j).operations:
                key = (i, j, name)

                def count(*_: object, key: tuple[int, int, str] = key) -> None:
                    counts[key] += 1

                handles.append(cell.edge(j).operation(name).register_forward_hook(count))
    yield counts
    for handle in handles:
        handle.remove()


# ------------------------------------------------------------------------------- sub-networks


@pytest.mark.parametrize("name", SPACES)
def test_a_sub_network_is_the_masked_supernet(name: str) -> None:  # D8, A7, A8
    _check_extraction(_space(name), 12)


def test_a_sub_network_of_a_users_space(mine: CellSpace) -> None:  # D8, A9
    _check_extraction(mine, 12)


def _check_extraction(space: CellSpace, count: int) -> None:
    net, images, rng = _net(space), _images(), np.random.default_rng(0)
    permuted = 0
    for _ in range(count):
        drawn = space.sample(rng, DIGITS)
        canonical = space.canonical_tokens(drawn.tokens)
        permuted += canonical != tuple(drawn.tokens)
        for tokens in (drawn.tokens, canonical):
            with torch.no_grad():
                masked = net(images, net.mixture_of(tokens))
                alone = GraphNetwork(drawn.graph(DIGITS)).eval()
                alone.load_weights(net.weights_of(tokens))
                assert torch.allclose(alone(images), masked, atol=1e-5, rtol=1e-5)
                assert torch.equal(net.network(tokens)(images), alone(images))
    if space.name in {"nb201-cell", "nb201-macro", "darts-cell"}:
        assert permuted > 0  # else nothing was seen of how names are mapped


def test_networks_of_one_graph_have_weights_of_their_own_edges() -> None:
    space = _space("nb201-cell")
    net, names = _net(space), list(space.operations)
    one = {n: "none" for n in names} | {"0→1": "conv3x3", "1→3": "conv1x1"}
    other = {n: "none" for n in names} | {"0→2": "conv3x3", "2→3": "conv1x1"}
    a, b = space.encode(one), space.encode(other)
    assert space.canonical_tokens(a) == space.canonical_tokens(b)
    first, second = net.weights_of(a), net.weights_of(b)
    assert first.keys() == second.keys()
    differing = {n for n in first if not np.array_equal(first[n], second[n])}
    assert len(differing) >= 4  # the kernels of two edges in two cells
    again = net.weights_of(space.canonical_tokens(b))
    assert all(np.array_equal(first[n], again[n]) for n in first) or all(
        np.array_equal(second[n], again[n]) for n in first
    )


def test_weights_are_shared_by_networks_and_not_by_places() -> None:  # D7, A10
    space = _space("nb201-cell")
    net = Supernet(space, DIGITS, 0)
    before = {name: p.data_ptr() for name, p in net.named_parameters()}
    used = []
    for operation in ("conv1x1", "skip"):  # of another edge
        tokens = space.encode({n: operation for n in space.operations} | {"0→1": "conv3x3"})
        net.zero_grad()
        net.train()(_images(), net.mixture_of(tokens)).sum().backward()
        used.append({p.data_ptr() for p in net.parameters() if p.grad is not None})
    shared = used[0] & used[1]
    conv = net.part(Part("edge", 0, 0, 3)).layer(fragments(space, DIGITS)[
        Part("edge", 0, 0, 3)].nodes[1])  # fmt: skip
    assert conv.weight.data_ptr() in shared
    assert used[0] != used[1]
    assert before == {name: p.data_ptr() for name, p in net.named_parameters()}
    assert len(set(before.values())) == len(before)


def test_cells_of_a_macro_space_may_differ() -> None:  # A11
    space = _space("nb201-macro")
    net = _net(space)
    names = list(space.operations)
    tokens = space.encode({n: "conv1x1" if n.startswith("cell 0") else "skip" for n in names})
    with calls(net) as counts, torch.no_grad():
        net(_images(), net.mixture_of(tokens))
    assert {(i, name) for i, _, name in counts} == {(0, "conv1x1"), (1, "skip")}


@pytest.mark.parametrize("cells", [1, 2])
def test_a_supernet_of_more_cells(cells: int) -> None:  # A8, A12
    _check_extraction(_space("darts-cell").with_cells(cells), 3)


def test_extraction_refuses_what_is_no_network() -> None:
    space = _space("nb201-cell")
    net = Supernet(space, DIGITS, 0)
    nothing = [first for first in space.first_token]  # none everywhere
    for call in (net.weights_of, net.mixture_of, net.network):
        with pytest.raises(InvalidArchitecture, match="no way leads"):
            call(nothing)
    with pytest.raises(InvalidArchitecture, match="cells"):
        Supernet(load_space("emnas-382"), DIGITS, 0)  # type: ignore[arg-type]


def test_seeds_decide_the_first_weights() -> None:
    space, before = _space("nb201-cell"), torch.random.get_rng_state()
    one, same, other = (Supernet(space, DIGITS, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(before, torch.random.get_rng_state())


# ------------------------------------------------------------------------------------- mixing


def _random_weights(net: Supernet, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        group: softmax(torch.randn(*w.offered.shape, generator=generator), w.offered)
        for group, w in net.wirings.items()
    }


def test_soft_mixing_is_the_weighted_sum() -> None:  # B20, G1
    """One cell with one node in the middle, against a loop of its own."""
    space = _space("lenna-reduction")
    net, images = _net(space), _images()
    weights = _random_weights(net)["normal"]
    with torch.no_grad():
        logits = net(images, {"normal": soft(weights, net.wirings["normal"].offered)})
        cell, stem = net.cells()[0], net.stem(images)
        values = [stem]
        for layer in range(1, 6):
            total = 0
            for k in range(layer):
                e = layer * (layer - 1) // 2 + k
                assert cell.wires.edges[e] == (k, layer)
                for j, name in enumerate(cell.wires.operations[e]):
                    total = total + weights[e, j] * cell.edge(e).operation(name)(values[k])
            values.append(total)
        assert torch.allclose(logits, net.head(values[-1]), atol=1e-5)


@pytest.mark.parametrize("name", ["nb201-cell", "darts-cell", "lenna-reduction"])
def test_gradients_of_soft_weights_are_those_of_finite_differences(name: str) -> None:  # B20
    net, images = _net(_space(name)).double(), _images().double()
    weights = {g: w.double().requires_grad_() for g, w in _random_weights(net).items()}

    def loss() -> Tensor:
        mixtures = {g: soft(weights[g], w.offered) for g, w in net.wirings.items()}
        return torch.logsumexp(net(images, mixtures), dim=1).sum()

    loss().backward()
    group, h = next(iter(weights)), 1e-6
    found = weights[group].grad
    assert found is not None
    for edge, operation in itertools.product((0, 3, 5), (0, 2)):
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                weights[group][edge, operation] += sign * h
                ends.append(float(loss()))
                weights[group][edge, operation] -= sign * h
        assert float(found[edge, operation]) == pytest.approx((ends[0] - ends[1]) / (2 * h), 1e-4)


def test_only_what_is_computed_is_computed() -> None:  # B22, G6
    space = _space("nb201-cell")
    net, images = _net(space), _images()
    wires = net.wirings["normal"]
    weights = torch.full(wires.offered.shape, 0.2)
    with calls(net) as counts, torch.no_grad():
        net(images, {"normal": soft(weights, wires.offered)})
    assert len(counts) == 2 * 6 * 4  # none computes nothing
    tokens = space.encode({n: "conv1x1" for n in space.operations} | {"0→1": "none"})
    with calls(net) as counts, torch.no_grad():
        net(images, net.mixture_of(tokens))
    # 1→2 and 1→3 read a node that nothing reaches
    assert set(counts) == {(i, e, "conv1x1") for i in (0, 1) for e in (1, 3, 5)}
    assert set(counts.values()) == {1}


def test_a_hard_path_with_soft_gradients() -> None:  # GDAS: forward of one path
    space = _space("nb201-cell")
    net, images, wires = _net(space), _images(), _net(space).wirings["normal"]
    parameters = torch.randn(6, 5, generator=torch.Generator().manual_seed(2)).requires_grad_()
    probabilities = softmax(parameters, wires.offered)
    mask = one_hot(np.array([3, 2, 1, 4, 2, 3]), wires.offered)
    hard = torch.from_numpy(mask).float() - probabilities.detach() + probabilities
    with calls(net) as counts:
        logits = net(images, {"normal": path(hard, mask)})
    assert len(counts) == 2 * 6
    tokens = tuple(f + int(o) for f, o in zip(space.first_token, mask.argmax(1), strict=True))
    with torch.no_grad():
        assert torch.allclose(logits, net(images, net.mixture_of(tokens)), atol=1e-4)
    logits.square().sum().backward()
    assert parameters.grad is not None
    assert (parameters.grad != 0).all()  # through the softmax to every parameter


def test_bad_mixtures_are_refused() -> None:
    net = Supernet(_space("nb201-cell"), DIGITS, 0)
    wires, images = net.wirings["normal"], _images()
    good = torch.full((6, 5), 0.2)
    with pytest.raises(InvalidArchitecture, match="decides normal"):
        net(images, {})
    with pytest.raises(InvalidArchitecture, match="diverged"):
        soft(good * torch.nan, wires.offered)
    with pytest.raises(InvalidArchitecture, match="shape"):
        soft(good, wires.offered[:5])
    with pytest.raises(InvalidArchitecture, match="exactly one"):
        gates(good, wires.offered)
    with pytest.raises(InvalidArchitecture, match="factors"):
        soft(good, wires.offered).with_edges(torch.ones(5))
    with pytest.raises(InvalidArchitecture, match="no way leads"):
        none = one_hot(np.zeros(6, dtype=np.int64), wires.offered)
        net(images, {"normal": path(good, none)})
    with pytest.raises(InvalidArchitecture, match="have not"):
        net(images, {"normal": Mixture(torch.ones(7, 5), np.ones((7, 5), dtype=bool))})
    with pytest.raises(InvalidArchitecture, match="no operations"):
        one_hot(np.full(6, 5), wires.offered)
    free = Supernet(_space("darts-cell"), DIGITS, 0)
    mixtures = free.mixture_of(_space("darts-cell").sample(np.random.default_rng(0)).tokens)
    empty = Mixture(mixtures["normal"].weights, np.zeros_like(mixtures["normal"].computed))
    with pytest.raises(InvalidArchitecture, match="no edge enters node 0"):
        free(images, mixtures | {"normal": empty})


# ------------------------------------------------------------------ partial channels, factors


def test_partial_channels_mix_a_part_and_pass_the_rest() -> None:  # PC-DARTS
    space = _space("nb201-cell").with_channels(8)
    net, images = _net(space, divisor=4), _images()
    wires, edge = net.wirings["normal"], net.cells()[0].edge(3)
    weights = _random_weights(net)["normal"]
    mixture = soft(weights, wires.offered).with_edges(torch.arange(6.0))
    x = torch.randn(4, 8, 16, 16, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        parts = [
            weights[3, j] * edge.operation(name)(x[:, :2])
            for j, name in enumerate(wires.operations[3])
            if name != "none"
        ]
        whole = torch.cat([torch.stack(parts).sum(0), x[:, 2:]], dim=1)
        assert torch.allclose(edge(x, mixture), 3 * shuffled(whole, 4), atol=1e-5)
        net(images, {"normal": mixture})
    order = shuffled(torch.arange(8.0).reshape(1, 8, 1, 1), 4).flatten().tolist()
    assert order == [0, 2, 4, 6, 1, 3, 5, 7]  # A18: a permutation
    with pytest.raises(InvalidArchitecture, match="fit no network"):
        net.weights_of(space.sample(np.random.default_rng(0)).tokens)
    with pytest.raises(InvalidArchitecture, match="divided by 3"):
        Supernet(space, DIGITS, 0, divisor=3)


@pytest.mark.parametrize("name", ["darts-cell", "lenna-reduction"])
def test_partial_channels_and_the_auxiliary_way_where_shapes_change(name: str) -> None:
    net = _net(_space(name), divisor=2)
    weights = {g: w.requires_grad_() for g, w in _random_weights(net).items()}
    mixtures = {g: soft(weights[g], w.offered).with_auxiliary(0.5) for g, w in net.wirings.items()}
    net(_images(), mixtures).sum().backward()
    for group, wires in net.wirings.items():
        grad = weights[group].grad
        assert grad is not None
        assert ((grad != 0).numpy() <= wires.offered).all()


def test_the_auxiliary_way_adds_the_input() -> None:  # DARTS-minus
    net = _net(_space("nb201-cell"))
    edge, wires = net.cells()[0].edge(0), net.wirings["normal"]
    mixture = soft(_random_weights(net)["normal"], wires.offered)
    x = torch.randn(2, 8, 16, 16, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        more = edge(x, mixture.with_auxiliary(0.25)) - edge(x, mixture)
    assert torch.allclose(more, 0.25 * x, atol=1e-5)


def test_batch_norms_without_scale_have_no_gradient() -> None:
    net = Supernet(_space("nb201-cell"), DIGITS, 0, affine=False)
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert not any(p.requires_grad for norm in norms for p in norm.parameters())
    assert any(p.requires_grad for p in net.parameters())


# ---------------------------------------------------------------------- tokens of weights


@pytest.mark.parametrize("name", SPACES)
def test_tokens_of_a_networks_own_mixture_are_its_tokens(name: str) -> None:  # B21
    space = _space(name)
    net, rng = Supernet(space, DIGITS, 0), np.random.default_rng(4)
    for _ in range(10):
        tokens = tuple(space.sample(rng, DIGITS).tokens)
        mixtures = net.mixture_of(tokens)
        assert net.tokens({g: m.weights for g, m in mixtures.items()}) == tokens


def test_a_disconnected_strongest_choice_becomes_the_best_connected_one() -> None:  # B21, A4
    """Against all cells of the space, by the product of weights."""
    space = _space("nb201-cell")
    net, rng = Supernet(space, DIGITS, 0), np.random.default_rng(5)
    wires, repaired = net.wirings["normal"], 0
    every = np.array(list(itertools.product(range(5), repeat=6)))
    cell = space.groups["normal"]
    connected = np.array([cell.connected(tuple(row)) for row in every.tolist()])
    for _ in range(20):
        weights = rng.dirichlet(np.ones(5), size=6)
        weights[:, 0] += rng.uniform(0.5, 2)
        repaired += not cell.connected(tuple(weights.argmax(1).tolist()))
        product = np.log(weights)[np.arange(6), every].sum(axis=1)
        best = every[np.where(connected, product, -np.inf).argmax()]
        tokens = net.tokens({"normal": weights})
        assert list(space.choices(tokens)["normal"]) == best.tolist()
    assert repaired >= 10
    space.check(tokens)
    only_none = np.eye(5)[np.zeros(6, dtype=int)]
    with pytest.raises(InvalidArchitecture, match="none alone weighs"):
        net.tokens({"normal": only_none})
    for bad in (np.full((6, 5), np.nan), np.full((6, 5), -1.0), np.ones((5, 5))):
        with pytest.raises(InvalidArchitecture):
            wires.decide(bad)
    with pytest.raises(InvalidArchitecture, match="missing"):
        net.tokens({})


def test_a_free_node_keeps_its_two_strongest_edges() -> None:  # B21, A12
    space = _space("darts-cell")
    net, rng = Supernet(space, DIGITS, 0), np.random.default_rng(6)
    weights = {g: rng.random(w.offered.shape) for g, w in net.wirings.items()}
    wires = net.wirings["normal"]
    chosen = wires.chosen(space.choices(net.tokens(weights))["normal"])
    for node in range(4):
        strength = {
            edge: weights["normal"][edge].max()
            for edge, (_, target) in enumerate(wires.edges)
            if target == 2 + node
        }
        two = sorted(sorted(strength, key=lambda e: -strength[e])[:2])
        assert [e for e, _ in chosen if wires.edges[e][1] == 2 + node] == two
    assert all(operation == weights["normal"][edge].argmax() for edge, operation in chosen)
    factors = {g: torch.ones(len(w.edges)) for g, w in net.wirings.items()}
    factors["normal"][[2, 3]] = torch.tensor([0.0, 0.0])  # two of the three edges of node 1
    with_factors = net.tokens(weights, factors)
    kept = [e for e, _ in wires.chosen(space.choices(with_factors)["normal"])]
    assert 4 in kept


# ------------------------------------------------------------------------------ recalibration


def test_recalibration_gives_the_statistics_of_the_batches() -> None:
    space = _space("nb201-cell")
    net = _net(space)
    network = net.network(space.sample(np.random.default_rng(0), DIGITS).tokens)
    images = _images(96)
    before = {n: p.clone() for n, p in network.named_parameters()}
    recalibrate(network, images, batch_size=32)
    assert not network.training
    node = network.graph.nodes[1]
    with torch.no_grad():
        pre = [network.without_norm(node, [part]) for part in images.split(32)]
    norm = network.norm(node)
    assert norm.momentum == 0.1
    assert norm.running_mean is not None
    assert norm.running_var is not None
    mean = torch.stack([p.mean(dim=(0, 2, 3)) for p in pre]).mean(0)
    variance = torch.stack([p.var(dim=(0, 2, 3)) for p in pre]).mean(0)
    assert torch.allclose(norm.running_mean, mean, atol=1e-5)
    assert torch.allclose(norm.running_var, variance, atol=1e-5)
    assert all(torch.equal(p, before[n]) for n, p in network.named_parameters())
    array = images.permute(0, 2, 3, 1).numpy()
    state = {n: b.clone() for n, b in network.named_buffers()}
    recalibrate(network, array, batch_size=32)
    assert all(torch.equal(b, state[n]) for n, b in network.named_buffers())
    with pytest.raises(EvaluationError, match="two images"):
        recalibrate(network, images[:1])


def test_space_file_is_read(tmp_path: Path, mine: CellSpace) -> None:  # A9
    """A user's space has a supernet as it is, stages of different widths included."""
    net = Supernet(mine, DIGITS, 0)
    assert list(net.wirings) == list(mine.groups)
    assert {w.offered.shape for w in net.wirings.values()} == {(5, 4)}
    assert not next(iter(net.wirings.values())).offered[0, 2:].any()


def test_a_cell_of_another_kind_has_no_wiring() -> None:
    with pytest.raises(InvalidArchitecture, match="unlike object"):
        wiring(object())  # type: ignore[arg-type]
