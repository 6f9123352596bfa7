from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_worlds
import torch
from optimum_contract import check_finds_optimum
from stable_baselines3 import PPO

from agents import TokenEmbedding
from agents.base import NotLearned, OptionError
from agents.imitated import Steps, best_steps
from agents.recurrent_ppo import RecurrentPPOAgent
from agents.sb3 import A2CAgent, ActorCriticAgent, MaskablePPOAgent, PPOAgent
from agents.token_actor import TokenHead
from emnas_gym.errors import StoreError
from emnas_gym.problem import Problem
from emnas_gym.testing import ScriptedEvaluator, tiny_problem

FIND = {  # every network once, and the best one imitated
    "envs": 4, "steps": 8, "hidden": 16, "width": 4, "unplayed": True, "imitation": 20, "elite": 1,
    "learning_rate": 0.01,
}  # fmt: skip
FIND_PPO = FIND | {"minibatch": 32, "epochs": 2}
TINY = {"envs": 4, "steps": 8, "hidden": 16, "width": 4}
TINY_PPO = TINY | {"minibatch": 16, "epochs": 2}
TINY_LSTM = TINY_PPO | {"recurrent": 16}
AGENTS = [
    (PPOAgent, TINY_PPO),
    (A2CAgent, TINY),
    (MaskablePPOAgent, TINY_PPO),
    (RecurrentPPOAgent, TINY_LSTM),
]
FINDERS = [
    (PPOAgent, FIND_PPO),
    (A2CAgent, FIND),
    (MaskablePPOAgent, FIND_PPO),
    (RecurrentPPOAgent, FIND_PPO | {"recurrent": 16}),
]
Kind = type[ActorCriticAgent]


@pytest.mark.parametrize(("kind", "options"), AGENTS)
def test_finds_the_optimum_of_the_dozen(
    tmp_path: Path, kind: Kind, options: dict[str, int]
) -> None:
    problem = tiny_worlds.dozen(tmp_path)
    tokens, reward = tiny_worlds.brute_force(problem)
    ledger = tiny_worlds.in_memory(problem, 150)
    kind.with_options(**options).search(problem, ledger, 0)
    assert (ledger.best.canonical, ledger.best.reward) == (tokens, reward)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "options"), FINDERS)
def test_finds_and_prefers_the_best_of_twelve(kind: Kind, options: dict[str, int]) -> None:
    check_finds_optimum(lambda: kind.with_options(**options))


@pytest.mark.parametrize(("kind", "options"), FINDERS)
def test_prefers_what_it_imitates(kind: Kind, options: dict[str, int]) -> None:
    problem = tiny_problem()
    agent, ledger = kind.with_options(**options), tiny_worlds.in_memory(problem, 24)
    agent.search(problem, ledger, 0)
    assert ledger.distinct == 12, "every network comes before the first repeat"
    assert agent.favourite(problem) == ScriptedEvaluator(problem).optimum


def test_there_is_no_favourite_before_a_search(problem: Problem) -> None:
    with pytest.raises(NotLearned):
        PPOAgent().favourite(problem)


@pytest.mark.parametrize(
    ("kind", "options"),
    [*AGENTS[:3], pytest.param(*AGENTS[3], marks=pytest.mark.slow)],  # as the others, with an LSTM
)
def test_first_samples_have_about_uniform_length(
    problem: Problem, kind: Kind, options: dict[str, int]
) -> None:
    ledger = tiny_worlds.formula(problem, 400)
    kind.with_options(**options | {"steps": 4096}).search(problem, ledger, 0)  # nothing is learned
    counts = np.bincount([len(row.tokens) for row in ledger.rows], minlength=16)[4:]
    expected = 400 / 12
    assert ((counts - expected) ** 2 / expected).sum() < 31.3, counts  # 11 d. f., p = .001


def test_masks_are_obeyed_or_replaced(problem: Problem) -> None:
    steps = {}
    for kind in (PPOAgent, MaskablePPOAgent):
        ledger = tiny_worlds.formula(problem, 60)
        kind.with_options(**TINY_PPO).search(problem, ledger, 0)
        steps[kind] = ledger.invalid_steps / ledger.steps
        assert all(problem.automaton.fits(row.tokens) for row in ledger.rows)
    assert steps[MaskablePPOAgent] == 0
    assert 0.05 < steps[PPOAgent] < 0.6


def test_maskable_ppo_learns(problem: Problem) -> None:
    ledger = tiny_worlds.formula(problem, 400)
    MaskablePPOAgent().search(problem, ledger, 0)
    rewards = [row.reward for row in ledger.rows]
    assert np.mean(rewards[-60:]) > np.mean(rewards[:60]) + 0.1


def test_ranks_among_the_latest_rewards_are_what_is_learned_from(problem: Problem) -> None:
    """Written down by hand: ties count half, the first network of all counts 0."""
    ledger = tiny_worlds.formula(problem, 25)
    env = MaskablePPOAgent.with_options(ranked=4)._env(ledger, None, 0)
    rng, learned = np.random.default_rng(0), []
    while not ledger.spent:
        env.reset()
        over = False
        while not over:
            masks = env.get_wrapper_attr("action_masks")()
            _, reward, terminated, truncated, _ = env.step(rng.choice(np.flatnonzero(masks)))
            over = terminated or truncated
            assert over or reward == 0
        learned.append(reward)
    rewards = [row.reward for row in ledger.rows]
    for i, reward in enumerate(rewards):
        latest = rewards[max(i - 4, 0) : i]
        beaten = sum(1.0 * (r < reward) + 0.5 * (r == reward) for r in latest)
        assert learned[i] == pytest.approx(beaten / max(len(latest), 1))
    assert len(set(learned)) <= 9
    raw = MaskablePPOAgent.with_options(ranked=0)._env(tiny_worlds.formula(problem, 1), None, 0)
    assert "Ranked" in str(env)
    assert "Ranked" not in str(raw)


@pytest.mark.parametrize(("kind", "options"), AGENTS)
def test_parameters_come_back(
    problem: Problem, tmp_path: Path, kind: Kind, options: dict[str, int]
) -> None:
    agent = kind.with_options(**options)
    assert isinstance(agent, ActorCriticAgent)
    agent.search(problem, tiny_worlds.formula(problem, 20), 0)
    agent.save(tmp_path, problem)
    other = kind.with_options(**options)
    assert isinstance(other, ActorCriticAgent)
    model = other.load(tmp_path, problem, tiny_worlds.formula(problem, 20))
    saved, loaded = agent.model_.policy.state_dict(), model.policy.state_dict()
    assert saved.keys() == loaded.keys()
    assert all(torch.equal(saved[key], loaded[key]) for key in saved)
    with pytest.raises(StoreError, match="config"):
        kind().load(tmp_path, problem, tiny_worlds.formula(problem, 20))


def test_a_longer_search_begins_as_a_shorter_one(problem: Problem) -> None:
    histories = []
    for evaluations in (30, 60):
        ledger = tiny_worlds.formula(problem, evaluations)
        MaskablePPOAgent.with_options(**TINY_PPO).search(problem, ledger, 0)
        histories.append([row.tokens for row in ledger.rows])
    assert histories[1][:30] == histories[0]


def test_steps_of_a_network_are_what_the_environment_shows(problem: Problem) -> None:
    ledger = tiny_worlds.formula(problem, 2)
    env, rng = ledger.env(observation="ids"), np.random.default_rng(0)
    seen, masks, over = [], [], False
    observation, info = env.reset()
    while not over:
        seen.append(observation.copy())
        masks.append(info["action_mask"])
        token = rng.choice(np.flatnonzero(info["action_mask"]))
        observation, _, over, _, info = env.step(token)
    steps = Steps.of(problem.automaton, ledger.rows[0].tokens)
    assert np.array_equal(steps.ids.numpy(), np.stack(seen))
    assert np.array_equal(steps.masks.numpy(), np.stack(masks).astype(bool))
    assert tuple(steps.tokens.tolist()) == ledger.rows[0].tokens
    assert steps.starts.tolist() == [1.0] + [0.0] * (len(seen) - 1)
    both = Steps.join([steps, steps])
    assert len(both.tokens) == 2 * len(seen)


def test_the_best_different_networks_are_imitated() -> None:
    problem = tiny_problem()
    ledger = tiny_worlds.in_memory(problem, 24)
    MaskablePPOAgent.with_options(**FIND_PPO | {"imitation": 0}).search(problem, ledger, 0)
    ranked = sorted({row.canonical: row.reward for row in ledger.rows}.items(), key=lambda r: -r[1])
    steps = best_steps(ledger, 3)
    assert tuple(steps.tokens.tolist()) == sum((tokens for tokens, _ in ranked[:3]), ())


def test_a_recurrent_policy_remembers_from_the_start_of_each_network(problem: Problem) -> None:
    agent = RecurrentPPOAgent.with_options(**TINY_LSTM)
    ledger = tiny_worlds.formula(problem, 4)
    agent.search(problem, ledger, 0)
    a, b = (Steps.of(problem.automaton, row.tokens) for row in ledger.rows[:2])
    apart = torch.cat([agent._scores(a), agent._scores(b)])
    torch.testing.assert_close(agent._scores(Steps.join([a, b])), apart, atol=1e-5, rtol=0)


def test_embedding_serves_a_plain_ppo(problem: Problem) -> None:
    ledger = tiny_worlds.formula(problem, 20)
    extractor = {
        "features_extractor_class": TokenEmbedding,
        "features_extractor_kwargs": {"problem": problem},
    }
    env = ledger.env(observation="ids")
    model = PPO("MlpPolicy", env, n_steps=32, batch_size=32, policy_kwargs=extractor, device="cpu")
    model.learn(64)
    assert ledger.count > 2


def test_embedding_knows_the_situation(problem: Problem) -> None:
    env, table = tiny_worlds.formula(problem, 1).env(observation="ids"), problem.automaton
    embedding = TokenEmbedding(env.observation_space, problem, end_of="masked")
    dense = next(t for t in range(1, 383) if problem.space.spec(t).kind == "dense")
    networks, ids = [(), (5, 7), (5, 7, dense)], torch.zeros(3, 15, dtype=torch.long)
    for row, network in zip(ids, networks, strict=True):
        row[: len(network)] = torch.tensor(network)
    placed, states = embedding.situation(ids)
    assert placed.tolist() == [0, 2, 3]
    for network, state in zip(networks, states.tolist(), strict=True):
        cursor = table.start()
        for token in network:
            table.step(cursor, token)
        assert cursor.state == state
    assert embedding(ids.float()).shape == (3, embedding.features_dim)
    twin = ids.clone()
    twin[2, 2] += 1  # another token at one position
    assert not torch.equal(embedding(ids)[2], embedding(twin)[2])
    assert torch.equal(embedding(ids)[:2], embedding(twin)[:2])


def test_head_starts_flat_but_for_the_end_token(problem: Problem) -> None:
    head, end = TokenHead(8 + 1, problem.space), problem.space.end_token
    latent = torch.randn(30, 9)
    logits = head(latent)
    others = torch.cat([logits[:, :end], logits[:, end + 1 :]], dim=1)
    assert (others == 0).all()
    assert torch.equal(logits[:, end], latent[:, -1])


@pytest.mark.parametrize(
    "options", [{"envs": 0}, {"minibatch": 100}, {"clip_range": 0.0}, {"gae_lambda": 1.1}]
)
def test_bad_values_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        PPOAgent.with_options(**options)


def test_tensorboard_log_is_written(problem: Problem, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    agent = PPOAgent.with_options(tmp_path, **TINY_PPO)
    agent.search(problem, tiny_worlds.formula(problem, 20), 0)
    assert list(tmp_path.rglob("events.*"))
