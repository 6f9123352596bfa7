from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from conftest import BUDGETS, TINY, ByTokens
from gymnasium.utils.env_checker import check_env
from numpy.typing import NDArray
from playing import equal
from sb3_contrib import MaskablePPO
from stable_baselines3.common.env_checker import check_env as check_env_sb3
from table_worlds import small_table

from emnas_gym.errors import EmNASError, EvaluationError, IllegalAction, UnknownName
from emnas_gym.evaluator import Result
from emnas_gym.ledger import Ledger
from emnas_gym.play_env import EmNASPlayEnv
from emnas_gym.play_rules import INITIAL, NEXT_REWARDS, PlayRules, PlayRun
from emnas_gym.position_masks import position_masks
from emnas_gym.problem import Problem
from emnas_gym.table_env import table_problem
from emnas_gym.views import OBSERVATIONS, ON_INVALID
from emnas_gym.wrappers import DictObservation, VectorReward

END = 9  # of TINY: 1, 2, 3 conv; 4, 5 depthwise; 6 pad; 7 dense; 8 dropout; at most 5 tokens


def make(**keywords: Any) -> EmNASPlayEnv:
    return EmNASPlayEnv(**{"space": TINY, "budgets": BUDGETS, "evaluator": ByTokens()} | keywords)


def drawn(env: EmNASPlayEnv, rng: np.random.Generator) -> NDArray[np.int64]:
    """A play that obeys the masks, which hold for each position by itself."""
    rows = env.action_masks().reshape(env.rows, -1)
    return np.array([rng.choice(np.flatnonzero(row)) for row in rows])


# ------------------------------------------------------------------------------- Gymnasium's rules


@pytest.mark.parametrize("on_invalid", ON_INVALID)
@pytest.mark.parametrize("observation", OBSERVATIONS)
def test_both_checkers_pass_without_a_warning(observation: str, on_invalid: str) -> None:  # B2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for initial in INITIAL:
            env = make(observation=observation, on_invalid=on_invalid, initial=initial)
            check_env(env, skip_render_check=True)
            check_env_sb3(env, skip_render_check=True)


def test_the_registered_id_is_the_problem_of_the_first_one() -> None:  # B2
    env, other = gym.make("EmNASPlay-v0").unwrapped, gym.make("EmNAS-v0").unwrapped
    assert isinstance(env, EmNASPlayEnv)
    assert env.problem == other.problem  # type: ignore[attr-defined]
    assert env.action_space == gym.spaces.MultiDiscrete([383] * 14)
    assert env.observation_space == gym.spaces.MultiDiscrete([383] * 15)


def test_two_environments_with_one_seed_are_equal_step_for_step() -> None:
    runs = []
    for _ in range(2):
        env, rng, seen = make(initial="random"), np.random.default_rng(3), []
        seen.append(env.reset(seed=5))
        for _ in range(60):
            seen.append(env.step(rng.integers(10, size=4)))  # type: ignore[arg-type]
            if seen[-1][3]:  # type: ignore[misc]
                seen.append(env.reset())
        runs.append(seen)
    assert equal(*runs)


def test_maskable_ppo_trains_on_it() -> None:
    ledger = Ledger(ByTokens(), Problem.make(TINY, budgets=BUDGETS), 40)
    env = ledger.play_env(max_plays=8)
    MaskablePPO("MlpPolicy", env, n_steps=16, batch_size=8, n_epochs=1, seed=0).learn(32)
    assert ledger.count == 32


# ------------------------------------------------------------------------------------------ plays


def test_a_play_is_read_up_to_its_end() -> None:
    env = make(on_invalid="penalise")
    for action in ([1, 9, 8, 1], [1, 0, 7, 7], [1, 9, 0, 0]):
        env.reset(seed=0)
        observation, reward, _, _, info = env.step(np.array(action))
        assert info["architecture"].tolist() == observation.tolist() == [1, END, 0, 0, 0]
        assert (info["invalid"], info["own_reward"], info["plays"]) == (False, reward, 1)
    observation, _, _, _, info = env.step(np.array([1, 2, 3, 4]))
    assert info["architecture"].tolist() == [1, 2, 3, 4, END], "the end token is appended"


def test_the_observation_is_the_play_before() -> None:
    env, rng = make(observation="ids"), np.random.default_rng(0)
    first, _ = env.reset(seed=0)
    assert not first.any()
    for _ in range(15):
        observation, _, _, _, info = env.step(drawn(env, rng))
        assert np.array_equal(observation, info["architecture"])
        env.reset()


@pytest.mark.parametrize("action", [[7, 1, 1, 1], [1, 7, 1, 9], [0, 1, 1, 1], [9, 0, 0, 0]])
def test_invalid_plays(action: list[int]) -> None:
    penalised = make(on_invalid="penalise")
    penalised.reset(seed=0)
    observation, reward, terminated, truncated, info = penalised.step(np.array(action))
    assert reward == penalised.problem.reward.illegal
    assert (terminated, truncated, info["plays"], info["feasible"]) == (False, False, 0, False)
    assert "measurement" not in info
    stop = next((i + 1 for i, t in enumerate(action) if t in (0, END)), 4)
    assert observation.tolist() == [*action[:stop], *[0] * (5 - stop)], "it goes on from there"
    ended = make(on_invalid="end")
    ended.reset(seed=0)
    assert ended.step(np.array(action))[1:3] == (reward, True)
    repaired = make()
    repaired.reset(seed=0)
    _, reward, _, _, info = repaired.step(np.array(action))
    assert info["invalid"]
    assert info["plays"] == 1
    tokens = info["architecture"][info["architecture"] > 0]
    assert repaired.problem.automaton.fits(tokens.tolist())
    assert reward > repaired.problem.reward.illegal


def test_a_repair_changes_illegal_tokens_alone() -> None:
    env, seen = make(), set()
    for seed in range(60):
        env.reset(seed=seed)
        tokens = env.step(np.array([7, 2, 3, 9]))[4]["architecture"].tolist()
        assert tokens[1:] == [2, 3, END, 0]
        seen.add(tokens[0])
    assert seen == {1, 2, 3, 4, 5}, "every legal token is drawn"


@pytest.mark.parametrize("action", [[1, 2, 3], [1, 2, 3, 10], [-1, 1, 1, 1], [1.0, 1.0, 1.0, 9.0]])
def test_actions_outside_the_space_are_refused(action: list[Any]) -> None:
    env = make()
    with pytest.raises(IllegalAction, match="reset"):
        env.step(np.array([1, 9, 0, 0]))
    env.reset(seed=0)
    with pytest.raises(IllegalAction):
        env.step(np.array(action))


def test_masks_allow_exactly_what_stands_somewhere_in_a_network() -> None:
    for problem in (Problem.make(TINY), Problem.make(TINY, min_layers=4), _table_problem(True)):
        table, end = problem.automaton, problem.space.end_token
        networks = [a.tokens for a in problem.space.enumerate(problem.task, table.budgets)]
        networks = [tokens for tokens in networks if table.fits(tokens)]
        rows = position_masks(table)
        assert len(rows) == problem.max_layers - bool(end)
        for position, row in enumerate(rows):
            there = {t[position] for t in networks if len(t) > position}
            over = bool(end) and any(len(t) <= position + 1 for t in networks)
            assert set(np.flatnonzero(row)) == there | ({0} if over else set())


def _table_problem(incomplete: bool) -> Problem:
    return table_problem(small_table(incomplete=incomplete))[0]


def test_a_table_has_a_row_for_every_position() -> None:
    problem, evaluator = table_problem(small_table())
    env = Ledger(evaluator, problem, 30).play_env(on_invalid="penalise")
    assert env.rows == 3
    env.reset(seed=0)
    observation, _, _, _, info = env.step(np.array([1, 4, 7]))
    assert observation.tolist() == info["architecture"].tolist() == [1, 4, 7]
    assert env.step(np.array([1, 4, 0]))[4]["invalid"], "0 ends nothing here"


# --------------------------------------------------------------------------------------- the rules


def run_of(**keywords: Any) -> PlayRun:
    run = PlayRun(PlayRules(**keywords))
    start(run)
    return run


def start(run: PlayRun) -> list[int]:
    return run.start(3, 2, 50, np.random.default_rng(0)).tolist()


def plays(run: PlayRun, *rewards: float) -> list[bool]:
    """Scripted rewards; after each play whether the episode is over."""
    over = []
    for reward in rewards:
        run.add(np.array([len(over) + 1, 9, 0]), reward, True)
        over.append(run.terminated or run.truncated)
    return over


def test_without_rules_only_the_number_of_plays_ends_an_episode() -> None:  # B11
    assert plays(run_of(max_plays=6), *[0.5] * 6) == [False] * 5 + [True]


def test_a_fixed_least_reward_ends_it_after_the_least_plays() -> None:  # B11
    run = run_of(reward_min=0.55, min_plays=3)
    assert plays(run, 0.1, 0.9, 0.55, 0.6, 0.54) == [False, False, False, False, True]
    start(run)
    assert plays(run, 0.1, 0.1, 0.1) == [False, False, True]
    assert run.threshold == 0.55


def test_the_threshold_rises_to_the_best_mean_so_far_and_never_falls() -> None:  # B11
    run = run_of(reward_min=0.55, dynamic_min=True, min_plays=2, max_plays=4)
    thresholds = []
    for rewards in ((0.6, 0.8, 0.7, 0.9), (0.9, 0.2), (0.8, 0.9, 0.8, 0.9)):
        plays(run, *rewards)
        start(run)
        thresholds.append(run.threshold)
    assert thresholds == pytest.approx([0.75, 0.75, 0.85])
    assert plays(run, 0.84, 0.84) == [False, True], "below 0.85, though above 0.55"


def test_the_variance_ends_it() -> None:  # B11
    rewards = (0.9, 0.1, 0.9, 0.1, 0.5, 0.5, 0.5)  # variances 0.128, 0.107, 0.091 from the 5th on
    assert plays(run_of(variance_min=0.1, min_plays=5), *rewards) == [False] * 6 + [True]
    assert plays(run_of(variance_min=1e-2), *[0.8] * 5) == [False] * 4 + [True]


def test_invalid_plays_count_in_the_variance_and_towards_giving_up() -> None:  # B11
    run = run_of(variance_min=1e-2, min_plays=2, max_invalid=2)
    plays(run, 0.8, 0.8)
    assert run.terminated
    run.add(np.array([7, 9, 0]), -0.1, False)
    assert (run.terminated, run.plays, run.invalid, run.gave_up) == (False, 2, 1, False)
    run.add(np.array([7, 9, 0]), -0.1, False)
    assert run.gave_up
    assert run.truncated


def test_initial_sequences() -> None:  # B12
    first = {initial: PlayRun(PlayRules(initial=initial)) for initial in INITIAL}
    starts = {initial: [start(run)] for initial, run in first.items()}
    for rewards in ((0.5, 0.9, 0.1), (0.3, 0.2, 0.4)):
        for initial, run in first.items():
            plays(run, *rewards)
            starts[initial].append(start(run))
    assert starts["zeros"] == [[0, 0, 0]] * 3
    assert starts["best"][1:] == [[2, 9, 0], [2, 9, 0]], "the best so far"
    assert starts["best_of_episode"][1:] == [[2, 9, 0], [3, 9, 0]], "the best of the one before"
    for initial in ("random", "best", "best_of_episode"):
        tokens = starts[initial][0]
        assert all(1 <= t <= 50 for t in tokens[:2]), "random where there is no best one yet"
        assert tokens[2] == 0


def test_random_initial_sequences_are_uniform() -> None:  # B12
    run, rng = PlayRun(PlayRules(initial="random")), np.random.default_rng(1)
    counts = np.zeros(6)
    for _ in range(1000):
        counts += np.bincount(run.start(3, 3, 5, rng), minlength=6)
    assert counts[0] == 0
    assert ((counts[1:] - 600) ** 2 / 600).sum() < 18.5  # chi square, 4 d. f., p = .001


def test_next_rewards() -> None:  # B13
    episodes = ((0.5, 0.9, 0.2), (0.3, 0.4), (0.95, 0.1))
    expected = {
        "own": [0.5, 0.9, 0.2, 0.3, 0.4, 0.95, 0.1],
        "best": [0.7, 0.51, 0.91, 0.91, 0.91, 0.91, 0.96],
        "best_by_episode": [0.7, 0.7, 0.7, 0.91, 0.91, 0.91, 0.91],
        "best_of_episode": [0.7, 0.7, 0.7, 0.905, 0.905, 0.405, 0.405],
    }
    assert set(expected) == set(NEXT_REWARDS)
    for next_reward, series in expected.items():
        run, fed = PlayRun(PlayRules(next_reward=next_reward)), []
        for rewards in episodes:
            start(run)
            fed += [run.add(np.array([1, 9, 0]), reward, True) for reward in rewards]
        assert fed == pytest.approx(series), next_reward


def test_the_environment_obeys_the_rules() -> None:  # B11, B12, B13
    env = make(reward_min=2.0, min_plays=3, initial="best", next_reward="best", observation="ids")
    env.reset(seed=0)
    rng, best, own = np.random.default_rng(0), np.zeros(5), []
    for count in (1, 2, 3):
        _, reward, terminated, truncated, info = env.step(drawn(env, rng))
        assert reward == pytest.approx(max(own) + 0.01 if own else 0.7)
        own.append(info["own_reward"])
        if own[-1] == max(own):
            best = info["architecture"]
        assert (terminated, truncated) == (count == 3, False)
    assert np.array_equal(env.reset()[0], best)
    again, _ = env.reset(seed=0)
    assert not np.array_equal(again, best), "a seed starts a new run"


def test_bad_rules_are_refused() -> None:
    for rules in ({"min_plays": 0}, {"max_plays": 2}, {"reward_min": "x"}, {"max_invalid": 1.5}):
        with pytest.raises(EmNASError):
            make(**rules)
    with pytest.raises(UnknownName, match="zeros"):
        make(initial="zero")
    with pytest.raises(UnknownName, match="best_by_episode"):
        make(next_reward="best_episode")


# --------------------------------------------------------------------------------------- the ledger


def test_it_truncates_once_the_ledger_is_spent() -> None:
    problem = Problem.make(TINY, budgets=BUDGETS)
    ledger = Ledger(ByTokens(), problem, 3)
    env, rng = ledger.play_env(), np.random.default_rng(0)
    env.reset(seed=0)
    steps = [env.step(drawn(env, rng)) for _ in range(3)]
    assert [step[3] for step in steps] == [False, False, True]
    assert steps[-1][4]["budget_spent"]
    assert "measurement" in steps[-1][4]
    assert (ledger.count, ledger.steps) == (3, 3)
    env.reset()
    assert env.step(drawn(env, rng))[3]
    assert ledger.count == 3


def test_too_many_invalid_plays_truncate() -> None:
    ledger = Ledger(ByTokens(), Problem.make(TINY, budgets=BUDGETS), 1)
    env = ledger.play_env(on_invalid="penalise", max_invalid=4)
    for _ in range(20):  # a run of N evaluations ends after 20 N episodes
        assert not ledger.spent
        env.reset()
        steps = [env.step(np.array([7, 0, 0, 0])) for _ in range(4)]
        assert [step[3] for step in steps] == [False, False, False, True]
        assert steps[-1][4]["gave_up"]
    assert ledger.spent
    assert ledger.invalid_steps == 80


class Failing(ByTokens):
    def measure(self, architecture: Any) -> Result:
        return EvaluationError("gone")


def test_a_network_that_cannot_be_measured_is_a_play_with_the_illegal_reward() -> None:
    env = make(evaluator=Failing())
    env.reset(seed=0)
    _, reward, terminated, _, info = env.step(np.array([1, 9, 0, 0]))
    assert reward == env.problem.reward.illegal
    assert (terminated, info["plays"], info["feasible"]) == (False, 1, False)


def test_wrappers_fit() -> None:
    env = DictObservation(make())
    seen, _ = env.reset(seed=0)
    assert env.observation_space.contains(seen)
    vector = VectorReward(make(on_invalid="penalise"))
    vector.reset(seed=0)
    worst = vector.step(np.array([7, 0, 0, 0]))[1]
    assert worst[0] == 0
    assert worst[1] < vector.step(np.array([1, 9, 0, 0]))[1][1]
