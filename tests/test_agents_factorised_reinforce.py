from __future__ import annotations

import numpy as np
import pytest
import tiny_worlds
import torch
from optimum_contract import check_finds_optimum
from table_worlds import small_table

from agents.episodes import draw
from agents.factorised_policy import FactorisedPolicy, fields_of
from agents.factorised_reinforce import FactorisedReinforce
from agents.reinforce import sequence_log_probs
from emnas_gym.problem import Problem
from emnas_gym.space import SearchSpace
from emnas_gym.table_env import table_problem
from emnas_gym.testing import tiny_problem

FIND = {
    "batch": 4, "hidden": 16, "width": 8, "tries": 4, "learning_rate": 0.02, "imitation": 1.0,
    "elite": 1,
}  # fmt: skip


@pytest.mark.slow
def test_finds_and_prefers_the_best_of_twelve() -> None:  # B7
    check_finds_optimum(lambda: FactorisedReinforce.with_options(**FIND))


def test_prefers_the_best_of_twelve() -> None:  # B7
    problem = tiny_problem()
    agent, ledger = FactorisedReinforce.with_options(**FIND), tiny_worlds.in_memory(problem, 60)
    agent.search(problem, ledger, 0)
    assert ledger.distinct == 12
    assert agent.favourite(problem) == ledger.best.tokens


def _policy(problem: Problem, trained: bool = True) -> FactorisedPolicy:
    torch.manual_seed(0)
    policy = FactorisedPolicy(problem, hidden=8, width=4)
    if trained:
        with torch.no_grad():
            for parameter in policy.parameters():
                parameter.add_(0.5 * torch.randn_like(parameter))
    return policy.double()


def _mask(problem: Problem, begun: tuple[int, ...] = ()) -> torch.Tensor:
    cursor = problem.automaton.start()
    for token in begun:
        problem.automaton.step(cursor, token)
    return torch.from_numpy(problem.automaton.mask(cursor)).bool()[None]


def test_fields_name_every_token_once(problem: Problem, tiny: SearchSpace) -> None:
    choices, sizes = fields_of(problem.space)
    assert sizes == [5, 6, 11, 4, 4, 3, 3]  # kind, filters, units, kernel, stride, padding, …
    for space in (problem.space, tiny, tiny_problem().space, table_problem(small_table())[0].space):
        choices, sizes = fields_of(space)
        assert len(np.unique(choices[1:], axis=0)) == space.num_tokens
        assert (choices[1:].max(axis=0) < sizes).all()


def test_tokens_that_are_twice_the_same_layer_are_told_apart() -> None:
    layer = tiny_problem().space.spec(1)
    space = SearchSpace("twins", (layer, layer, tiny_problem().space.spec(4)), 2, 3, ("conv",))
    choices, _ = fields_of(space)
    assert len(np.unique(choices[1:], axis=0)) == 3


def test_probabilities_of_legal_tokens_sum_to_one(problem: Problem) -> None:  # B7
    """Trained or not, after any beginning; illegal tokens have probability 0 exactly."""
    policy, rng = _policy(problem), np.random.default_rng(0)
    for _ in range(6):
        tokens = problem.space.sample(rng, problem.task, problem.budgets).tokens
        cut = int(rng.integers(len(tokens)))
        mask, output = _mask(problem, tokens[:cut]), torch.randn(1, 8, dtype=torch.float64)
        chances = policy.log_probs(output, mask, cut).exp().detach()
        assert float(chances[mask].sum()) == pytest.approx(1.0, abs=1e-12)
        assert (chances[~mask] == 0).all()


def test_product_over_heads_by_enumeration() -> None:  # B7
    """Each head over the values of legal tokens, written down field by field."""
    problem = tiny_problem()
    policy = _policy(problem)
    choices, _ = fields_of(problem.space)
    output = torch.randn(1, 8, dtype=torch.float64)
    for begun in ((), (2,), (2, 3)):
        mask = _mask(problem, begun)
        legal = mask[0].nonzero()[:, 0].tolist()
        found = policy.log_probs(output, mask, len(begun)).exp()[0]
        offset = policy._start_weights(mask, len(begun))[0]
        for token in legal:
            expected, among, chosen = 1.0, legal, torch.zeros(8, dtype=torch.float64)
            for j, head in enumerate(policy.heads):
                weights = {}
                for value in sorted({int(choices[t, j]) for t in among}):
                    start = sum(float(offset[t]) for t in among if choices[t, j] == value)
                    score = head(output)[0, value] + chosen @ head.weight[value]
                    weights[value] = start * float(torch.exp(score))
                value = int(choices[token, j])
                expected *= weights[value] / sum(weights.values())
                among = [t for t in among if choices[t, j] == value]
                if j < len(policy.chosen):
                    chosen = chosen + policy.chosen[j].weight[value]
            assert float(found[token]) == pytest.approx(expected, abs=1e-12)


def test_gradient_of_the_heads_agrees_with_finite_differences() -> None:  # B3, B7
    problem = tiny_problem()
    policy = _policy(problem)
    episodes = draw(policy, problem, 5, torch.Generator().manual_seed(0))

    def likelihood() -> torch.Tensor:
        return sequence_log_probs(policy(episodes.tokens, episodes.masks), episodes.tokens).sum()

    for head in policy.heads:
        weight, step = head.weight, 1e-6
        gradient = torch.autograd.grad(likelihood(), weight)[0]
        for at in [(0, 0), (weight.shape[0] - 1, 5)]:
            with torch.no_grad():
                weight[at] += step
                above = float(likelihood())
                weight[at] -= 2 * step
                below = float(likelihood())
                weight[at] += step
            assert (above - below) / (2 * step) == pytest.approx(float(gradient[at]), abs=1e-6)


def test_expected_gradient_of_a_constant_reward_is_zero() -> None:  # B3
    """Σ π(network) ∇ log π(network) = 0 over all twelve networks."""
    problem = tiny_problem()
    policy = _policy(problem)
    networks = [a.tokens for a in problem.space.enumerate(problem.task, problem.automaton.budgets)]
    tokens = torch.zeros(len(networks), problem.max_layers, dtype=torch.long)
    masks = torch.zeros(*tokens.shape, problem.space.num_tokens + 1, dtype=torch.bool)
    masks[:, :, 0] = True
    for row, network in enumerate(networks):
        for placed, token in enumerate(network):
            tokens[row, placed], masks[row, placed] = token, _mask(problem, network[:placed])[0]
    likelihoods = sequence_log_probs(policy(tokens, masks), tokens)
    chances = likelihoods.exp().detach()
    assert float(chances.sum()) == pytest.approx(1.0, abs=1e-12)
    parameters = [*policy.heads.parameters(), *policy.chosen.parameters()]
    for gradient in torch.autograd.grad((chances * likelihoods).sum(), parameters):
        assert float(gradient.abs().max()) < 1e-12


def test_all_legal_tokens_start_alike_and_lengths_uniform(problem: Problem) -> None:
    policy = _policy(problem, trained=False)
    mask = _mask(problem)
    chances = policy.log_probs(torch.zeros(1, 8, dtype=torch.float64), mask, 0).exp()[mask]
    # embeddings of earlier fields start small, but weigh with heads that start at 0
    torch.testing.assert_close(chances, torch.full_like(chances, 1 / len(chances)))
    episodes = draw(policy, problem, 300, torch.Generator().manual_seed(0))
    counts = np.bincount((episodes.tokens > 0).sum(dim=1), minlength=16)[4:]
    expected = 300 / 12
    assert ((counts - expected) ** 2 / expected).sum() < 31.3  # chi square, 11 d. f., p = .001
    assert all(problem.automaton.fits(episodes.network(i)) for i in range(300))
