from __future__ import annotations

import json
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from table_worlds import small_table

from agents import tuning
from agents.base import OptionError
from agents.cli import main
from agents.runs import Plan, make_agent
from agents.tuned_file import SHIPPED, Tuned, read_tuned
from agents.tuning import Study, Trial, chance_of, tune
from agents.tuning_ranges import RANGES, Range, ranges_of
from emnas_gym.errors import BackendMissing, StoreError
from emnas_gym.table_env import table_problem
from emnas_gym.table_file import write_table


@pytest.fixture
def table(tmp_path: Path) -> str:
    write_table(small_table(), tmp_path / "small.npz")
    return str(tmp_path / "small.npz")


def _study(table: str, trials: int = 5, sampler: str = "tpe") -> Study:
    plan = Plan(env="EmNASTable-v0", table=table)
    ranges = ranges_of("position-reinforce")
    return Study("position-reinforce", plan, trials, 2, 6, ranges, sampler)


def _tune(study: Study, log: Path, stop: int = 99) -> list[Trial]:
    seen: list[Trial] = []

    def watch(trial: Trial) -> None:
        seen.append(trial)
        if len(seen) == stop:
            raise KeyboardInterrupt

    problem, evaluator, _ = study.plan.parts()
    return tune(study, log, watch, (problem, evaluator))


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_an_interrupted_study_goes_on_as_if_it_had_not_been(
    table: str, tmp_path: Path, sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sampler == "tpe":
        pytest.importorskip("optuna")
    study = _study(table, sampler=sampler)
    whole = _tune(study, tmp_path / "whole.jsonl")
    assert whole[0].options == {}, "the default is tried first"
    assert len({json.dumps(trial.options) for trial in whole}) == 5
    with pytest.raises(KeyboardInterrupt):
        _tune(study, tmp_path / "cut.jsonl", stop=3)
    searched = []
    rewards = tuning.best_rewards

    def counted(*arguments: object) -> object:
        searched.append(arguments[1])
        return rewards(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(tuning, "best_rewards", counted)
    assert _tune(study, tmp_path / "cut.jsonl") == whole
    assert searched == [trial.options for trial in whole[3:]]


def test_a_log_of_another_study_or_a_damaged_one_is_refused(table: str, tmp_path: Path) -> None:
    log = tmp_path / "trials.jsonl"
    _tune(_study(table, 2, "random"), log)
    with pytest.raises(StoreError, match="another study"):
        _tune(Study(**vars(_study(table, 2, "random")) | {"seeds": 3}), log)
    with pytest.raises(StoreError, match="another version"):
        _tune(Study(**vars(_study(table, 2, "random")) | {"ranges": {"tries": Range(1, 2)}}), log)
    log.write_text(log.read_text() + "{half", encoding="utf-8")
    with pytest.raises(StoreError, match="damaged"):
        _tune(_study(table, 2, "random"), log)


def test_without_optuna_it_says_how_to_get_it(
    table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(BackendMissing, match=r"emnas-gym\[optuna\]"):
        _tune(_study(table), tmp_path / "a.jsonl")
    assert len(_tune(_study(table, 3, "random"), tmp_path / "b.jsonl")) == 3
    with pytest.raises(OptionError, match="tpe, random"):
        _tune(_study(table, 3, "grid"), tmp_path / "c.jsonl")


@pytest.mark.parametrize("agent", RANGES)
def test_ranges_are_of_options_that_exist_and_are_accepted(agent: str) -> None:
    known = {field.name: field.default for field in fields(make_agent(agent).config_type)}
    rng = np.random.default_rng(0)
    for name, values in ranges_of(agent).items():
        assert values.whole == isinstance(known[name], int), name
        assert values.low < values.high
        drawn = [values.draw(rng) for _ in range(50)]
        assert min(drawn) >= values.low
        assert max(drawn) <= values.high
        for value in (values.low, values.high, drawn[0]):
            make_agent(agent, **{name: int(value) if values.whole else float(value)})
    with pytest.raises(OptionError, match="no ranges"):
        ranges_of("nobody")


def test_chance_of_a_difference_by_enumeration() -> None:
    """Of the 2^8 signs of equal differences one is as large: p = 1 / 256."""
    assert chance_of(np.full(8, 0.3)) == pytest.approx(1 / 256, abs=0.003)
    assert chance_of(np.zeros(6)) == 1.0
    assert chance_of(np.array([-1.0, -2.0, -1.5, -1.0])) > 0.9


# -------------------------------------------------------------------------------------- files


def test_a_file_comes_back(tmp_path: Path) -> None:
    tuned = Tuned("reinforce", {"batch": 4, "entropy": 0.25, "cell": "lstm"}, {"p": 0.01})
    tuned.write(tmp_path / "new" / "tuned.toml")
    assert read_tuned(tmp_path / "new" / "tuned.toml") == tuned


@pytest.mark.parametrize(
    "text",
    [
        "no toml",
        "options = {batch = 4}",
        "agent = 3",
        'agent = "reinforce"\nextra = 1',
        'agent = "reinforce"\noptions = 3',
        'agent = "reinforce"\n[options]\nbatch = [4]',
        "#" * 70_000,
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.toml").write_text(text, encoding="utf-8")
    with pytest.raises(OptionError, match=r"bad\.toml"):
        read_tuned(tmp_path / "bad.toml")


def test_a_file_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="shipped:"):
        read_tuned(tmp_path / "none.toml")


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.toml")), ids=lambda p: str(p.stem))
def test_shipped_files_are_read_and_better_than_the_default(path: Path) -> None:
    tuned = read_tuned(path.stem)
    assert tuned.agent == path.stem
    make_agent(tuned.agent, **tuned.options)
    assert "python -m agents tune" in str(tuned.tuning["command"])
    assert float(tuned.tuning["tuned_reward"]) > float(tuned.tuning["default_reward"])
    assert float(tuned.tuning["p"]) < 0.05


# ----------------------------------------------------------------------------------- commands


def _call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["agents", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0)


def test_commands(
    table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tuned.toml"
    common = ("--table", table, "--json")
    small = ("--trials", "3", "--seeds", "2", "--evaluations", "5", "--sampler", "random")
    assert not _call(monkeypatch, "tune", "position-reinforce", "--out", str(out), *small, *common)
    found = json.loads(capsys.readouterr().out)
    tuned = read_tuned(out)
    assert tuned.options == found["options"]
    assert tuned.tuning["trials"] == 3
    out.write_text('agent = "position-reinforce"\n[options]\ntries = 3\nbatch = 2\n')
    search = ("search", "--env", "EmNASTable-v0", "--evaluations", "4", "--config", str(out))
    where = ("--out", str(tmp_path / "run"), "--option", "batch=1", *common)
    assert not _call(monkeypatch, *search, *where)
    config = json.loads(capsys.readouterr().out)["config"]
    assert (config["tries"], config["batch"]) == (3, 1)
    assert _call(monkeypatch, *search, "--agent", "random", *where) != 0
    assert "is of agent position-reinforce" in capsys.readouterr().err


def test_values_are_of_the_seeds_that_are_asked_for(table: str) -> None:
    problem, evaluator = table_problem(table)
    study = _study(table)
    first = tuning.best_rewards(study, {}, 0, (problem, evaluator))
    shifted = tuning.best_rewards(study, {}, 1, (problem, evaluator))
    assert first[1] == shifted[0]
