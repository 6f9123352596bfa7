"""The agents of EMNAS by name: mended they learn, as they were they are shown for what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_worlds
import torch
from optimum_contract import check_finds_optimum
from table_worlds import small_table
from test_contracts import OPTIONS

from agents.base import Agent, NotLearned, OptionError
from agents.original.ff_v1 import FFV1
from agents.original.ff_v3 import FFV3
from agents.original.lstm_v1 import LSTMV1
from agents.original.lstm_v2_2 import LSTMV22
from agents.original.masked_draws import Draws, draw, networks
from agents.original.mended import placed_log_probs
from agents.original.original_networks import DecayingAdam, DenseStack
from agents.original.original_rows import OriginalRows, Patience
from agents.original.row_plays import Plays, RowConfig, RowPlayer
from agents.original.row_policy import RowPolicy
from emnas_gym.errors import StoreError
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem
from emnas_gym.registry import resolve
from emnas_gym.space import sample_tokens
from emnas_gym.table_env import table_problem
from emnas_gym.testing import ScriptedEvaluator, tiny_problem

BOTH = ("controller-v1", "controller-v2", "ff-v1", "ff-v2", "ff-v3", "lstm-v1")
MENDED = (*BOTH, "lstm-v2-1", "lstm-v2-2", "lstm-v2-3")
SLOW = ("controller-v1", "lstm-v1", "lstm-v2-1", "lstm-v2-3")  # recurrent, token by token
SORTED = [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in MENDED]
LEARN = [pytest.param(n, marks=[pytest.mark.slow] if n != "ff-v2" else []) for n in MENDED]
SHORT = {"controller-v1": {"fits": 3, "sequences": 4}, "lstm-v1": {"fits": 3}}


def make(name: str, **options: Any) -> Agent:
    found: Agent = resolve("agent", name).with_options(**options)
    return found


def as_it_was(name: str) -> Agent:
    return make(name, faithful=True, **SHORT.get(name, {}))


# ------------------------------------------------------------------------------------------ mended


@pytest.mark.parametrize("name", SORTED)
def test_mended_they_find_the_optimum_and_prefer_it(name: str) -> None:  # B4-B10, B14
    check_finds_optimum(lambda: make(name, **OPTIONS[name]))


@pytest.mark.parametrize("name", LEARN)
def test_mended_they_learn(name: str, problem: Problem) -> None:  # B4-B7, B9
    """The last tenth is better than random networks by a standard deviation of these."""
    ledger = tiny_worlds.formula(problem, 300)
    make(name, passes=2 if name.startswith("controller") else 1).search(problem, ledger, 0)
    rng = np.random.default_rng(0)
    random = tiny_worlds.formula(problem, 300)
    random.evaluate(
        [problem.space.architecture(sample_tokens(problem.automaton, rng)) for _ in range(300)]
    )
    rewards = [row.reward for row in random.rows]
    late = np.mean([row.reward for row in ledger.rows[-30:]])
    assert late > np.mean(rewards) + np.std(rewards)
    assert ledger.invalid_steps == 0


@pytest.mark.parametrize("name", MENDED)
def test_mended_only_legal_tokens_are_drawn(name: str, problem: Problem) -> None:
    agent = make(name)
    torch.manual_seed(0)
    policy = agent._policy(problem)  # type: ignore[attr-defined]
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    generator = torch.Generator().manual_seed(1)
    context = torch.zeros(problem.max_layers, dtype=torch.long)
    tokens, masks = draw(policy, problem, context, 40, generator)
    assert all(problem.automaton.fits(network) for network in networks(tokens))
    again = policy(tokens, masks, context.expand(40, -1))
    assert torch.isfinite(placed_log_probs(again, tokens)).all()
    assert (again[..., 0][tokens == 0] == 0).all(), "what follows the end is certain"


@pytest.mark.parametrize("name", MENDED)
def test_mended_first_networks_have_about_uniform_length(name: str, problem: Problem) -> None:
    torch.manual_seed(0)
    policy = make(name)._policy(problem)  # type: ignore[attr-defined]
    context = torch.zeros(problem.max_layers, dtype=torch.long)
    tokens, _ = draw(policy, problem, context, 500, torch.Generator().manual_seed(0))
    counts = np.bincount((tokens > 0).sum(dim=1), minlength=16)[4:]
    expected = 500 / 12
    assert ((counts - expected) ** 2 / expected).sum() < 31.3  # chi square, 11 d. f., p = .001


def test_new_networks_are_drawn_where_there_are_any() -> None:
    problem = tiny_problem()
    torch.manual_seed(0)
    policy = RowPolicy(problem, 8, (16,))
    draws = Draws(problem, 6, 50, torch.Generator().manual_seed(0))
    context = torch.zeros(3, dtype=torch.long)
    taken = [t for _ in range(2) for t in networks(draws.take(policy, context).tokens)]
    assert len(set(taken)) == 12, "all of the world, none twice"
    assert len(list(networks(draws.take(policy, context).tokens))) == 6, "then repeats"


@pytest.mark.slow
@pytest.mark.parametrize(("alpha", "low", "high"), [(0.02, 0.5, 1.01), (20.0, 0.0, 0.5)])
def test_a_small_alpha_keeps_exploring(
    alpha: float, low: float, high: float, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:  # B10
    seen: list[float] = []
    monkeypatch.setattr(
        FFV3, "_report_update", lambda self, ledger, entropy, mean: seen.append(entropy)
    )
    agent = FFV3.with_options(alpha=alpha, imitation=0.0, entropy_half_life=1e9, learning_rate=0.02)
    agent.search(problem, tiny_worlds.formula(problem, 960), 0)
    assert low <= seen[-1] / seen[0] <= high


def test_the_context_is_the_best_sequence_so_far(problem: Problem) -> None:  # B6, B12
    ledger, agent = tiny_worlds.formula(problem, 64), LSTMV22()
    agent.search(problem, ledger, 0)
    assert agent._learner is not None
    assert next(networks(agent._learner.context[None])) == ledger.best.tokens


def test_there_is_no_favourite_before_a_search(problem: Problem) -> None:
    with pytest.raises(NotLearned):
        LSTMV1().favourite(problem)
    agent = FFV1.with_options(faithful=True)
    agent.search(problem, tiny_worlds.formula(problem, 5), 0)
    with pytest.raises(NotLearned):
        agent.favourite(problem)


# ---------------------------------------------------------------------------------------- as it was


def _search(
    agent: Agent, problem: Problem, count: int, path: Path | None = None, seed: int = 1
) -> Any:
    ledger = Ledger(ScriptedEvaluator(problem), problem, count, path)
    try:
        agent.search(problem, ledger, seed)
        return ledger.rows
    finally:
        ledger.close()


@pytest.mark.parametrize("table", [False, True])
@pytest.mark.parametrize("name", BOTH)
def test_as_they_were_they_spend_their_budget_repeat_themselves_and_resume(
    name: str, table: bool, tmp_path: Path
) -> None:  # B4, B8-B10, B14
    problem = table_problem(small_table())[0] if table else tiny_problem()
    for count in (1, 7):
        assert len(_search(as_it_was(name), problem, count)) == count
    whole = _search(as_it_was(name), problem, 40)
    assert len(whole) == 40
    assert whole == _search(as_it_was(name), problem, 40)
    assert whole != _search(as_it_was(name), problem, 40, seed=2)
    path = tmp_path / "history.sqlite"
    assert _search(as_it_was(name), problem, 17, path) == whole[:17]
    assert _search(as_it_was(name), problem, 40, path) == whole


@pytest.mark.parametrize("name", BOTH)
def test_as_they_were_they_differ_from_what_they_are_mended(name: str) -> None:
    problem = tiny_problem()
    assert _search(as_it_was(name), problem, 20) != _search(make(name), problem, 20)


def _ending(problem: Problem) -> RowPlayer:
    """A row agent on the tiny world whose first row nearly always draws the end token, 4."""
    rows = OriginalRows(problem, 6)
    network = DenseStack(rows.rows, (4,), rows.rows, rows.classes)
    with torch.no_grad():
        network.output.bias[4] = 20.0
    adam = DecayingAdam(network.parameters(), 0.01)
    env = tiny_worlds.in_memory(problem, 50).play_env(observation="ids", on_invalid="penalise")
    config = RowConfig(faithful_alpha=0.1)
    return RowPlayer(network, adam, rows, env, config, np.random.default_rng(0))


def test_rows_after_the_end_were_learned_as_class_0() -> None:  # B10
    """The second row was never drawn, and yet the better play draws it to class 0."""
    player, plays, state = _ending(tiny_problem()), Plays(), torch.zeros(2)
    with torch.no_grad():
        before = player.network(state[None])[0]
    for reward in (0.9, 0.1):
        plays.states.append(state)
        plays.probabilities.append(before)
        plays.actions.append(player._draw_rows(before.double().numpy()))
        plays.rewards.append(reward)
    assert plays.actions == [[4, 0], [4, 0]]
    chosen = torch.eye(5)[0]
    for target, gain in zip(player.targets(plays), (1.0, -1.0), strict=True):
        expected = before[1] + 0.1 * gain * (chosen - before[1])
        assert torch.allclose(target[1], expected, atol=1e-6)


def test_a_drawn_0_became_token_1() -> None:
    player = _ending(tiny_problem())
    weights = np.array([[1.0, 0, 0, 0, 0], [0, 0, 1.0, 0, 0]])
    assert player._draw_rows(weights) == [0, 2], "kept in the middle by ff-v2 and ff-v3"
    player.zero_is_one = True
    assert player._draw_rows(weights) == [1, 2]


def test_a_run_that_gives_up_is_followed_by_a_fresh_one() -> None:
    player, patience = _ending(tiny_problem()), Patience("x")
    player.run(player.env.evaluator, patience)  # type: ignore[arg-type]
    assert patience.gone


@pytest.mark.parametrize("name", ["ff-v2", "lstm-v1"])
def test_bad_values_are_refused(name: str) -> None:
    for options in (
        {"batch": 1},
        {"alpha": 0.0},
        {"layers": 0},
        {"faithful_learning_rate": 0.0},
        {"faithful": 1},
        {"tries": 0},
    ):
        with pytest.raises(OptionError):
            make(name, **options)


def test_a_resumed_search_of_the_other_form_is_told_apart(tmp_path: Path) -> None:
    problem, path = tiny_problem(), tmp_path / "history.sqlite"
    _search(make("ff-v3"), problem, 20, path)
    with pytest.raises(StoreError):
        _search(as_it_was("ff-v3"), problem, 20, path)
