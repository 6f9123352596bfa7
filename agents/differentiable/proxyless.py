"""ProxylessNAS: binary gates open one path, and gates or rewards tell the parameters what to do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from agents.differentiable.alphas import Alphas, Groups
from agents.differentiable.gradient_agent import GradientAgent
from agents.differentiable.gradient_config import GradientConfig
from agents.differentiable.paths import connected, is_connected
from agents.differentiable.supernet_search import SupernetSearch
from agents.differentiable.supernet_weights import Batch, Mixtures
from predictors.supernet.mixture import gates, one_hot, path, softmax
from predictors.supernet.wiring import Mask, Wiring

FORMS = ("gradient", "two", "reinforce")


@dataclass(frozen=True)
class ProxylessConfig(GradientConfig):
    """Hyperparameters of `Proxyless`."""

    epochs: int = 50
    """Passes over the half of the training images that the weights learn from; twice those of a
    search that trains all operations in every step."""

    form: str = "gradient"
    """gradient: of all gates of an edge; two: of two drawn ones, as in the paper; reinforce: no
    gradient of gates, rewards of drawn paths."""

    architecture_decay: float = 0.0
    """Weight decay of the architecture parameters; in the form two they must not change unless they
    are drawn."""

    samples: int = 4
    """Paths a step that are rewarded, in the form reinforce."""

    baseline: float = 0.9
    """How much of the baseline of rewards stays in every step."""

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        self.require(self.form in FORMS, f"form is {', '.join(FORMS)}")
        self.require(self.samples >= 1, "samples is 1 or more")
        self.require(0 <= self.baseline < 1, "baseline lies in 0 … 1, without 1")
        kept = self.form != "two" or not self.architecture_decay
        self.require(kept, "the form two has no architecture_decay")


class ProxylessSearch(SupernetSearch):
    """Every edge is the one operation that is drawn with probability p = softmax(α)."""

    betas: ClassVar[tuple[float, float]] = (0.0, 0.999)  # what is not drawn does not move

    _expected_reward: float | None = None
    _pairs: dict[str, Mask] | None = None

    def mixtures(self, alphas: Alphas) -> Mixtures:
        """One path, drawn among the connected ones."""
        found = {}
        for group, p in alphas.detached().probabilities().items():
            mask = self._path(p, self.net.wirings[group])
            found[group] = path(torch.from_numpy(mask).float(), mask)
        return self.guarded(found)

    def _path(self, p: Tensor, wires: Wiring) -> Mask:
        return connected(lambda: self._drawn(p, wires), wires, lambda mask: mask)

    def _drawn(self, p: Tensor, wires: Wiring) -> Mask:
        drawn = torch.multinomial(p.detach(), 1, generator=self.generator)[:, 0]
        return one_hot(drawn.numpy(), wires.offered)

    def architecture_gradient(self, train: Batch, valid: Batch) -> list[Tensor]:
        """By the form; latency included."""
        forms = {"gradient": self._of_gates, "two": self._of_two, "reinforce": self._of_rewards}
        return forms[self.config.form](valid)

    def architecture_images(self, train: int, valid: int) -> int:
        """As many times as paths are rewarded."""
        return valid * (self.config.samples if self.config.form == "reinforce" else 1)

    # --------------------------------------------------------------------------------- gates

    def _of_gates(self, valid: Batch) -> list[Tensor]:
        """∂L/∂α_i = Σ_j ∂L/∂g_j · p_j (δ_ij - p_i): the paper's equations 3 and 4."""
        found = {}
        for group, p in self.alphas.probabilities().items():
            active = self._path(p, self.net.wirings[group])
            found[group] = gates(p, active)
        loss = self.with_latency(self.loss(valid, self.guarded(found)))
        return list(torch.autograd.grad(loss, self.alphas.tensors, materialize_grads=True))

    def _of_two(self, valid: Batch) -> list[Tensor]:
        """The same among two operations an edge, drawn by p; the others have gradient 0.

        Since a step keeps what the two have together (`stepped`), of the gradient of latency the
        part remains that does: (p_1 + p_2) q_i (L_i - Σ_j q_j L_j), q the softmax of the two.
        """
        self._pairs, found = {}, {}
        for group, a in self.alphas.operations.items():
            wires = self.net.wirings[group]
            pair, active = self._pair(a.detach(), wires)
            self._pairs[group] = pair
            found[group] = gates(softmax(a, pair), active, pair)
        loss = self.with_latency(self.loss(valid, self.guarded(found)))
        both = torch.autograd.grad(loss, self.alphas.tensors, materialize_grads=True)
        pairs = self._pairs.values()
        return [
            self._within(g, a.detach(), pair)
            for g, a, pair in zip(both, self.alphas.operations.values(), pairs, strict=True)
        ]

    @staticmethod
    def _within(gradient: Tensor, parameters: Tensor, pair: Mask) -> Tensor:
        """The gradient of two operations with what they have together held."""
        alone = gradient * torch.from_numpy(pair)
        return alone - softmax(parameters, pair) * alone.sum(dim=1, keepdim=True)

    def _pair(self, parameters: Tensor, wires: Wiring) -> tuple[Mask, Mask]:
        """Two operations of every edge (one where there is no other), and the open one of them."""

        def draw() -> tuple[Mask, Mask]:
            p = softmax(parameters, wires.offered)
            first = self._drawn(p, wires)
            left = p.masked_fill(torch.from_numpy(first), 0.0)
            rest = left.sum(dim=1, keepdim=True)
            alone = (rest == 0).numpy()[:, 0]
            safe = torch.where(rest > 0, left, torch.from_numpy(first).float())
            drawn = torch.multinomial(safe, 1, generator=self.generator)[:, 0]
            pair = first | (one_hot(drawn.numpy(), wires.offered) & ~alone[:, None])
            return pair, self._drawn(softmax(parameters, pair), wires)

        return connected(draw, wires, lambda both: both[1])

    @torch.no_grad()
    def stepped(self, before: Groups) -> None:
        """Form two: shifts both parameters of an edge so that all other probabilities stay."""
        if self.config.form != "two" or self._pairs is None:
            return
        for group, pair in self._pairs.items():
            mask, now = torch.from_numpy(pair), self.alphas.operations[group]
            total = [
                torch.logsumexp(a.masked_fill(~mask, -torch.inf), dim=1, keepdim=True)
                for a in (before[group], now)
            ]
            now += mask * (total[0] - total[1])

    # ------------------------------------------------------------------------------- rewards

    def _of_rewards(self, valid: Batch) -> list[Tensor]:
        """-(R - b) ∇ log p of drawn paths, R = -(L + λ · latency / reference).

        A disconnected path is one that guesses, L = log(classes), and takes no time; the running
        mean b of the rewards begins there.
        """
        drawn = [self._rewarded(valid) for _ in range(self.config.samples)]
        rewards = [reward for _, reward in drawn]
        mean = float(np.mean(rewards))
        guess = -math.log(self.net.task.classes)
        baseline = guess if self._expected_reward is None else self._expected_reward
        keep = self.config.baseline
        self._expected_reward = keep * baseline + (1 - keep) * mean
        return self._score_gradient(drawn, baseline)

    def _score_gradient(
        self, drawn: list[tuple[dict[str, Mask], float]], baseline: float
    ) -> list[Tensor]:
        found = [torch.zeros_like(a) for a in self.alphas.operations.values()]
        shares = self.alphas.detached().probabilities()
        for masks, reward in drawn:
            for total, (group, p) in zip(found, shares.items(), strict=True):
                score = torch.from_numpy(masks[group]).float() - p  # ∇ log p of the path
                total -= (reward - baseline) / len(drawn) * score
        return found

    @torch.no_grad()
    def _rewarded(self, valid: Batch) -> tuple[dict[str, Mask], float]:
        """A path and its reward."""
        wirings, shares = self.net.wirings, self.alphas.detached().probabilities()
        masks = {group: self._drawn(p, wirings[group]) for group, p in shares.items()}
        if all(is_connected(wirings[group], mask) for group, mask in masks.items()):
            hard = {g: path(torch.from_numpy(m).float(), m) for g, m in masks.items()}
            loss = float(self.loss(valid, self.guarded(hard)))
        else:
            self.images += len(valid.x)  # as if: what a step costs is known before
            loss = math.log(self.net.task.classes)
            return masks, -loss
        late = self.latency.of_path(masks) if self.latency else 0.0
        return masks, -(loss + late)


class Proxyless(GradientAgent):
    """Search on one path by binary gates (Cai, Zhu & Han 2019, "ProxylessNAS").

    In every step each edge has one operation, drawn with p = softmax(α); memory does not depend on
    how many there are. α learns from what the gates g would have changed,

        ∂L/∂α_i ≈ Σ_j ∂L/∂g_j · p_j (δ_ij - p_i),

    of all operations or of two that are drawn, or from rewards of paths (REINFORCE),

        ∇J ≈ 1/M Σ_m (R_m - b) ∇ log p(path_m),  R = -(L + λ · latency / reference),

    which needs no gradient of what is rewarded. Of a network that would be disconnected the gates
    are drawn anew; REINFORCE rewards it as one that guesses.
    """

    name: ClassVar[str] = "proxyless"
    summary: ClassVar[str] = "Binary gates on one path a step, by gradient or by REINFORCE."
    config_type = ProxylessConfig
    search_type = ProxylessSearch
