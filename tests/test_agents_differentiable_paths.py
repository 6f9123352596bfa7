"""Searches that compute one path a step: GDAS and ProxylessNAS."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import gradient_worlds
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from torch import Tensor  # noqa: E402
from torch.nn import functional  # noqa: E402

from agents.differentiable.divergence import SearchDiverged  # noqa: E402
from agents.differentiable.gdas import GdasConfig, GdasSearch  # noqa: E402
from agents.differentiable.ground import Ground  # noqa: E402
from agents.differentiable.paths import connected, is_connected  # noqa: E402
from agents.differentiable.proxyless import ProxylessConfig, ProxylessSearch  # noqa: E402
from agents.differentiable.supernet_weights import Batch  # noqa: E402
from predictors.lenna.expected import TableLatency  # noqa: E402
from predictors.lenna.make_table import make_table  # noqa: E402
from predictors.supernet.mixture import gates, one_hot, path, softmax  # noqa: E402

SHORT = {"epochs": 3, "warm_up": 1, "batch_size": 12}
WITHOUT_NONE = ("skip", "avg_pool3x3", "conv1x1")
Array = np.ndarray


def _proxyless(
    folder: Path, operations: tuple[str, ...] = WITHOUT_NONE, latency: bool = False, **options: Any
) -> ProxylessSearch:
    problem = gradient_worlds.small_problem(folder, gradient_worlds.cell_space(folder, operations))
    known = {"latency_target": "macs"} if latency else {}
    config = ProxylessConfig(**(SHORT | known | options))
    ground = Ground.of(problem, config, "proxyless")
    term = None
    if latency:
        term = TableLatency(make_table(ground.space, "macs", ground.data.task))
    return ProxylessSearch(ground, config, 1, term)


def _set(search: ProxylessSearch | GdasSearch, seed: int = 0) -> Tensor:
    alpha = search.alphas.operations["normal"]
    with torch.no_grad():
        alpha.copy_(torch.randn(alpha.shape, generator=torch.Generator().manual_seed(seed)))
    return alpha


# ------------------------------------------------------------------------------------------ GDAS


def _gdas(folder: Path, **options: Any) -> GdasSearch:
    problem = gradient_worlds.small_problem(folder)
    config = GdasConfig(**(SHORT | options))
    return GdasSearch(Ground.of(problem, config, "gdas"), config, 1)


def test_gdas_computes_one_path_whose_weights_are_one(tmp_path: Path) -> None:  # B20
    search = _gdas(tmp_path)
    wires = search.net.wirings["normal"]
    seen = set()
    for _ in range(60):
        mixture = search.mixtures(search.alphas)["normal"]
        assert (mixture.computed.sum(axis=1) == 1).all()
        assert is_connected(wires, mixture.computed)
        assert np.allclose(mixture.values, mixture.computed, atol=1e-6)
        seen.add(tuple(mixture.computed.argmax(axis=1).tolist()))
    assert len(seen) > 8


def test_gdas_draws_operations_as_likely_as_they_are(tmp_path: Path) -> None:
    """The Gumbel-max trick: k = argmax(α + g) has the probabilities softmax(α), at any τ."""
    search = _gdas(tmp_path, temperature=5.0)
    alpha = _set(search)
    with torch.no_grad():
        alpha[:, 0] = -30.0  # never none, so that no draw is refused
    count, found = 2000, np.zeros((3, 3))
    for _ in range(count):
        found += search.mixtures(search.alphas.detached())["normal"].computed
    p = search.alphas.detached().probabilities()["normal"].numpy()
    assert (np.abs(found / count - p) <= 3.5 * np.sqrt(p * (1 - p) / count) + 1e-9).all()


def test_gdas_goes_through_the_softmax_at_its_temperature(tmp_path: Path) -> None:
    """∂/∂α of one draw by the chain rule: Σ_o ∂L/∂h_o · ∂p̃_o/∂α, h_o of what is computed."""
    search = _gdas(tmp_path, temperature=2.0, last_temperature=2.0)
    alpha = _set(search)
    state = search.generator.get_state()
    valid = search.batch(search.architecture_rows)
    (found,) = search.architecture_gradient(valid, valid)
    search.generator.set_state(state)
    mixture = search.mixtures(search.alphas)["normal"]
    weights = torch.from_numpy(mixture.computed).float().requires_grad_()
    loss = functional.cross_entropy(
        search.net(valid.x, {"normal": path(weights, mixture.computed)}), valid.y
    )
    (of_hard,) = torch.autograd.grad(loss, [weights])
    (expected,) = torch.autograd.grad((mixture.weights * of_hard).sum(), [alpha])
    assert torch.allclose(found, expected, atol=1e-6)
    assert float(found.abs().max()) > 0


def test_the_temperature_falls_on_a_straight_line(tmp_path: Path) -> None:
    search = _gdas(tmp_path, temperature=10.0, last_temperature=0.1)
    seen = [search.temperature]
    for _ in range(2):
        search.run_epoch()
        seen.append(search.temperature)
    assert seen == pytest.approx([10.0, 5.05, 0.1])


def test_where_only_none_is_left_nothing_is_drawn_for_ever(tmp_path: Path) -> None:
    search = _gdas(tmp_path)
    wires = search.net.wirings["normal"]
    empty = one_hot(np.zeros(3, dtype=np.int64), wires.offered)
    with pytest.raises(SearchDiverged, match="nearly all probability is on none"):
        connected(lambda: empty, wires, lambda mask: mask)


# ------------------------------------------------------------------------------------- Proxyless


def _paths() -> list[tuple[int, ...]]:
    return list(itertools.product(range(3), repeat=3))


def _loss_of(search: ProxylessSearch, batch: Batch, chosen: tuple[int, ...]) -> float:
    mask = one_hot(np.array(chosen), search.net.wirings["normal"].offered)
    with torch.no_grad():
        logits = search.net(batch.x, {"normal": path(torch.from_numpy(mask).float(), mask)})
        return float(functional.cross_entropy(logits, batch.y))


def _within(samples: list[Array], expected: Array, errors: float = 3.0) -> None:
    """The mean lies within standard errors, which are small enough to show something."""
    error = np.std(samples, axis=0, ddof=1) / math.sqrt(len(samples))
    assert (np.abs(np.mean(samples, axis=0) - expected) <= errors * error + 1e-7).all()
    assert error.max() < 0.35 * np.abs(expected).max()


def test_the_gate_estimator_is_unbiased(tmp_path: Path) -> None:  # B22
    """The agent's own step, against Σ over all paths of p(path) · its gradient by the gates."""
    search = _proxyless(tmp_path)
    alpha = _set(search)
    batch = search.batch(search.architecture_rows)
    p = softmax(alpha, search.net.wirings["normal"].offered)
    expected = torch.zeros_like(alpha)
    for chosen in _paths():
        active = one_hot(np.array(chosen), search.net.wirings["normal"].offered)
        shares = softmax(alpha, search.net.wirings["normal"].offered)
        logits = search.net(batch.x, {"normal": gates(shares, active)})
        (one,) = torch.autograd.grad(functional.cross_entropy(logits, batch.y), [alpha])
        expected += one * p.detach()[range(3), list(chosen)].prod()
    samples = [search.architecture_gradient(batch, batch)[0].numpy() for _ in range(300)]
    _within(samples, expected.numpy())


@pytest.mark.parametrize("operations", [WITHOUT_NONE, ("none", "skip", "conv1x1")])
def test_reinforce_is_unbiased(tmp_path: Path, operations: tuple[str, ...]) -> None:  # B22, G19
    """Against ∂/∂α of the expected loss over all paths, that of latency among it."""
    options = {"form": "reinforce", "samples": 8, "latency_weight": 1.5, "latency": True}
    search = _proxyless(tmp_path, operations, **options)
    assert search.latency is not None
    wires, alpha = search.net.wirings["normal"], _set(search)
    batch = search.batch(search.architecture_rows)
    p, expected = softmax(alpha, wires.offered), torch.zeros(())
    for chosen in _paths():
        mask = one_hot(np.array(chosen), wires.offered)
        value = math.log(search.net.task.classes)
        if is_connected(wires, mask):
            value = _loss_of(search, batch, chosen) + search.latency.of_path({"normal": mask})
        expected = expected + value * p[range(3), list(chosen)].prod()
    (exact,) = torch.autograd.grad(expected, [alpha])
    samples = [search.architecture_gradient(batch, batch)[0].numpy() for _ in range(150)]
    _within(samples, exact.numpy())


def test_the_two_form_moves_two_and_leaves_all_other_probabilities(tmp_path: Path) -> None:
    many = ("skip", "avg_pool3x3", "max_pool3x3", "conv1x1", "conv3x3")
    search = _proxyless(tmp_path, many, form="two", latency=True, latency_weight=1.0)
    alpha = _set(search)
    before = search.alphas.detached().probabilities()["normal"].clone()
    train, valid = search.batch(search.weight_rows), search.batch(search.architecture_rows)
    search._architecture_step(train, valid, 0)
    assert search._pairs is not None
    pair = torch.from_numpy(search._pairs["normal"])
    after = search.alphas.detached().probabilities()["normal"]
    assert (pair.sum(dim=1) == 2).all()
    assert torch.allclose(after[~pair], before[~pair], atol=1e-6)
    assert (after[pair] - before[pair]).abs().min() > 1e-5
    assert torch.isfinite(alpha).all()


def test_pairs_are_drawn_by_their_probabilities_and_one_of_them_is_open(tmp_path: Path) -> None:
    search = _proxyless(tmp_path, form="two")
    alpha = _set(search)
    wires, count = search.net.wirings["normal"], 1500
    shares = softmax(alpha.detach(), wires.offered).numpy().astype(float)
    first = shares[0]
    expected = {
        frozenset((i, j)): first[i] * first[j] / (1 - first[i])
        + first[j] * first[i] / (1 - first[j])
        for i, j in itertools.combinations(range(3), 2)
    }
    seen = dict.fromkeys(expected, 0)
    for _ in range(count):
        pair, active = search._pair(alpha.detach(), wires)
        assert (active.sum(axis=1) == 1).all()
        assert not (active & ~pair).any()
        seen[frozenset(np.flatnonzero(pair[0]).tolist())] += 1
    for pairs, share in expected.items():
        error = math.sqrt(share * (1 - share) / count)
        assert abs(seen[pairs] / count - share) < 3.5 * error


@pytest.mark.parametrize("form", ["gradient", "two", "reinforce"])
def test_one_path_is_active_in_every_step(tmp_path: Path, form: str) -> None:  # B22
    search = _proxyless(tmp_path, form=form, samples=2)
    seen: list[Array] = []
    forward = search.net.forward

    def noting(images: Tensor, mixtures: Any) -> Tensor:
        seen.append(mixtures["normal"].computed)
        found: Tensor = forward(images, mixtures)
        return found

    search.net.forward = noting  # type: ignore[method-assign]
    search.run_epoch()
    search.run_epoch()
    assert len(seen) >= 5
    assert all((computed.sum(axis=1) == 1).all() for computed in seen)


def test_rewards_are_held_against_a_running_mean(tmp_path: Path) -> None:
    search = _proxyless(tmp_path, form="reinforce", samples=2, baseline=0.5)
    batch = search.batch(search.architecture_rows)
    search.architecture_gradient(batch, batch)
    first = search._expected_reward
    assert first is not None
    drawn = [search._rewarded(batch) for _ in range(3)]
    zero = search._score_gradient([(masks, -1.25) for masks, _ in drawn], -1.25)
    assert float(zero[0].abs().max()) == 0, "what was expected changes nothing"
    assert -math.log(3) * 2 < first < 0
