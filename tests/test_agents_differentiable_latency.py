"""Latency in the loss, genotypes that keep budgets, and genotypes that a table looks up."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradient_worlds
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from agents.differentiable.darts import Darts, DartsConfig, DartsSearch  # noqa: E402
from agents.differentiable.fitting import Translation, choice_scores, fitted  # noqa: E402
from agents.differentiable.ground import Ground  # noqa: E402
from agents.differentiable.latency_term import LatencyTerm, latency_of  # noqa: E402
from agents.differentiable.pc_darts import PCDartsConfig, PCDartsSearch  # noqa: E402
from emnas_gym import costs  # noqa: E402
from emnas_gym.branched.free_cell import FreeCell  # noqa: E402
from emnas_gym.errors import DatasetError, DomainError, SurrogateFileError, UnknownName  # noqa: E402
from emnas_gym.ledger import Ledger  # noqa: E402
from emnas_gym.problem import Problem  # noqa: E402
from emnas_gym.registry import NEED_IMAGES, resolve  # noqa: E402
from emnas_gym.space import load_space  # noqa: E402
from emnas_gym.table import Metric, Table  # noqa: E402
from emnas_gym.table_env import table_problem  # noqa: E402
from emnas_gym.tasks import DIGITS, Task  # noqa: E402
from emnas_gym.testing import ScriptedEvaluator  # noqa: E402
from predictors.lenna.expected import TableLatency  # noqa: E402
from predictors.lenna.gates import Array  # noqa: E402
from predictors.lenna.latency_table import LatencyTable  # noqa: E402
from predictors.lenna.make_table import make_table  # noqa: E402
from predictors.lenna.network_file import save_network  # noqa: E402
from predictors.lenna.network_kinds import make_network  # noqa: E402
from predictors.supernet.wirings import wiring  # noqa: E402

SHORT = {"epochs": 3, "warm_up": 1, "batch_size": 12}
COSTS = np.array([[0.0, 2.0, 30.0], [0.0, 5.0, 11.0], [0.0, 1.0, 70.0]])


@pytest.fixture
def problem(tmp_path: Path) -> Problem:
    return gradient_worlds.small_problem(tmp_path)


def _table(problem: Problem, costs: Array = COSTS) -> TableLatency:
    made = make_table(problem.space, "macs", problem.task)  # type: ignore[arg-type]
    return TableLatency(replace(made, groups={"normal": costs}, constant=7.0, unit="us"))


def _search(problem: Problem, weight: float, **options: Any) -> DartsSearch:
    known = {"latency_target": "macs", "latency_weight": weight}
    config = DartsConfig(**(SHORT | known | options))
    return DartsSearch(Ground.of(problem, config, "darts"), config, 0, _table(problem))


# ---------------------------------------------------------------------------------- gradients


def test_the_gradient_of_an_exact_table_has_a_closed_form(problem: Problem) -> None:  # G19
    """λ / reference · p_j (L_j - E_edge), also against finite differences of the term."""
    search = _search(problem, 0.7)
    term, alpha = search.latency, search.alphas.operations["normal"]
    assert term is not None
    with torch.no_grad():
        alpha.copy_(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)))
    assert term.reference == pytest.approx(7.0 + COSTS.sum() / 3)
    loss = term.loss(search.alphas)
    assert loss is not None
    (found,) = torch.autograd.grad(loss, [alpha])
    p = torch.softmax(alpha.detach().double(), dim=1).numpy()
    edge = (p * COSTS).sum(axis=1, keepdims=True)
    assert np.allclose(found, 0.7 / term.reference * p * (COSTS - edge), atol=1e-6)
    for where in np.ndindex(3, 3):
        ends = []
        for sign in (1, -1):
            moved = alpha.detach().double()
            moved[where] += sign * 1e-4
            alphas = replace(search.alphas, operations={"normal": moved})
            ends.append(float(term.of(alphas)))
        difference = 0.7 * (ends[0] - ends[1]) / 2e-4 / term.reference
        assert float(found[where]) == pytest.approx(difference, abs=1e-6)


@pytest.mark.parametrize("order", [1, 2])
def test_a_step_adds_the_gradient_of_latency_to_that_of_the_loss(
    problem: Problem, order: int
) -> None:  # G19
    found = []
    for weight in (0.0, 2.0):
        search = _search(problem, weight, order=order)
        train, valid = search.batch(search.weight_rows), search.batch(search.architecture_rows)
        found.append(search.architecture_gradient(train, valid)[0])
        loss = search.latency.loss(search.alphas) if search.latency else None
    assert loss is not None
    (pull,) = torch.autograd.grad(loss, [search.alphas.operations["normal"]])
    assert torch.allclose(found[1] - found[0], pull, atol=1e-6)
    assert float(pull.abs().max()) > 1e-3


@pytest.mark.parametrize("name", NEED_IMAGES)
def test_a_large_weight_makes_fast_networks(problem: Problem, tmp_path: Path, name: str) -> None:
    """All algorithms; without weight they do not end at the cheapest operations."""
    table = _table(problem).table
    path = table.save(tmp_path / "table.json")
    options: dict[str, Any] = {"divisor": 2} if name == "pc-darts" else {}
    options |= SHORT | {"epochs": 8, "latency_target": str(path), "batch_size": 7}
    expected = []
    for weight in (0.0, 50.0):
        ledger = Ledger(ScriptedEvaluator(problem), problem, 2)
        agent = resolve("agent", name).with_options(**options, latency_weight=weight)
        agent.search(problem, ledger, 0)
        numbers = [numbers for _, numbers in ledger.history.traces()]
        assert numbers[0]["expected_macs"] is None
        expected.append(numbers[7]["expected_latency_us"])
    assert expected[1] < 0.9 * expected[0]


def test_two_edges_of_a_free_node_are_expected(tmp_path: Path) -> None:
    """Even parameters: exactly the mean over all networks of the space."""
    space = gradient_worlds.free_space(tmp_path)
    problem = gradient_worlds.small_problem(tmp_path, space)
    config = PCDartsConfig(**SHORT, divisor=2, latency_target="macs")
    ground = Ground.of(problem, config, "pc-darts")
    latency = latency_of("macs", space, problem.task)
    search = PCDartsSearch(ground, config, 0, latency)
    assert search.latency is not None
    assert isinstance(latency, TableLatency)
    half, first = len(space.operations) // 2, space.first_token
    sizes = [range(len(names)) for names in space.operations.values()]

    def mean(begin: int, end: int) -> float:
        """Over all choices of one cell, those of the other being the first."""
        found = []
        for chosen in itertools.product(*sizes[begin:end]):
            tokens = list(first)
            tokens[begin:end] = [a + b for a, b in zip(first[begin:end], chosen, strict=True)]
            found.append(latency.table.total(space, space.architecture(tokens)))
        return float(np.mean(found))

    expected = mean(0, half) + mean(half, 2 * half) - mean(0, 0)  # the two add up
    assert search.latency.reference == pytest.approx(expected, rel=1e-6)
    for tensor in search.alphas.tensors:
        tensor.detach().zero_()
    assert float(search.latency.of(search.alphas).detach()) == pytest.approx(expected, 1e-5)
    edges = (search.alphas.edges or {})["normal"]
    (found,) = torch.autograd.grad(search.latency.of(search.alphas), [edges])
    assert float(found.abs().max()) > 0, "edges have a latency too"


def test_a_network_fitted_on_blocks_is_a_latency(tmp_path: Path) -> None:  # G19, G22
    space = load_space("lenna-block").with_channels(16)
    network = make_network("mlp", 8)
    network.channels, network.types = (1.0, 64.0), (False,)
    path = save_network(network, tmp_path / "block.network")
    expected = latency_of(str(path), space, DIGITS)
    term = LatencyTerm(expected, 1.0, {"normal": wiring(space.groups["normal"])})
    assert np.isfinite(term.reference)
    with pytest.raises(DomainError):
        latency_of(str(path), load_space("nb201-cell"), DIGITS)


# -------------------------------------------------------------------------------------- tables


def test_a_measured_table_is_kept_beside_the_history(problem: Problem, tmp_path: Path) -> None:
    """Else a run that is resumed would expect what this machine measures today."""
    folder = tmp_path / "run"
    folder.mkdir()
    options = SHORT | {"latency_target": "macs", "latency_weight": 1.0}
    ledger = Ledger(ScriptedEvaluator(problem), problem, 2, folder / "history.sqlite")
    Darts.with_options(**options).search(problem, ledger, 0)
    ledger.close()
    kept = LatencyTable.load(folder / "latency_macs.json")
    changed = replace(kept, groups={g: 2.0 * t for g, t in kept.groups.items()}, constant=0.0)
    changed.save(folder / "latency_macs.json")
    again = latency_of("macs", problem.space, problem.task, folder)  # type: ignore[arg-type]
    assert isinstance(again, TableLatency)
    assert np.array_equal(again.table.groups["normal"], changed.groups["normal"])


def test_targets_and_files_that_do_not_fit_are_refused(problem: Problem, tmp_path: Path) -> None:
    space: Any = problem.space
    with pytest.raises(UnknownName, match="ethos-u55-128"):
        latency_of("ethos-u55-127", space, problem.task)
    with pytest.raises(SurrogateFileError):
        latency_of(str(tmp_path / "missing.json"), space, problem.task)
    path = make_table("nb201-cell", "macs").save(tmp_path / "other.json")
    with pytest.raises(DomainError, match="nb201-cell"):
        latency_of(str(path), space, problem.task)


# ---------------------------------------------------------------------- budgets and look-ups


def test_a_genotype_keeps_the_budgets(problem: Problem) -> None:
    """Position by position the strongest that still fits; without budgets the network itself."""
    space: Any = problem.space
    networks = list(space.enumerate(problem.task))
    macs = {a.tokens: costs.macs(a.graph(problem.task)) for a in networks}
    limit = sorted(macs.values())[len(macs) // 2]
    tight = Problem.make(space, problem.task, budgets={"macs": limit})
    wires = {"normal": wiring(space.groups["normal"])}
    translation = Translation(space, space)
    rng = np.random.default_rng(0)
    changed = 0
    for _ in range(40):
        p = {"normal": rng.dirichlet(np.ones(3), 3)}
        decided = wires["normal"].decide(p["normal"])
        tokens = tuple(a + b for a, b in zip(space.first_token, decided, strict=True))
        assert fitted(problem, translation, tokens, p, wires) == tokens
        found = fitted(tight, translation, tokens, p, wires)
        assert tight.automaton.fits(found)
        assert (found == tokens) is (macs[tokens] <= limit)
        changed += found != tokens
        if found != tokens:
            (first,) = space.choices(found).values()
            row = p["normal"][0]
            better = [c for c in range(3) if row[c] > row[first[0]]]
            reachable = {space.choices(t)["normal"][0] for t, m in macs.items() if m <= limit}
            assert not reachable & set(better), "the strongest first choice that can still fit"
    assert 5 < changed < 40


def test_choices_of_free_nodes_are_scored_by_their_edges(tmp_path: Path) -> None:
    cell = gradient_worlds.free_space(tmp_path).groups["normal"]
    assert isinstance(cell, FreeCell)
    wires = wiring(cell)
    strengths = np.random.default_rng(0).random((len(wires.edges), 3))
    assert np.array_equal(choice_scores(cell, wires, strengths, 0, []), strengths[0])
    assert np.array_equal(choice_scores(cell, wires, strengths, 1, [0]), strengths[1])
    pairs = choice_scores(cell, wires, strengths, 2, [0, 0])
    top = strengths[2:].max(axis=1)
    assert pairs == pytest.approx([top[0] + top[1], top[0] + top[2], top[1] + top[2]])
    assert np.array_equal(choice_scores(cell, wires, strengths, 3, [0, 0, 2]), strengths[3])
    assert np.array_equal(choice_scores(cell, wires, strengths, 4, [0, 0, 2, 1]), strengths[4])


NAMES = ("none", "skip_connect", "nor_conv_1x1")
EDGES = ("0→1", "0→2", "1→2")


def _looked_up(names: tuple[str, ...] = NAMES, edges: tuple[str, ...] = EDGES) -> Table:
    """All networks of the small cell, with other names in another order."""
    choices = np.array(list(itertools.product(range(3), repeat=3)))
    valid = np.linspace(0.1, 0.9, 27)[:, None]
    operations = {edge: names[::-1] for edge in edges}
    task = Task("elsewhere", (8, 8, 1), 3, has_images=False)
    return Table("looked-up", task, operations, choices, {"long": Metric(valid, valid)})


@pytest.mark.parametrize("name", NEED_IMAGES)
def test_a_table_looks_the_genotype_up(tmp_path: Path, name: str) -> None:
    """Searched on images in a space of cells; positions and operations matched by their names."""
    source = gradient_worlds.images(tmp_path)
    gradient_worlds.cell_space(tmp_path)
    options: dict[str, Any] = {"divisor": 2} if name == "pc-darts" else {}
    options |= SHORT | {"images": source, "proxy_space": str(tmp_path / "space-0.toml")}
    problem, evaluator = table_problem(_looked_up())
    ledger = Ledger(evaluator, problem, 3)
    agent = resolve("agent", name).with_options(**options)
    agent.search(problem, ledger, 0)
    own = {"skip_connect": "skip", "nor_conv_1x1": "conv1x1", "none": "none"}
    traces = [numbers["tokens"] for _, numbers in ledger.history.traces()]
    space = load_space(tmp_path / "space-0.toml")
    searched = {tuple(map(space.describe, tokens)) for tokens in traces}
    for row in ledger.rows:
        words = [word.split(" = ") for word in map(problem.space.describe, row.tokens)]
        assert tuple(f"{edge} = {own[operation]}" for edge, operation in words) in searched
    assert agent.favourite(problem) == ledger.rows[-1].tokens or ledger.count > 1


def test_a_proxy_may_see_smaller_images(tmp_path: Path) -> None:
    """The supernet is built for what is left of the images; what they cost stays their number."""
    options = SHORT | {"images": gradient_worlds.images(tmp_path)}
    options |= {"proxy_space": gradient_worlds.cell_space(tmp_path).source}
    problem, evaluator = table_problem(_looked_up())
    grounds = []
    for divisor in (1, 2):
        config = Darts.with_options(**options, image_divisor=divisor).config
        grounds.append(Ground.of(problem, config, "darts"))
    assert [ground.data.task.input_shape[:2] for ground in grounds] == [(8, 8), (4, 4)]
    assert grounds[0].stand_alone == grounds[1].stand_alone
    ledger = Ledger(evaluator, problem, 3)
    Darts.with_options(**options, image_divisor=2).search(problem, ledger, 0)
    assert ledger.rows
    with pytest.raises(DatasetError, match="1/3"):
        Darts.with_options(**options, image_divisor=3).search(problem, ledger, 0)


def test_smaller_images_leave_latency_that_of_the_deployed_network(
    problem: Problem, tmp_path: Path
) -> None:
    """The supernet sees 4×4 pixels; what runs on the device in the end sees the task's 8×8."""
    path = make_table(problem.space, "macs", problem.task).save(tmp_path / "made.json")  # type: ignore[arg-type]
    options: dict[str, Any] = SHORT | {"latency_target": str(path), "latency_weight": 1.0}
    options["image_divisor"] = 2
    ground = Ground.of(problem, DartsConfig(**options), "darts")
    assert ground.data.task.input_shape[0] == gradient_worlds.IMAGES // 2
    assert ground.deployed == problem.task
    ledger = Ledger(ScriptedEvaluator(problem), problem, 2)
    Darts.with_options(**options).search(problem, ledger, 0)
    assert ledger.rows
    looked_up, _ = table_problem(_looked_up())
    options |= {"images": gradient_worlds.images(tmp_path)}
    options |= {"proxy_space": gradient_worlds.cell_space(tmp_path).source}
    proxy = Ground.of(looked_up, DartsConfig(**options), "darts")
    assert proxy.deployed == proxy.data.task != looked_up.task


def test_what_cannot_be_looked_up_is_refused(tmp_path: Path) -> None:
    space = gradient_worlds.cell_space(tmp_path)
    for table, words in (
        (_looked_up(edges=("0→1", "0→2", "2→3")), "position '1→2'"),
        (_looked_up(names=("none", "skip_connect", "conv5x5")), "has no 'conv1x1'"),
    ):
        problem, _ = table_problem(table)
        with pytest.raises(DomainError, match=words):
            Translation(space, problem.space)  # type: ignore[arg-type]
    problem, evaluator = table_problem(_looked_up())
    agent = Darts.with_options(**SHORT, proxy_space=space.source)
    with pytest.raises(DatasetError, match="images=PATH"):
        agent.search(problem, Ledger(evaluator, problem, 3), 0)


def test_nb201_is_translated(tmp_path: Path) -> None:
    """Names of the archives' converter, and of the papers."""
    space = load_space("nb201-cell")
    for names in (
        ("none", "skip", "conv1x1", "conv3x3", "avgpool3x3"),
        ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"),
    ):
        choices = np.array(list(itertools.product(range(5), repeat=6)))
        operations = {edge: names for edge in space.operations}
        valid = np.zeros((5**6, 1))
        task = Task("cifar10", (32, 32, 3), 10, has_images=False)
        table = Table("nb201", task, operations, choices, {"long": Metric(valid, valid)})
        problem, _ = table_problem(table)
        translation = Translation(space, problem.space)  # type: ignore[arg-type]
        for tokens in ((1, 7, 13, 19, 25, 26), (5, 9, 11, 17, 23, 30)):
            assert translation.tokens(tokens) == tokens
