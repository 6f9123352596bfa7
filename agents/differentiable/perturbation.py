"""Which operation an edge needs: the one without which the supernet classifies worst.

The largest parameter says little about how good a network is with an operation; taking the
operation out of the trained supernet says more (Wang et al. 2021, "Rethinking architecture
selection in differentiable NAS").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from agents.differentiable.mixed_search import MixedSearch
from agents.differentiable.paths import is_connected
from emnas_gym.branched.free_cell import READS
from emnas_gym.errors import InvalidArchitecture
from predictors.supernet.free_wiring import FreeWiring
from predictors.supernet.wiring import Mask, Weights
from predictors.training import one_thread

Pay = Callable[[int], None]  # told how many images a decision took
TRACE = 1e-6  # of what was not chosen: decides where the chosen network is disconnected
WORST = (-1.0, -np.inf)  # what a supernet without a way to the output is like


class Perturbation:
    """Decides a trained supernet edge by edge, in random order; weights learn on in between.

    Where nodes choose what they read, each then keeps the two edges without which the supernet
    classifies worst. What would leave no way to the output is not chosen.

    Args:
        search: A search whose epochs are over; its `kept` is decided.
    """

    def __init__(self, search: MixedSearch) -> None:
        self.search, self._before = search, search.images
        wirings = search.net.wirings
        edges = [(group, e) for group, w in wirings.items() for e in range(len(w.edges))]
        nodes = [
            (group, node)
            for group, w in wirings.items()
            if isinstance(w, FreeWiring)
            for node in sorted({target for _, target in w.edges})
            if node > READS
        ]
        rng = np.random.default_rng([search.seed, 1])
        self._edges = [edges[i] for i in rng.permutation(len(edges))]
        self._nodes = [nodes[i] for i in rng.permutation(len(nodes))]

    def cost(self) -> int:
        """Images that all decisions together put through the supernet."""
        shown = min(int(self.search.config.selection_images), len(self.search.architecture_rows))
        wirings = self.search.net.wirings
        offered = sum(int(w.offered.sum()) for w in wirings.values())
        ends = sum(len(self._entering(group, node)) for group, node in self._nodes)
        tunings = (len(self._edges) + len(self._nodes)) * int(self.search.config.tuning_epochs)
        return (offered + ends) * shown + tunings * len(self.search.weight_rows)

    def decide(self, pay: Pay) -> dict[str, Weights]:
        """Decides everything.

        Args:
            pay: Told after each decision how many images it took.

        Returns:
            Of every group (edges, operations): 1 for what was chosen, next to nothing elsewhere.
        """
        for group, edge in self._edges:
            self._choose_operation(group, edge)
            self._learn_on(pay)
        for group, node in self._nodes:
            self._choose_edges(group, node)
            self._learn_on(pay)
        shares = self.search.alphas.detached().probabilities()
        return {g: kept + TRACE * shares[g].double().numpy() for g, kept in self._kept.items()}

    @property
    def _kept(self) -> dict[str, Mask]:
        return self.search.kept

    def _entering(self, group: str, node: int) -> list[int]:
        edges = self.search.net.wirings[group].edges
        return [edge for edge, (_, target) in enumerate(edges) if target == node]

    def _choose_operation(self, group: str, edge: int) -> None:
        there = np.flatnonzero(self._kept[group][edge]).tolist()
        alone = {operation: self._alone(group, edge, operation) for operation in there}
        wires = self.search.net.wirings[group]
        scores = {operation: self._without(group, edge, operation) for operation in there}
        able = [operation for operation in there if is_connected(wires, alone[operation])]
        self._kept[group] = alone[min(able, key=scores.__getitem__)]

    def _alone(self, group: str, edge: int, operation: int) -> Mask:
        """What would be kept with that operation on the edge."""
        kept = self._kept[group].copy()
        kept[edge] = False
        kept[edge, operation] = True
        return kept

    def _choose_edges(self, group: str, node: int) -> None:
        edges = self._entering(group, node)
        scores = {e: self._without(group, e, int(self._kept[group][e].argmax())) for e in edges}
        for edge in sorted(edges, key=scores.__getitem__)[READS:]:
            self._kept[group][edge] = False

    def _without(self, group: str, edge: int, operation: int) -> tuple[float, float]:
        """Accuracy, and the negative loss, of the supernet without an operation."""
        search, count = self.search, self.search.config.selection_images
        mixtures = dict(search.judged())
        computed, weights = mixtures[group].computed.copy(), mixtures[group].weights.clone()
        computed[edge, operation], weights[edge, operation] = False, 0.0
        mixtures[group] = replace(mixtures[group], weights=weights, computed=computed)
        search.images += min(count, len(search.architecture_rows))
        try:
            with one_thread(), torch.no_grad():
                loss, accuracy = search.assess(mixtures, count)
        except InvalidArchitecture:  # no way to the output is left without it
            return WORST
        return accuracy, -loss

    def _learn_on(self, pay: Pay) -> None:
        for _ in range(self.search.config.tuning_epochs):
            self.search.tune()
        pay(self.search.images - self._before)
        self._before = self.search.images
