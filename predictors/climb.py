"""A search that trusts a fitted model: where it leads, and whether it is led astray."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emnas_gym.automaton import Automaton
from emnas_gym.features import LayerTable, network_features
from emnas_gym.models.base import Array
from emnas_gym.models.pooled import GateTable, PooledNetwork
from emnas_gym.models.recurrent import RecurrentEnsemble
from emnas_gym.surrogate_file import Predictor
from emnas_gym.variation import mutate
from predictors.store import Tokens

Score = Callable[[Sequence[Tokens]], Array]
CHUNK = 4096  # networks that a model is asked about at once
TOURNAMENT = 8  # of so many the best has a child
FAR = 0.3  # share of children two edits away


@dataclass(frozen=True)
class Judge:
    """A fitted model that is asked about networks.

    Attributes:
        model: An ensemble, or a network on sums of layers.
        table: Layers of its space and task.
    """

    model: Predictor | PooledNetwork
    table: LayerTable

    def both(self, networks: Sequence[Tokens]) -> tuple[Array, Array]:
        """Score and deviation on the scale of the link, each of shape (N,); 0 where unknown."""
        parts = [self._both(networks[i : i + CHUNK]) for i in range(0, len(networks), CHUNK)]
        empty = np.zeros(0)
        scores, doubts = (np.concatenate([empty, *(part[i] for part in parts)]) for i in (0, 1))
        return scores, doubts

    def score(self, networks: Sequence[Tokens]) -> Array:
        """Score on the scale of the link, shape (N,)."""
        return self.both(networks)[0]

    def rows(self, networks: Sequence[Tokens]) -> NDArray[np.int64]:
        """Rows of the layers of networks in the table, shape (N, longest), 0 after the end."""
        canonical = self.table.space.canonical_tokens
        return self.table.rows([self.table.walk(canonical(tokens)) for tokens in networks])

    def _both(self, networks: Sequence[Tokens]) -> tuple[Array, Array]:
        rows = self.rows(networks)
        if isinstance(self.model, PooledNetwork):
            said = self.model.scores(GateTable(self.model).of(self.table), rows)
            known = said.shape[1] > 1
            return said[:, 0], np.exp(said[:, 1]) if known else np.zeros(len(said))
        layers, lengths = self.table.described()[rows], np.count_nonzero(rows, axis=1)
        if isinstance(self.model, RecurrentEnsemble):
            scores = self.model.scores(layers, lengths)
        else:
            scores = self.model.scores(network_features(layers, lengths))
        return scores.mean(axis=0), scores.std(axis=0)


def climb(
    table: Automaton,
    score: Score,
    begin: Sequence[Tokens],
    rng: np.random.Generator,
    generations: int,
    children: int,
) -> list[Tokens]:
    """Networks that an evolution meets which trusts a score.

    Tournaments choose the parents among the youngest (after Real et al. 2019, "Regularized
    evolution"); a child differs by one or two edits.

    Args:
        table: Decides what is legal.
        score: What is climbed.
        begin: Networks of the first generation.
        rng: Source of randomness.
        generations: How often there are children.
        children: How many at a time; the three last generations may be parents.

    Returns:
        All distinct children, in the order in which they were met.
    """
    canonical = table.grammar.canonical_tokens
    alive, values = list(begin), score(begin)
    seen = {canonical(tokens) for tokens in alive}
    met: list[Tokens] = []
    for _ in range(generations):
        drawn = rng.integers(len(alive), size=(children, TOURNAMENT))
        parents = drawn[np.arange(children), values[drawn].argmax(axis=1)]
        born = [
            mutate(table, alive[p], rng, distance=1 + int(far))
            for p, far in zip(parents.tolist(), rng.random(children) < FAR, strict=True)
        ]
        new = [t for c, t in {canonical(t): t for t in born}.items() if c not in seen]
        seen.update(map(canonical, new))
        met += new
        alive = [*alive, *new][-3 * children :]
        values = np.concatenate([values, score(new)])[-3 * children :]
    return met
