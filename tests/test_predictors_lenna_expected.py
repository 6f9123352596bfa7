"""Expected latency as a torch module: closed forms, finite differences, networks that are drawn."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from emnas_gym import costs
from emnas_gym.architecture import Architecture
from emnas_gym.branched.cell_space import CellSpace
from emnas_gym.branched.free_cell import FreeCell
from emnas_gym.errors import (
    DomainError,
    EvaluationError,
    SurrogateFileError,
    UnknownName,
)
from emnas_gym.space import load_space
from emnas_gym.tasks import DIGITS, Task
from predictors.lenna.expected import TableLatency, edge_probabilities
from predictors.lenna.latency_table import LatencyTable
from predictors.lenna.make_table import make_table
from predictors.lenna.targets import fixed_us, measuring, target_names, unit_of
from predictors.supernet.wirings import wiring

CELLS = ("nb201-cell", "lenna-block", "lenna-reduction", "mobile-stages", "nb201-macro")


def table_of(name: str, target: str = "macs") -> LatencyTable:
    return make_table(name, target, networks=2)


def space_of(name: str) -> CellSpace:
    found = load_space(name)
    assert isinstance(found, CellSpace)
    return found


def parameters(table: LatencyTable, seed: int = 0) -> list[Tensor]:
    """Architecture parameters, minus infinity where an edge has no such operation."""
    rng = np.random.default_rng(seed)
    found = []
    for costs_ in table.groups.values():
        drawn = np.where(np.isnan(costs_), -np.inf, rng.normal(0.0, 1.0, costs_.shape))
        found.append(torch.tensor(drawn, dtype=torch.float64, requires_grad=True))
    return found


def expectation(latency: TableLatency, alphas: list[Tensor]) -> Tensor:
    found: Tensor = latency([torch.softmax(alpha, dim=1) for alpha in alphas])
    return found


def one_hot(space: CellSpace, table: LatencyTable, architecture: Architecture) -> list[Tensor]:
    found = []
    for (group, choices), costs_ in zip(
        space.choices(architecture.tokens).items(), table.groups.values(), strict=True
    ):
        p = torch.zeros(costs_.shape, dtype=torch.float64)
        for row, column in wiring(space.groups[group]).running(choices):
            p[row, column] = 1.0
        found.append(p)
    return found


# ---------------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize("name", CELLS)
def test_the_gradient_of_a_table_is_the_closed_form(name: str) -> None:  # G19
    """∂E/∂α_j = p_j (L_j − E of the edge), for every edge and operation."""
    table = table_of(name)
    latency, alphas = TableLatency(table), parameters(table)
    expectation(latency, alphas).backward()  # type: ignore[no-untyped-call]
    for alpha, costs_ in zip(alphas, table.groups.values(), strict=True):
        p = torch.softmax(alpha.detach(), dim=1).numpy()
        known = np.nan_to_num(costs_)
        own = (p * known).sum(axis=1, keepdims=True)
        assert alpha.grad is not None
        offered = ~np.isnan(costs_)
        closed = (p * (known - own))[offered]
        scale = np.abs(closed).max()
        np.testing.assert_allclose(alpha.grad.numpy()[offered] / scale, closed / scale, atol=1e-12)


def test_the_gradient_agrees_with_finite_differences() -> None:  # G19
    table = table_of("lenna-reduction", "stm32f446re")
    latency, alphas = TableLatency(table), parameters(table, seed=3)
    expectation(latency, alphas).backward()  # type: ignore[no-untyped-call]
    (alpha,) = alphas
    assert alpha.grad is not None
    step = 1e-5
    for row, column in ((0, 0), (0, 9), (2, 10), (14, 3)):
        shifted = []
        for sign in (1, -1):
            moved = alpha.detach().clone()
            moved[row, column] += sign * step
            shifted.append(float(expectation(latency, [moved])))
        difference = (shifted[0] - shifted[1]) / (2 * step)
        assert difference == pytest.approx(float(alpha.grad[row, column]), rel=1e-5, abs=1e-6)


def table_with_sums(name: str, cost: float = 3.0) -> LatencyTable:
    """Of random costs, each further edge into a node costing something besides."""
    table, rng = table_of(name), np.random.default_rng(4)
    return replace(
        table,
        constant=5.0,
        groups={g: np.where(c > 0, rng.uniform(1, 9, c.shape), c) for g, c in table.groups.items()},
        sums={group: np.full(len(costs_), cost) for group, costs_ in table.groups.items()},
    )


def test_sums_are_expected_as_often_as_edges_meet() -> None:  # G14, G19
    """Against all 5^6 choices of a cell, each weighed by its probability; and its gradient."""
    space, table = space_of("nb201-cell"), table_with_sums("nb201-cell")
    latency, alphas = TableLatency(table, space, DIGITS), parameters(table, seed=7)
    expectation(latency, alphas).backward()  # type: ignore[no-untyped-call]
    p = torch.softmax(alphas[0].detach(), dim=1).numpy()
    targets = [target for _, target in wiring(space.groups["normal"]).edges]
    choices = np.array(list(itertools.product(range(5), repeat=6)))
    weights = np.prod([p[edge, choices[:, edge]] for edge in range(6)], axis=0)
    operations = sum(table.groups["normal"][edge, choices[:, edge]] for edge in range(6))
    runs = choices != 0
    meeting = sum(
        np.maximum(runs[:, [t == node for t in targets]].sum(axis=1) - 1, 0) for node in (1, 2, 3)
    )
    known = table.constant + float(weights @ (operations + 3.0 * meeting))
    assert float(expectation(latency, alphas).detach()) == pytest.approx(known, rel=1e-12)
    assert alphas[0].grad is not None
    for where in np.ndindex(6, 5):
        ends = []
        for sign in (1, -1):
            moved = alphas[0].detach().clone()
            moved[where] += sign * 1e-5
            ends.append(float(expectation(latency, [moved])))
        difference = (ends[0] - ends[1]) / 2e-5
        assert difference == pytest.approx(float(alphas[0].grad[where]), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("name", CELLS)
def test_a_certain_network_has_its_own_sums(name: str) -> None:  # G14
    """One-hot probabilities of what runs are the network; of n edges into a node n - 1 are paid."""
    space, table = space_of(name), table_with_sums(name)
    latency, rng = TableLatency(table, space, DIGITS), np.random.default_rng(2)
    for _ in range(10):
        network = space.sample(rng, DIGITS)
        given = one_hot(space, table, network)
        assert float(latency(given)) == pytest.approx(table.total(space, network))
        sums = 0
        for p, cell in zip(given, space.groups.values(), strict=True):
            rows = np.flatnonzero(p.numpy().any(axis=1))
            ends = [wiring(cell).edges[row][1] for row in rows]
            sums += len(ends) - len(set(ends))
        assert table.parts(space, network)[1] == pytest.approx(3.0 * sums)


def test_sums_are_read_with_their_space() -> None:
    table = table_with_sums("nb201-cell")
    uneven = replace(table, sums={"normal": np.arange(6.0)})
    with pytest.raises(DomainError, match="not on the node"):
        TableLatency(uneven, space_of("nb201-cell"), DIGITS)
    with pytest.raises(DomainError, match="with its space"):
        TableLatency(table_with_sums("nb201-cell"))


def test_a_step_against_the_gradient_is_faster() -> None:  # G19, G20
    table = table_of("nb201-cell", "stm32f446re")
    latency, alphas = TableLatency(table), parameters(table)
    before = expectation(latency, alphas)
    (gradient,) = torch.autograd.grad(before, alphas)
    after = expectation(latency, [alphas[0] - 0.01 * gradient / gradient.norm()])
    assert float(after.detach()) < float(before.detach())


# --------------------------------------------------------------------------------- what it expects


@pytest.mark.parametrize("name", [*CELLS, "darts-cell"])
def test_a_certain_network_costs_what_its_graph_costs(name: str) -> None:  # G14, G21
    """One-hot probabilities of what runs: the multiply-accumulates of the graph, to the last."""
    space, table = space_of(name), table_of(name)
    latency = TableLatency(table, space, DIGITS)
    rng = np.random.default_rng(5)
    for _ in range(10):
        network = space.sample(rng, DIGITS)
        macs = costs.macs(network.graph(DIGITS))
        assert table.total(space, network) == pytest.approx(macs)
        assert float(latency(one_hot(space, table, network))) == pytest.approx(macs)


def test_the_expectation_is_the_mean_over_networks_that_are_drawn() -> None:  # G14
    space, table = space_of("lenna-block"), table_of("lenna-block")
    (alpha,) = parameters(table, seed=2)
    p = torch.softmax(alpha.detach(), dim=1)
    rng = np.random.default_rng(0)
    drawn = np.array([[rng.choice(11, p=row.numpy()) for row in p] for _ in range(2000)])
    totals = []
    for choices in drawn:
        tokens = tuple(int(f + c) for f, c in zip(space.first_token, choices, strict=True))
        totals.append(table.total(space, Architecture(space, tokens)))
    expected = float(TableLatency(table)([p]))
    error = np.std(totals) / math.sqrt(len(totals))
    assert abs(np.mean(totals) - expected) < 4 * error
    assert error < 0.02 * expected


def test_free_edges_are_there_as_often_as_nodes_read_them() -> None:  # G21
    """Against every choice of one cell, weighed by its probability."""
    cell = FreeCell(2, ("skip", "conv3x3"))
    rng = np.random.default_rng(1)
    positions = [
        torch.softmax(torch.tensor(rng.normal(size=len(p.choices))), dim=0) for p in cell.positions
    ]
    edges = wiring(cell).edges
    assert edges == ((0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    known = torch.zeros(len(edges), 2, dtype=torch.float64)
    for choices in itertools.product(*(range(len(p)) for p in positions)):
        share = math.prod(float(p[c]) for p, c in zip(positions, choices, strict=True))
        for row, column in wiring(cell).running(choices):
            known[row, column] += share
    found = edge_probabilities(cell, positions)
    torch.testing.assert_close(found, known)
    torch.testing.assert_close(found[:2].sum(), torch.tensor(2.0, dtype=torch.float64))
    with pytest.raises(DomainError, match="choices"):
        edge_probabilities(cell, positions[:-1])


def test_darts_pairs_have_an_expectation_too() -> None:  # G21
    space, table = space_of("darts-cell"), table_of("darts-cell")
    given = []
    for cell in space.groups.values():
        assert isinstance(cell, FreeCell)
        given.append(
            edge_probabilities(
                cell, [torch.full((len(p.choices),), 1 / len(p.choices)) for p in cell.positions]
            )
        )
    expected = float(TableLatency(table, space, DIGITS)(given))
    rng = np.random.default_rng(0)
    totals = [table.total(space, space.sample(rng, DIGITS)) for _ in range(400)]
    assert expected == pytest.approx(
        np.mean(totals), rel=float(4 * np.std(totals) / np.mean(totals) / 20)
    )


# ------------------------------------------------------------------------------------------ targets


def test_targets_are_known_by_name() -> None:
    assert {"macs", "host", "cortex-m4", "ethos-u55-128", "stm32f446re"} <= set(target_names())
    assert unit_of("macs") == "macs" and unit_of("host") == "us"
    with pytest.raises(UnknownName, match="did you mean"), measuring("ethos-u55-12"):
        pass
    with pytest.raises(EvaluationError, match="no space of cells"):
        make_table("emnas-382", "macs")
    with pytest.raises(EvaluationError, match="2 networks"):
        make_table("nb201-cell", "macs", networks=1)


def test_the_line_of_a_board_is_reproduced() -> None:
    space, table = space_of("nb201-cell"), table_of("nb201-cell", "stm32f446re")
    network = space.sample(np.random.default_rng(0), DIGITS)
    macs = costs.macs(network.graph(DIGITS))
    assert table.total(space, network) == pytest.approx(1e3 * (0.05556 + 1.689e-05 * macs))
    assert fixed_us("stm32f446re") == pytest.approx(55.56) and fixed_us("macs") == 0.0


def test_operations_of_an_npu_add_up_to_networks() -> None:  # G14, G22
    """Held-out networks of LENNA's block within 5 %, by Vela's own model of the NPU."""
    pytest.importorskip("ethosu.regor")
    table = make_table("lenna-block", "ethos-u55-128", networks=6)
    assert table.about["mape"] < 0.05
    assert table.about["tau"] > 0.6
    space, table = space_of("nb201-cell"), make_table("nb201-cell", "ethos-u55-128")
    assert table.about["mape"] < 0.05
    few = [(2, 6, 11, 17, 21, 26), (2, 6, 12, 17, 22, 26), (2, 7, 12, 17, 22, 27)]
    networks = [space.architecture(tokens) for tokens in few]  # next to nothing but sums
    with measuring("ethos-u55-128") as measure:
        measured = measure([network.graph(DIGITS) for network in networks])
    totals = [table.total(space, network) for network in networks]
    np.testing.assert_allclose(totals, measured, rtol=0.05)
    assert make_table("mobile-stages", "ethos-u55-128", networks=6).about["tau"] > 0.6


# ------------------------------------------------------------------------------------ what is wrong


def test_what_is_no_probability_is_refused() -> None:  # G19
    table = table_of("lenna-reduction")
    latency = TableLatency(table)
    good = torch.softmax(parameters(table)[0].detach(), dim=1)
    for value in (math.nan, -0.1, 1.5):
        wrong = good.clone()
        wrong[1, 1] = value
        with pytest.raises(DomainError, match="there is NaN or something else"):
            latency([wrong])
    impossible = good.clone()
    impossible[0, 10] = 0.5  # the identity cannot shrink a map
    with pytest.raises(DomainError, match="does not have"):
        latency([impossible])
    for shapes in ([], [good, good], [good[:14]]):
        with pytest.raises(DomainError, match="one tensor a group"):
            latency(shapes)


def test_a_table_of_another_space_or_task_is_refused() -> None:
    table = table_of("lenna-block")
    block = space_of("lenna-block")
    TableLatency(table, block, DIGITS)
    other = Task("digits", (32, 32, 1), 10)
    for space, task, what in (
        (space_of("lenna-reduction"), DIGITS, "space"),
        (block.with_channels(16), DIGITS, "space"),
        (block, other, "input shape"),
    ):
        with pytest.raises(DomainError, match=f"made for {what}"):
            TableLatency(table, space, task)
    with pytest.raises(DomainError, match="give both"):
        TableLatency(table, block)
    with pytest.raises(DomainError, match="no network of"):
        network = space_of("nb201-cell").sample(np.random.default_rng(0), DIGITS)
        table.total(block, network)


def test_a_table_comes_back_from_its_file_to_the_bit(tmp_path: Path) -> None:
    table = table_of("lenna-reduction", "stm32f446re")
    again = LatencyTable.load(table.save(tmp_path / "deep" / "table.json"))
    assert (again.constant, again.target, again.about) == (
        table.constant, table.target, dict(table.about),
    )  # fmt: skip
    for name, costs_ in table.groups.items():
        np.testing.assert_array_equal(again.groups[name], costs_)
        np.testing.assert_array_equal(again.sums[name], table.sums[name])


def test_a_damaged_table_is_refused(tmp_path: Path) -> None:
    path = table_of("nb201-cell").save(tmp_path / "table.json")
    good = json.loads(path.read_text())
    broken = [
        {"form": "other"}, {"constant": None}, {"constant": "1"}, {"unit": "ms"}, {"groups": {}},
        {"groups": {"normal": [[1.0, -1.0]]}}, {"groups": {"normal": [[None, None]]}},
        {"groups": {"normal": [1.0]}}, {"groups": {"normal": [[1.0], [1.0, 2.0]]}},
        {"sums": {}}, {"sums": {"normal": [1.0] * 5}}, {"sums": {"normal": [-1.0] + [1.0] * 5}},
        {"sums": {"normal": [None] * 6}}, {"sums": 3},
        {"groups": 3}, {"about": []}, {"input_shape": "x"},
    ]  # fmt: skip
    for change in broken:
        path.write_text(json.dumps(good | change))
        with pytest.raises((SurrogateFileError, DomainError)):
            LatencyTable.load(path).check(space_of("nb201-cell"), DIGITS)
    for text in ("", "[]", "null", "{", '{"form": "emnas latency table 2"}'):
        path.write_text(text)
        with pytest.raises(SurrogateFileError):
            LatencyTable.load(path)
    with pytest.raises(SurrogateFileError, match="cannot be read"):
        LatencyTable.load(tmp_path / "none.json")
