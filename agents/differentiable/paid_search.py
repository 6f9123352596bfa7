"""One search by gradient on a ledger: every epoch is paid for, and its genotype is measured."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from agents.differentiable.alphas import Alphas, edge_names, entropy
from agents.differentiable.mixed_search import MixedSearch
from agents.differentiable.perturbation import Perturbation
from agents.differentiable.supernet_search import EpochReport, SupernetSearch
from emnas_gym.errors import BudgetSpent
from emnas_gym.ledger import WHOLE, Ledger
from predictors.supernet.wiring import Weights

Told = Callable[[dict[str, Any]], None]  # of the numbers of an epoch


class PaidSearch:
    """Runs a search to its end, or to the end of the ledger.

    An epoch costs images that went through the supernet to learn ÷ images of one stand-alone
    training. Before one that would leave no evaluation the favourite so far is measured: a ledger
    never ends on a supernet whose network nobody knows. Where further evaluations are left and buy
    no epoch, networks drawn from the probabilities are measured.

    Args:
        search: The search.
        ledger: Pays and measures.
        name: Of the supernet, for the record of what was paid.
        tell: Told of every epoch.

    Attributes:
        genotype: Tokens of what was measured last; None before.
        finished: Whether the search came to its own end.
    """

    def __init__(self, search: SupernetSearch, ledger: Ledger, name: str, tell: Told) -> None:
        self.search, self._ledger, self._name, self._tell = search, ledger, name, tell
        self.genotype: tuple[int, ...] | None = None
        self.finished = False
        self._since = time.perf_counter()

    def run(self) -> None:
        """Trains, selects, measures.

        Raises:
            BudgetSpent: If the ledger ends before.
            SearchDiverged: If a loss or an architecture parameter is no finite number any more.
        """
        search, chosen = self.search, self.search.alphas
        while search.epoch < search.config.epochs:
            self._afford(search.cost())
            self._since = time.perf_counter()
            report = search.run_epoch()
            self._tell(self.numbers(report))
            self._pay(report.images, "epoch")
            if report.back_to is not None:
                chosen = search.past[report.back_to]
                break
        self.genotype = self._measure(*self._selected(chosen))
        self.finished = True

    def _selected(self, alphas: Alphas) -> tuple[tuple[int, ...], dict[str, Weights]]:
        """The network that is chosen, and how strong everything was."""
        search = self.search
        if getattr(search.config, "selection", "argmax") == "perturbation":
            assert isinstance(search, MixedSearch)
            perturbation = Perturbation(search)
            self._afford(perturbation.cost())
            self._since = time.perf_counter()
            strengths = perturbation.decide(lambda images: self._pay(images, "selection"))
            return search.net.tokens(strengths), strengths
        return search.tokens(alphas), strengths_of(alphas)

    def _afford(self, images: int) -> None:
        """Measures the favourite now, if there would be no evaluation left for it afterwards.

        Raises:
            BudgetSpent: If there would not; the ledger is spent then.
        """
        ledger = self._ledger
        charged = ledger.charged + images / self.search.ground.stand_alone
        if ledger.evaluations - math.ceil(charged - WHOLE) > ledger.count:
            return
        strengths = strengths_of(self.search.alphas)
        self.genotype = self._measure(self.search.tokens(), strengths)
        rng = np.random.default_rng([self.search.seed, 2])
        while not ledger.spent:  # the largest of p · exp(Gumbel noise) is drawn with p
            noise = {group: np.exp(rng.gumbel(size=p.shape)) for group, p in strengths.items()}
            drawn = {group: p * noise[group] for group, p in strengths.items()}
            self._measure(self.search.net.tokens(drawn), drawn)
        raise BudgetSpent(f"what is left of {ledger.evaluations} evaluations buys no epoch")

    def _pay(self, images: int, what: str) -> None:
        seconds = time.perf_counter() - self._since
        self._ledger.charge(
            f"{self._name}, {what}", images / self.search.ground.stand_alone, seconds
        )
        self._since = time.perf_counter()

    def _measure(self, tokens: tuple[int, ...], strengths: dict[str, Weights]) -> tuple[int, ...]:
        """Measures a network of the supernet; its tokens in the problem."""
        search, space = self.search, self._ledger.problem.space
        genotype = search.ground.genotype(tokens, strengths, search.net.wirings)
        self._ledger.evaluate([space.architecture(genotype)])
        return genotype

    def numbers(self, report: EpochReport) -> dict[str, Any]:
        """What an epoch came to, as plain data."""
        search = self.search
        alphas, wirings = search.alphas.detached(), search.net.wirings
        shares, latency = alphas.probabilities(), search.latency
        expected = None if latency is None else float(latency.of(alphas))
        timed = latency is not None and latency.unit == "us"
        return {
            "epoch": search.epoch - 1,
            "probabilities": {group: p.tolist() for group, p in shares.items()},
            "edges": {group: edge_names(w) for group, w in wirings.items()},
            "operations": {g: [list(names) for names in w.operations] for g, w in wirings.items()},
            "factors": {g: f.tolist() for g, f in (alphas.factors() or {}).items()},
            "entropy": entropy(shares),
            "expected_latency_us": expected if timed else None,
            "expected_macs": expected if not timed else None,
            "tokens": list(search.tokens()),
            "skips": search.skips(),
            "train_loss": report.train_loss,
            "valid_loss": report.valid_loss,
            "valid_accuracy": report.valid_accuracy,
            "weight_decay": search.optimiser.param_groups[0]["weight_decay"],
        }


def strengths_of(alphas: Alphas) -> dict[str, Weights]:
    """How strong every operation is, as `Supernet.tokens` weighs them: (edges, operations)."""
    shares, factors = alphas.detached().probabilities(), alphas.detached().factors()
    return {
        group: (p if factors is None else p * factors[group][:, None]).double().numpy()
        for group, p in shares.items()
    }
