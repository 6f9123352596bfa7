"""The native vector environment: bit for bit what single environments do, and Gymnasium's rules."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from conftest import BUDGETS, TINY, ByTokens
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from playing import make_env
from same_values import assert_same
from table_worlds import TRAINED

import emnas_gym
from emnas_gym.architecture import Architecture
from emnas_gym.env import OBSERVATIONS, EmNASEnv
from emnas_gym.errors import (
    EmNASError,
    EvaluationError,
    EvaluationStopped,
    IllegalAction,
    UnknownName,
)
from emnas_gym.evaluator import Result
from emnas_gym.ledger import Ledger
from emnas_gym.masks import MaskTable, mask_table
from emnas_gym.measurement import Measurement
from emnas_gym.packed_groups import KeyedRows
from emnas_gym.problem import Problem
from emnas_gym.vector_env import EmNASVectorEnv
from emnas_gym.views import ON_INVALID

MODES = [mode.name for mode in AutoresetMode]
BATCHED = [name for name in emnas_gym.REGISTERED if name != "EmNASPlay-v0"]  # plays are single


def assert_equal_to_single(
    count: int, steps: int, mode: str, illegal: float = 0.01, ledger: int = 0, **keywords: Any
) -> tuple[int, int]:
    """Plays both with the same seeds and actions; steps and finished networks."""
    keywords = {"evaluator": ByTokens(), "budgets": BUDGETS} | keywords
    problem = EmNASEnv(**keywords).problem
    ledgers = [Ledger(ByTokens(), problem, ledger) for _ in range(2 * bool(ledger))]
    own = [keywords | {"evaluator": used} for used in ledgers] or [keywords] * 2
    makers = [lambda: EmNASEnv(**own[0]) for _ in range(count)]
    sync = SyncVectorEnv(makers, autoreset_mode=AutoresetMode[mode])
    native = EmNASVectorEnv(count, **own[1], autoreset_mode=mode.lower())
    for space in ("action_space", "observation_space", "single_observation_space"):
        assert getattr(sync, space) == getattr(native, space)
    assert_same(sync.reset(seed=3), native.reset(seed=3))
    rng, over, finished = np.random.default_rng(0), np.zeros(count, dtype=bool), 0
    for _ in range(steps):
        if mode == "DISABLED" and over.any():
            seed = int(rng.integers(99)) if rng.random() < 0.5 else None
            again = [
                env.reset(seed=seed, options={"reset_mask": over.copy()}) for env in (sync, native)
            ]
            assert_same(*again)
        actions = native.sample(rng)
        wrong = rng.random(count) < illegal
        actions[wrong] = rng.integers(0, native.single_action_space.n, wrong.sum())  # type: ignore[attr-defined]
        wanted, found = sync.step(actions), native.step(actions)
        for name, one, other in zip(("obs", "reward", "end", "cut", "info"), wanted, found):  # noqa: B905
            assert_same(one, other, name)
        assert np.array_equal(native.action_masks(), wanted[4]["action_mask"])
        over = wanted[2] | wanted[3]
        finished += int(over.sum())
    if ledgers:
        told = [[(row.tokens, row.reward) for row in used.rows] for used in ledgers]
        assert told[0] == told[1]
        for count_of in ("count", "steps", "invalid_steps", "episodes"):
            assert getattr(ledgers[0], count_of) == getattr(ledgers[1], count_of)
    return steps * count, finished


# ----------------------------------------------------------------------------------- equal to one


@pytest.mark.parametrize("on_invalid", ON_INVALID)
@pytest.mark.parametrize("mode", MODES)
def test_it_equals_single_environments_bit_for_bit(mode: str, on_invalid: str) -> None:  # B25
    evaluator = ["analytic", ByTokens()]
    _, finished = assert_equal_to_single(8, 40, mode, on_invalid=on_invalid, evaluator=evaluator)
    assert finished > 5
    assert_equal_to_single(5, 60, mode, illegal=0.2, on_invalid=on_invalid, space=TINY)


@pytest.mark.parametrize("on_invalid", ON_INVALID)
@pytest.mark.parametrize("mode", MODES)
def test_a_ledger_is_spent_in_the_middle_alike(mode: str, on_invalid: str) -> None:  # B25, E18
    for illegal, evaluations in ((0.01, 23), (0.95, 1), (0.5, 4)):
        assert_equal_to_single(5, 80, mode, illegal, evaluations, space=TINY, on_invalid=on_invalid)


@pytest.mark.parametrize("observation", OBSERVATIONS)
def test_every_observation_is_equal(observation: str) -> None:  # A14, B25
    assert_equal_to_single(3, 40, "SAME_STEP", observation=observation)


class Failing(ByTokens):
    """Some networks fail, some have no energy."""

    provides = frozenset({"accuracy", "latency_ms", "energy_mj"})

    def measure(self, architecture: Architecture) -> Result:
        kind = sum(architecture.canonical) % 3
        if kind == 0:
            return EvaluationError("broken")
        energy = 0.5 if kind == 1 else None
        values = {"accuracy": kind / 3, "latency_ms": 2.0, "energy_mj": energy, "params": 7}
        return Measurement.of("board", feasible=kind == 1, **values)


def test_failures_and_unknown_fields_are_equal() -> None:
    for mode in MODES:
        evaluator = ["analytic", Failing()]
        assert_equal_to_single(6, 60, mode, space=TINY, evaluator=evaluator, reward="constrained")


def test_limits_of_any_kind_and_exact_lengths_are_equal() -> None:  # A16
    for limits in ({}, {"macs": 6000}, {"ram_bytes": 2600, "flash_bytes": 4000, "macs": 10_000}):
        assert_equal_to_single(6, 60, "SAME_STEP", budgets=limits, space=TINY)
    assert_equal_to_single(6, 40, "SAME_STEP", min_layers=6, max_layers=6)
    assert_equal_to_single(6, 30, "SAME_STEP", space="emnas-bench-8")


MOBILE = pytest.param("EmNASMobile-v0", marks=pytest.mark.slow)  # its tables take seconds


@pytest.mark.parametrize("name", ["EmNAS-v0", MOBILE])
def test_registered_ids_are_equal(name: str) -> None:  # B25, D6
    for mode in ("next_step", "same_step"):
        native = gym.make_vec(
            name, num_envs=3, vectorization_mode="vector_entry_point", autoreset_mode=mode
        )
        assert isinstance(native.unwrapped, EmNASVectorEnv)
        assert_equal_to_single(3, 40, mode.upper(), **_keywords(native), evaluator="surrogate")


def _keywords(env: Any) -> dict[str, Any]:
    problem = env.unwrapped.problem
    names = ("space", "task", "device", "budgets", "reward")
    return {name: getattr(problem, name) for name in names}


@pytest.mark.slow
def test_a_hundred_thousand_steps_are_equal() -> None:  # B25, D6
    total = 0
    for mode in MODES:
        for on_invalid in ON_INVALID:
            evaluator = ["analytic", ByTokens()]
            steps = [
                assert_equal_to_single(64, 140, mode, on_invalid=on_invalid, evaluator=evaluator),
                assert_equal_to_single(
                    16, 200, mode, ledger=200, space=TINY, on_invalid=on_invalid
                ),
            ]
            total += sum(done for done, _ in steps)
    for name in BATCHED:
        cheap = {"evaluator": ByTokens()} if name in TRAINED else {}
        env = gym.make_vec(name, 2, "vector_entry_point", **cheap)
        own = env.unwrapped.evaluator  # type: ignore[attr-defined]
        total += assert_equal_to_single(8, 150, "SAME_STEP", **_keywords(env), evaluator=own)[0]
    assert total > 100_000


# ------------------------------------------------------------------------------- Gymnasium's rules


def make(count: int = 4, **keywords: Any) -> EmNASVectorEnv:
    return EmNASVectorEnv(count, **{"budgets": BUDGETS, "evaluator": ByTokens()} | keywords)


@pytest.mark.parametrize("observation", OBSERVATIONS)
@pytest.mark.parametrize("mode", MODES[:2])
def test_gymnasium_makes_it_without_a_warning(mode: str, observation: str) -> None:  # B2, B25
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        envs = gym.make_vec(
            "EmNAS-v0", num_envs=5, vectorization_mode="vector_entry_point", autoreset_mode=mode,
            observation=observation, evaluator=ByTokens(),
        )  # fmt: skip
        assert envs.metadata["autoreset_mode"] == AutoresetMode[mode]
        assert envs.spec is not None
        assert envs.spec.kwargs["budgets"] == BUDGETS.to_json()
        copy.deepcopy(envs.spec)
        wrapped = RecordEpisodeStatistics(envs)
        seen, info = wrapped.reset(seed=1)
        rng = np.random.default_rng(0)
        for _ in range(40):
            assert envs.observation_space.contains(seen)
            actions = envs.unwrapped.sample(rng)  # type: ignore[attr-defined]
            assert envs.action_space.contains(actions)
            seen, _, terminated, truncated, info = wrapped.step(actions)
            assert not truncated.any()
            assert ("episode" in info) == bool(terminated.any())
        envs.close()


def test_a_spec_makes_it_again() -> None:
    spec = gym.envs.registration.EnvSpec.from_json(gym.spec("EmNAS-v0").to_json())
    envs = gym.make_vec(spec, num_envs=2, vectorization_mode="vector_entry_point")
    assert envs.unwrapped.problem.budgets == BUDGETS  # type: ignore[attr-defined]
    assert all(gym.spec(name).vector_entry_point for name in BATCHED)


def test_an_evaluator_object_does_not_cost_the_specification() -> None:
    evaluator = ByTokens()
    assert copy.deepcopy({"evaluator": evaluator})["evaluator"] is evaluator
    assert gym.make("EmNAS-v0", evaluator=evaluator).spec is not None


def test_what_it_returns_is_fresh() -> None:
    envs = make(autoreset_mode="same_step")
    rng = np.random.default_rng(0)
    seen, info = envs.reset(seed=0)
    for _ in range(30):
        masks = envs.action_masks()
        seen[:] = 7
        info["action_mask"][:] = 7
        masks[:] = 7
        seen, _, _, _, info = envs.step(envs.sample(rng))
        assert set(np.unique(info["action_mask"])) == {0, 1}
        assert (seen < 383).all()
    assert envs.action_masks().view(bool).any(axis=1).all()


def test_samples_are_legal_and_uniform() -> None:
    envs = make(4000, space=TINY)
    envs.reset(seed=0)
    drawn = envs.sample(np.random.default_rng(0))
    mask = envs.action_masks()
    assert mask[np.arange(4000), drawn].all()
    counts = np.bincount(drawn, minlength=10)[mask[0] == 1]
    assert (np.abs(counts - 4000 / len(counts)) < 5 * np.sqrt(4000 / len(counts))).all()
    again = envs.sample(np.random.default_rng(0))
    assert np.array_equal(drawn, again)


def test_an_action_outside_the_space_names_its_environment_and_changes_nothing() -> None:
    envs = make(3)
    envs.reset(seed=0)
    before = envs.action_masks()
    legal = envs.sample(np.random.default_rng(0))
    for i, wrong in ((1, 383), (2, -1), (0, 2**40)):
        actions = legal.copy()
        actions[i] = wrong
        with pytest.raises(IllegalAction, match=rf"environment {i}: action {wrong} is outside 0"):
            envs.step(actions)
    for shape in (legal[:2], legal.astype(float), legal[:, None]):
        with pytest.raises(IllegalAction, match="actions are 3 whole numbers"):
            envs.step(shape)
    assert np.array_equal(envs.action_masks(), before)
    assert (envs.step(legal)[0][:, 0] == legal).all()


@pytest.mark.parametrize("mode", MODES)
def test_steps_before_a_reset_are_refused(mode: str) -> None:
    envs = make(2, autoreset_mode=mode)
    with pytest.raises(IllegalAction, match=r"environments \[0, 1\] are over"):
        envs.step(np.array([1, 1]))
    envs = make(2, space=TINY, autoreset_mode="disabled")
    envs.reset(seed=0)
    rng = np.random.default_rng(0)
    with pytest.raises(IllegalAction, match="are over: reset them"):
        for _ in range(20):
            envs.step(envs.sample(rng))


@pytest.mark.parametrize(
    "mask", [[True, False], np.ones(3, dtype=bool), np.zeros(2, dtype=bool), np.ones(2)], ids=str
)
def test_reset_masks_are_checked(mask: Any) -> None:
    with pytest.raises(EmNASError, match="reset_mask"):
        make(2).reset(options={"reset_mask": mask})


def test_bad_arguments_are_typed_errors() -> None:
    with pytest.raises(EmNASError, match="one or more, not 0"):
        make(0)
    with pytest.raises(UnknownName, match="autoreset_mode 'sam_step': did you mean same_step"):
        make(2, autoreset_mode="sam_step")
    with pytest.raises(UnknownName, match="render_mode 'human'"):
        make(2, render_mode="human")
    with pytest.raises(UnknownName, match="on_invalid 'stop'"):
        make(2, on_invalid="stop")
    with pytest.raises(EmNASError, match="3 seeds for 2 environments"):
        make(2).reset(seed=[1, 2, 3])


class Stopping(ByTokens):
    """Stops at its second batch, once."""

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        if len(self.asked) in range(1, 100):
            self.asked += [()] * 100
            raise EvaluationStopped("no board is left", [None] * len(batch))
        return super()._evaluate(batch)


def test_after_an_evaluator_that_stops_the_others_go_on() -> None:
    envs = make(3, space=TINY, evaluator=Stopping(), autoreset_mode="next_step")
    envs.reset(seed=0)
    rng = np.random.default_rng(0)
    with pytest.raises(EvaluationStopped, match="no board is left"):
        for _ in range(30):
            envs.step(envs.sample(rng))
    for _ in range(10):
        _, _, _, _, info = envs.step(envs.sample(rng))
        assert not info["invalid"].any()


def test_it_is_drawn() -> None:
    envs = make(2, render_mode="ansi")
    assert envs.render() is None
    envs.reset(seed=0)
    envs.step(envs.sample(np.random.default_rng(0)))
    frames = envs.render()
    assert frames is not None
    assert len(frames) == 2
    assert all("emnas-382" in frame or "flash" in frame for frame in frames)


# -------------------------------------------------------------------------------------- the masks


def test_a_mask_table_that_is_full_starts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emnas_gym.masks.REMEMBERED", 20)
    monkeypatch.setattr("emnas_gym.vector_env.mask_table", MaskTable)
    envs, table = make(8), Problem.make(budgets=BUDGETS).automaton
    envs.reset(seed=0)
    rng, tokens = np.random.default_rng(0), [[] for _ in range(8)]
    for _ in range(60):
        actions = envs.sample(rng)
        _, _, over, _, info = envs.step(actions)
        for i in range(8):
            if over[i]:
                tokens[i] = []
                assert info["action_mask"][i].nonzero()[0].tolist() == [0]
                continue
            tokens[i] = [] if not info["_token"][i] else [*tokens[i], int(info["token"][i])]
            cursor = table.start()
            for token in tokens[i]:
                table.step(cursor, token)
            assert np.array_equal(info["action_mask"][i], table.mask(cursor))
    assert envs._table.generation > 2


@pytest.mark.parametrize("budgets", [BUDGETS, {}, {"macs": 20_000}])
def test_a_mask_table_grows_as_if_it_had_met_all_at_once(budgets: dict[str, int]) -> None:
    table, rng = Problem.make(budgets=budgets).automaton, np.random.default_rng(0)
    states, placed, spent = [], [], []
    for _ in range(40):
        cursor = table.start()
        while not cursor.done:
            states.append(cursor.state)
            placed.append(len(cursor.tokens))
            spent.append(cursor.spent)
            table.step(cursor, int(rng.choice(table.legal(cursor))))
    walks = np.array(states), np.array(placed), np.array(spent)
    grown, whole = MaskTable(table), MaskTable(table)
    rows = [grown.rows_of(*(part[i : i + 1] for part in walks))[0] for i in range(len(states))]
    again = grown.rows_of(*walks)
    assert rows == again.tolist()
    at_once = whole.rows_of(*walks)
    assert np.array_equal(grown.rows[again], whole.rows[at_once])


@pytest.mark.parametrize(
    ("name", "value"), [("KeyedRows", partial(KeyedRows, 1)), ("KEY_BITS", 20)]
)
def test_neither_full_slots_nor_long_keys_change_a_mask(
    name: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys that take each other's place, and ranks that do not fit into one key."""
    monkeypatch.setattr(f"emnas_gym.masks.{name}", value)
    monkeypatch.setattr("emnas_gym.vector_env.mask_table", MaskTable)
    small = make(300, autoreset_mode="same_step")
    assert small._table._wide is False
    monkeypatch.undo()
    plain = make(300, autoreset_mode="same_step")
    for envs in (small, plain):
        envs.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(25):
        assert np.array_equal(small.action_masks(), plain.action_masks())
        actions = plain.sample(rng)
        for envs in (small, plain):
            envs.step(actions)
    assert small._table._wide is (name == "KEY_BITS")


def test_masks_are_shared_by_a_process() -> None:
    first, second = make(2), make_env()
    assert first._table is mask_table(second.problem.automaton) is second._walk._table
