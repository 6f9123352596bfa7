"""Spaces of cells: tokens, sizes, masks against brute force, costs, environments, files."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import get_args

import gymnasium as gym
import numpy as np
import pytest
from conftest import ByTokens
from table_worlds import TRAINED

from emnas_gym import costs
from emnas_gym.branched import CellSpace
from emnas_gym.branched.edge_cell import EdgeCell
from emnas_gym.budgets import Budgets
from emnas_gym.cost_vectors import FLASH, MACS, PLANNING
from emnas_gym.env import EmNASEnv
from emnas_gym.errors import (
    InfeasibleBudgets,
    InvalidArchitecture,
    SpaceFileError,
    UnknownName,
)
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem
from emnas_gym.registry import resolve
from emnas_gym.space import CellSpaceName, load_space, resolve_space, space_names
from emnas_gym.tasks import DIGITS, Task
from emnas_gym.testing import check_search_space

SHIPPED: tuple[CellSpaceName, ...] = get_args(CellSpaceName)
LIMITS = {
    "nb201-cell": Budgets(flash_bytes=11_000, macs=330_000),
    "nb201-macro": Budgets(flash_bytes=12_000, macs=400_000),
    "nb201-mini": Budgets(flash_bytes=45_000, macs=950_000),
    "darts-cell": Budgets(flash_bytes=22_500, macs=260_000),
    "mobile-stages": Budgets(flash_bytes=45_000, macs=900_000),
    "lenna-block": Budgets(flash_bytes=16_000, macs=700_000),
    "lenna-reduction": Budgets(flash_bytes=26_000, macs=600_000),
}
SMALL = """
form = "cells"
name = "small"
share = "all"
stem = {channels = 4}

[[stages]]
channels = 4
cells = 2

[[stages]]
channels = 6
cells = 1
join = "residual"

[cells.normal]
edges = [[0, 1], [0, 2], [1, 2], [0, 3], [1, 3], [2, 3]]
operations = ["none", "skip", "conv3x3"]
"""


def _space(tmp_path: Path, text: str = SMALL) -> CellSpace:
    path = tmp_path / "small.toml"
    path.write_text(text, encoding="utf-8")
    found = resolve_space(path)
    assert isinstance(found, CellSpace)
    return found


def _sequences(space: CellSpace) -> list[tuple[int, ...]]:
    """All sequences of one token a position, connected or not."""
    pairs = zip(space.first_token, space.operations.values(), strict=True)
    return list(itertools.product(*(range(first, first + len(n)) for first, n in pairs)))


def _is_connected(space: CellSpace, tokens: tuple[int, ...]) -> bool:
    """Whether a way leads through every cell, found by following edges one by one."""
    for group, choices in space.choices(tokens).items():
        cell = space.groups[group]
        assert isinstance(cell, EdgeCell)
        reached = {0}
        for _ in cell.edges:
            for (source, target), names, c in zip(
                cell.edges, cell.operations, choices, strict=True
            ):
                if source in reached and names[c] != "none":
                    reached.add(target)
        if cell.last not in reached:
            return False
    return True


# ---------------------------------------------------------------------------------- the contract


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_spaces_keep_the_contract(name: CellSpaceName) -> None:  # A7, A8, A9, A10, A11, A12
    space = load_space(name)
    check_search_space(space, samples=12)
    check_search_space(space, budgets=LIMITS[name], samples=12)
    assert set(SHIPPED) < set(space_names())
    assert len(set(map(space.describe, range(1, space.num_tokens + 1)))) == space.num_tokens


@pytest.mark.parametrize("name", SHIPPED)
def test_tokens_cost_what_the_graph_costs(name: CellSpaceName) -> None:
    space, rng = load_space(name), np.random.default_rng(0)
    for task in (DIGITS, Task("odd", (15, 21, 3), 4)):
        table = space.automaton(task)
        for _ in range(12):
            network = space.sample(rng, task)
            graph, spent = network.graph(task), table.walk(network.tokens)[1]
            assert graph.output_shape == (task.classes,)
            assert spent[FLASH] == costs.flash_bytes(graph)
            assert spent[MACS] == costs.macs(graph)
            assert spent[PLANNING] == costs.setup_bytes(graph) + costs.persistent_bytes(graph)


def test_every_network_of_the_cell_costs_what_its_graph_costs(tmp_path: Path) -> None:
    space = _space(tmp_path)
    table = space.automaton()
    for network in space.enumerate():
        graph, spent = network.graph(DIGITS), table.walk(network.tokens)[1]
        assert (spent[FLASH], spent[MACS]) == (costs.flash_bytes(graph), costs.macs(graph))


# ----------------------------------------------------------------------------------------- sizes


def test_exact_sizes() -> None:  # A5, A10, A11
    cell, macro = load_space("nb201-cell"), load_space("nb201-macro")
    assert cell.size() == 5**6 == 15_625
    assert macro.size() == 5 ** (6 * 2)
    assert load_space("lenna-block").size() == 11**15 == 4_177_248_169_415_651
    assert load_space("lenna-reduction").size() == 10**5 * 11**10 == 2_593_742_460_100_000
    pair = math.prod(math.comb(2 + node, 2) * 7**2 for node in range(4))
    assert load_space("darts-cell").size() == pair**2
    assert load_space("mobile-stages").size() == 8**3
    assert cell.size(6) == cell.size() and cell.size(5) == 0


def test_enumeration_is_the_brute_force(tmp_path: Path) -> None:  # A4, A5
    space = _space(tmp_path)
    every = _sequences(space)
    assert len(every) == space.size() == 3**6
    connected = {tokens for tokens in every if _is_connected(space, tokens)}
    listed = [network.tokens for network in space.enumerate()]
    assert set(listed) == connected and len(listed) == len(connected) < len(every)
    for tokens in set(every) - connected:
        with pytest.raises(InvalidArchitecture, match="no way leads"):
            space.check(tokens)


def test_all_cells_share_a_genotype_or_each_has_its_own() -> None:  # A8, A10, A11
    one, each = load_space("nb201-cell"), load_space("nb201-macro")
    convolutions = dict.fromkeys(one.operations, "conv3x3")
    kernels = [n.kernel for n in one.architecture(one.encode(convolutions)).graph(DIGITS)]
    assert kernels.count((3, 3)) == 2 * 6 + 1 + 2, "both cells, the stem, the residual block"
    mixed = {p: "conv3x3" if p.startswith("cell 0") else "skip" for p in each.operations}
    kernels = [n.kernel for n in each.architecture(each.encode(mixed)).graph(DIGITS)]
    assert kernels.count((3, 3)) == 6 + 1 + 2


def test_two_genomes_that_differ_in_an_edge_are_different_graphs() -> None:  # A4, A7
    space = load_space("nb201-cell")
    one = dict.fromkeys(space.operations, "conv1x1")
    other = one | {"0→3": "none"}
    graphs = [space.architecture(space.encode(c)).graph(DIGITS) for c in (one, other)]
    inputs = [[len(n.inputs) for n in graph if n.op == "add"] for graph in graphs]
    assert inputs == [[2, 3, 2, 2, 3], [2, 2, 2, 2, 2]], "the third is the residual block's"
    assert not any(graph.is_chain for graph in graphs)


@pytest.mark.parametrize("side", [32, 64])
def test_a_pair_of_cells_is_stacked_and_transferred(side: int) -> None:  # A8, A12
    task = Task("colour", (side, side, 3), 10)
    small = load_space("darts-cell")
    tokens = small.sample(np.random.default_rng(side)).tokens
    for count in range(1, 7):
        space = small.with_cells(count)
        network = space.architecture(tokens)
        graph = network.graph(task)
        outputs = [n.shape for n in graph if n.op == "concat"]
        normal, half = (side, side, 16), (side // 2, side // 2, 32)
        assert outputs == [normal] * count + [half] * count
        spent = space.automaton(task).walk(tokens)[1]
        assert (spent[FLASH], spent[MACS]) == (costs.flash_bytes(graph), costs.macs(graph))
    with pytest.raises(InvalidArchitecture, match="has 1 to 32 cells a stage, not 33"):
        small.with_cells(33)


def test_the_edges_of_a_pair_are_searched() -> None:  # A4, A12
    space = load_space("darts-cell")
    choices = {p: names[0] for p, names in space.operations.items()}
    other = choices | {"normal: n3 reads": "n1+n2"}
    one, two = (space.architecture(space.encode(c)).graph(DIGITS) for c in (choices, other))
    assert one != two and len(one.nodes) == len(two.nodes)
    for graph in (one, two):
        assert all(source < i for i, node in enumerate(graph) for source in node.inputs)


# ----------------------------------------------------------------------------------------- masks


@pytest.mark.parametrize("limits", [{}, {"flash_bytes": 8300}, {"flash_bytes": 8800, "macs": 9e4}])
def test_masks_are_the_brute_force(tmp_path: Path, limits: dict[str, float]) -> None:
    space = _space(tmp_path)
    budgets = Budgets.of(limits)
    fitting = set()
    for tokens in _sequences(space):
        if _is_connected(space, tokens):
            graph = space.architecture(tokens).graph(DIGITS)
            flash, macs = costs.flash_bytes(graph), costs.macs(graph)
            if flash <= limits.get("flash_bytes", 1e9) and macs <= limits.get("macs", 1e9):
                fitting.add(tokens)
    assert 0 < len(fitting) < 3**6, "the limits refuse some, not all"
    beginnings = {tokens[:i] for tokens in fitting for i in range(7)}
    table = space.automaton(DIGITS, budgets)
    for start in (b for b in beginnings if len(b) < 6):
        cursor = table.start()
        for token in start:
            table.step(cursor, token)
        finishable = {t for t in range(1, 19) if (*start, t) in beginnings}
        assert set(table.legal(cursor).tolist()) == finishable


def test_ram_is_decided_at_the_end() -> None:
    keywords = {"budgets": {"ram_bytes": 13_000}, "evaluator": ["analytic", ByTokens()]}
    env = gym.make("EmNASCell-v0", **keywords).unwrapped
    assert isinstance(env, EmNASEnv)
    rng, seen = np.random.default_rng(0), []
    for _ in range(30):
        _, info = env.reset()
        over = False
        while not over:
            action = rng.choice(np.flatnonzero(info["action_mask"]))
            _, _, over, _, info = env.step(action)
        ram = info["measurement"]["ram_bytes"]
        assert info["feasible"] == (ram <= 13_000)
        assert env.spent["ram_bytes"] <= ram, "what is known on the way is a bound from below"
        seen.append(info["feasible"])
    assert 0 < sum(seen) < 30


def test_what_no_network_fits() -> None:
    space = load_space("nb201-cell")
    with pytest.raises(InfeasibleBudgets, match=r"fits flash_bytes = 2000; each needs.*macs = "):
        space.automaton(DIGITS, Budgets(flash_bytes=2000))
    with pytest.raises(InfeasibleBudgets, match="fits ram_bytes = 3000; each needs at least"):
        space.automaton(DIGITS, Budgets(ram_bytes=3000))
    with pytest.raises(InfeasibleBudgets, match="has 6 positions, not 4"):
        space.automaton(max_layers=4)
    least = space.automaton().least_costs()
    fits = space.automaton(DIGITS, Budgets(flash_bytes=least["flash_bytes"], macs=least["macs"]))
    assert len(fits.legal(fits.start())) > 0


def test_a_thousand_channels_on_a_small_machine() -> None:
    wide = load_space("lenna-block").with_channels(1000)
    assert wide.skeleton.channels == wide.skeleton.stages[0].channels == 1000
    assert wide.fingerprint != load_space("lenna-block").fingerprint
    with pytest.raises(InfeasibleBudgets, match="ram_bytes"):
        _ = Problem.make(wide, device="stm32f446re").automaton
    for channels in (0, 2.5, True):
        with pytest.raises(InvalidArchitecture, match="whole number above 0"):
            load_space("lenna-block").with_channels(channels)  # type: ignore[arg-type]
    assert wide.with_channels(8).skeleton == load_space("lenna-block").skeleton
    assert wide.with_cells(2).with_channels(8).name == "lenna-block@cells=2,channels=8"
    with pytest.raises(InvalidArchitecture, match="stage of 6000; stages have 1 to 4,096"):
        load_space("lenna-reduction").with_channels(3000)
    one = load_space("lenna-reduction").with_channels(1)
    assert one.sample(np.random.default_rng(0)).graph(DIGITS).output_shape == (10,)


# ------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('form = "cells"', 'form = "cell"', "form: unknown value 'cell': did you mean cells"),
        ("share", "shares", "shares: unknown key: did you mean share"),
        ('share = "all"', 'share = "al"', "share: unknown value 'al': did you mean all"),
        ('"skip"', '"skipp"', r"cells.normal.operations: unknown value 'skipp': did you mean skip"),
        ("cells = 2", "cell = 2", r"stages\[0\].cell: unknown key: did you mean cells"),
        ("cells = 2", "cells = 65", "cells: is at most 64, not 65"),
        ("channels = 6", "channels = 5000", r"stages\[1\].channels: is at most 4,096"),
        ("channels = 6", "channels = 0", "is a whole number above 0, not 0"),
        ('join = "residual"', 'join = "resid"', r"stages\[1\].join: unknown value"),
        ("[1, 2]", "[2, 1]", r"edges: \[2, 1\] leads back.*cycle"),
        ("[1, 2]", "[1, 1]", r"\[1, 1\] leads back"),
        ("[1, 2]", "[0, 2]", "names an edge twice"),
        ("[1, 2]", "[1, 2, 3]", "an edge is .*not"),
        ("[1, 2]", "[1, 99]", "nodes are 0 to 15"),
        ("[0, 1], ", "", "no edge enters node 1"),
        ("[1, 2], [0, 3], [1, 3]", "[0, 3]", "no edge leaves node 1"),
        ('["none", "skip", "conv3x3"]', '["none"]', "no network would be connected"),
        ('"conv3x3"]', '"skip"]', "names an operation twice"),
        ('["none", "skip", "conv3x3"]', "[]", "is a list of operations"),
        ("[cells.normal]", "[cells.normale]", "cells.normale: unknown key: did you mean normal"),
        ("stem = {channels = 4}", "stem = 4", "stem: is a table"),
        ("[[stages]]", "[[stagse]]", "stagse: unknown key: did you mean stages"),
    ],
)
def test_files_with_errors(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in SMALL
    with pytest.raises(SpaceFileError, match=message) as info:
        _space(tmp_path, SMALL.replace(old, new))
    assert "small.toml: " in str(info.value)


def test_files_of_pairs_with_errors(tmp_path: Path) -> None:
    head, _, _ = SMALL.partition("[cells.normal]")
    free = head + '[cells.normal]\nnodes = 2\noperations = ["skip", "sep3x3"]\n'
    assert _space(tmp_path, free).size() == math.comb(3, 2) * 2**4
    cases = {
        free.replace('"skip"', '"none"'): "chooses its edges has no none",
        free.replace("nodes = 2", "nodes = 9"): "nodes: is at most 8",
        free + '[cells.reduction]\nnodes = 2\noperations = ["skip"]\n': "no stage has join",
    }
    for i, (text, message) in enumerate(cases.items()):
        (folder := tmp_path / str(i)).mkdir()  # a path is read once a process
        with pytest.raises(SpaceFileError, match=message):
            _space(folder, text)


def test_tokens_that_are_no_network() -> None:  # A16
    space = load_space("nb201-cell")
    cases = [
        ((1, 6, 11, 16, 21), "has 6 positions, not 5"),
        ((6, 6, 11, 16, 21, 26), "0→1: its tokens are 1 to 5, not 6"),
        ((1, 6, 11, 16, 21, 31), "2→3: its tokens are 26 to 30, not 31"),
        ((1, 6, 11, 16, 21, 26), "no way leads from the input of normal"),
        ((5, 6, 15, 16, 21, 26), "no way leads"),
    ]
    for tokens, message in cases:
        with pytest.raises(InvalidArchitecture, match=message):
            space.architecture(tokens)
    with pytest.raises(InvalidArchitecture, match="did you mean conv3x3"):
        space.encode(dict.fromkeys(space.operations, "conv3x"))
    with pytest.raises(InvalidArchitecture, match="unknown position '0→4'"):
        space.encode({"0→4": "skip"})
    with pytest.raises(InvalidArchitecture, match="tokens 1 to 30, not 31"):
        space.describe(31)
    with pytest.raises(InvalidArchitecture, match="choices in a cell, not layers"):
        space.spec(1)
    with pytest.raises(UnknownName, match="did you mean nb201-cell"):
        load_space("nb201-cel")


def test_too_many_states_are_refused(tmp_path: Path) -> None:
    edges = [[a, b] for b in range(1, 8) for a in range(b)]
    text = SMALL.replace("[[0, 1], [0, 2], [1, 2], [0, 3], [1, 3], [2, 3]]", str(edges))
    with pytest.raises(InfeasibleBudgets, match="states of .* tokens, too many to hold"):
        _space(tmp_path, text.replace('"conv3x3"', '"conv3x3", "conv1x1", "sep3x3"')).automaton()


# ---------------------------------------------------------------------------------- environments


@pytest.mark.parametrize("name", TRAINED)
def test_single_and_native_vector_environments_are_equal(name: str) -> None:  # B2, B25
    single = gym.make(name, evaluator=ByTokens()).unwrapped
    many = gym.make_vec(name, 3, "vector_entry_point", evaluator=ByTokens())
    _, info = many.reset(seed=7)
    makers = [gym.make(name, evaluator=ByTokens()).unwrapped for _ in range(3)]
    masks = [env.reset(seed=7 + i)[1]["action_mask"] for i, env in enumerate(makers)]
    rng = np.random.default_rng(0)
    for _ in range(single.problem.max_layers):  # type: ignore[attr-defined]
        assert np.array_equal(info["action_mask"], masks)
        actions = np.array([rng.choice(np.flatnonzero(mask)) for mask in masks])
        _, rewards, ended, _, info = many.step(actions)
        steps = [env.step(action) for env, action in zip(makers, actions, strict=True)]
        assert rewards.tolist() == [step[1] for step in steps]
        assert ended.tolist() == [step[2] for step in steps]
        masks = [step[4]["action_mask"] for step in steps]
    assert ended.all()


def test_a_whole_cell_as_one_action() -> None:
    env = gym.make("EmNASPlay-v0", space="nb201-cell", evaluator=ByTokens(), budgets={})
    env.reset(seed=0)
    space, rng = load_space("nb201-cell"), np.random.default_rng(0)
    for _ in range(5):
        tokens = space.sample(rng).tokens
        _, _, _, _, info = env.step(np.array(tokens))
        assert tuple(info["architecture"]) == tokens


@pytest.mark.parametrize("name", ["random", "evolution", "reinforce", "maskable-ppo", "bananas"])
def test_agents_search_cells_and_blocks(name: str) -> None:
    options: dict[str, dict[str, object]] = {
        "evolution": {"population": 8, "tournament": 3},
        "reinforce": {"batch": 8, "hidden": 16, "width": 8},
        "maskable-ppo": {"envs": 4, "steps": 8, "hidden": 16, "width": 4, "minibatch": 16},
        "bananas": {"initial": 8},
    }
    limits = {"flash_bytes": 16_000, "macs": 900_000}
    for space in ("nb201-cell", "lenna-block"):
        problem = Problem.make(space, budgets=limits)
        ledger = Ledger(ByTokens(), problem, 16)
        agent = resolve("agent", name).with_options(**options.get(name, {}))
        agent.search(problem, ledger, 0)
        assert len(ledger.rows) == 16
        assert all(problem.automaton.fits(row.tokens) for row in ledger.rows)
