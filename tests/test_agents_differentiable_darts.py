"""DARTS: plain without latency, exact through one step, fair to the ledger, the same again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradient_worlds
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from torch.nn import functional  # noqa: E402

from agents.base import NotLearned, OptionError  # noqa: E402
from agents.differentiable.darts import Darts, DartsConfig, DartsSearch  # noqa: E402
from agents.differentiable.divergence import SearchDiverged  # noqa: E402
from agents.differentiable.gdas import GdasConfig, GdasSearch  # noqa: E402
from agents.differentiable.ground import Ground  # noqa: E402
from agents.differentiable.mixed_search import MixedSearch  # noqa: E402
from agents.differentiable.pc_darts import PCDartsConfig, PCDartsSearch  # noqa: E402
from agents.differentiable.proxyless import Proxyless, ProxylessConfig, ProxylessSearch  # noqa: E402
from agents.differentiable.supernet_search import SupernetSearch  # noqa: E402
from agents.differentiable.supernet_weights import Batch  # noqa: E402
from agents.differentiable.unrolled import Step, unrolled_gradient  # noqa: E402
from emnas_gym.errors import DatasetError, DomainError  # noqa: E402
from emnas_gym.ledger import Ledger  # noqa: E402
from emnas_gym.problem import Problem  # noqa: E402
from emnas_gym.testing import ScriptedEvaluator  # noqa: E402
from predictors.supernet.mixture import soft, softmax  # noqa: E402
from predictors.supernet.supernet import Supernet  # noqa: E402
from predictors.training import Recipe, one_thread  # noqa: E402

SHORT = {"epochs": 3, "warm_up": 1, "batch_size": 12}


@pytest.fixture
def problem(tmp_path: Path) -> Problem:
    return gradient_worlds.small_problem(tmp_path)


def _search(problem: Problem, **options: Any) -> DartsSearch:
    config = DartsConfig(**(SHORT | options))
    return DartsSearch(Ground.of(problem, config, "darts"), config, 7)


def _run(
    problem: Problem, path: Path | None = None, evaluations: int = 4, **options: Any
) -> Ledger:
    ledger = Ledger(ScriptedEvaluator(problem), problem, evaluations, path)
    Darts.with_options(**(SHORT | options)).search(problem, ledger, 3)
    return ledger


# ------------------------------------------------------------------------------ the algorithm


def test_it_is_plain_darts_to_the_bit(problem: Problem) -> None:  # B20, G19
    """Against the update rule written down once more, with the same weights and batches."""
    search = _search(problem, epochs=4)
    data, config = search.ground.data, search.config
    net = Supernet(search.ground.space, data.task, 7, affine=False).train()
    generator = torch.Generator().manual_seed(7)
    alpha = (1e-3 * torch.randn(3, 3, generator=generator)).requires_grad_()
    offered = net.wirings["normal"].offered
    assert torch.equal(alpha, search.alphas.operations["normal"])
    weights = [w for w in net.parameters() if w.requires_grad]
    sgd = torch.optim.SGD(weights, 0.1, 0.9, weight_decay=3e-4)
    adam = torch.optim.Adam([alpha], 0.03, (0.5, 0.999), weight_decay=1e-3)
    x = torch.from_numpy(np.ascontiguousarray(data.train_x.transpose(0, 3, 1, 2)))
    y = torch.from_numpy(data.train_y)

    def loss(rows: np.ndarray, mixed: torch.Tensor) -> torch.Tensor:
        logits = net(x[rows], {"normal": soft(mixed, offered)})
        return functional.cross_entropy(logits, y[rows])

    def dealt(rows: np.ndarray) -> list[np.ndarray]:
        order = torch.randperm(len(rows), generator=generator).numpy()
        return np.array_split(rows[order], search.batches)

    with one_thread():
        for epoch in range(4):
            mine, theirs = dealt(search.weight_rows), dealt(search.architecture_rows)
            for step, (train, valid) in enumerate(zip(mine, theirs, strict=True)):
                part = (epoch * search.batches + step) / (4 * search.batches)
                rate = 0.001 + (0.1 - 0.001) * 0.5 * (1 + np.cos(np.pi * part))
                sgd.param_groups[0]["lr"] = float(rate)
                if epoch >= config.warm_up:
                    (alpha.grad,) = torch.autograd.grad(
                        loss(valid, softmax(alpha, offered)), [alpha]
                    )
                    adam.step()
                sgd.zero_grad()
                loss(train, softmax(alpha.detach(), offered)).backward()
                torch.nn.utils.clip_grad_norm_(weights, 5.0)
                sgd.step()
            search.run_epoch()
            assert torch.equal(alpha, search.alphas.operations["normal"])
    assert float(alpha.detach().abs().max()) > 0.05, "it has learned"
    for (name, one), other in zip(net.named_parameters(), search.net.parameters(), strict=True):
        assert torch.equal(one, other), name


def test_without_weight_latency_changes_no_bit(problem: Problem) -> None:  # G19
    plain = _run(problem)
    told = _run(problem, latency_target="macs")
    pulled = _run(problem, latency_target="macs", latency_weight=1.0)
    assert told.rows == plain.rows
    pairs = list(zip(plain.history.traces(), told.history.traces(), strict=True))
    assert len(pairs) >= 6
    for (_, one), (_, other) in pairs:
        assert other.pop("expected_macs") > 0
        assert one.pop("expected_macs") is None
        assert one == other
    ends = [ledger.history.traces()[2][1]["probabilities"] for ledger in (plain, pulled)]
    assert ends[0] != ends[1], "λ would change something"


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_second_order_is_that_of_the_unrolled_loss(
    problem: Problem, momentum: float
) -> None:  # B20
    """Against central differences of L_valid(w'(α), α), and against autograd through the step."""
    search = _search(problem)
    net = search.net.double()
    for norm in (m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        norm.track_running_stats = False
    alpha = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weights = {name: w.detach() for name, w in net.named_parameters() if w.requires_grad}
    velocity = {n: 0.1 * torch.ones_like(w) for n, w in weights.items()} if momentum else {}
    step = Step(0.5, momentum, 1e-2, velocity)
    train, valid = (
        Batch(batch.x.double(), batch.y)
        for batch in (search.batch(search.weight_rows), search.batch(search.architecture_rows))
    )
    offered = net.wirings["normal"].offered

    def loss(batch: Batch, given: Any, parameters: torch.Tensor) -> torch.Tensor:
        mixtures = {"normal": soft(softmax(parameters, offered), offered)}
        logits = torch.func.functional_call(net, dict(given), (batch.x, mixtures))
        return functional.cross_entropy(logits, batch.y)

    def unrolled(parameters: torch.Tensor) -> torch.Tensor:
        leaves = {name: w.clone().requires_grad_() for name, w in weights.items()}
        found = torch.autograd.grad(
            loss(train, leaves, parameters), list(leaves.values()), create_graph=True
        )
        pairs = zip(leaves.items(), found, strict=True)
        ahead = {name: step.of(name, weight, gradient) for (name, weight), gradient in pairs}
        return loss(valid, ahead, parameters)

    leaf = alpha.clone().requires_grad_()
    (exact,) = torch.autograd.grad(unrolled(leaf), [leaf])
    (mine,) = unrolled_gradient(
        lambda given: loss(train, given, leaf), lambda given: loss(valid, given, leaf), weights,
        [leaf], step,
    )  # fmt: skip
    (first,) = torch.autograd.grad(loss(valid, weights, leaf), [leaf])
    scale = float(exact.detach().abs().max())
    for edge, operation in np.ndindex(3, 3):
        ends, h = [], 1e-5
        for sign in (1, -1):
            moved = alpha.clone()
            moved[edge, operation] += sign * h
            ends.append(unrolled(moved.requires_grad_()).item())
        difference = (ends[0] - ends[1]) / (2 * h)
        assert float(exact[edge, operation]) == pytest.approx(difference, abs=1e-5 * scale)
    second = float((first - exact).detach().abs().max())
    assert float((mine - exact).detach().abs().max()) < 0.05 * second
    assert second > 0.1 * scale, "the first order is another gradient"


def test_the_agent_takes_the_second_order(problem: Problem) -> None:
    """Its step is `unrolled_gradient` with the optimiser's own rate, decay and velocity."""
    one, two = _search(problem), _search(problem, order=2)
    for search in (one, two):
        search.run_epoch()
    train, valid = two.batch(two.weight_rows[:12]), two.batch(two.architecture_rows[:12])
    before = {name: w.detach().clone() for name, w in two.weights.items()}
    found = two.architecture_gradient(train, valid)[0]
    assert all(torch.equal(w, before[name]) for name, w in two.weights.items())
    loss = two.loss(train, two.mixtures(two.alphas.detached()))
    gradients = torch.autograd.grad(loss, list(two.weights.values()))
    (group,) = two.optimiser.param_groups
    with torch.no_grad():
        for w, gradient in zip(two.weights.values(), gradients, strict=True):
            velocity = two.optimiser.state[w]["momentum_buffer"]
            w -= group["lr"] * (gradient + group["weight_decay"] * w + 0.9 * velocity)
    ahead = one.architecture_gradient.__func__  # the first order, at the weights after the step
    two.config = one.config
    first = ahead(two, train, valid)[0]
    assert torch.nn.functional.cosine_similarity(found.ravel(), first.ravel(), dim=0) > 0.5
    assert not torch.allclose(found, first)


def test_weights_and_architecture_see_other_images(problem: Problem) -> None:  # B20
    search = _search(problem)
    weights, architecture = set(search.weight_rows), set(search.architecture_rows)
    assert not weights & architecture
    assert weights | architecture == set(range(len(search.ground.data.train_x)))
    seen: dict[str, list[int]] = {"weights": [], "architecture": []}
    rows = {search._x[i].numpy().tobytes(): i for i in range(len(search._x))}

    def note(who: str, batch: Batch) -> None:
        seen[who] += [rows[image.numpy().tobytes()] for image in batch.x]

    class Noting(DartsSearch):
        def _weight_step(self, batch: Batch, step: int) -> float:
            note("weights", batch)
            return super()._weight_step(batch, step)

        def architecture_gradient(self, train: Batch, valid: Batch) -> list[torch.Tensor]:
            note("architecture", valid)
            return super().architecture_gradient(train, valid)

    noting = Noting(search.ground, search.config, 7)
    for _ in range(3):
        noting.run_epoch()
    assert sorted(seen["weights"]) == sorted(3 * list(weights)), "each once an epoch"
    assert sorted(seen["architecture"]) == sorted(2 * list(architecture)), "after the warm-up"


def test_the_genotype_is_the_argmax(problem: Problem) -> None:  # B21
    search = _search(problem)
    space = search.ground.space
    with torch.no_grad():
        search.alphas.operations["normal"].copy_(
            torch.tensor([[0.0, 1.0, 2.0], [0.5, 0.1, 0.2], [0.0, 3.0, 1.0]])
        )
    assert space.choices(search.tokens())["normal"] == (2, 0, 1)
    ledger = _run(problem)
    (_, last) = ledger.history.traces()[2]
    strongest = tuple(int(np.argmax(row)) for row in last["probabilities"]["normal"])
    chosen = space.choices(ledger.rows[0].tokens)["normal"]
    assert tuple(last["tokens"]) == ledger.rows[0].tokens
    assert chosen == strongest or space.groups["normal"].connected(strongest) is False


# --------------------------------------------------------------------------- ledger and history

SEARCHES: list[tuple[type[SupernetSearch], Any]] = [
    (DartsSearch, DartsConfig(**SHORT)),
    (DartsSearch, DartsConfig(**SHORT, order=2)),
    (DartsSearch, DartsConfig(**SHORT, stop="curvature", curvature_steps=3)),
    (DartsSearch, DartsConfig(**SHORT, tune_weight_decay=True)),
    (PCDartsSearch, PCDartsConfig(**SHORT, divisor=2)),
    (GdasSearch, GdasConfig(**SHORT)),
    (ProxylessSearch, ProxylessConfig(**SHORT)),
    (ProxylessSearch, ProxylessConfig(**SHORT, form="two")),
    (ProxylessSearch, ProxylessConfig(**SHORT, form="reinforce", samples=3)),
]


@pytest.mark.parametrize(("kind", "config"), SEARCHES)
def test_what_an_epoch_costs_is_known_before(
    problem: Problem, kind: type[SupernetSearch], config: Any
) -> None:
    """Otherwise a ledger could end without a measured network."""
    search = kind(Ground.of(problem, config, "any"), config, 0)
    for _ in range(3):
        expected = search.cost()
        assert search.run_epoch().images == expected


@pytest.mark.parametrize("evaluations", [1, 2, 4])
def test_every_epoch_is_paid_for_and_the_last_evaluation_is_a_network(
    problem: Problem, evaluations: int
) -> None:
    ledger = _run(problem, evaluations=evaluations)
    images = len(Ground.of(problem, DartsConfig(), "darts").data.train_x)
    half, whole = 1 / (2 * Recipe().epochs), 1 / Recipe().epochs
    paid = [charge.equivalents for charge in ledger.charges]
    assert images % 2 == 0
    assert paid == pytest.approx(([half, whole, whole] * len(paid))[: len(paid)])
    assert ledger.spent
    assert ledger.count == ledger.evaluations - int(np.ceil(sum(paid) - 1e-9)) >= 1
    assert all(charge.seconds > 0 for charge in ledger.charges)
    assert len(ledger.history.traces()) == len(paid)


def test_where_an_epoch_costs_more_than_is_left_networks_are_drawn(problem: Problem) -> None:
    """40 rewarded paths a step cost 1.4 evaluations an epoch: the last evaluations buy none."""
    options = SHORT | {"form": "reinforce", "samples": 40, "epochs": 9}
    ledger = Ledger(ScriptedEvaluator(problem), problem, 6)
    agent = Proxyless.with_options(**options)
    agent.search(problem, ledger, 0)
    assert [charge.equivalents for charge in ledger.charges] == pytest.approx(
        [1 / 30] + [41 / 30] * 3
    )
    assert (ledger.count, ledger.allowed) == (1, 1)
    shorter = Ledger(ScriptedEvaluator(problem), problem, 5)
    agent.search(problem, shorter, 0)
    assert len(shorter.charges) == 3
    assert (shorter.count, shorter.allowed) == (2, 2)
    assert agent.favourite(problem) == shorter.rows[0].tokens


def test_a_search_begun_again_is_the_same(problem: Problem, tmp_path: Path) -> None:
    path = tmp_path / "run" / "history.sqlite"
    path.parent.mkdir()
    whole = _run(problem)
    first = _run(problem, path, evaluations=3)
    first.close()
    longer = _run(problem, path)
    assert longer.rows == whole.rows
    assert longer.history.traces() == whole.history.traces()
    pairs = zip(longer.charges, whole.charges, strict=True)
    assert all((a.what, a.equivalents) == (b.what, b.equivalents) for a, b in pairs)


class _Broken(DartsSearch):
    """From the second step of the architecture on the gradient of one operation is no number."""

    steps = 0

    def architecture_gradient(self, train: Batch, valid: Batch) -> list[torch.Tensor]:
        found = super().architecture_gradient(train, valid)
        self.steps += 1
        found[0][1, 2] = float("nan") if self.steps > 1 else 0.0
        return found


def test_parameters_that_are_no_numbers_end_a_search_and_lose_nothing(
    problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run" / "history.sqlite"
    path.parent.mkdir()
    monkeypatch.setattr(Darts, "search_type", _Broken)
    ledger = Ledger(ScriptedEvaluator(problem), problem, 4, path)
    with pytest.raises(
        SearchDiverged, match=r"normal, step 0 of epoch 2: .* edge 1, conv1x1, is nan \(1 are"
    ):
        Darts.with_options(**(SHORT | {"batch_size": 24})).search(problem, ledger, 3)
    ledger.close()
    ledger = Ledger(ScriptedEvaluator(problem), problem, 4, path)
    assert [charge.what for charge in ledger.history.charges()] == ["supernet 0, epoch"] * 2
    assert len(ledger.history.traces()) == 2


def test_a_loss_that_is_no_number_ends_a_search(problem: Problem) -> None:
    with pytest.raises(SearchDiverged, match=r"training loss in step \d of epoch 0 is nan"):
        _run(problem, learning_rate=1e30, clip=1e30, batch_size=4)


def test_favourites(problem: Problem) -> None:
    agent = Darts.with_options(**SHORT)
    with pytest.raises(NotLearned, match="let it search"):
        agent.favourite(problem)
    ledger = Ledger(ScriptedEvaluator(problem), problem, 2)
    agent.search(problem, ledger, 0)
    assert agent.favourite(problem) in {row.tokens for row in ledger.rows}


# ------------------------------------------------------------------------------------ refusals


def test_what_cannot_be_searched_says_what_to_do(problem: Problem) -> None:
    ledger = Ledger(ScriptedEvaluator(problem), problem, 2)
    with pytest.raises(DomainError, match="EmNASCell-v0"):
        Darts.with_options().search(Problem.make(), ledger, 0)
    grasp = Problem.make("nb201-cell", "grasp", "sipeed-maix-bit")
    with pytest.raises(DatasetError, match=r"(?s)images=PATH.*no images"):
        Darts.with_options().search(grasp, ledger, 0)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"warm_up": 25}, "warm_up"),
        ({"latency_weight": 0.5}, "needs a latency_target"),
        ({"order": 3}, "order"),
        ({"guard": "plus"}, "guard"),
        ({"stop": "late"}, "curvature"),
        ({"selection": "chance"}, "selection"),
        ({"tune_weight_decay": True, "weight_decay": 0.0}, "above 0"),
        ({"clip": 0.0}, "rates and clip lie"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], rule: str) -> None:
    with pytest.raises(OptionError, match=rule):
        Darts.with_options(**options)


def test_only_mixed_supernets_have_a_curvature() -> None:
    assert issubclass(DartsSearch, MixedSearch)
    assert not issubclass(GdasSearch, MixedSearch)
    with pytest.raises(OptionError, match="stop"):
        GdasConfig(stop="curvature")
