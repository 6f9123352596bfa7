"""Training of shared weights, the evaluator that scores with them, and what begins with them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from scipy.stats import kendalltau  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

import predictors.supernet.shared_training as trainer  # noqa: E402
from emnas_gym.architecture import Architecture  # noqa: E402
from emnas_gym.array_file import read_arrays, write_arrays  # noqa: E402
from emnas_gym.branched.cell_space import CellSpace  # noqa: E402
from emnas_gym.errors import (  # noqa: E402
    DatasetError,
    DomainError,
    EmNASError,
    EvaluationError,
    InvalidArchitecture,
    StoreError,
    UnknownName,
)
from emnas_gym.evaluator import Evaluator, Result  # noqa: E402
from emnas_gym.measurement import Measurement  # noqa: E402
from emnas_gym.problem import Problem  # noqa: E402
from emnas_gym.registry import make_evaluator  # noqa: E402
from emnas_gym.space import load_space  # noqa: E402
from emnas_gym.tasks import DIGITS, Task  # noqa: E402
from emnas_gym.testing import check_evaluator  # noqa: E402
from predictors.cli import app  # noqa: E402
from predictors.datasets import Dataset, digits  # noqa: E402
from predictors.metrics import bootstrap_tau  # noqa: E402
from predictors.network import GraphNetwork  # noqa: E402
from predictors.supernet.layout import layers  # noqa: E402
from predictors.supernet.sampling import fair, uniform  # noqa: E402
from predictors.supernet.shared_evaluator import SharedEvaluator, scores  # noqa: E402
from predictors.supernet.shared_training import SharedRecipe, train_supernet  # noqa: E402
from predictors.supernet.stand_alone import uniform_networks  # noqa: E402
from predictors.supernet.supernet import Supernet  # noqa: E402
from predictors.supernet.warm_start import inherited  # noqa: E402
from predictors.training import Recipe, accuracy, train  # noqa: E402

SHORT = SharedRecipe(epochs=4, save_every=2)


def _space(name: str = "nb201-cell") -> CellSpace:
    space = load_space(name)
    assert isinstance(space, CellSpace)
    return space


@pytest.fixture(scope="module")
def few() -> Dataset:
    """A sixth of the digits."""
    whole = digits()
    return replace(
        whole,
        train_x=whole.train_x[:192],
        train_y=whole.train_y[:192],
        valid_x=whole.valid_x[:64],
        valid_y=whole.valid_y[:64],
    )


# ----------------------------------------------------------------------------------- sampling


def test_uniform_sampling_draws_every_choice_equally_often() -> None:  # D8
    space, rng = _space("darts-cell"), np.random.default_rng(0)
    drawn = np.array([uniform(space, rng)[0] for _ in range(2000)])
    for column, names in zip(drawn.T, space.operations.values(), strict=True):
        expected = 2000 / len(names)
        counts = np.array(list(Counter(column.tolist()).values()))
        assert len(counts) == len(names)
        deviation = (expected * (1 - 1 / len(names))) ** 0.5
        assert (np.abs(counts - expected) < 5 * deviation).all()


def test_fair_sampling_has_every_choice_once_a_round() -> None:  # D8
    space, rng = _space(), np.random.default_rng(0)
    for _ in range(20):
        drawn = fair(space, rng)
        assert len(drawn) == 5
        for column, first in zip(np.array(drawn).T, space.first_token, strict=True):
            assert sorted(column.tolist()) == list(range(first, first + 5))
        for tokens in drawn:
            space.check(tokens)
    space = _space("darts-cell")  # positions of 3 to 10 choices
    for column, names in zip(np.array(fair(space, rng)).T, space.operations.values(), strict=True):
        counts = Counter(column.tolist())
        assert sum(counts.values()) == 10
        assert len(counts) == len(names)
        assert max(counts.values()) - min(counts.values()) <= 1


def test_only_connected_networks_are_drawn() -> None:
    space, rng = _space(), np.random.default_rng(0)
    for tokens in {uniform(space, rng)[0] for _ in range(300)}:
        space.check(tokens)
    found = uniform_networks(space, 30)
    assert found == uniform_networks(space, 40)[:30]
    assert len(set(found)) == 30
    assert [space.canonical_tokens(tokens) for tokens in found] == found
    with pytest.raises(EmNASError, match="distinct networks, not 600"):
        uniform_networks(_space("mobile-stages"), 600)


# ----------------------------------------------------------------------------------- training


@pytest.mark.parametrize("sampling", ["uniform", "fair"])
def test_a_training_is_the_same_bits_again(few: Dataset, sampling: str) -> None:
    recipe, states = SharedRecipe(epochs=1, sampling=sampling), []
    for seed in (0, 0, 1):
        net = Supernet(_space(), DIGITS, 0)
        found = train_supernet(net, few, seed, recipe)
        assert found.images == 192 * (5 if sampling == "fair" else 1)
        states.append(net.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])


@pytest.mark.slow
def test_shared_weights_learn(few: Dataset) -> None:  # D8
    net = Supernet(_space(), DIGITS, 0)
    told: list[int] = []
    recipe = SharedRecipe(epochs=12, batch_size=16, learning_rate=0.02)
    found = train_supernet(net, few, 0, recipe, advance=told.append)
    assert found.losses[-1] < 0.85 * found.losses[0]
    assert told == [1] * 12
    evaluator = SharedEvaluator(_space(), few, recipe)
    tokens = _space().encode(dict.fromkeys(_space().operations, "conv3x3"))
    assert evaluator.scored(tokens)["accuracy"] > 0.2  # of ten classes


def test_an_interrupted_training_ends_in_the_same_bits(
    few: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, path = Supernet(_space(), DIGITS, 0), tmp_path / "state.npz"
    expected = train_supernet(whole, few, 0, SHORT)
    epochs = trainer._Trainer._epoch

    def killed(self: trainer._Trainer, epoch: int) -> None:
        if epoch == 3:
            raise KeyboardInterrupt
        epochs(self, epoch)

    monkeypatch.setattr(trainer._Trainer, "_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        train_supernet(Supernet(_space(), DIGITS, 0), few, 0, SHORT, path=path)
    monkeypatch.setattr(trainer._Trainer, "_epoch", epochs)
    told: list[int] = []
    net = Supernet(_space(), DIGITS, 0)
    found = train_supernet(net, few, 0, SHORT, path=path, advance=told.append)
    assert told == [2, 1, 1]  # of the file, then those that were lost and the last
    assert (found.losses, found.images) == (expected.losses, expected.images)
    for name, value in whole.state_dict().items():
        if "num_batches" not in name:
            assert torch.equal(value, net.state_dict()[name]), name
    again: list[int] = []
    other = Supernet(_space(), DIGITS, 0)
    train_supernet(other, few, 0, SHORT, path=path, advance=again.append)
    assert again == [4]
    assert torch.equal(other.head.layers["dense_2"].weight, net.head.layers["dense_2"].weight)


def test_a_state_of_something_else_is_refused(few: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    recipe = SharedRecipe(epochs=1)
    train_supernet(Supernet(_space(), DIGITS, 0), few, 0, recipe, path=path)
    fresh = Supernet(_space(), DIGITS, 0)
    before = {name: value.clone() for name, value in fresh.state_dict().items()}
    for seed, changed in ((1, recipe), (0, replace(recipe, learning_rate=1e-3))):
        with pytest.raises(StoreError, match="another training"):
            train_supernet(fresh, few, seed, changed, path=path)
    with pytest.raises(StoreError, match="another training"):
        train_supernet(Supernet(_space("nb201-macro"), DIGITS, 0), few, 0, recipe, path=path)
    content = path.read_bytes()
    arrays = read_arrays(content)
    for name, damage in (
        ("weights", arrays["weights"][:-1]),
        ("exp_avg", arrays["exp_avg"].astype(np.int32)),
        ("progress", np.frombuffer(b'{"about": 3}', dtype=np.uint8)),
        ("progress", np.frombuffer(b"\xff\xfe", dtype=np.uint8)),
    ):
        path.write_bytes(write_arrays(arrays | {name: damage}))
        with pytest.raises(StoreError, match="remove"):
            train_supernet(fresh, few, 0, recipe, path=path)
    for damaged in (content[: len(content) // 2], b"", b"PK\x03\x04 nothing"):
        path.write_bytes(damaged)
        with pytest.raises(StoreError, match="no state"):
            train_supernet(fresh, few, 0, recipe, path=path)
    assert all(torch.equal(v, before[n]) for n, v in fresh.state_dict().items())


def test_bad_trainings_are_refused(few: Dataset) -> None:
    net = Supernet(_space(), DIGITS, 0)
    with pytest.raises(UnknownName, match="uniform"):
        train_supernet(net, few, 0, SharedRecipe(sampling="unifrom"))
    other = replace(few, task=Task("other", (16, 16, 1), 10))
    with pytest.raises(EvaluationError, match="the images are"):
        train_supernet(net, other, 0)
    broken = replace(few, train_x=few.train_x * np.float32(np.nan))
    with pytest.raises(EvaluationError, match="not finite"):
        train_supernet(net, broken, 0, SharedRecipe(epochs=1))


# ---------------------------------------------------------------------------------- evaluator


def test_the_contract_of_the_evaluator(few: Dataset) -> None:  # D7, D8
    space, rng = _space(), np.random.default_rng(0)
    evaluator = SharedEvaluator(space, few, SharedRecipe(epochs=2))
    assert evaluator.remarks() == []
    check_evaluator(evaluator, [space.sample(rng, DIGITS) for _ in range(4)])
    assert "one supernet of 2 epochs" in evaluator.remarks()[0]


def test_networks_of_one_graph_have_one_score(few: Dataset) -> None:
    space = _space()
    evaluator = SharedEvaluator(space, few, SharedRecipe(epochs=1))
    names = list(space.operations)
    one = {n: "none" for n in names} | {"0→1": "conv3x3", "1→3": "conv1x1"}
    other = {n: "none" for n in names} | {"0→2": "conv3x3", "2→3": "conv1x1"}
    pair = [space.architecture(space.encode(choices)) for choices in (one, other)]
    first, second = evaluator.evaluate(pair)
    assert first == second
    assert first.accuracy == pytest.approx(evaluator.scored(pair[0].tokens)["likelihood"])
    assert first.provenance["accuracy"] == "predicted"


def test_the_supernet_is_paid_for_once(few: Dataset, tmp_path: Path) -> None:
    space, rng = _space(), np.random.default_rng(0)
    batch = [space.sample(rng, DIGITS) for _ in range(3)]
    evaluator = SharedEvaluator(space, few, SharedRecipe(epochs=2), cache=tmp_path)
    found = [result.seconds for result in evaluator.evaluate(batch)]
    assert evaluator.training is not None
    assert found[0] > evaluator.training.seconds > sum(found[1:])
    assert sum(r.seconds for r in evaluator.evaluate(batch)) < evaluator.training.seconds
    path = evaluator.path
    assert path is not None
    assert path.name == "nb201-cell_digits_0.npz"
    before = path.stat().st_mtime_ns
    again = SharedEvaluator(space, few, SharedRecipe(epochs=2), cache=tmp_path)
    results = again.evaluate(batch)
    assert path.stat().st_mtime_ns == before
    assert results == evaluator.evaluate(batch)
    assert results[0].seconds > evaluator.training.seconds  # of the file


class _Half(Evaluator):
    provides = frozenset({"accuracy"})

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        return [Measurement.of("manual", accuracy=0.5) for _ in batch]


def test_costs_come_from_where_other_evaluators_have_them(few: Dataset) -> None:
    space = _space()
    problem = Problem.make(space="nb201-cell")
    shared = SharedEvaluator(space, few, SharedRecipe(epochs=1))
    sampled = [space.sample(np.random.default_rng(0), DIGITS)]
    mine, other = (
        make_evaluator(part, problem).evaluate(sampled)[0] for part in ([shared], [_Half()])
    )
    for field in ("ram_bytes", "flash_bytes", "macs", "latency_ms"):
        assert getattr(mine, field) == getattr(other, field)
    assert mine.accuracy != other.accuracy


def test_what_is_outside_the_domain_is_refused(few: Dataset) -> None:
    with pytest.raises(DomainError, match="emnas-382 has not"):
        SharedEvaluator.for_problem(Problem.make())
    with pytest.raises(DatasetError):
        SharedEvaluator.for_problem(Problem.make(space="nb201-cell", task="grasp"))
    evaluator = SharedEvaluator(_space(), few)
    assert "space" in evaluator.domain.difference(Problem.make(space="darts-cell"))
    with pytest.raises(EmNASError, match="accuracy, not 'loss'"):
        SharedEvaluator(_space(), few, score="loss")
    with pytest.raises(EmNASError, match="2 images or more"):
        SharedEvaluator(_space(), few, images=1)


def test_scores_are_those_of_the_logits(few: Dataset) -> None:
    net = Supernet(_space(), DIGITS, 0).network(uniform_networks(_space(), 1)[0])
    found = scores(net, few.valid_x, few.valid_y)
    assert found["accuracy"] == accuracy(net, few.valid_x, few.valid_y)
    with torch.no_grad():
        logits = net(torch.from_numpy(few.valid_x.transpose(0, 3, 1, 2).copy())).double()
    right = logits.softmax(1)[torch.arange(64), torch.from_numpy(few.valid_y)].log().mean().exp()
    assert found["likelihood"] == pytest.approx(float(right), rel=1e-5)


# --------------------------------------------------------------------------------- warm start


@pytest.mark.slow
def test_training_goes_on_from_shared_weights(few: Dataset) -> None:  # D10
    space, net = _space(), Supernet(_space(), DIGITS, 0)
    train_supernet(net, few, 0, SharedRecipe(epochs=10))
    recipe = Recipe(epochs=1, attempts=1)
    better = 0
    for tokens in uniform_networks(space, 5):
        graph = space.build(tokens, DIGITS)
        warm = train(graph, few, 0, recipe, weights=net.weights_of(tokens))
        cold = train(graph, few, 0, recipe)
        better += warm.train_loss[0] < cold.train_loss[0]
    assert better >= 4


@pytest.mark.parametrize("name", ["nb201-cell", "darts-cell", "lenna-reduction"])
def test_a_child_inherits_all_edges_that_it_has_in_common(name: str) -> None:  # D10
    """From a parent whose weights are a supernet's: what is inherited is the supernet's too."""
    space, rng = _space(name), np.random.default_rng(0)
    net, renamed = Supernet(space, DIGITS, 0), 0
    for _ in range(8):
        parent = tuple(space.sample(rng, DIGITS).tokens)
        position = int(rng.integers(len(parent)))
        sizes = [len(names) for names in space.operations.values()]
        child = list(parent)
        first = space.first_token[position]
        child[position] = first + (child[position] - first + 1) % sizes[position]
        try:
            space.check(child)
        except InvalidArchitecture:
            continue
        mine, theirs = (layers(space, DIGITS, tokens) for tokens in (child, parent))
        kept = {layer.part for layer in mine.values()} & {layer.part for layer in theirs.values()}
        found = inherited(space, DIGITS, parent, net.weights_of(parent), child)
        expected = net.weights_of(child)
        assert {n.rpartition("/")[0] for n in found} == {
            n for n, layer in mine.items() if layer.part in kept
        }
        assert all(np.array_equal(found[n], expected[n]) for n in found)
        renamed += [n for n in mine if n in theirs and mine[n] != theirs[n]] != []
        assert inherited(space, DIGITS, parent, net.weights_of(parent), parent).keys() == (
            net.weights_of(parent).keys()
        )
    assert renamed or name == "lenna-reduction"
    with pytest.raises(InvalidArchitecture, match="do not belong"):
        inherited(space, DIGITS, parent, {}, parent)


@pytest.mark.slow
def test_a_child_with_its_parents_weights_needs_fewer_epochs() -> None:  # D10
    """Epochs until 80 % of the validation images are right; one edge of the cell has changed."""
    space, whole, sooner, target = _space(), digits(), 0, 0.8
    data = replace(whole, train_x=whole.train_x[:384], train_y=whole.train_y[:384])
    operations = dict.fromkeys(space.operations, "skip") | {"0→1": "conv3x3", "1→3": "conv3x3"}
    parent, child = space.encode(operations), space.encode(operations | {"1→3": "conv1x1"})
    recipe = Recipe(epochs=8, attempts=1, batch_size=32)
    slower = replace(recipe, learning_rate=3e-3)  # so that what was inherited is not forgotten

    def epochs(seed: int, weights: dict[str, np.ndarray] | None) -> int:
        graph = space.build(child, DIGITS)
        curve = train(
            graph, data, 100 + seed, slower, weights=weights, watch=lambda c: c[-1] >= target
        ).curve
        return len(curve) + (curve[-1] < target)

    for seed in range(10):
        taught = train(space.build(parent, DIGITS), data, seed, recipe).weights
        warm = epochs(seed, inherited(space, DIGITS, parent, taught, child))
        sooner += warm < epochs(seed, None)
    assert sooner >= 8


def test_inherited_weights_run(few: Dataset) -> None:
    space = _space("darts-cell")
    net, (parent, child) = Supernet(space, DIGITS, 0), uniform_networks(space, 2)
    start = inherited(space, DIGITS, parent, net.weights_of(parent), child)
    network = GraphNetwork(space.build(child, DIGITS))
    network.load_weights(network.weights() | start)
    result = train(space.build(child, DIGITS), few, 0, Recipe(epochs=1, attempts=1), weights=start)
    assert len(result.curve) == 1


# -------------------------------------------------------------------------------- the command


def test_the_interval_of_tau_holds_it() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=60)
    low, value, high = bootstrap_tau(truth + rng.normal(size=60), truth)
    assert low is not None
    assert value is not None
    assert high is not None
    assert -1 < low < value < high < 1
    spread = []
    noisy = np.round(truth + rng.normal(size=60), 1)  # with ties, against scipy
    for _ in range(300):
        rows = rng.integers(0, 60, 60)
        spread.append(kendalltau(noisy[rows], truth[rows]).statistic)
    found = bootstrap_tau(noisy, truth)
    assert found[::2] == pytest.approx(np.quantile(spread, [0.025, 0.975]).tolist(), abs=0.05)
    assert bootstrap_tau(truth, truth) == pytest.approx([1.0, 1.0, 1.0])
    assert bootstrap_tau(np.zeros(60), truth) == [None, None, None]


@pytest.mark.slow
def test_the_command_goes_on_from_what_was_measured(tmp_path: Path) -> None:
    arguments = "shared --networks 3 --epochs 1 --alone 1 --warm 1 --json --cache".split()
    out = ["--out", str(tmp_path / "made" / "figures.json")]
    first = CliRunner().invoke(app, [*arguments, str(tmp_path), *out])
    assert first.exit_code == 0, first.output
    figures = json.loads(first.stdout)
    names = [row["name"] for row in figures["rows"]]
    assert names == [
        f"{kind}, {score}"
        for kind in ("shared weights", "1 epoch from shared weights", "1 epoch from scratch")
        for score in ("likelihood", "accuracy")
    ]
    assert figures["networks"] == 3
    assert all(row["ratio"] > row["ratio_with_supernet"] > 0 for row in figures["rows"][:2])
    lines = (tmp_path / "nb201-cell_digits.jsonl").read_text().splitlines()
    assert len(lines) == 1 + 4 * 3
    again = CliRunner().invoke(app, [*arguments, str(tmp_path)])
    assert json.loads(again.stdout) == figures == json.loads(Path(out[1]).read_text())
    assert (tmp_path / "nb201-cell_digits.jsonl").read_text().splitlines() == lines
    refused = CliRunner().invoke(app, ["shared", "--space", "emnas-382"])
    assert isinstance(refused.exception, DomainError)


def test_the_page_runs_as_printed(few: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    """But for the length of the trainings and the number of images."""
    page = (Path(__file__).parents[1] / "docs" / "supernet.md").read_text(encoding="utf-8")
    scope: dict[str, object] = {"few": few}
    changed = {"SharedRecipe()": "SharedRecipe(epochs=1)", 'load("digits")': "few", "=3": "=1"}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        for old, new in changed.items():
            block = block.replace(old, new)
        exec(compile(block, "supernet.md", "exec", dont_inherit=True), scope)
    shown = capsys.readouterr().out
    assert "difference 0.0000" in shown
    assert "a step of ProxylessNAS: (6, 5)" in shown
