"""Training: bits that repeat, a start from the data, and a test part that stays unseen."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_hardware_graphs import space_graphs

from emnas_gym import costs
from emnas_gym.errors import EvaluationError
from emnas_gym.graph import WEIGHTED, LayerGraph
from emnas_gym.space import load_space
from emnas_gym.tasks import DIGITS, Task
from predictors.datasets import Dataset, digits, split
from predictors.network import GraphNetwork
from predictors.tables import packed_path, unpack
from predictors.training import Recipe, TrainingResult, initialise, one_thread, train

ROOT = Path(__file__).parents[1]
GOOD = (68, 140, 380, 382)  # conv 16 3×3/2, conv 32 3×3/2, dense 40, all relu
SHORT = Recipe(epochs=2)


def _graph(tokens: tuple[int, ...] = GOOD, space: str = "emnas-382") -> LayerGraph:
    return load_space(space).build(tokens, DIGITS)


def _few(count: int = 300) -> Dataset:
    data = digits()
    return replace(data, train_x=data.train_x[:count], train_y=data.train_y[:count])


def _digest(result: TrainingResult) -> str:
    digest = hashlib.sha256(json.dumps([result.curve, result.train_loss]).encode())
    for name, value in result.weights.items():
        digest.update(name.encode() + value.tobytes())
    return digest.hexdigest()


# --------------------------------------------------------------------------------- determinism

IN_ANOTHER_PROCESS = """
import torch
from test_predictors_training import SHORT, _digest, _few, _graph
from predictors.training import train
torch.set_num_threads(2)
torch.manual_seed(99)
mobile = _graph((3, 26, 10, 48, 14, 27, 21, 49), "emnas-mobile-49")
print(*(_digest(train(graph, _few(), 3, SHORT)) for graph in (_graph(), mobile)))
"""


def test_equal_arguments_give_equal_bits_in_another_process() -> None:  # D1
    """Whatever the other process did to torch's own seed and threads before."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    environment["OMP_NUM_THREADS"] = "2"
    done = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    mobile = _graph((3, 26, 10, 48, 14, 27, 21, 49), "emnas-mobile-49")
    here = [_digest(train(graph, _few(), 3, SHORT)) for graph in (_graph(), mobile)]
    assert done.stdout.split() == here
    assert _digest(train(_graph(), _few(), 4, SHORT)) not in here, "the seed decides"


def test_training_leaves_torchs_own_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(_graph(), _few(64), 0, Recipe(epochs=1))
    assert torch.equal(torch.rand(3), expected)
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError), one_thread():
        assert torch.get_num_threads() == 1
        raise RuntimeError
    assert torch.get_num_threads() == before


# -------------------------------------------------------------------------------- initialisation


def test_pre_activations_start_with_mean_0_and_variance_1_or_2() -> None:
    """On the batch that it was shown: 2 before a sigmoid, as its slope at zero is a quarter."""
    images = torch.from_numpy(digits().train_x[:256].transpose(0, 3, 1, 2).copy())
    seen = {1.0: 0, 2.0: 0}
    for i, graph in enumerate(space_graphs("emnas-382", 25, seed=11)):
        torch.manual_seed(i)
        network = GraphNetwork(graph)
        initialise(network, images)
        outputs: list[torch.Tensor] = []
        for index, node in enumerate(graph):
            if node.op == "input":
                outputs.append(images)
                continue
            with torch.no_grad():
                before = network.linear(node, [outputs[j] for j in node.inputs])
                outputs.append(network.activate(node, before))
            if node.op not in WEIGHTED:
                continue
            axes = [d for d in range(before.dim()) if d != 1]
            scale = float(before.std())
            assert float(before.mean(dim=axes).abs().max()) < 1e-3 * max(scale, 1.0)
            follower = graph.nodes[index + 1] if index + 1 < len(graph.nodes) else node
            variance = 2.0 if follower.op == "sigmoid" else 1.0
            if scale < 1e-3:
                continue  # a channel that is dead for all images cannot be brought to life
            assert float(before.var()) == pytest.approx(variance, rel=1e-2)
            seen[variance] += 1
    assert min(seen.values()) > 20


def test_batch_norm_keeps_its_own_start() -> None:
    graph = _graph((3, 26, 10, 48, 14, 27, 21, 49), "emnas-mobile-49")
    network = GraphNetwork(graph)
    before = network.weights()
    initialise(network, torch.from_numpy(digits().train_x[:64].transpose(0, 3, 1, 2).copy()))
    after = network.weights()
    for node in graph:
        if node.op in WEIGHTED:
            same = np.array_equal(before[f"{node.name}/kernel"], after[f"{node.name}/kernel"])
            assert same == node.batch_norm


def test_a_deep_network_with_norms_begins_in_range() -> None:
    """Its head is scaled for what the norms let through, not for what is left of it without."""
    networks = [g for g in space_graphs("emnas-mobile-49", 24, seed=3) if costs.macs(g) < 1e6]
    assert max(sum(node.batch_norm for node in graph) for graph in networks) > 15
    images = torch.from_numpy(digits().train_x[:64].transpose(0, 3, 1, 2).copy())
    spreads: dict[bool, list[float]] = {False: [], True: []}
    for graph in networks:
        torch.manual_seed(0)
        network = GraphNetwork(graph)
        initialise(network, images)
        for norms_measure in (False, True):
            network.eval()
            for norm in network.norms.values():
                norm.train(norms_measure)
            with torch.no_grad():
                spreads[norms_measure].append(float(network(images).std()))
    for spread in spreads.values():
        alive = [s for s in spread if s > 1e-3]  # of some nothing comes out at all
        assert alive == pytest.approx([1.0] * len(alive), rel=0.05)
        assert len(alive) > 5


def test_given_statistics_of_a_norm_stay() -> None:
    graph = _graph((3, 26, 10, 48, 14, 27, 21, 49), "emnas-mobile-49")
    network = GraphNetwork(graph)
    before = network.weights()
    names = [node.name for node in graph if node.batch_norm]
    images = torch.from_numpy(digits().train_x[:64].transpose(0, 3, 1, 2).copy())
    initialise(network, images, names[:1])
    after = network.weights()
    same = [np.array_equal(before[f"{n}/mean"], after[f"{n}/mean"]) for n in names]
    assert same == [True] + [False] * (len(names) - 1)


# -------------------------------------------------------------------------------------- learning


def test_a_decent_network_learns_digits() -> None:
    result = train(_graph(), digits(), 0, Recipe(epochs=6))
    assert result.valid_accuracy > 0.9
    assert result.test_accuracy > 0.9
    assert result.train_loss[-1] < result.train_loss[0] / 2
    assert len(result.curve) == len(result.train_loss) == 6
    assert result.curve[-1] == result.valid_accuracy
    assert result.images == 6 * len(digits().train_x)
    assert {n: w.shape for n, w in result.weights.items()} == _graph().weight_shapes()
    network = GraphNetwork(_graph())
    network.load_weights(result.weights)
    images = torch.from_numpy(digits().test_x.transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        hits = (network.eval()(images).argmax(1).numpy() == digits().test_y).mean()
    assert hits == pytest.approx(result.test_accuracy), "the weights are those that were tested"


def test_neither_test_nor_validation_part_is_trained_on() -> None:
    """Nonsense in their place changes nothing but their own accuracy."""
    data = _few()
    rng = np.random.default_rng(0)
    nonsense = replace(
        data,
        test_x=rng.normal(size=data.test_x.shape).astype(np.float32),
        test_y=rng.permutation(data.test_y),
    )
    first, second = train(_graph(), data, 0, SHORT), train(_graph(), nonsense, 0, SHORT)
    assert _digest(first) == _digest(second)
    assert first.test_accuracy > second.test_accuracy
    unseen = replace(data, valid_x=data.valid_x[::-1].copy(), valid_y=rng.permutation(data.valid_y))
    third = train(_graph(), unseen, 0, SHORT)
    assert all(np.array_equal(third.weights[n], w) for n, w in first.weights.items())


def test_the_parts_share_no_image() -> None:
    data = digits()
    assert [len(part) for part in (data.train_x, data.valid_x, data.test_x)] == [1078, 359, 360]
    assert len(data.train_x) + len(data.valid_x) + len(data.test_x) == 1797
    parts = [{image.tobytes() for image in p} for p in (data.train_x, data.valid_x, data.test_x)]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]


# ------------------------------------------------------------------------------------- bad input


def test_what_does_not_belong_together_is_an_evaluation_error() -> None:
    with pytest.raises(EvaluationError, match=r"reads \(16, 16, 1\), not \(8, 8, 3\)"):
        wrong = replace(digits(), task=Task("photos", (8, 8, 3), 10))
        train(_graph(), wrong, 0, SHORT)


def test_a_loss_that_is_no_number_is_an_evaluation_error() -> None:
    data = _few(64)
    with np.errstate(all="ignore"):
        broken = replace(data, train_x=np.full_like(data.train_x, np.inf))
    with pytest.raises(EvaluationError, match="not finite"):
        train(_graph(), broken, 0, Recipe(epochs=1))


def test_a_last_batch_of_one_image_does_not_upset_batch_norm() -> None:
    graph = _graph((3, 26, 10, 48, 14, 27, 21, 49), "emnas-mobile-49")
    result = train(graph, _few(65), 0, Recipe(epochs=1))
    assert np.isfinite(result.train_loss[0])


@pytest.mark.parametrize("images", [1, 128, 192, 256, 257])
def test_a_training_of_few_steps_is_a_training(images: int) -> None:
    assert train(_graph(), _few(images), 0, Recipe(epochs=1, attempts=1)).images == images


def test_constant_images_stay_at_chance_and_break_nothing() -> None:
    x = np.zeros((40, 16, 16, 1), np.float32)
    data = split(Task("flat", (16, 16, 1), 2), x, np.arange(40) % 2)
    graph = load_space("emnas-382").build(GOOD, data.task)
    assert train(graph, data, 0, Recipe(epochs=1)).test_accuracy == 0.5


# ------------------------------------------------------------------------------------- attempts

UNLUCKY = (297, 340, 246, 192, 382)  # four strided depthwise layers: one pixel is left, hardly seen


def test_what_learned_nothing_begins_again_and_what_learned_does_not() -> None:
    """A network that learns has the same bits however many attempts it may have."""
    once, often = Recipe(epochs=2, attempts=1), Recipe(epochs=2)
    stuck = [train(_graph(UNLUCKY), _few(), 0, recipe) for recipe in (once, often)]
    assert [result.images for result in stuck] == [600, 3600]
    assert stuck[1].train_loss[-1] <= stuck[0].train_loss[-1]
    learns = [train(_graph(), digits(), 0, recipe) for recipe in (once, often)]
    assert learns[0].images == learns[1].images
    assert _digest(learns[0]) == _digest(learns[1])
    assert _digest(stuck[1]) == _digest(train(_graph(UNLUCKY), _few(), 0, often))


def test_the_last_attempts_have_other_rates() -> None:
    rates = [Recipe(learning_rate=0.01).rate(attempt) for attempt in range(Recipe.attempts)]
    assert rates == pytest.approx([0.01, 0.01, 0.01, 0.003, 0.0009, 0.03])


def test_patience_ends_hopeless_attempts_but_the_last() -> None:
    """Of six attempts of four epochs five end after the first one; what learns is not changed."""
    patient, hasty = Recipe(epochs=4), Recipe(epochs=4, patience=1)
    found = train(_graph(UNLUCKY), _few(), 0, hasty)
    assert found.images == (5 * 1 + 4) * len(_few().train_x)
    assert len(found.curve) == len(found.train_loss) == 4
    learns = [train(_graph(), digits(), 0, recipe) for recipe in (patient, hasty)]
    assert _digest(learns[0]) == _digest(learns[1])
    assert "patience" not in patient.to_json(), "tables made before have no such field"
    assert hasty.to_json()["patience"] == 1


# ------------------------------------------------------------------------------------------ slow

CHANCE = 0.1
WANTED = 40


def _at_chance() -> list[tuple[int, ...]]:
    """Networks of the committed table that the recipe leaves at chance, in the order of drawing."""
    trainings = unpack(packed_path("emnas-382", "digits")).trainings
    stuck = [row.tokens for row in trainings if row.seed == 0 and row.curve[-1] <= 1.2 * CHANCE]
    return stuck[:WANTED]


def _accuracy_of_five_times_the_epochs(tokens: tuple[int, ...]) -> float:
    longer = Recipe(epochs=5 * Recipe.epochs)
    graph = load_space("emnas-382").build(tokens, DIGITS)
    return train(graph, digits(), 1, longer).valid_accuracy


@pytest.mark.slow
def test_networks_at_chance_are_hopeless_not_unlucky() -> None:  # D1
    """Of those at chance at most a tenth exceed 2 × chance with five times the epochs."""
    stuck = _at_chance()
    assert len(stuck) > 10
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        accuracies = list(pool.map(_accuracy_of_five_times_the_epochs, stuck))
    saved = sum(accuracy > 2 * CHANCE for accuracy in accuracies)
    assert saved <= max(len(stuck) // 10, 1), f"{saved} of {len(stuck)}"
