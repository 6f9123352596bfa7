"""The pieces of the original agents by themselves: losses, returns, networks, rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from table_worlds import small_table
from torch import Tensor

from agents.original.controller_v1 import keeps_rules, shaped
from agents.original.custom_loss import clipped_loss, custom_loss
from agents.original.ff_v1 import WIDTHS as FF_V1
from agents.original.ff_v2 import WIDTHS as FF_V2
from agents.original.ff_v3 import WIDTHS as FF_V3
from agents.original.label_reinforce import keras_cross_entropy, label_loss, labels
from agents.original.original_networks import DecayingAdam, DenseStack, OneBiasLSTM, OneStepLSTM
from agents.original.original_rows import NothingValid, OriginalRows, Patience, choose
from agents.original.parameter_policy import ParameterPolicy
from agents.original.returns import discounted_returns, overwritten_returns, standardised
from agents.original.row_policy import RowPolicy
from agents.reinforce import normalised_advantages
from emnas_gym.problem import Problem
from emnas_gym.table_env import table_problem
from emnas_gym.testing import tiny_problem

PRINTED = (0.447, 0.447, 0.447, 0.446, 0.444, 0.434, 0.395, 0.238, -0.391, -2.907)  # by lstm_v2_4
REWARDS = (0.807, 0.813, 0.811, 0.808, 0.812, 0.809, 0.813, 0.807, 0.81, 0.811)


# ------------------------------------------------------------------------------------- the labels


def _parameters(logits: Tensor) -> Tensor:
    return logits.clone().double().requires_grad_()


@pytest.mark.parametrize("alpha", [1e-8, 1e-4, 1e-2, 1.0])
def test_the_label_form_is_reinforce(alpha: float) -> None:  # B8
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 5, 7, generator=generator, dtype=torch.float64)
    actions = torch.randint(7, (6, 5), generator=generator)
    gains = torch.randn(6, 1, generator=generator, dtype=torch.float64).expand(6, 5)
    one, other = _parameters(logits), _parameters(logits)
    targets = labels(logits.softmax(-1), actions, gains, alpha)
    assert torch.allclose(targets.sum(-1), torch.ones(6, 5, dtype=torch.float64))
    (by_labels,) = torch.autograd.grad(label_loss(one.log_softmax(-1), targets), one)
    likely = other.log_softmax(-1).gather(2, actions[..., None])[..., 0]
    (direct,) = torch.autograd.grad(-(alpha * gains * likely).sum(1).mean(), other)
    assert float((by_labels - direct).abs().max()) < 1e-5 * alpha
    by_hand = -alpha * gains[..., None] * (torch.eye(7)[actions] - logits.softmax(-1)) / 6
    assert float((by_labels - by_hand).abs().max()) < 1e-5 * alpha
    assert float(direct.abs().max()) > 0.01 * alpha


def test_kerass_loss_has_the_gradient_of_the_original() -> None:  # B8, B9
    logits = torch.tensor([[[0.3, -0.2, 0.5], [0.0, 0.1, -0.4]]], dtype=torch.float64)
    actions, gains = torch.tensor([[2, 0]]), torch.tensor([[1.7, 1.7]], dtype=torch.float64)
    free = _parameters(logits)
    targets = labels(logits.softmax(-1), actions, gains, 1e-2)
    loss = keras_cross_entropy(free.softmax(-1), targets)
    (gradient,) = torch.autograd.grad(loss, free)
    p = logits.softmax(-1)
    chosen = torch.eye(3, dtype=torch.float64)[actions]
    assert torch.allclose(gradient, 1e-2 * 1.7 / 2 * (p - chosen))  # T · N = 2 rows


def test_labels_hold_the_policy_where_it_was() -> None:  # B8
    logits, moved = torch.zeros(1, 1, 3), torch.tensor([[[1.0, 0.0, 0.0]]])
    targets = labels(logits.softmax(-1), torch.zeros(1, 1, dtype=torch.long), torch.zeros(1, 1), 1)
    free = moved.requires_grad_()
    (gradient,) = torch.autograd.grad(label_loss(free.log_softmax(-1), targets), free)
    assert torch.allclose(gradient, moved.softmax(-1) - 1 / 3)


# --------------------------------------------------------------------------------- the custom loss


def test_the_custom_loss_and_its_numeric_gradient_agree() -> None:  # B14
    logits = torch.randn(4, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    returns = torch.tensor([0.447, 0.2, -0.391, -2.907], dtype=torch.float64)

    def loss(values: Tensor) -> Tensor:
        return custom_loss(values.softmax(-1), returns)

    free = _parameters(logits)
    (gradient,) = torch.autograd.grad(loss(free), free)
    by_hand = returns[:, None] * (logits.softmax(-1) - 1 / 6) / 4
    assert float((gradient - by_hand).abs().max()) < 1e-12
    step = 1e-6
    for i in range(4):
        for j in range(6):
            change = torch.zeros_like(logits)
            change[i, j] = step
            numeric = (loss(logits + change) - loss(logits - change)) / (2 * step)
            assert float(numeric) == pytest.approx(float(gradient[i, j]), abs=1e-8)


def test_the_custom_loss_does_not_know_what_was_drawn() -> None:  # B14
    """With R > 0 every class is pushed to the same probability, with R < 0 away from it."""
    for sign, spread in ((1.0, 0.0), (-1.0, 1.0)):
        logits = torch.nn.Parameter(torch.tensor([[0.5, 0.0, -0.5]]))
        adam = DecayingAdam(iter([logits]), 0.1)
        for _ in range(100):
            adam.step(custom_loss(logits.softmax(-1), torch.tensor([sign])))
        probabilities = logits.detach().softmax(-1)[0]
        assert float(probabilities.max() - probabilities.min()) == pytest.approx(spread, abs=0.01)


def test_the_clipped_loss_begins_as_reinforce_and_then_stops() -> None:  # B14
    logits = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    actions = torch.tensor([[0, 1], [2, 3], [1, 1]])
    gains = torch.tensor([1.0, -0.5, 0.3], dtype=torch.float64)

    def likely(values: Tensor) -> Tensor:
        return values.log_softmax(-1).gather(2, actions[..., None])[..., 0]

    free, before = _parameters(logits), likely(logits)
    (ours,) = torch.autograd.grad(clipped_loss(likely(free), before, gains, 0.2), free)
    other = _parameters(logits)
    (theirs,) = torch.autograd.grad(-(gains * likely(other).sum(1)).mean(), other)
    assert float((ours - theirs).abs().max()) < 1e-12
    far = before.detach() + torch.tensor([[0.5], [-0.5], [0.5]], dtype=torch.float64)
    far = far.requires_grad_()
    (gradient,) = torch.autograd.grad(clipped_loss(far, before, gains, 0.2), far)
    assert not gradient.any(), "beyond the clip, in the direction of the advantage"


# -------------------------------------------------------------------------------------- the returns


def test_the_defect_of_the_discount_is_the_printed_one() -> None:  # B14
    found = standardised(overwritten_returns(REWARDS, -0.5))
    assert found.round(3).tolist() == list(PRINTED)
    others = standardised(overwritten_returns([*reversed(REWARDS[1:]), 0.9], -0.5))
    assert others == pytest.approx(found), "they depend on nothing but the index"
    exponents = [0.9**e * 0.811 for e in (9, 7, 5, 3, 1, -1, -3, -5, -7, -9)]
    assert overwritten_returns(REWARDS, 0.9) == pytest.approx(exponents)


def test_mended_advantages_are_the_rewards_own() -> None:
    rewards = torch.tensor(REWARDS, dtype=torch.float64)
    found = normalised_advantages(rewards, float(rewards.mean())).numpy()
    assert np.abs(found - np.array(PRINTED)).max() > 0.9
    assert np.corrcoef(found, REWARDS)[0, 1] == pytest.approx(1.0)
    order = np.argsort(found, kind="stable").tolist()
    assert order == np.argsort(REWARDS, kind="stable").tolist()


def test_discounted_returns() -> None:
    assert discounted_returns([1.0, 2.0, 4.0], 0.5) == pytest.approx([3.0, 4.0, 4.0])
    gains = standardised(discounted_returns([0.8, 0.7, 0.9, 0.8, 0.8], 0.99))
    assert (np.diff(gains) < 0).all(), "with positive rewards it is the position that counts"
    assert not standardised(np.full(4, 0.3)).any()


def test_shaped_rewards() -> None:
    assert shaped([0.95, 0.8, 0.5], 0.9) == pytest.approx([0.125, -1.0, -64.0])
    assert shaped([-1.0], 0.9) == pytest.approx([1000 * (0.01 - 0.9) ** 3])


# ------------------------------------------------------------------------------------- the networks


def _count(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_networks_have_the_documented_sizes() -> None:  # B4, B8, B9, B10
    assert _count(OneStepLSTM(5, 382)) == 161_382
    assert _count(DenseStack(5, FF_V1, 1, 382)) == 40_126
    assert _count(DenseStack(5, FF_V2, 5, 382)) == 130_150
    assert _count(DenseStack(14, FF_V3, 14, 383)) == 3_109_330
    assert _count(DenseStack(31, FF_V3, 31, 50)) == 1_162_478


def test_the_lstm_is_torchs_with_one_bias() -> None:  # B4
    ours, theirs = OneBiasLSTM(3, 4), torch.nn.LSTM(3, 4, batch_first=True)
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(ours.kernel)
        theirs.weight_hh_l0.copy_(ours.recurrent)
        theirs.bias_ih_l0.copy_(ours.bias)
        theirs.bias_hh_l0.zero_()
        inputs = torch.randn(2, 5, 3)
        assert torch.allclose(ours(inputs), theirs(inputs)[0], atol=1e-6)
    assert ours.bias.tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 8


def test_the_step_size_decays_and_each_gradient_is_clipped() -> None:
    weights = [torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(1))]
    adam = DecayingAdam(iter(weights), 0.01, decay=0.1, clip=1.0)
    rates = []
    for _ in range(11):
        adam.step((30.0 * weights[0]).sum() + 0.5 * weights[1].sum())
        rates.append(adam.adam.param_groups[0]["lr"])
    assert rates[0] == 0.01
    assert rates[10] == pytest.approx(0.005)
    assert weights[0].grad is not None
    assert weights[1].grad is not None
    assert float(weights[0].grad.norm()) == pytest.approx(1.0)
    assert float(weights[1].grad.norm()) == pytest.approx(0.5)


# ---------------------------------------------------------------------------- the original's rows


def test_rows_read_a_network(problem: Problem) -> None:
    rows = OriginalRows(problem, 6)
    assert (rows.rows, rows.classes) == (5, 383)
    assert rows.network([12, 4, 4, 0, 12]) == (12, 4, 4, 382)
    assert rows.network([12, 4, 4, 382, 12]) == (12, 4, 4, 382)
    assert rows.network([12, 4, 4, 4, 361]) == (12, 4, 4, 4, 361, 382)
    assert rows.network([361, 12, 4, 4, 4]) is None, "dense first"
    assert rows.network([12, 361, 4, 4, 4]) is None, "convolution after dense"
    assert rows.network([12, 0, 0, 0, 0]) is None, "too short"
    assert OriginalRows(problem, 99).rows == 14


def test_rows_of_a_table_draw_tokens_of_their_positions() -> None:
    rows = OriginalRows(table_problem(small_table())[0], 6)
    assert [np.flatnonzero(row).tolist() for row in rows.allowed] == [[1, 2], [3, 4, 5], [6, 7]]
    rng = np.random.default_rng(0)
    drawn = {tuple(rows.draw(np.ones(7), r, rng, first=1) for r in range(3)) for _ in range(400)}
    assert len(drawn) == 12
    assert all(rows.network(tokens) == tokens for tokens in drawn)


def test_choices_follow_weights() -> None:
    rng, weights = np.random.default_rng(0), np.array([0.0, 1.0, 3.0, 0.0])
    counts = np.bincount([choose(weights, rng) for _ in range(4000)], minlength=4)
    assert counts[0] == counts[3] == 0
    assert abs(counts[1] - 1000) < 3 * (4000 * 0.25 * 0.75) ** 0.5
    assert set(np.unique([choose(np.zeros(3), rng) for _ in range(99)])) == {0, 1, 2}


def test_what_the_first_controller_redraws(problem: Problem) -> None:  # B14
    rows = OriginalRows(problem, 6)
    assert np.flatnonzero(keeps_rules(rows, [])).tolist() == list(range(1, 361))
    assert np.flatnonzero(keeps_rules(rows, [4])).tolist() == list(range(1, 382))
    assert np.flatnonzero(keeps_rules(rows, [4, 361])).tolist() == list(range(361, 381))


def test_patience_ends_a_run_and_then_the_search() -> None:
    patience = Patience("x")
    for _ in range(999):
        patience.saw(False)
    assert not patience.gone
    patience.saw(True)
    for _ in range(1000):
        patience.saw(False)
    assert patience.gone
    patience.start()
    assert not patience.gone
    with pytest.raises(NothingValid, match="faithful=false"):
        for _ in range(21):
            patience.start()


# ------------------------------------------------------------------------------ the mended policies


def _untied(policy: torch.nn.Module) -> None:
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))


@torch.no_grad()
def test_parameters_in_turn_give_a_distribution_over_legal_tokens(problem: Problem) -> None:  # B7
    torch.manual_seed(0)
    policy = ParameterPolicy(problem, 8)
    mask = torch.rand(5, 383) < 0.3
    mask[:, 0] = False
    latent = torch.randn(5, 100)
    fresh = policy.distribution(latent, mask, 3).exp()
    others = mask.clone()
    others[:, 382] = False
    for row, legal in zip(fresh, others, strict=True):
        assert torch.allclose(row[legal], row[legal][0], rtol=1e-4), "uniform at the start"
    _untied(policy)
    learned = policy.distribution(latent, mask, 3).exp()
    assert not learned[~mask].any()
    assert torch.allclose(learned.sum(1), torch.ones(5))
    assert float(learned.max()) > 3 * float(fresh[others].max())


@torch.no_grad()
def test_parameters_are_drawn_by_their_product(problem: Problem) -> None:  # B7
    """The probability of a token by hand: a product of ratios of sums over legal tokens."""
    torch.manual_seed(1)
    policy = ParameterPolicy(problem, 8)
    _untied(policy)
    mask, latent = torch.zeros(1, 383, dtype=torch.bool), torch.randn(1, 100)
    legal = [1, 2, 4, 13, 37, 181, 182, 217, 361, 380, 381]
    mask[0, legal] = True
    found = policy.distribution(latent, mask, 3)[0].exp()
    logits = [head(latent)[0] for head in policy.heads]
    for token in legal:
        chance, group = 1.0, set(legal)
        for level, value, logit in zip(policy.levels, policy.values, logits, strict=True):
            weights: dict[int, float] = {}
            for other in group:
                node = int(level[other])
                weights[node] = weights.get(node, 0.0) + float(logit[value[node]].exp())
            chance *= weights[int(level[token])] / sum(weights.values())
            group = {other for other in group if level[other] == level[token]}
        assert float(found[token]) == pytest.approx(chance / len(group), rel=1e-3)


@torch.no_grad()
def test_rows_see_the_layer_before(problem: Problem) -> None:  # B6, B9
    torch.manual_seed(0)
    policy = RowPolicy(problem, 8, (16,))
    _untied(policy)
    mask = torch.ones(2, 383, dtype=torch.bool)
    state = policy.start(torch.zeros(2, 15, dtype=torch.long))
    log_probs, _ = policy.step(torch.tensor([4, 180]), state, mask, 1)
    assert not torch.allclose(log_probs[0], log_probs[1])
    masks = mask[:, None].repeat(1, 15, 1)
    tokens = torch.tensor([[4, 13, 382] + [0] * 12] * 2)
    assert policy(tokens, masks, tokens).shape == (2, 15, 383)


def test_a_tiny_world_has_its_own_sizes() -> None:
    problem = tiny_problem()
    rows = OriginalRows(problem, 6)
    assert (rows.rows, rows.classes) == (2, 5)
