from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import tiny_worlds
import torch
from optimum_contract import check_finds_optimum

from agents.base import NotLearned, OptionError
from agents.episodes import Elite, Episodes, draw, measured
from agents.parameters import TENSORS
from agents.reinforce import (
    Reinforce,
    ReinforceConfig,
    entropy_weight,
    mean_entropy,
    moving_average,
    normalised_advantages,
    reinforce_loss,
    sequence_log_probs,
)
from agents.token_policy import TokenPolicy
from emnas_gym.errors import StoreError
from emnas_gym.problem import Problem
from emnas_gym.testing import tiny_problem

SMALL = {"batch": 8, "hidden": 16, "width": 8}


def _policy(problem: Problem, trained: bool = False, seed: int = 0) -> TokenPolicy:
    torch.manual_seed(seed)
    policy = TokenPolicy(problem, hidden=16, width=8)
    if trained:  # as if: none of its parameters is 0
        with torch.no_grad():
            for parameter in policy.parameters():
                parameter.add_(0.5 * torch.randn_like(parameter))
    return policy


def _play(policy: TokenPolicy, problem: Problem, count: int, seed: int = 0) -> Episodes:
    drawn = draw(policy, problem, count, torch.Generator().manual_seed(seed))
    return measured(drawn, tiny_worlds.formula(problem, count))


def test_finds_the_optimum_of_the_dozen(tmp_path: Path) -> None:
    problem = tiny_worlds.dozen(tmp_path)
    tokens, reward = tiny_worlds.brute_force(problem)
    ledger = tiny_worlds.in_memory(problem, 100)
    Reinforce.with_options(**SMALL).search(problem, ledger, 0)
    assert (ledger.best.canonical, ledger.best.reward) == (tokens, reward)


@pytest.mark.parametrize("cell", ["gru", pytest.param("lstm", marks=pytest.mark.slow)])
def test_finds_and_prefers_the_best_of_twelve(cell: str) -> None:  # B3
    options = SMALL | {"batch": 4, "learning_rate": 0.02, "imitation": 1.0, "elite": 1, "tries": 4}
    check_finds_optimum(lambda: Reinforce.with_options(**options, cell=cell))


def test_there_is_no_favourite_before_a_search(problem: Problem) -> None:
    with pytest.raises(NotLearned):
        Reinforce().favourite(problem)


# --------------------------------------------------------------------------------- the gradient


def _loss_by_hand(policy: TokenPolicy, episodes: Episodes, advantages: torch.Tensor) -> object:
    """−mean(A · log p), episode by episode, token by token, over the legal tokens alone."""
    total = torch.zeros((), dtype=torch.float64)
    keys = policy.key(policy.features) + policy.own_key
    for tokens, masks, advantage in zip(episodes.tokens, episodes.masks, advantages, strict=True):
        state, last = policy.start(1), 0
        for placed, token in enumerate(tokens.tolist()):
            if token == 0:
                break
            seen = policy.embed(policy.features[last]) + policy.own_embedding[last]
            state = policy.cell(seen[None], state)
            logits = (keys @ policy.query(state)[0]) / keys.shape[1] ** 0.5
            legal = masks[placed].nonzero()[:, 0].tolist()
            weights = []
            for option in legal:
                weight = logits[option]
                if option == policy.end_token:
                    weight = weight + policy.end_offset[placed] + np.log(max(len(legal) - 1, 1))
                weights.append(torch.exp(weight))
            chosen = weights[legal.index(token)] / sum(weights)
            total = total - advantage * torch.log(chosen)
            last = token
    return total / len(advantages)


def test_gradient_is_that_of_minus_log_p_times_reward(tmp_path: Path) -> None:  # B3
    problem = tiny_worlds.dozen(tmp_path)
    policy = _policy(problem, trained=True)
    episodes = _play(policy, problem, 12)
    policy.double()
    advantages = normalised_advantages(episodes.rewards, 0.3)
    log_probs = policy(episodes.tokens, episodes.masks)
    loss = reinforce_loss(sequence_log_probs(log_probs, episodes.tokens), advantages)
    ours = torch.autograd.grad(loss, list(policy.parameters()))
    theirs = torch.autograd.grad(
        _loss_by_hand(policy, episodes, advantages), list(policy.parameters())
    )
    assert max(float(g.abs().max()) for g in ours) > 1e-3
    for mine, other in zip(ours, theirs, strict=True):
        assert float((mine - other).abs().max()) < 1e-6


def test_gradient_agrees_with_finite_differences(tmp_path: Path) -> None:  # B3
    problem = tiny_worlds.dozen(tmp_path)
    policy = _policy(problem, trained=True)
    episodes = _play(policy, problem, 6)
    policy.double()
    advantages = normalised_advantages(episodes.rewards, 0.3)

    def loss() -> torch.Tensor:
        log_probs = policy(episodes.tokens, episodes.masks)
        return reinforce_loss(sequence_log_probs(log_probs, episodes.tokens), advantages)

    weight, step = policy.query.weight, 1e-5
    gradient = torch.autograd.grad(loss(), weight)[0]
    for i, j in [(0, 0), (3, 7), (7, 15)]:
        with torch.no_grad():
            weight[i, j] += step
            above = float(loss())
            weight[i, j] -= 2 * step
            below = float(loss())
            weight[i, j] += step
        assert (above - below) / (2 * step) == pytest.approx(float(gradient[i, j]), abs=1e-6)


@torch.no_grad()
def test_bandit_is_solved_by_every_seed() -> None:  # B3
    problem = tiny_worlds.bandit()
    (arm, _), _ = tiny_worlds.brute_force(problem)
    mask = torch.zeros(1, tiny_worlds.ARMS + 2, dtype=torch.bool)
    mask[0, 1 : tiny_worlds.ARMS + 1] = True
    for seed in range(20):
        agent = Reinforce(ReinforceConfig(imitation=0.0))
        with torch.enable_grad():
            agent.search(problem, tiny_worlds.in_memory(problem, 640), seed)
        start = torch.zeros(1, dtype=torch.long), agent.policy_.start(1)
        log_probs, _ = agent.policy_.step(*start, mask, 0)
        assert float(log_probs[0, arm].exp()) > 0.9, f"seed {seed}"


# ------------------------------------------------------------------------------------- sampling


def test_masks_are_obeyed(problem: Problem) -> None:
    policy = _policy(problem, trained=True)
    episodes = _play(policy, problem, 64)
    placed = episodes.masks.gather(2, episodes.tokens[..., None])[..., 0]
    assert placed.all()
    for tokens in episodes.tokens.tolist():
        network = tuple(token for token in tokens if token)
        assert tokens == [*network, *[0] * (len(tokens) - len(network))]
        assert problem.automaton.fits(network)


def test_a_token_of_probability_zero_is_never_drawn(problem: Problem) -> None:
    policy = _policy(problem, trained=True)
    size = problem.space.num_tokens + 1
    mask = torch.zeros(1, size, dtype=torch.bool)
    mask[0, [5, 77, 200]] = True
    first = torch.zeros(1, dtype=torch.long)
    with torch.no_grad():
        policy.own_key[11] += 1e3 * policy.own_key[11].sign()  # an illegal token that it would love
        log_probs, _ = policy.step(first, policy.start(1), mask, 3)
    probabilities = log_probs.exp()
    assert (probabilities[~mask] == 0).all()
    assert float(probabilities.sum()) == pytest.approx(1.0)
    drawn = torch.multinomial(probabilities.expand(20_000, -1), 1)
    assert set(drawn.unique().tolist()) <= {5, 77, 200}


def test_first_samples_have_about_uniform_length(problem: Problem) -> None:
    torch.manual_seed(0)
    policy = TokenPolicy(problem, 64, 32)
    episodes = _play(policy, problem, 500)
    counts = np.bincount((episodes.tokens > 0).sum(dim=1), minlength=16)[4:]
    expected = 500 / 12
    assert ((counts - expected) ** 2 / expected).sum() < 31.3  # chi square, 11 d. f., p = .001


def test_forward_repeats_what_was_played(problem: Problem) -> None:
    policy = _policy(problem, trained=True)
    episodes = _play(policy, problem, 8)
    again = _play(policy, problem, 8)
    assert torch.equal(episodes.tokens, again.tokens)
    log_probs = policy(episodes.tokens, episodes.masks)
    after = episodes.tokens == 0
    assert (log_probs[..., 0][after] == 0).all(), "padding is certain, so it counts nothing"


# ------------------------------------------------------------------------------------ the parts


def test_advantages_are_normalised_over_the_batch() -> None:
    rewards = torch.tensor([0.1, 0.5, 0.9, 0.3], dtype=torch.float64)
    advantages = normalised_advantages(rewards, float(rewards.mean()))
    assert float(advantages.mean()) == pytest.approx(0.0, abs=1e-9)
    assert float(advantages.std(unbiased=False)) == pytest.approx(1.0, abs=1e-4)
    assert torch.equal(rewards.argsort(), advantages.argsort())
    shifted = normalised_advantages(rewards, 0.0)
    assert (shifted > 0).all()


def test_equal_rewards_have_no_advantage() -> None:
    rewards = torch.full((5,), 0.7, dtype=torch.float64)
    assert normalised_advantages(rewards, 0.7).abs().max() < 1e-6


def test_an_episode_is_credited_with_its_own_reward_alone() -> None:
    rewards = torch.tensor([0.2, 0.9, 0.4], dtype=torch.float64)
    order = torch.tensor([2, 0, 1])
    straight = normalised_advantages(rewards, 0.5)
    assert torch.equal(normalised_advantages(rewards[order], 0.5), straight[order])


def test_baseline_is_a_moving_average() -> None:
    first = moving_average(None, torch.tensor([1.0, 3.0]), 0.9)
    assert first == pytest.approx(2.0)
    assert moving_average(first, torch.tensor([4.0]), 0.75) == pytest.approx(2.5)


def test_lock_step_plays_as_single_environments_do(problem: Problem) -> None:
    """The same draws, token by token, in environments of their own: equal tokens and rewards."""
    policy, count = _policy(problem, trained=True), 6
    episodes = _play(policy, problem, count)
    ledger = tiny_worlds.formula(problem, count)
    for row in range(count):
        env = ledger.env(observation="ids")
        info, over = env.reset()[1], False
        for token, mask in zip(episodes.tokens[row], episodes.masks[row], strict=True):
            if over:
                assert int(token) == 0
                continue
            assert np.array_equal(info["action_mask"], mask.numpy().astype(np.int8))
            _, reward, over, _, info = env.step(np.int64(token))
        assert over
        assert reward == float(episodes.rewards[row])


def test_rows_of_the_ledger_stand_in_the_order_in_which_episodes_end(problem: Problem) -> None:
    drawn = draw(_policy(problem), problem, 30, torch.Generator().manual_seed(1))
    ledger = tiny_worlds.formula(problem, 30)
    measured(drawn, ledger)
    lengths = [len(row.tokens) for row in ledger.rows]
    assert lengths == sorted(lengths)
    assert len(set(lengths)) > 3


def test_what_is_known_is_drawn_again() -> None:
    """With tries enough every network of the twelve comes before the first repeat."""
    problem = tiny_problem()
    ledger = tiny_worlds.in_memory(problem, 12)
    Reinforce.with_options(**SMALL | {"batch": 4, "tries": 200}).search(problem, ledger, 0)
    assert ledger.distinct == 12


def test_entropy_bonus_halves_after_its_half_life() -> None:  # A20
    assert entropy_weight(0.1, 0, 50.0) == 0.1
    assert entropy_weight(0.1, 50, 50.0) == pytest.approx(0.05)
    assert entropy_weight(0.1, 150, 50.0) == pytest.approx(0.0125)


def test_entropy_counts_only_what_was_acted_on() -> None:
    log_probs = torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]]).log()
    tokens = torch.tensor([[2, 0]])
    expected = torch.distributions.Categorical(torch.tensor([0.5, 0.25, 0.25])).entropy()
    assert float(mean_entropy(log_probs, tokens)) == pytest.approx(float(expected))


def test_elite_keeps_the_best_distinct() -> None:
    tokens = torch.tensor([[1, 9], [2, 9], [1, 9], [3, 9]])
    rewards = torch.tensor([0.5, 0.9, 0.5, 0.1], dtype=torch.float64)
    elite = Elite(2)
    elite.add(Episodes(tokens, torch.ones(4, 2, 10, dtype=torch.bool), rewards))
    best = elite.episodes()
    assert best.tokens.tolist() == [[2, 9], [1, 9]]
    assert best.rewards.tolist() == [0.9, 0.5]


# --------------------------------------------------------------------------------- around it


def test_learns(problem: Problem) -> None:
    ledger = tiny_worlds.formula(problem, 480)
    Reinforce().search(problem, ledger, 0)
    rewards = [row.reward for row in ledger.rows]
    assert np.mean(rewards[-80:]) > np.mean(rewards[:80]) + 0.15


def test_a_longer_search_begins_as_a_shorter_one(problem: Problem) -> None:
    histories = []
    for evaluations in (40, 80):
        ledger = tiny_worlds.formula(problem, evaluations)
        Reinforce.with_options(**SMALL).search(problem, ledger, 0)
        histories.append([row.tokens for row in ledger.rows])
    assert histories[1][:40] == histories[0]


def test_global_generators_stay_as_they_were(problem: Problem) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    Reinforce.with_options(**SMALL).search(problem, tiny_worlds.formula(problem, 20), 0)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


def test_parameters_come_back(problem: Problem, tmp_path: Path) -> None:
    agent = Reinforce(ReinforceConfig(**SMALL))
    agent.search(problem, tiny_worlds.formula(problem, 40), 0)
    agent.save(tmp_path, problem)
    other = Reinforce(ReinforceConfig(**SMALL)).load(tmp_path, problem)
    assert all(
        torch.equal(a, b)
        for a, b in zip(agent.policy_.parameters(), other.parameters(), strict=True)
    )
    with pytest.raises(StoreError, match="config"):
        Reinforce().load(tmp_path, problem)
    with pytest.raises(StoreError, match="problem"):
        Reinforce(ReinforceConfig(**SMALL)).load(tmp_path, tiny_worlds.dozen(tmp_path))


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("code from a file was run",))


@pytest.mark.parametrize("content", [b"", b"no parameters", pickle.dumps(_Evil(), protocol=2)])
def test_a_file_that_is_no_parameters_is_refused(
    problem: Problem, tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    agent = Reinforce(ReinforceConfig(**SMALL))
    agent.search(problem, tiny_worlds.formula(problem, 9), 0)
    agent.save(tmp_path, problem)
    (tmp_path / TENSORS).write_bytes(content)
    with pytest.raises(StoreError):
        agent.load(tmp_path, problem)
    assert "was run" not in capsys.readouterr().out


def test_tensorboard_log_is_written(problem: Problem, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    agent = Reinforce(ReinforceConfig(**SMALL), logdir=tmp_path)
    agent.search(problem, tiny_worlds.formula(problem, 24), 0)
    assert list(tmp_path.glob("events.*"))


@pytest.mark.parametrize(
    "options",
    [
        {"batch": 1},
        {"cell": "rnn"},
        {"tries": -1},
        {"learning_rate": 0.0},
        {"baseline_decay": 1.0},
        {"elite": 0},
        {"clip": "x"},
    ],
)
def test_bad_values_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        Reinforce.with_options(**options)
