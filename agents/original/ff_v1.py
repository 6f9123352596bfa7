"""ff_v1: one token a play, the gradient applied as labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from agents.original.label_reinforce import keras_cross_entropy, labels
from agents.original.lstm_v1 import measured
from agents.original.masked_policy import MaskedPolicy, State
from agents.original.original_agent import LabelConfig, OriginalAgent
from agents.original.original_networks import DecayingAdam, DenseStack
from agents.original.original_rows import OriginalRows, Patience
from agents.original.returns import discounted_returns, standardised
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem

WIDTHS = (128, 128, 64, 64, 32, 32, 16, 16)


@dataclass(frozen=True)
class FFV1Config(LabelConfig):
    """Hyperparameters of `FFV1`."""

    layers: int = 6
    """Original form: tokens of every network, the end token included."""


class PrefixPolicy(MaskedPolicy):
    """A feed-forward network that sees the details of all layers placed so far.

    Args:
        problem: Space and lengths.
        width: Width of queries and keys.
    """

    def __init__(self, problem: Problem, width: int) -> None:
        super().__init__(problem, width, 64)
        inputs = self.length * (self.features.shape[1] + 1)
        self.trunk = nn.Sequential(nn.Linear(inputs, 128), nn.ReLU(), nn.Linear(128, 64), nn.Tanh())

    def start(self, context: Tensor) -> State:
        """No layer yet, shape (B, T, F); the context is not looked at."""
        return (torch.zeros(len(context), self.length, self.features.shape[1]),)

    def advance(self, last: Tensor, state: State, placed: int) -> tuple[Tensor, State]:
        """A latent of the layers so far and of how many they are."""
        layers = state[0].clone()
        if placed:
            layers[:, placed - 1] = self.features[last]
        place = torch.zeros(len(last), self.length)
        place[:, placed] = 1.0
        return self.trunk(torch.cat([layers.flatten(1), place], dim=1)), (layers,)


class FFV1(OriginalAgent):
    """EMNAS ff_v1 (2021): a play places one token; y = p + α · Ĝ · (onehot(a) − p).

    Mended: the network alone has a reward, Ĝ = (r − b) / σ for all its tokens; the state is what
    was placed; tokens are drawn from legal ones; classes are tokens.

    Original (`faithful`): class k is token k, so that 0 can be drawn, which wastes a play, and the
    last token cannot. Every play is rewarded for the sequence so far (here with the end token
    behind it, since only networks can be measured), and Ĝ_t is the discounted, standardised return
    over the plays of an episode. All states of an episode are one array, which at the update is the
    last sequence.

    Attributes:
        policy_: The policy of the last search, in its mended form.
    """

    name: ClassVar[str] = "ff-v1"
    summary: ClassVar[str] = (
        "EMNAS ff_v1: one token a play, gradient as labels; mended or faithful."
    )
    config_type = FFV1Config
    by_labels: ClassVar[bool] = True

    def _policy(self, problem: Problem) -> MaskedPolicy:
        return PrefixPolicy(problem, self.config.width)

    def _search_as_it_was(self, problem: Problem, ledger: Ledger, rng: np.random.Generator) -> None:
        patience = Patience(self.name)
        while not ledger.spent:
            patience.start()
            rows = OriginalRows(problem, self.config.layers)
            network = DenseStack(rows.rows, WIDTHS, 1, rows.classes - 1)
            adam = DecayingAdam(network.parameters(), self.config.faithful_learning_rate)
            while not ledger.spent and not patience.gone:
                loss = self._episode(network, adam, rows, ledger, patience, rng)
                self._report(ledger, **{f"{self.name}__loss": loss})

    def _episode(
        self,
        network: DenseStack,
        adam: DecayingAdam,
        rows: OriginalRows,
        ledger: Ledger,
        patience: Patience,
        rng: np.random.Generator,
    ) -> float:
        """Plays until no position is free, then one step; its loss."""
        state = torch.zeros(rows.rows)
        states, probabilities, actions, rewards = [], [], [], []
        while (state == 0).any() and not patience.gone:
            row = int((state == 0).nonzero()[0])
            with torch.no_grad():
                distribution = network(state[None])[0]
            action = rows.draw(distribution[0].double().numpy(), row, rng)
            state[row] = action
            found = rows.network(state.int().tolist())
            patience.saw(found is not None)
            states.append(state)  # the array itself: what it becomes is what is learned from
            probabilities.append(distribution)
            actions.append([action])
            rewards += measured(ledger, [found])
        gains = standardised(discounted_returns(rewards, self.config.gamma))
        each = torch.from_numpy(gains)[:, None]
        targets = labels(
            torch.stack(probabilities), torch.tensor(actions), each, self.config.faithful_alpha
        )
        loss = keras_cross_entropy(network(torch.stack(states)), targets)
        adam.step(loss)
        return float(loss.detach())
