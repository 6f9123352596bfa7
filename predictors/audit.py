"""An evaluator that watches what a search makes of a predictor: reports, doubts, verifies.

A search finds what its predictor is wrong about. This wrapper (1) has some evaluations verified
by the truth, within a budget, and tells how far both lie apart, (2) answers a lower confidence
bound, mean − kappa · deviation of the ensemble, and (3) where it is asked to, answers verified
networks with their truth and corrects the predictor by them (`predictors.correction`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from emnas_gym.analytic import AnalyticEvaluator
from emnas_gym.architecture import Architecture
from emnas_gym.errors import DomainError, EvaluationError, EvaluationStopped
from emnas_gym.evaluator import Domain, Evaluator, Result
from emnas_gym.features import features
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.space import sample_tokens
from emnas_gym.surrogate import SurrogateEvaluator
from predictors.audit_rows import AuditRow, AuditRows, bias
from predictors.correction import Correction, Verified
from predictors.trained import TrainedEvaluator

Array = NDArray[np.float64]
REFERENCE = 256  # networks drawn once, by which features are standardised
EDGE = 4.0  # standardised features beyond it count as at it
DECIMALS = 9


class Doubting(Protocol):
    """A predictor that knows how far its members lie apart."""

    provides: frozenset[str]
    domain: Domain

    def evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        """Measurements with an accuracy."""

    def predict(self, batch: Sequence[Architecture]) -> tuple[Array, Array]:
        """Mean and standard deviation of the accuracy, each of shape (N,)."""


@dataclass(frozen=True)
class AuditOptions:
    """How an audit is done."""

    kappa: float = 1.0
    """Deviations that are taken off the mean; 0 answers the mean."""

    every: int = 50
    """Every so many networks one is verified, whatever it promises; 0 verifies none of these."""

    best: bool = True
    """Whether every network that promises more than all before is verified."""

    warm_up: int = 50
    """Networks before the first verification: nearly every early network is a new best."""

    budget: float = 20.0
    """What may be spent on the truth, in full-training equivalents."""

    cost: float = 1.0
    """What one answer of the truth costs, in full-training equivalents."""

    refit: int = 0
    """Verifications after which the correction is fitted anew; 0 reports and changes nothing."""

    def __post_init__(self) -> None:
        """Checks the values."""
        whole = (self.every, self.warm_up, self.refit)
        if min(whole) < 0 or not (self.kappa >= 0 and self.budget >= 0 and self.cost > 0):
            raise EvaluationError(f"audit: no option is below 0, and cost is above: {self}")


class AuditedEvaluator(Evaluator):
    """Wraps a predictor; the domain and all fields but the accuracy are the predictor's.

    Every different network is a row, numbered in the order of asking. The first answer stands: a
    repeat gets it again, and one that was verified its truth, if there is a correction. Without
    one (``refit=0``) an answer depends on the network alone, and the evaluator is repeatable.
    With one it depends on what was asked before, so it is not; a ledger keeps the first answer,
    and with a ``path`` an interrupted run goes on as if it had not been interrupted.

    Args:
        predictor: A surrogate with an ensemble.
        truth: Provides the accuracy, e.g. by training.
        problem: Whose reward says what promises most.
        options: How it is done.
        path: File of rows (JSON lines), which an interrupted run goes on from; None keeps them
            in memory.

    Raises:
        DomainError: If the truth has no accuracy, or the reward needs what nothing provides.
        StoreError: If the file is damaged, or of another audit.
    """

    def __init__(
        self,
        predictor: Doubting,
        truth: Evaluator,
        problem: Problem,
        options: AuditOptions | None = None,
        path: Path | None = None,
    ) -> None:
        self.predictor, self.truth, self.problem = predictor, truth, problem
        self.options = options or AuditOptions()
        self.provides, self.domain = predictor.provides, predictor.domain
        self.repeatable = self.options.refit == 0
        self._costs = AnalyticEvaluator.for_problem(problem)
        self._check()
        about = {"problem": problem.to_json(), "options": asdict(self.options)}
        self._rows = AuditRows(path, about)
        self._known = {row.tokens: row.index for row in self._rows.rows}
        self._centre, self._scale = self._reference()
        self._correction = Correction()
        self._corrected_by: list[int] = []
        self._best = -np.inf
        self._replay()

    @classmethod
    def for_problem(cls, problem: Problem) -> Self:
        """The problem's surrogate with kappa = 1, and up to twenty trainings; it only reports.

        Raises:
            DomainError: If no surrogate was fitted for the problem.
            DatasetError: If the task has no images to train on.
        """
        predictor = SurrogateEvaluator.for_problem(problem)
        return cls(predictor, TrainedEvaluator.for_problem(problem), problem)

    def _check(self) -> None:
        if "accuracy" not in self.truth.provides:
            raise DomainError(f"{type(self.truth).__name__} provides no accuracy to verify with")
        provided = self._costs.provides | self.provides
        missing = set(self.problem.reward.objectives) - provided
        if missing:
            raise DomainError(
                f"the reward {self.problem.reward.name} needs {', '.join(sorted(missing))}, which "
                f"neither the predictor nor a formula provides on {self.problem.device.name}; "
                "choose a device that has it"
            )

    # ------------------------------------------------------------------------------- the answers

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        bases = self.predictor.evaluate(batch)
        good = [a for a, b in zip(batch, bases, strict=True) if isinstance(b, Measurement)]
        beliefs = dict(zip([a.canonical for a in good], self._believe(good), strict=True))
        results: list[Result] = []
        for architecture, base in zip(batch, bases, strict=True):
            if not isinstance(base, Measurement):
                results.append(base)
                continue
            if architecture.canonical not in self._known:
                try:
                    self._meet(architecture, base, *beliefs[architecture.canonical])
                except EvaluationStopped as stopped:
                    rest = [None] * (len(batch) - len(results))
                    raise EvaluationStopped(stopped.message, [*results, *rest]) from stopped
            row = self._rows.rows[self._known[architecture.canonical]]
            results.append(self._answer(base, row))
        return results

    def _believe(self, batch: Sequence[Architecture]) -> list[tuple[float, float, Array]]:
        """What the predictor itself thinks: mean, deviation, standardised features."""
        if not batch:
            return []
        means, deviations = self.predictor.predict(batch)
        rows = self._standardised(batch)
        return list(zip(means.tolist(), deviations.tolist(), rows, strict=True))

    def _meet(
        self, architecture: Architecture, base: Measurement, mean: float, deviation: float, x: Array
    ) -> None:
        """Answers a network for the first time, and has it verified if it is its turn."""
        answered = self._bound(mean, deviation, x)
        promised = self._reward(architecture, base, answered)
        index, best = len(self._rows.rows), promised > self._best
        row = AuditRow(
            index, architecture.canonical, mean, deviation, answered, None, False, best, promised
        )
        if self._is_due(index, best):
            row = self._verified(row, architecture)
        self._known[architecture.canonical] = index
        self._rows.append(row)
        self._remember(row, architecture, base)
        if row.asked:
            self._restore()

    def _bound(self, mean: float, deviation: float, x: Array) -> float:
        """Lower confidence bound of the corrected accuracy."""
        means, doubts = self._correction.apply(x[None], np.array([mean]), np.array([deviation]))
        bound = float(means[0] - self.options.kappa * doubts[0])
        return round(min(max(bound, 0.0), 1.0), DECIMALS)

    def _reward(self, architecture: Architecture, base: Measurement, accuracy: float) -> float:
        costs = self._costs.evaluate([architecture])[0]
        if isinstance(costs, EvaluationError):
            raise costs
        own = Measurement.of("predicted", accuracy=accuracy)
        return self.problem.reward(costs.overridden(base).overridden(own))[0]

    def _answer(self, base: Measurement, row: AuditRow) -> Result:
        if self.options.refit and row.failure:
            return EvaluationError(row.failure)
        if self.options.refit and row.verified is not None:
            return base.overridden(Measurement.of("trained", accuracy=row.verified))
        return base.overridden(Measurement.of("predicted", accuracy=row.answered))

    # --------------------------------------------------------------------------------- the truth

    @property
    def spent_equivalents(self) -> float:
        """What the truth has cost so far, in full-training equivalents."""
        return self.options.cost * sum(row.asked for row in self._rows.rows)

    @property
    def affordable(self) -> bool:
        """Whether the budget holds one more verification."""
        return self.spent_equivalents + self.options.cost <= self.options.budget + 1e-9

    def _is_due(self, index: int, best: bool) -> bool:
        options = self.options
        if index < options.warm_up or not self.affordable:
            return False
        turn = options.every > 0 and (index + 1) % options.every == 0
        return turn or (best and options.best)

    def _verified(self, row: AuditRow, architecture: Architecture) -> AuditRow:
        """The row with what the truth says; a failure is an answer where there is a correction."""
        result = self.truth.evaluate([architecture])[0]
        if isinstance(result, EvaluationError) or result.accuracy is None:
            why = str(result) if isinstance(result, EvaluationError) else "no accuracy came back"
            return replace(row, asked=True, failure=why)
        return replace(row, asked=True, verified=result.accuracy)

    def verify(self, batch: Sequence[Architecture]) -> list[AuditRow]:
        """Has networks verified that were answered before, such as winners, within the budget.

        Args:
            batch: Networks; one that was verified is not verified again.

        Returns:
            The rows of the networks; ``asked`` is False where the budget did not suffice.

        Raises:
            EvaluationError: If one of them was never evaluated.
        """
        for architecture in batch:
            index = self._known.get(architecture.canonical)
            if index is None:
                raise EvaluationError(f"{architecture!r} was not evaluated; evaluate it first")
            row = self._rows.rows[index]
            if not row.asked and self.affordable:
                self._rows.replace(self._verified(row, architecture))
        self._restore()
        return [self._rows.rows[self._known[a.canonical]] for a in batch]

    # ---------------------------------------------------------------------------- the correction

    def _replay(self) -> None:
        """Comes to the state that the rows of an earlier run lead to."""
        networks = [self.problem.space.architecture(row.tokens) for row in self._rows.rows]
        bases = self.predictor.evaluate(networks)
        for row, architecture, base in zip(self._rows.rows, networks, bases, strict=True):
            if isinstance(base, Measurement):
                self._remember(row, architecture, base)
        self._restore()

    def _restore(self) -> None:
        """Fits the correction on the verified rows, up to the last full round of `refit`."""
        if not self.options.refit:
            return
        rows = [row for row in self._rows.rows if row.verified is not None]
        rows = rows[: len(rows) // self.options.refit * self.options.refit]
        indices = [row.index for row in rows]
        if indices == self._corrected_by:
            return
        networks = [self.problem.space.architecture(row.tokens) for row in rows]
        points = zip(rows, self._standardised(networks), strict=True)
        self._correction = Correction([_point(row, x) for row, x in points])
        self._corrected_by = indices

    def _remember(self, row: AuditRow, architecture: Architecture, base: Measurement) -> None:
        """Keeps the best reward that was answered so far."""
        reward = row.reward
        if self.options.refit and row.asked:
            reward = None
            if row.verified is not None:
                reward = self._reward(architecture, base, row.verified)
        if reward is not None:
            self._best = max(self._best, reward)

    def _reference(self) -> tuple[Array, Array]:
        rng, table = np.random.default_rng(0), self.problem.automaton
        drawn = [sample_tokens(table, rng) for _ in range(REFERENCE)]
        rows = features([self.problem.space.architecture(t) for t in drawn], self.problem.task)
        scale = rows.std(axis=0)
        return rows.mean(axis=0), np.where(scale > 1e-9, scale, 1.0)

    def _standardised(self, batch: Sequence[Architecture]) -> Array:
        rows = features(batch, self.problem.task)
        return np.clip((rows - self._centre) / self._scale, -EDGE, EDGE)

    # -------------------------------------------------------------------------------- the report

    @property
    def rows(self) -> tuple[AuditRow, ...]:
        """All evaluations so far, one a different network."""
        return tuple(self._rows.rows)

    def remarks(self) -> list[str]:
        """How far predicted and verified lie apart."""
        error, doubt, count = bias(self.rows)
        if not count:
            return [f"audit: none of {len(self.rows)} networks was verified"]
        best, _, bests = bias([row for row in self.rows if row.best])
        text = (
            f"audit: {count} of {len(self.rows)} networks were verified "
            f"({self.spent_equivalents:g} full trainings): predicted − verified accuracy is "
            f"{error:+.4f} ± {doubt:.4f} (standard error)"
        )
        return [text + (f", {best:+.4f} on {bests} that were the best so far" if bests else "")]

    def close(self) -> None:
        """Closes the truth."""
        self.truth.close()


def _point(row: AuditRow, x: Array) -> Verified:
    assert row.predicted is not None
    assert row.deviation is not None
    assert row.verified is not None
    return Verified(x, row.predicted, row.deviation, row.verified)
