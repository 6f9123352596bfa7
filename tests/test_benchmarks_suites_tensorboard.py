"""Live runs: agents of a suite write their numbers for TensorBoard, and find what they find."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from small_suites import few_draws, rows_of, run_here, small_suite
from typer.testing import CliRunner

pytest.importorskip("tensorboard", reason="needs the package tensorboard")

import itertools

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from benchmarks.cli import app
from benchmarks.suites.suite import Entry
from emnas_gym.errors import BackendMissing

pytestmark = pytest.mark.usefixtures(few_draws.__name__)
AGENTS = (
    Entry("random", "random", {"batch": 4}),
    Entry("evolution", "evolution", {"population": 10, "tournament": 3}),
    Entry("maskable-ppo", "maskable-ppo", {"envs": 4, "steps": 16, "minibatch": 64}),
)


def _scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Tag → (evaluations, value) of all event files below a folder."""
    found: dict[str, list[tuple[int, float]]] = {}
    for path in sorted(folder.rglob("events.out.tfevents.*")):
        events = EventAccumulator(str(path)).Reload()
        for tag in events.Tags()["scalars"]:
            found.setdefault(tag, []).extend((e.step, e.value) for e in events.Scalars(tag))
    return found


def test_agents_tell_their_numbers_and_find_the_same(tmp_path: Path) -> None:  # B25
    suite = small_suite(seeds=2, agents=AGENTS)
    with_log = run_here(suite, tmp_path / "with", tensorboard=True)
    assert with_log["finished"]
    run_here(suite, tmp_path / "without")
    assert rows_of(tmp_path / "with") == rows_of(tmp_path / "without")
    assert not _scalars(tmp_path / "without")
    for run in with_log["runs"]:
        folder = tmp_path / "with" / "small" / run["env"] / run["agent"] / f"seed-{run['seed']}"
        told = _scalars(folder / "tensorboard")
        assert {"search/best", "search/distinct"} <= set(told)
        steps, best = zip(*told["search/best"], strict=True)
        assert all(a < b for a, b in itertools.pairwise(steps))
        assert steps[-1] <= 60
        curve = dict(map(tuple, run["curve"]))
        reached = max(value for at, value in curve.items() if at <= steps[-1])
        assert best[-1] == pytest.approx(reached, rel=1e-6)
    own = {"evolution": "evolution/mean_fitness", "maskable-ppo": "search/invalid_share"}
    for agent, tag in own.items():
        assert tag in _scalars(tmp_path / "with" / "small" / "digits" / agent)


def test_a_run_told_again_has_one_log(tmp_path: Path) -> None:
    suite = small_suite(seeds=1, agents=AGENTS[:2])
    run_here(suite, tmp_path, tensorboard=True)
    folder = tmp_path / "small" / "digits" / "evolution" / "seed-0"
    before = _scalars(folder)
    (folder / "run.json").unlink()
    assert run_here(suite, tmp_path, tensorboard=True)["finished"]
    assert _scalars(folder) == before


def test_the_command_has_an_option_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # B25
    suite = tmp_path / "mine.toml"
    suite.write_text(
        'name = "mine"\nseeds = 1\nevaluations = 12\nreference = 10\n'
        '[[environments]]\nlabel = "digits"\nenv = "EmNAS-v0"\n'
        '[[agents]]\nlabel = "random"\nagent = "random"\noptions = { batch = 4 }\n',
        encoding="utf-8",
    )
    command = ["run", str(suite), "--out", str(tmp_path), "--workers", "1", "--tensorboard"]
    done = CliRunner().invoke(app, [*command, "--json"], catch_exceptions=False)
    assert json.loads(done.stdout)["finished"]
    told = _scalars(tmp_path / "mine" / "digits" / "random" / "seed-0" / "tensorboard")
    assert [step for step, _ in told["search/best"]] == [4, 8, 12]
    for name in [
        n for n in sys.modules if n.split(".")[0] == "tensorboard" or "torch.utils.tens" in n
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(BackendMissing, match="pip install tensorboard"):
        CliRunner().invoke(app, command, catch_exceptions=False)
