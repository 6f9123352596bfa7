"""Collecting a table: the same networks in the same order, and no way of ending that loses any."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY

import predictors.collect
from emnas_gym import costs
from emnas_gym.space import SearchSpace, load_space
from emnas_gym.tasks import DIGITS
from predictors.cli import main
from predictors.collect import SEEDS, Job, collect, draw, enumerated, jobs, left_of
from predictors.datasets import digits
from predictors.store import TableStore, Training
from predictors.training import Recipe, train

ROOT = Path(__file__).parents[1]

# ----------------------------------------------------------------------------------- what is drawn


def test_a_larger_table_begins_with_the_smaller_one(space: SearchSpace) -> None:
    small, large = draw(space, DIGITS, 30, seed=0), draw(space, DIGITS, 60, seed=0)
    assert large[:30] == small
    assert len({space.canonical_tokens(tokens) for tokens, _ in large}) == 60, "all distinct"
    assert draw(space, DIGITS, 30, seed=1) != small
    origins = Counter(origin for _, origin in large)
    assert origins == {"uniform-length": 45, "spread": 15}


def test_every_fourth_spreads_the_table_over_cost(space: SearchSpace) -> None:
    networks = draw(space, DIGITS, 200, seed=0)
    macs = {
        origin: [
            np.log10(costs.macs(space.build(tokens, DIGITS)))
            for tokens, how in networks
            if how == origin
        ]
        for origin in ("uniform-length", "spread")
    }
    assert np.std(macs["spread"]) > 1.1 * np.std(macs["uniform-length"])


def test_a_space_with_fewer_networks_is_drawn_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictors.collect, "EXHAUSTED", 300)
    small = replace(TINY, max_layers=3)
    every = {small.canonical_tokens(a.tokens) for a in small.enumerate(DIGITS)}
    drawn = [small.canonical_tokens(tokens) for tokens, _ in draw(small, DIGITS, 10**6, seed=0)]
    assert sorted(drawn) == sorted(every)


def test_one_in_ten_is_trained_with_five_seeds() -> None:
    networks = [((i, 9), "spread") for i in range(10_000)]
    todo = list(jobs(networks))
    seeds = Counter(job.tokens[0] for job in todo)
    often = sorted(i for i, n in seeds.items() if n == SEEDS)
    assert often[:6] == [0, 13, 26, 39, 52, 65]
    assert len(often) == 1000
    assert len(todo) == 10_000 + 1000 * (SEEDS - 1)
    assert todo[:5] == [Job((0, 9), seed, "spread") for seed in range(5)]


def test_a_small_space_is_trained_whole_a_seed_after_the_other() -> None:  # B1: known optimum
    small = replace(TINY, max_layers=3)
    networks = enumerated(small, DIGITS)
    canonical = [small.canonical_tokens(tokens) for tokens, _ in networks]
    every = {small.canonical_tokens(a.tokens) for a in small.enumerate(DIGITS)}
    assert len(canonical) == len(set(canonical)) == len(every)
    todo = list(jobs(networks, 3))
    assert [job.seed for job in todo] == [seed for seed in range(3) for _ in networks]
    assert {job.tokens for job in todo if job.seed == 2} == {tokens for tokens, _ in networks}


def test_only_networks_of_few_macs_are_drawn(space: SearchSpace) -> None:
    networks = draw(space, DIGITS, 40, seed=0, max_macs=20_000)
    macs = [costs.macs(space.build(tokens, DIGITS)) for tokens, _ in networks]
    assert max(macs) <= 20_000
    assert len(networks) == 40


def test_failures_are_stored_and_not_tried_again(tmp_path: Path) -> None:
    class Refused(Exception):
        pass

    about = {"space": TINY.fingerprint}
    todo = [Job((1, 9), 0, "spread"), Job((2, 9), 0, "spread")]
    with TableStore(tmp_path / "table.sqlite", about) as store:
        store.add_failure((1, 9), 0, "train", "the loss is not finite")
        store.add_trainings([Training((2, 9), 0, "spread", (0.5,), 0.5, 1.0, 0.5)])

        def advance(result: object) -> None:
            raise Refused

        # nothing is left to do, so that not even a worker is started
        collect(TINY, digits(), "digits", Recipe(epochs=1), todo, store, 1, advance)
        assert len(list(store.trainings())) == 1


def test_what_lacks_its_int8_accuracy_comes_last(tmp_path: Path) -> None:
    todo = [Job((token, 9), 0, "spread") for token in (1, 2, 3, 4)]
    with TableStore(tmp_path / "table.sqlite", {"space": TINY.fingerprint}) as store:
        store.add_failure((4, 9), 0, "train", "the loss is not finite")
        store.add_trainings([Training((1, 9), 0, "spread", (0.5,), 0.5, 1.0)])
        store.add_trainings([Training((2, 9), 0, "spread", (0.5,), 0.5, 1.0, 0.5)])
        assert [job.tokens for job in left_of(todo, store)] == [(3, 9), (1, 9)]


# -------------------------------------------------------------------------------- the whole command

SIZE = 4  # networks; the first is trained with five seeds
TOTAL, EPOCHS = SIZE + SEEDS - 1, 2
SPACE = """
name = "small"
min_layers = 3
max_layers = 6

[rules]
first = ["conv"]
after = { dense = ["dense"] }

[[tokens]]
kind = "conv"
filters = [4, 8]
kernel = [1, 3]
stride = [2, 3]
padding = "same"
activation = ["relu", "sigmoid"]

[[tokens]]
kind = "dense"
units = [8, 16]
activation = "relu"

[[tokens]]
kind = "output"
head = "dense"
"""


def _space_file(folder: Path) -> Path:
    path = folder / "small.toml"
    path.write_text(SPACE, encoding="utf-8")
    return path


def _arguments(path: Path, **changes: object) -> list[str]:
    options = {"space": _space_file(path.parent), "limit": SIZE, "workers": 1, "epochs": EPOCHS}
    pairs = [(f"--{name}", value) for name, value in (options | changes | {"out": path}).items()]
    return ["collect", *(str(part) for pair in pairs for part in pair)]


def _start(path: Path) -> subprocess.Popen[str]:
    """The command in a group of its own, deaf to nothing."""
    return subprocess.Popen(
        [sys.executable, "-m", "predictors", *_arguments(path)], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        env=os.environ | {"COLUMNS": "200"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip


def _rows(path: Path) -> dict[tuple[str, int], tuple[str, str, float]]:
    """All that must be equal however the table came about: everything but the seconds."""
    query = "SELECT tokens, seed, origin, curve, test_accuracy FROM trainings"
    with contextlib.closing(sqlite3.connect(path, timeout=300)) as database:
        try:
            found = database.execute(query).fetchall()
        except sqlite3.OperationalError:  # its tables are not made yet
            return {}
    return {(tokens, seed): (origin, curve, test) for tokens, seed, origin, curve, test in found}


def _wait_for_rows(process: subprocess.Popen[str], path: Path, count: int) -> None:
    while not path.exists() or len(_rows(path)) < count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.03)


def _children(pid: int) -> set[int]:
    """All processes that descend from one."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                parents[int(folder.name)] = int(fields[1])
    found, todo = set(), [pid]
    while todo:
        inner = {child for child, parent in parents.items() if parent == todo[0]}
        todo = [*todo[1:], *inner]
        found |= inner
    return found


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to see processes")
def test_killed_interrupted_and_resumed_the_table_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # D1, G15
    path = tmp_path / "table.sqlite"
    process = _start(path)
    _wait_for_rows(process, path, 1)
    children = _children(process.pid)
    assert children, "it trains in processes of its own"
    process.kill()
    process.communicate()
    while any(map(_alive, children)):  # a worker that stayed would be an orphan, for ever
        time.sleep(0.03)
    after_kill = _rows(path)
    assert 1 <= len(after_kill) < TOTAL

    process = _start(path)
    _wait_for_rows(process, path, len(after_kill) + 1)
    children = _children(process.pid)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers as well
    output, complaint = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in complaint
    assert "All that was measured is saved; the same command goes on from there." in complaint
    assert output == ""
    while any(map(_alive, children)):
        time.sleep(0.03)
    after_interrupt = _rows(path)
    assert after_kill.items() < after_interrupt.items(), "nothing is lost, nothing is changed"

    monkeypatch.setattr(sys, "argv", ["predictors", *_arguments(path)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    assert _rows(path) == _uninterrupted(tmp_path)
    assert after_interrupt.items() <= _rows(path).items()
    with TableStore.reading(path) as store:
        for row in store.trainings():  # F4
            assert row.int8_accuracy is not None
            assert abs(row.int8_accuracy - row.test_accuracy) < 0.1


def _uninterrupted(folder: Path) -> dict[tuple[str, int], tuple[str, str, float]]:
    """What the table must be: every training on its own, in this process."""
    space, rows = load_space(folder / "small.toml"), {}
    for job in jobs(draw(space, DIGITS, SIZE, seed=0)):
        result = train(space.build(job.tokens, DIGITS), digits(), job.seed, Recipe(epochs=EPOCHS))
        key = (" ".join(map(str, job.tokens)), job.seed)
        rows[key] = (job.origin, json.dumps(result.curve), result.test_accuracy)
    assert len(rows) == TOTAL
    return rows


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ({"task": "grasp"}, 2, "error: the task 'grasp' has a shape and surrogates but no image"),
        ({"task": "digit"}, 2, "error: unknown task 'digit': did you mean digits?"),
        ({"space": "emnas"}, 2, "error: unknown space 'emnas'"),
        ({"limit": 0}, 2, "--limit"),
        ({"workers": -1}, 2, "--workers"),
        ({"epochs": 1}, 2, "has recipe = "),
    ],
)
def test_wrong_usage_ends_in_a_clear_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: dict[str, object],
    code: int,
    message: str,
) -> None:
    out = tmp_path / "table.sqlite"
    about = {"recipe": json.dumps(Recipe(epochs=EPOCHS).to_json())}
    TableStore(out, about).__exit__(None, None, None)
    monkeypatch.setattr(sys, "argv", ["predictors", *_arguments(out, **arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == code
    assert message in capsys.readouterr().err
