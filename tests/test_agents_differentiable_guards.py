"""Guards against collapse, and weight decay that tunes itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gradient_worlds
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from agents.differentiable.alphas import Alphas, entropy  # noqa: E402
from agents.differentiable.auxiliary_skip import factor  # noqa: E402
from agents.differentiable.curvature import dominant_eigenvalue  # noqa: E402
from agents.differentiable.darts import Darts, DartsConfig, DartsSearch  # noqa: E402
from agents.differentiable.early_stop import CurvatureStop, SkipStop  # noqa: E402
from agents.differentiable.ground import Ground  # noqa: E402
from agents.differentiable.pc_darts import PCDartsConfig, PCDartsSearch  # noqa: E402
from agents.differentiable.perturbation import Perturbation  # noqa: E402
from agents.differentiable.weight_decay import WeightDecay  # noqa: E402
from emnas_gym.branched.cell_space import CellSpace  # noqa: E402
from emnas_gym.ledger import Ledger  # noqa: E402
from emnas_gym.testing import ScriptedEvaluator  # noqa: E402
from predictors.supernet.mixture import Mixture  # noqa: E402

SHORT = {"epochs": 4, "warm_up": 1, "batch_size": 7}


def _search(folder: Path, space: CellSpace | None = None, **options: Any) -> DartsSearch:
    config = DartsConfig(**(SHORT | options))
    problem = gradient_worlds.small_problem(folder, space)
    return DartsSearch(Ground.of(problem, config, "darts"), config, 0)


# -------------------------------------------------------------------------------- DARTS-minus


def test_the_auxiliary_skip_falls_to_nothing() -> None:
    assert [factor(1.0, "linear", i, 5) for i in range(6)] == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    cosine = [factor(2.0, "cosine", i, 5) for i in range(5)]
    assert cosine == pytest.approx([2.0, 1.7071, 1.0, 0.2929, 0.0], abs=1e-4)
    assert factor(1.0, "linear", 0, 1) == 0.0


def test_the_auxiliary_skip_stands_beside_every_edge(tmp_path: Path) -> None:
    """In every mixture, with the factor of its epoch; and it changes what is learnt."""
    plain = _search(tmp_path)
    guarded = _search(tmp_path, guard="minus")
    for search, expected in ((plain, 0.0), (guarded, 1.0)):
        mixture = search.mixtures(search.alphas.detached())["normal"]
        assert mixture.auxiliary == expected
    assert plain.run_epoch().train_loss != guarded.run_epoch().train_loss
    factors = []
    while guarded.epoch < 4:
        factors.append(guarded.mixtures(guarded.alphas)["normal"].auxiliary)
        guarded.run_epoch()
    assert factors == pytest.approx([2 / 3, 1 / 3, 0.0])


# -------------------------------------------------------------------------------- early stop


def test_too_many_skips_end_a_search_at_the_last_favourite_that_had_not() -> None:
    rule = SkipStop(2)
    assert [rule.told(i, skips) for i, skips in enumerate([5, 4, 2, 1, 2])] == [None] * 5
    assert rule.told(5, 3) == 4
    never = SkipStop(2)
    assert [never.told(i, 3) for i in range(4)] == [None] * 4, "it began like that"


def test_a_curvature_that_grows_ends_a_search() -> None:
    flat = CurvatureStop(window=2, ratio=0.75)
    assert [flat.told(i, -1.0) for i in range(8)] == [None] * 8
    rule = CurvatureStop(window=2, ratio=0.75)
    values = [1.0, 1.0, 1.0, 1.1, 1.2, 3.0]
    assert [rule.told(i, value) for i, value in enumerate(values)] == [None] * 5 + [3]


def test_the_eigenvalue_is_that_of_the_hessian() -> None:
    matrix = torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    matrix = matrix + matrix.T
    a = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    b = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    x = torch.cat([a, b.reshape(-1)])
    loss = 0.5 * x @ matrix @ x + x.sum()
    found = dominant_eigenvalue(loss, [a, b], 400, torch.Generator().manual_seed(1))
    values = torch.linalg.eigvalsh(matrix)
    assert found == pytest.approx(float(values[values.abs().argmax()]), rel=1e-6)


def test_the_curvature_of_a_supernet_is_that_of_its_loss(tmp_path: Path) -> None:
    """Against the whole Hessian by finite differences of the gradient."""
    search = _search(tmp_path, curvature_steps=60)
    for _ in range(3):
        search.run_epoch()
    search.net.double()
    alpha = search.alphas.operations["normal"].detach().double()
    batch = search.batch(search.architecture_rows[:7])
    batch = type(batch)(batch.x.double(), batch.y)
    search._x = search._x.double()

    def gradient(values: Tensor) -> Tensor:
        leaf = values.clone().requires_grad_()
        search.alphas.operations["normal"] = leaf
        loss = search.loss(batch, search.mixtures(search.alphas))
        return torch.autograd.grad(loss, [leaf])[0].ravel()

    rows, h = [], 1e-5
    for i in range(9):
        moved = torch.zeros(9, dtype=torch.float64)
        moved[i] = h
        ends = [gradient(alpha + sign * moved.reshape(3, 3)) for sign in (1, -1)]
        rows.append((ends[0] - ends[1]) / (2 * h))
    values = torch.linalg.eigvalsh((torch.stack(rows) + torch.stack(rows).T) / 2)
    search.alphas.operations["normal"] = alpha.requires_grad_()
    largest = float(values[values.abs().argmax()])
    assert search.curvature() == pytest.approx(largest, rel=0.02)


@pytest.mark.parametrize("rule", ["skips", "curvature"])
def test_a_stopped_search_takes_an_earlier_favourite(tmp_path: Path, rule: str) -> None:
    problem = gradient_worlds.small_problem(tmp_path)

    class Stopped(DartsSearch):
        def back_to(self) -> int | None:
            return 2 if self.epoch == 4 else None

        def _architecture_step(self, train: Any, valid: Any, step: int) -> None:
            with torch.no_grad():  # the favourite of epoch i is i
                self.alphas.operations["normal"].zero_()
                self.alphas.operations["normal"][:, 1 + self.epoch % 2] = 1.0

    class Agent(Darts):
        search_type = Stopped

    ledger = Ledger(ScriptedEvaluator(problem), problem, 3)
    Agent.with_options(**(SHORT | {"epochs": 9, "stop": rule})).search(problem, ledger, 0)
    first = ledger.rows[0]
    traces = [numbers for _, numbers in ledger.history.traces() if numbers["restart"] == 0]
    assert len(traces) == 4
    assert first.tokens == tuple(traces[2]["tokens"]) != tuple(traces[3]["tokens"])


# ------------------------------------------------------------------------------- perturbation


class _Wanted(DartsSearch):
    """A supernet that is as good as the number of wanted operations that are left in it."""

    wanted: dict[tuple[str, int], int]

    def assess(self, mixtures: Any, count: int | None = None) -> tuple[float, float]:
        found = [
            self._is_there(mixtures[group], edge, op) for (group, edge), op in self.wanted.items()
        ]
        return 1.0, float(np.mean(found))

    @staticmethod
    def _is_there(mixture: Mixture, edge: int, operation: int) -> bool:
        return bool(mixture.computed[edge, operation] and mixture.values[edge, operation] > 0)


def test_perturbation_takes_what_the_supernet_needs_not_what_weighs_most(tmp_path: Path) -> None:
    problem = gradient_worlds.small_problem(tmp_path)
    config = DartsConfig(**SHORT, selection="perturbation")
    search = _Wanted(Ground.of(problem, config, "darts"), config, 0)
    search.wanted = {("normal", 0): 2, ("normal", 1): 1, ("normal", 2): 2}
    with torch.no_grad():
        search.alphas.operations["normal"].copy_(
            torch.tensor([[0.0, 3.0, 1.0], [0.0, 1.0, 3.0], [0.0, 3.0, 1.0]])
        )
    paid: list[int] = []
    perturbation = Perturbation(search)
    cost = perturbation.cost()
    strengths = perturbation.decide(paid.append)
    space = search.ground.space
    assert space.choices(search.tokens())["normal"] == (1, 2, 1), "the arg-max"
    assert space.choices(search.net.tokens(strengths))["normal"] == (2, 1, 2)
    assert sum(paid) == cost
    assert len(paid) == 3


def test_perturbation_keeps_the_edges_that_are_needed(tmp_path: Path) -> None:
    """Where nodes choose what they read: the last node has three sources, and keeps two."""
    space = gradient_worlds.free_space(tmp_path)
    problem = gradient_worlds.small_problem(tmp_path, space)
    config = DartsConfig(**SHORT, selection="perturbation", tuning_epochs=0)
    search = _Wanted(Ground.of(problem, config, "darts"), config, 0)
    search.wanted = {
        (group, edge): operation
        for group in ("normal", "reduction")
        for edge, operation in ((0, 0), (1, 2), (3, 1), (4, 2))  # 2: 0→3 is missing
    }
    perturbation, paid = Perturbation(search), []
    cost = perturbation.cost()
    tokens = search.net.tokens(perturbation.decide(paid.append))
    assert sum(paid) == cost
    for group, cell in space.groups.items():
        nodes = cell.decode(space.choices(tokens)[group])  # type: ignore[attr-defined]
        assert nodes == (((0, 0), (1, 2)), ((1, 1), (2, 2)))


@pytest.mark.parametrize("kind", ["darts", "pc-darts"])
def test_a_real_supernet_is_decided_and_paid_for(tmp_path: Path, kind: str) -> None:
    problem = gradient_worlds.small_problem(tmp_path)
    config: Any = DartsConfig(**SHORT, selection_images=8)
    search: Any = DartsSearch(Ground.of(problem, config, kind), config, 0)
    if kind == "pc-darts":
        config = PCDartsConfig(**SHORT, selection_images=8, divisor=2)
        search = PCDartsSearch(Ground.of(problem, config, kind), config, 0)
    while search.epoch < 4:
        search.run_epoch()
    paid: list[int] = []
    perturbation = Perturbation(search)
    cost = perturbation.cost()
    strengths = perturbation.decide(paid.append)
    assert cost == sum(paid) == 9 * 8 + 3 * len(search.weight_rows)
    tokens = search.net.tokens(strengths)
    problem.space.check(tokens)
    left = {group: mixture.computed for group, mixture in search.judged().items()}
    assert (left["normal"].sum(axis=1) == 1).all()


def test_perturbation_is_charged(tmp_path: Path) -> None:
    problem = gradient_worlds.small_problem(tmp_path)
    ledger = Ledger(ScriptedEvaluator(problem), problem, 4)
    options = SHORT | {"selection": "perturbation", "selection_images": 4}
    Darts.with_options(**options).search(problem, ledger, 0)
    whats = [charge.what for charge in ledger.charges if charge.after == 0]
    assert whats == ["supernet 0, epoch"] * 4 + ["supernet 0, selection"] * 3


# ------------------------------------------------------------------------------- weight decay


def _regression() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Forty noisy examples of thirty features: without decay too much is learnt by heart."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(30, generator=generator, dtype=torch.float64)
    x = torch.randn(240, 30, generator=generator, dtype=torch.float64)
    y = x @ truth * 0.5 + 2.0 * torch.randn(240, generator=generator, dtype=torch.float64)
    return x[:40], y[:40], x[40:], y[40:]


def _fitted(decay: float, rate: float | None, steps: int = 600) -> tuple[float, float]:
    """Decay in the end, and the loss on the examples that were not learnt from."""
    x, y, other_x, other_y = _regression()
    weight = nn.Parameter(torch.zeros(30, dtype=torch.float64))
    sgd = torch.optim.SGD([weight], 0.02, weight_decay=decay)
    tuned = None if rate is None else WeightDecay(sgd, rate)

    def other() -> Tensor:
        return functional.mse_loss(other_x @ weight, other_y)

    for _ in range(steps):
        if tuned is not None:
            tuned.update(other)
        sgd.zero_grad()
        functional.mse_loss(x @ weight, y).backward()
        if tuned is not None:
            tuned.remember()
        sgd.step()
    return sgd.param_groups[0]["weight_decay"], other().item()


@pytest.mark.parametrize("decay", [1e-3, 20.0])
def test_tuning_lowers_the_loss_of_what_is_not_learnt(decay: float) -> None:  # B24
    fixed = _fitted(decay, None)[1]
    found, tuned = _fitted(decay, 0.05)
    assert tuned < 0.97 * fixed
    assert (found > decay) is (decay < 1)


def test_the_hypergradient_is_the_derivative_through_one_step() -> None:  # B24
    """In sign and size: against finite differences in δ of the loss after the step."""
    x, y, other_x, other_y = _regression()
    start = torch.randn(30, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def after(decay: float) -> tuple[nn.Parameter, torch.optim.SGD, WeightDecay]:
        weight = nn.Parameter(start.clone())
        sgd = torch.optim.SGD([weight], 0.05, 0.9, weight_decay=decay)
        tuned = WeightDecay(sgd, 0.1)
        functional.mse_loss(x @ weight, y).backward()
        tuned.remember()
        sgd.step()
        return weight, sgd, tuned

    losses = [float(functional.mse_loss(other_x @ after(d)[0], other_y)) for d in (0.2, 0.2002)]
    weight, sgd, tuned = after(0.2)
    loss = functional.mse_loss(other_x @ weight, other_y)
    found = tuned.hypergradient(torch.autograd.grad(loss, [weight]))
    assert found == pytest.approx((losses[1] - losses[0]) / 0.0002, rel=1e-3)
    tuned.update(lambda: functional.mse_loss(other_x @ weight, other_y))
    assert (sgd.param_groups[0]["weight_decay"] > 0.2) is (found < 0)
    assert tuned.value == sgd.param_groups[0]["weight_decay"]


def test_a_search_tunes_its_decay(tmp_path: Path) -> None:
    search = _search(tmp_path, tune_weight_decay=True)
    search.run_epoch()
    assert search.optimiser.param_groups[0]["weight_decay"] == pytest.approx(3e-4)
    search.run_epoch()
    assert search.optimiser.param_groups[0]["weight_decay"] != pytest.approx(3e-4, rel=0.01)


# ---------------------------------------------------------------------------------- parameters


def test_entropy_is_that_of_a_mean_edge(tmp_path: Path) -> None:
    search = _search(tmp_path)
    even = torch.zeros(3, 3)
    for values, expected in ((even, np.log(3)), (100 * torch.eye(3), 0.0)):
        alphas = replace(search.alphas, operations={"normal": values})
        assert isinstance(alphas, Alphas)
        assert entropy(alphas.probabilities()) == pytest.approx(expected, abs=1e-6)


def test_factors_of_edges_share_one_at_every_node(tmp_path: Path) -> None:
    space = gradient_worlds.free_space(tmp_path)
    config = PCDartsConfig(**SHORT, divisor=2)
    problem = gradient_worlds.small_problem(tmp_path, space)
    search = PCDartsSearch(Ground.of(problem, config, "pc-darts"), config, 0)
    factors = search.alphas.factors()
    assert factors is not None
    targets = np.array(search.net.wirings["normal"].edges)[:, 1]
    for node in set(targets):
        share = factors["normal"][torch.from_numpy(targets == node)].sum()
        assert float(share.detach()) == pytest.approx(1.0, abs=1e-6)
    first = [e.detach().clone() for e in (search.alphas.edges or {}).values()]
    search.run_epoch()
    search.run_epoch()
    for before, after in zip(first, (search.alphas.edges or {}).values(), strict=True):
        assert not torch.equal(before, after)
