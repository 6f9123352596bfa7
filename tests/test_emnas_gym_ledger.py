"""The ledger and its history: exactly N, repeats, resume by replay, and files that are not ours."""

from __future__ import annotations

import json
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY, ByTokens

from emnas_gym.architecture import Architecture
from emnas_gym.errors import BudgetSpent, EvaluationError, EvaluationStopped, StoreError
from emnas_gym.evaluator import Evaluator, EvaluatorStack, Result
from emnas_gym.history import History, Row
from emnas_gym.ledger import EPISODES_PER_EVALUATION, Ledger
from emnas_gym.measurement import Measurement
from emnas_gym.ownership import Ownership
from emnas_gym.problem import Problem
from emnas_gym.space import sample_tokens

ROOT = Path(__file__).parents[1]


def _networks(count: int, seed: int = 0) -> list[Architecture]:
    """Networks of the tiny space, repeats among them."""
    table, rng = TINY.automaton(), np.random.default_rng(seed)
    return [TINY.architecture(sample_tokens(table, rng)) for _ in range(count)]


class Moody(ByTokens):
    """Fails for some networks, lacks a field or is no number for others."""

    def measure(self, architecture: Architecture) -> Result:
        kind = sum(architecture.canonical) % 4
        if kind == 0:
            return EvaluationError("the board stalled")
        if kind == 1:
            return Measurement.of("board", accuracy=0.5)
        if kind == 2:
            return Measurement.of("board", accuracy=float("nan"), latency_ms=1.0)
        return super().measure(architecture)


# ------------------------------------------------------------------------------------- counting


@pytest.mark.parametrize(
    ("charges", "left"), [((0.0,), 10), ((0.3,), 9), ((1.0,), 9), ((0.1,) * 10, 9), ((0.6, 0.6), 8)]
)
def test_a_full_training_equivalent_uses_up_an_evaluation(
    tiny_problem: Problem, charges: tuple[float, ...], left: int
) -> None:  # B26
    ledger = Ledger(ByTokens(), tiny_problem, 10)
    for equivalents in charges:
        ledger.charge("a supernet", equivalents, 1.0)
    assert ledger.charged == pytest.approx(sum(charges))
    assert ledger.remaining == left
    with pytest.raises(BudgetSpent, match="all 10 evaluations are used"):
        ledger.evaluate(_networks(16))
    assert ledger.count == left
    assert ledger.spent


def test_what_costs_more_than_is_left_is_charged_and_ends_the_run(tiny_problem: Problem) -> None:
    ledger = Ledger(ByTokens(), tiny_problem, 10)
    ledger.evaluate(_networks(4))
    with pytest.raises(BudgetSpent, match="training took what was left"):
        ledger.charge("a supernet", 7.5, 1.0)
    assert (ledger.charged, ledger.remaining, ledger.count) == (7.5, 0, 4)
    with pytest.raises(ValueError, match="0 or more"):
        ledger.charge("a supernet", float("nan"), 1.0)


@pytest.mark.parametrize("autoreset", ["single", "vector"])
def test_environments_end_where_charges_have_left_nothing(
    tiny_problem: Problem, autoreset: str
) -> None:
    ledger = Ledger(ByTokens(), tiny_problem, 8)
    ledger.charge("a supernet", 5.0, 1.0)
    rng = np.random.default_rng(0)
    if autoreset == "single":
        env = ledger.env()
        while not ledger.spent:
            _, info = env.reset(seed=0)
            ended = False
            while not ended:
                action = rng.choice(np.flatnonzero(info["action_mask"]))
                _, _, terminated, ended, info = env.step(int(action))
                ended = ended or terminated
    else:
        several = ledger.vec_env(4)
        several.reset(seed=0)
        while not ledger.spent:
            several.step(several.sample(rng))
    assert ledger.count == 3


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_exactly_n_are_recorded_then_it_is_spent(tiny_problem: Problem, batch: int) -> None:
    by_tokens = ByTokens()
    ledger = Ledger(by_tokens, tiny_problem, 10)
    networks = _networks(16)
    with pytest.raises(BudgetSpent, match="all 10 evaluations are used"):
        for first in range(0, 16, batch):
            assert ledger.spent == (first >= 10)
            results = ledger.evaluate(networks[first : first + batch])
            assert len(results) == len(networks[first : first + batch])
    assert ledger.spent
    assert (ledger.count, ledger.remaining) == (10, 0)
    assert [row.tokens for row in ledger.rows] == [a.tokens for a in networks[:10]]
    with pytest.raises(BudgetSpent):
        ledger.evaluate(networks[:1])
    assert ledger.count == len(ledger.history) == 10
    assert ledger.evaluate([]) == []


def test_a_repeat_counts_and_is_not_measured_again(tiny_problem: Problem) -> None:
    by_tokens = ByTokens()
    ledger = Ledger(by_tokens, tiny_problem, 20)
    same = [(1, 4, 9), (1, 5, 9), (1, 6, 4, 9)]  # filters of a depthwise, a pad without zeros
    results = ledger.evaluate([TINY.architecture(tokens) for tokens in same])
    assert results[0] == results[1] == results[2]
    ledger.evaluate([TINY.architecture((1, 4, 9)), TINY.architecture((2, 4, 9))])
    assert by_tokens.asked == [(1, 4, 9), (2, 4, 9)]
    assert (ledger.count, ledger.distinct) == (5, 2)
    assert [row.tokens for row in ledger.rows] == [*same, (1, 4, 9), (2, 4, 9)]
    assert [row.batch for row in ledger.rows] == [1, 1, 1, 2, 2]


def test_failures_keep_their_place_and_have_the_illegal_value(tiny_problem: Problem) -> None:
    ledger = Ledger(Moody(), tiny_problem, 60)
    networks = _networks(60)
    results = ledger.evaluate(networks)
    kinds = [sum(a.canonical) % 4 for a in networks]
    assert set(kinds) == {0, 1, 2, 3}
    for kind, result, row in zip(kinds, results, ledger.rows, strict=True):
        assert row.result is result
        assert isinstance(result, Measurement) == (kind == 3)
        illegal = tiny_problem.reward.illegal
        assert row.reward == illegal if kind != 3 else row.reward > illegal
    best = max(ledger.rows, key=lambda row: row.reward)
    assert ledger.best is best
    assert isinstance(best.result, Measurement)


def test_the_best_of_nothing_is_an_error(tiny_problem: Problem) -> None:
    with pytest.raises(EvaluationError, match="nothing was evaluated"):
        _ = Ledger(ByTokens(), tiny_problem, 1).best
    with pytest.raises(BudgetSpent, match="one evaluation or more, not 0"):
        Ledger(ByTokens(), tiny_problem, 0)


@pytest.mark.parametrize("on_invalid", ["end", "penalise"])
def test_episodes_that_never_finish_a_network_end_the_run(
    tiny_problem: Problem, on_invalid: str
) -> None:
    ledger = Ledger(ByTokens(), tiny_problem, 3)
    env = ledger.env(on_invalid=on_invalid)
    episodes = 0
    while not ledger.spent:
        env.reset(seed=episodes)
        over = False
        while not over:
            action = 0 if on_invalid == "end" or env._steps < 19 else 1  # the last one is legal
            *_, terminated, truncated, _ = env.step(np.int64(action))
            over = terminated or truncated
        episodes += 1
        assert episodes <= 3 * EPISODES_PER_EVALUATION
    assert episodes == ledger.episodes == 3 * EPISODES_PER_EVALUATION == 60
    assert ledger.count == 0


def test_the_watch_sees_every_row_once(tiny_problem: Problem) -> None:
    seen: list[Row] = []
    ledger = Ledger(ByTokens(), tiny_problem, 9, watch=seen.append)
    ledger.evaluate(_networks(4))
    ledger.evaluate(_networks(5))
    assert seen == ledger.rows


# --------------------------------------------------------------------------------------- resume


def _run(ledger: Ledger, batch: int = 4, seed: int = 0) -> list[Row]:
    """A scripted agent: the same networks in the same batches for one seed."""
    try:
        for first in range(0, 40, batch):
            ledger.evaluate(_networks(40, seed)[first : first + batch])
    except BudgetSpent:
        pass
    ledger.close()
    return ledger.rows


def test_resume_is_replay(tiny_problem: Problem, tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    whole = _run(Ledger(Moody(), tiny_problem, 30))
    first = _run(Ledger(Moody(), tiny_problem, 10, path, {"seed": 0}))
    assert str(first) == str(whole[:10])
    again = Moody()
    resumed = _run(Ledger(again, tiny_problem, 30, path, {"seed": 0}))
    assert str(resumed) == str(whole), "errors have no equality of their own"
    known = {row.canonical for row in whole[:10]}
    assert not known & set(again.asked), "what is stored is not measured again"
    idle = Moody()
    assert str(_run(Ledger(idle, tiny_problem, 30, path, {"seed": 0}))) == str(whole)
    assert idle.asked == []
    history = History(path)
    assert str(list(history.rows())) == str(whole)
    history.close()


def test_charges_and_traces_are_replayed(tiny_problem: Problem, tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    for seconds in (5.0, 9.0):  # the second run is a replay and goes on
        ledger = Ledger(ByTokens(), tiny_problem, 10, path)
        ledger.evaluate(_networks(2))
        ledger.charge("a supernet", 2.5, seconds)
        ledger.trace(0, entropy=1.5, shares=[[0.25, 0.75]])
        assert [charge.seconds for charge in ledger.charges] == [5.0]
        assert ledger.history.traces() == [
            (0, {"after": 2, "entropy": 1.5, "shares": [[0.25, 0.75]]})
        ]
        ledger.close()
    ledger = Ledger(ByTokens(), tiny_problem, 10, path)
    ledger.evaluate(_networks(2))
    with pytest.raises(StoreError, match="does not repeat its run"):
        ledger.charge("a supernet", 2.6, 5.0)
    with pytest.raises(StoreError):
        ledger.trace(1, entropy=float("nan"))
    ledger.close()


def test_a_diverging_agent_is_refused_before_it_measures(
    tiny_problem: Problem, tmp_path: Path
) -> None:
    path = tmp_path / "history.sqlite"
    _run(Ledger(ByTokens(), tiny_problem, 10, path))
    other = ByTokens()
    ledger = Ledger(other, tiny_problem, 20, path)
    ledger.evaluate(_networks(2))
    stored = [str(_networks(3)[2].tokens), str((2, 4, 9))]
    with pytest.raises(StoreError, match=r"evaluation 2 was .* the agent does not repeat") as info:
        ledger.evaluate([TINY.architecture((2, 4, 9))])
    assert all(text in str(info.value) for text in stored)
    assert other.asked == []
    assert len(ledger.history) == 10, "nothing stored is lost"
    ledger.close()


KILLED = """
import os, signal, sys
from pathlib import Path
import conftest
from test_emnas_gym_ledger import _run
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem

class Dying(conftest.ByTokens):
    calls = 0
    def _evaluate(self, batch):
        self.calls += 1
        if self.calls == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._evaluate(batch)

problem = Problem.make(conftest.TINY, budgets=conftest.BUDGETS)
_run(Ledger(Dying(), problem, 40, Path(sys.argv[1])))
"""


def _python(code: str, *arguments: object) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_kill_9_loses_at_most_the_batch_in_flight(tiny_problem: Problem, tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    process = _python(KILLED, path, 6)
    _, complaint = process.communicate(timeout=100)
    assert process.returncode == -signal.SIGKILL, complaint
    by_tokens = ByTokens()
    ledger = Ledger(by_tokens, tiny_problem, 40, path)
    kept = len(ledger.history)
    assert kept >= 5 * 4
    assert kept % 4 == 0, "batches are whole"
    resumed = _run(ledger)
    assert resumed == _run(Ledger(ByTokens(), tiny_problem, 40))
    assert not {row.canonical for row in resumed[:kept]} & set(by_tokens.asked)


# ------------------------------------------------------------------------------ files not ours


def test_a_file_of_another_run_is_refused(tiny_problem: Problem, tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    _run(Ledger(ByTokens(), tiny_problem, 4, path, {"seed": 0}))
    with pytest.raises(StoreError, match="belongs to a run with seed = 0, not 1"):
        Ledger(ByTokens(), tiny_problem, 4, path, {"seed": 1})
    other = Problem.make(TINY, device="stm32f746zg")
    with pytest.raises(StoreError, match="belongs to a run with problem"):
        Ledger(ByTokens(), other, 4, path, {"seed": 0})
    _run(Ledger(ByTokens(), tiny_problem, 4, path, {"seed": 0}))


def test_a_database_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT)")
    with pytest.raises(StoreError, match="not a history"):
        History(path)
    tables = sqlite3.connect(path).execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    assert tables.fetchall() == [("about",)]


@pytest.mark.parametrize("damage", ["not SQLite", "cut", "a page", "JSON", "tokens"])
def test_a_damaged_file_is_a_store_error(
    tiny_problem: Problem, tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "history.sqlite"
    _run(Ledger(ByTokens(), tiny_problem, 40, path))
    content = path.read_bytes()
    if damage == "not SQLite":
        path.write_bytes(b"hello, I am no database" * 100)
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "a page":
        path.write_bytes(content[:4096] + bytes(range(256)) * ((len(content) - 4096) // 256))
    else:
        column, value = ("measurement", "{'") if damage == "JSON" else ("tokens", "1 x 9")
        with sqlite3.connect(path) as database:
            database.execute(f"UPDATE evaluations SET {column} = ? WHERE id = 7", (value,))
    with pytest.raises(StoreError, match=r"history\.sqlite"):
        Ledger(ByTokens(), tiny_problem, 40, path)
    path.unlink()
    for rest in tmp_path.glob("history.sqlite-*"):
        rest.unlink()
    Ledger(ByTokens(), tiny_problem, 4, path).close()  # the refused one has let the file go


LOCKED = """
import sys
from pathlib import Path
from emnas_gym.history import History
history = History(Path(sys.argv[1]))
print("owned", flush=True)
sys.stdin.readline()
"""


def test_a_file_locked_by_another_process_is_a_store_error(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    process = _python(LOCKED, path)
    assert process.stdout is not None
    assert process.stdout.readline() == "owned\n"
    try:
        with pytest.raises(StoreError, match="in use by another process"):
            History(path)
    finally:
        process.kill()  # not even then does the lock outlive it
        process.communicate()
    History(path).close()


def test_one_process_owns_a_file_once(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    first = Ownership(path)
    with pytest.raises(StoreError, match="in use"):
        Ownership(path)
    first.release()
    Ownership(path).release()


def test_a_place_that_cannot_be_written_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "history.sqlite", tmp_path):
        with pytest.raises(StoreError):
            History(path)
    path = tmp_path / "history.sqlite"
    (tmp_path / "history.sqlite.lock").write_text("some text of a user\n" * 100)
    with pytest.raises(StoreError, match="no lock of ours"):
        History(path)


# --------------------------------------------------------------------------------------- export


def test_jsonl_has_a_line_an_evaluation(tiny_problem: Problem, tmp_path: Path) -> None:
    ledger = Ledger(Moody(), tiny_problem, 20)
    ledger.evaluate(_networks(20))
    ledger.history.to_jsonl(tmp_path / "rows.jsonl")
    lines = (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 20
    for line, row in zip(map(json.loads, lines), ledger.rows, strict=True):
        assert tuple(line["tokens"]) == row.tokens
        assert (line["reward"], line["batch"]) == (row.reward, row.batch)
        if isinstance(row.result, Measurement):
            assert line["accuracy"] == row.result.accuracy
            assert line["provenance"] == dict(row.result.provenance)
        else:
            assert line["error"] == str(row.result)


class Fields(Evaluator):
    """Every field, so that what is stored can be compared with what was measured."""

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        return [
            Measurement(
                accuracy=1 / 3, latency_ms=0.1, energy_mj=2.5, ram_bytes=7, arena_head_bytes=5,
                flash_bytes=9, macs=10**12, params=3, instructions=4, npu_cycles=8, feasible=False,
                seconds=1.25, provenance=dict.fromkeys(
                    ("accuracy", "latency_ms", "energy_mj", "ram_bytes", "arena_head_bytes",
                     "flash_bytes", "macs", "params", "instructions", "npu_cycles"), "board"),
            )
            for _ in batch
        ]  # fmt: skip


def test_what_is_stored_is_what_was_measured(tiny_problem: Problem, tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    ledger = Ledger(Fields(), tiny_problem, 3, path)
    results = ledger.evaluate(_networks(3))
    ledger.close()
    history = History(path)
    stored = [row.result for row in history.rows()]
    history.close()
    assert stored == results
    assert all(isinstance(r, Measurement) and r.seconds == 1.25 for r in stored)


# ---------------------------------------------------------------------- evaluators that break off


class Stops(ByTokens):
    """Knows the first so many networks of each batch, then cannot go on."""

    def __init__(self, known: int) -> None:
        super().__init__()
        self.known = known

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        results = super()._evaluate(batch[: self.known])
        if len(results) < len(batch):
            unknown = [None] * (len(batch) - len(results))
            raise EvaluationStopped("the board burnt", [*results, *unknown])
        return results


def _different(count: int) -> list[Architecture]:
    return list({a.canonical: a for a in _networks(200)}.values())[:count]


@pytest.mark.parametrize("known", [0, 1, 3])
def test_what_was_measured_before_a_stop_is_not_measured_again(
    tiny_problem: Problem, tmp_path: Path, known: int
) -> None:
    path, networks = tmp_path / "history.sqlite", _different(4)
    first = Ledger(Stops(known), tiny_problem, 10, path)
    with pytest.raises(EvaluationStopped, match="the board burnt"):
        first.evaluate(networks)
    assert first.count == 0, "no evaluation of the agent's, it gets none of their results"
    first.close()
    by_tokens = ByTokens()
    again = Ledger(by_tokens, tiny_problem, 10, path)
    assert again.evaluate(networks) == ByTokens().evaluate(networks)
    assert by_tokens.asked == [network.canonical for network in networks[known:]]
    assert again.count == 4
    again.close()
    replayed = Ledger(Stops(0), tiny_problem, 10, path)
    assert len(replayed.evaluate(networks)) == 4, "now all is in the history"
    replayed.close()


def test_a_stack_keeps_of_a_stop_what_all_its_parts_know(tiny_problem: Problem) -> None:
    networks = _different(3)
    stack = EvaluatorStack([ByTokens(), Stops(2)])
    with pytest.raises(EvaluationStopped) as stopped:
        stack.evaluate(networks)
    assert stopped.value.results[:2] == ByTokens().evaluate(networks[:2])
    assert stopped.value.results[2] is None


def test_a_stop_crosses_from_a_worker_process_with_its_results() -> None:
    stopped = EvaluationStopped("burnt", [Measurement.of("board", latency_ms=1.0), None])
    again = pickle.loads(pickle.dumps(stopped))
    assert (str(again), again.results) == (str(stopped), stopped.results)
