"""The table evaluator: looked up, noise replayed, optimum known, and no file is trusted."""

from __future__ import annotations

import itertools
import json
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import emnas_gym
from emnas_gym.bench import BenchEvaluator, optimum, pooled_deviation
from emnas_gym.bench_file import BenchTable, read_bench, shipped_bench, write_bench
from emnas_gym.devices import devices
from emnas_gym.errors import DomainError, StoreError
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.registry import make_evaluator
from emnas_gym.space import SearchSpace, load_space
from emnas_gym.tasks import DIGITS
from emnas_gym.testing import check_evaluator
from predictors.bench_card import card
from predictors.bench_table import bench_table, describe_bench, highest_of
from predictors.cli import app
from predictors.collect import enumerated, jobs
from predictors.store import TableStore, Training
from predictors.tables import Table

IMAGES = (359, 360)
SMALL: SearchSpace = replace(load_space("emnas-bench-8"), max_layers=3)


def _trainings(seed: int = 0, noise: float = 0.01) -> list[Training]:
    """Invented: networks differ, and so do the trainings of one."""
    rng = np.random.default_rng(seed)
    networks = enumerated(SMALL, DIGITS)
    level = dict(zip([tokens for tokens, _ in networks], rng.random(len(networks)), strict=True))
    rows = []
    for job in jobs(networks, 3):
        final = float(np.clip(level[job.tokens] + noise * rng.normal(), 0, 1))
        valid, test = round(final * IMAGES[0]), round(final * IMAGES[1])
        curve = (valid // 2 / IMAGES[0], valid / IMAGES[0])
        shares = (test / IMAGES[1], 1.5, test / IMAGES[1])
        rows.append(Training(job.tokens, job.seed, job.origin, curve, *shares))
    return rows


def _costs() -> dict[str, dict[tuple[int, ...], dict[str, float]]]:
    networks = [tokens for tokens, _ in enumerated(SMALL, DIGITS)]
    npu = {t: {"latency_ms": 1.0 + len(t), "npu_cycles": 100.0 + i} for i, t in enumerate(networks)}
    m4 = {t: {"instructions": 1000.0 + i} for i, t in enumerate(networks)}
    return {"ethos-u55-128": npu, "cortex-m4": m4}


@pytest.fixture(scope="module")
def table() -> BenchTable:
    collected = Table(tuple(_trainings()), _costs(), (), {"recipe": "{}"})
    return bench_table(collected, SMALL, DIGITS, IMAGES)


@pytest.fixture
def path(table: BenchTable, tmp_path: Path) -> Path:
    write_bench(table, tmp_path / "bench.npz")
    return tmp_path / "bench.npz"


def test_every_network_of_the_space_is_there(table: BenchTable) -> None:
    expected = {SMALL.canonical_tokens(a.tokens) for a in SMALL.enumerate(DIGITS)}
    assert {SMALL.canonical_tokens(tokens) for tokens in table.networks()} == expected
    assert table.trials == 3


def test_it_reads_back_as_it_was(table: BenchTable, path: Path) -> None:
    again = read_bench(path)
    for name in ("tokens", "valid_hits", "test_hits", "int8_hits", "seconds"):
        assert (getattr(again, name) == getattr(table, name)).all()
        assert getattr(again, name).dtype == getattr(table, name).dtype
    assert {n: c.tolist() for n, c in again.costs.items()} == {
        n: c.tolist() for n, c in table.costs.items()
    }
    assert again.about == json.loads(json.dumps(table.about))


def test_a_missing_training_is_refused() -> None:
    with pytest.raises(StoreError, match="1 of 144 trainings are missing"):
        bench_table(Table(tuple(_trainings()[1:]), {}, (), {"recipe": "{}"}), SMALL, DIGITS, IMAGES)


def test_accuracies_are_the_trainings(table: BenchTable) -> None:  # E1
    networks = [SMALL.architecture(tokens) for tokens in table.networks()]
    known: dict[tuple[int, ...], list[float]] = {}
    for row in _trainings():
        known.setdefault(row.tokens, []).append(row.curve[-1])
    for trial in range(3):
        results = BenchEvaluator(table, trial=trial).evaluate(networks)
        assert [r.accuracy for r in results] == [known[a.tokens][trial] for a in networks]
    results = BenchEvaluator(table).evaluate(networks)
    assert [r.accuracy for r in results] == pytest.approx(
        [np.mean(known[a.tokens]) for a in networks]
    )
    assert {r.provenance["accuracy"] for r in results} == {"table"}
    evaluator = BenchEvaluator(table)
    assert evaluator.test_accuracies(networks[5]) == [
        row.test_accuracy for row in _trainings() if row.tokens == networks[5].tokens
    ]


def test_noise_is_replayed_by_its_seed(table: BenchTable) -> None:
    networks = [SMALL.architecture(tokens) for tokens in table.networks()]

    def accuracies(seed: int) -> list[float]:
        return [r.accuracy for r in BenchEvaluator(table, noise_seed=seed).evaluate(networks)]

    assert accuracies(4) == accuracies(4)
    assert accuracies(4) != accuracies(5)
    trials = table.valid_accuracy
    assert all(value in row for value, row in zip(accuracies(4), trials, strict=True))
    often = np.mean([np.array(accuracies(s)) == trials[:, 0] for s in range(60)])
    assert 0.28 < often < 0.42, "each training is drawn a third of the time, ties apart"


def test_costs_are_those_of_the_device_and_of_its_core(table: BenchTable) -> None:
    network = SMALL.architecture(table.networks()[7])
    npu, m4, m7 = (
        BenchEvaluator(table, devices()[name])
        for name in ("ethos-u55-128", "stm32f446re", "stm32f746zg")
    )
    assert npu.provides == {"accuracy", "latency_ms", "npu_cycles"}
    assert m4.provides == {"accuracy", "instructions"}
    assert m7.provides == {"accuracy"}
    assert npu.evaluate([network])[0].npu_cycles == 107
    assert m4.evaluate([network])[0].instructions == 1007
    for evaluator in (npu, m4, m7):
        check_evaluator(evaluator, [network, SMALL.architecture(table.networks()[0])])


def test_outside_it_says_what_differs(table: BenchTable) -> None:
    evaluator = BenchEvaluator(table)
    other = load_space("emnas-382").architecture((4, 4, 4, 382))
    with pytest.raises(DomainError, match="not of the space emnas-bench-8"):
        evaluator.evaluate([other])
    with pytest.raises(DomainError, match="trials 0 to 2"):
        BenchEvaluator(table, trial=3)
    with pytest.raises(DomainError, match="exclude each other"):
        BenchEvaluator(table, trial=0, noise_seed=0)


def test_an_episode_ends_with_what_the_table_says(table: BenchTable) -> None:
    parts = ["analytic", BenchEvaluator(table)]
    env = gym.make("EmNAS-v0", space=SMALL, budgets={}, evaluator=parts)
    env.reset(seed=3)
    done = False
    while not done:
        mask = env.get_wrapper_attr("action_masks")()
        _, _, done, _, info = env.step(int(np.flatnonzero(mask)[-1]))
    network = SMALL.architecture([t for t in info["architecture"] if t])
    expected = BenchEvaluator(table).evaluate([network])[0]
    assert info["measurement"]["accuracy"] == expected.accuracy


# ------------------------------------------------------------------------------ the known optimum


def _problem(**limits: int) -> Problem:
    return Problem.make(SMALL, budgets=limits)


def test_the_optimum_is_the_best_of_all(table: BenchTable) -> None:  # B1
    problem = _problem(ram_bytes=6000)
    measure = make_evaluator(["analytic", BenchEvaluator(table)], problem)
    best = optimum(problem, measure, table)
    rewards = []
    for network in SMALL.enumerate(DIGITS):
        result = measure.evaluate([network])[0]
        assert isinstance(result, Measurement)
        if not problem.budgets.broken(result):
            rewards.append(problem.reward(result)[0])
    assert best.reward == max(rewards)
    assert best.networks == len(rewards) < len(table.tokens)
    assert best.interval[0] < best.reward < best.interval[1]


def test_without_noise_there_are_no_rivals_and_no_interval() -> None:
    calm = [replace(row, curve=(0.5, len(row.tokens) / 10)) for row in _trainings()]
    first = calm[0].tokens
    calm = [replace(r, curve=(0.5, 0.9)) if r.tokens == first else r for r in calm]
    table = bench_table(Table(tuple(calm), {}, (), {"recipe": "{}"}), SMALL, DIGITS, IMAGES)
    problem = _problem()
    best = optimum(problem, make_evaluator(["analytic", BenchEvaluator(table)], problem), table)
    assert best.deviation == pytest.approx(0, abs=1e-12)
    assert best.interval == pytest.approx((best.reward, best.reward), abs=1e-12)
    assert best.architecture.tokens == first
    assert best.rivals == 0


def test_the_deviation_is_that_of_the_noise() -> None:
    rows = tuple(_trainings(noise=0.03))
    table = bench_table(Table(rows, {}, (), {"recipe": "{}"}), SMALL, DIGITS, IMAGES)
    inside = table.valid_accuracy.mean(axis=1) < 0.9  # clipping at 1 takes noise away
    deviation = np.sqrt(table.valid_accuracy[inside].var(axis=1, ddof=1).mean())
    assert 0.022 < deviation < 0.038
    assert pooled_deviation(table, 1.0) == pytest.approx(
        np.sqrt(table.valid_accuracy.var(axis=1, ddof=1).mean())
    )


def test_the_description_agrees_with_the_table(table: BenchTable, path: Path) -> None:
    figures = describe_bench(path, table, SMALL)
    assert figures["networks"] == len(table.tokens)
    assert figures["bytes"] == path.stat().st_size
    assert figures["int8_minus_float"] == {"mean": 0.0, "worst": 0.0, "mean_absolute": 0.0}
    assert figures["training_hours"] == pytest.approx(144 * 1.5 / 3600, rel=1e-4)
    assert figures["one_training_and_another"]["tau"] > 0.9


@pytest.mark.parametrize("draws", [1, 2, 5, 6])
def test_the_highest_of_a_draw_is_that_of_all_draws(draws: int) -> None:
    rewards = np.array([0.1, 0.2, 0.2, 0.7, 0.9, 1.3])
    every = [max(some) for some in itertools.combinations(rewards, draws)]
    assert highest_of(rewards, draws) == pytest.approx(np.mean(every), rel=1e-12)


def test_a_cost_that_was_left_unfinished_is_refused_and_one_that_failed_is_not() -> None:
    costs, rows = _costs(), tuple(_trainings())
    tokens, _ = costs["cortex-m4"].popitem()
    with pytest.raises(StoreError, match="1 costs on cortex-m4 are missing"):
        bench_table(Table(rows, costs, (), {"recipe": "{}"}), SMALL, DIGITS, IMAGES)
    failed = ((tokens, 0, "cortex-m4", "does not fit"),)
    packed = bench_table(Table(rows, costs, failed, {"recipe": "{}"}), SMALL, DIGITS, IMAGES)
    assert np.isnan(packed.costs["instructions/cortex-m4"]).sum() == 1


def test_pack_and_table_know_it(table: BenchTable, tmp_path: Path) -> None:
    space_file = tmp_path / "small.toml"
    text = (Path(emnas_gym.__file__).parent / "spaces" / "emnas-bench-8.toml").read_text()
    space_file.write_text(text.replace("max_layers = 5", "max_layers = 3"), encoding="utf-8")
    about = {"space": SMALL.fingerprint, "task": "digits", "recipe": "{}"}
    with TableStore(tmp_path / "s.sqlite", about) as store:
        store.add_trainings(_trainings())
        for device, rows in _costs().items():
            store.add_costs(device, rows.items())
    out = tmp_path / "bench.npz"
    arguments = ["pack", str(tmp_path / "s.sqlite"), "--whole", "--out", str(out)]
    refused = CliRunner().invoke(app, arguments)
    assert isinstance(refused.exception, StoreError), "it is no table of the default space"
    done = CliRunner().invoke(app, [*arguments, "--space", str(space_file)])
    assert done.exit_code == 0, done.output
    assert (read_bench(out).valid_hits == table.valid_hits).all()
    shown = CliRunner().invoke(app, ["table", str(out), "--space", str(space_file), "--json"])
    figures = json.loads(shown.stdout)
    assert figures["trials"] == 3
    assert figures["optimum"]["ethos-u55-128"]["networks"] == len(table.tokens)


# --------------------------------------------------------------------------------- hostile files


def _rewritten(path: Path, change: Callable[[dict[str, np.ndarray]], None]) -> None:
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    change(arrays)
    np.savez_compressed(path, **arrays)


def test_damage_is_named(path: Path) -> None:
    _rewritten(path, lambda arrays: arrays.update(test_hits=arrays["test_hits"] + 1))
    with pytest.raises(StoreError, match="checksum"):
        read_bench(path)


def test_a_count_beyond_the_images_is_refused(table: BenchTable, tmp_path: Path) -> None:
    lying = replace(table, test_hits=table.test_hits + np.uint16(400))
    with pytest.raises((StoreError, ValueError), match="more images than there are"):
        write_bench(lying, tmp_path / "lying.npz")


def test_an_archive_that_would_unpack_to_gigabytes_is_refused(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.npz"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tokens.npy", bytes(400 << 20))
    with pytest.raises(StoreError, match="holds more than"):
        read_bench(bomb)


@pytest.fixture(scope="module")
def content(table: BenchTable, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "bench.npz"
    write_bench(table, path)
    return path.read_bytes()


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_cut_and_flipped_files_are_refused_or_read_as_they_were(
    table: BenchTable, content: bytes, data: st.DataObject
) -> None:
    damaged = bytearray(content)
    if data.draw(st.booleans()):
        damaged = damaged[: data.draw(st.integers(0, len(content) - 1))]
    else:
        damaged[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.npz"
        path.write_bytes(damaged)
        try:
            again = read_bench(path)  # a flipped date of the archive, say
        except StoreError:
            return
        assert (again.valid_hits == table.valid_hits).all()


# --------------------------------------------------------------------------------- as it ships


def test_the_shipped_table_is_whole_and_small() -> None:
    path = shipped_bench()
    table = read_bench(path)
    assert path.stat().st_size <= 3 << 20
    space = load_space(table.about["space"])
    assert table.about["space_fingerprint"] == space.fingerprint
    assert table.networks() == [tokens for tokens, _ in enumerated(space, DIGITS)]
    assert table.valid_hits.shape == (len(table.tokens), 3, 15)
    assert (table.valid_hits <= table.about["images"]["valid"]).all()
    for name, column in table.costs.items():
        assert (column > 0).all(), name


def test_an_environment_looks_up_and_its_optimum_is_the_best_of_all() -> None:  # E1
    env = gym.make("EmNAS-v0", space="emnas-bench-8", budgets={}, evaluator="bench").unwrapped
    best = optimum(env.problem, env.evaluator, read_bench(shipped_bench()))
    rewards = []
    for architecture in env.problem.space.enumerate(DIGITS):
        env.reset(seed=0)
        for token in architecture.tokens:
            _, reward, terminated, _, info = env.step(np.int64(token))
        assert terminated
        rewards.append(reward)
    assert max(rewards) == best.reward
    assert best.interval[0] < best.reward < best.interval[1]
    assert info["measurement"]["accuracy"] in read_bench(shipped_bench()).valid_accuracy.mean(1)


def test_the_card_is_made_of_the_shipped_table() -> None:
    page = Path(emnas_gym.__file__).parents[1] / "docs" / "bench.md"
    figures = describe_bench(shipped_bench(), read_bench(shipped_bench()))
    assert page.read_text(encoding="utf-8") == card(figures)
