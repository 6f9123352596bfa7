"""How two parents become a child: crossover by its rate, then mutation by its rate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from agents.evolutionary.individuals import Tokens
from emnas_gym.automaton import Automaton
from emnas_gym.variation import crossover, edits_of, mutate


@dataclass(frozen=True)
class Variation:
    """Makes children that are legal networks of the search space.

    Attributes:
        table: Decides what is legal; where it knows one length alone, genomes are of fixed length.
        rng: Source of randomness.
        crossover: Probability that a child has a second parent, joined at one point.
        mutation: Probability that a child is mutated.
        distance: Edits of one mutation.
    """

    table: Automaton
    rng: np.random.Generator
    crossover: float = 0.0
    mutation: float = 1.0
    distance: int = 1

    def child(self, parent: Callable[[], Tokens]) -> Tokens:
        """A child of what selection returns, once for each parent that is needed.

        Parents that no cut joins to a legal network give the first one alone.
        """
        edits = edits_of(self.table)
        child = mother = parent()
        if self.rng.random() < self.crossover:
            fixed = edits == ("replace",)
            child = crossover(self.table, mother, parent(), self.rng, fixed) or mother
        if self.rng.random() < self.mutation:
            child = mutate(self.table, child, self.rng, edits, self.distance)
        return child
