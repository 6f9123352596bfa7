"""Verification: winners are really trained, and read the test part that no search has seen."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emnas_gym.architecture import Architecture
from emnas_gym.errors import EvaluationError, StoreError
from emnas_gym.history import Row
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from predictors.trained import TrainedEvaluator, Verified
from predictors.training import Recipe


@dataclass(frozen=True)
class Verification:
    """Several trainings of a winner.

    Attributes:
        test: Test accuracy per seed.
        valid: Validation accuracy per seed.
        reward: Reward of the mean test accuracy with the predicted costs.
        choice: Reward of the mean validation accuracy: by it the network to export is chosen, so
            that the test part is never chosen by.
        best_seed: Seed of highest validation accuracy; its weights are exported.
    """

    test: tuple[float, ...]
    valid: tuple[float, ...]
    reward: float
    choice: float
    best_seed: int

    @property
    def mean(self) -> float:
        """Mean test accuracy."""
        return float(np.mean(self.test))

    def to_json(self) -> dict[str, Any]:
        """Plain data for reports."""
        spread = float(np.std(self.test, ddof=1)) if len(self.test) > 1 else 0.0
        return {
            "accuracy": list(self.test),
            "valid_accuracy": list(self.valid),
            "mean": self.mean,
            "std": spread,
            "reward": self.reward,
            "best_seed": self.best_seed,
        }


def winners(rows: Sequence[Row], problem: Problem, count: int) -> list[Row]:
    """The best distinct networks that were measured and keep all budgets, best first."""
    best: dict[tuple[int, ...], Row] = {}
    for row in sorted(rows, key=lambda row: -row.reward):
        if isinstance(row.result, Measurement) and row.canonical not in best:
            broken = problem.budgets.broken(row.result) or row.result.feasible is False
            if not broken:
                best[row.canonical] = row
        if len(best) == count:
            break
    return list(best.values())


class Verifier:
    """Trains winners, remembers every result in a file, keeps the weights to export.

    Args:
        evaluator: Trains; its recipe is the full one.
        problem: Whose reward is computed.
        seeds: Seeds of the trainings.
        path: JSON file of what was verified before.
    """

    def __init__(
        self, evaluator: TrainedEvaluator, problem: Problem, seeds: Sequence[int], path: Path
    ) -> None:
        self.evaluator, self.problem, self.seeds, self.path = evaluator, problem, seeds, path
        self._settings = json.dumps([list(seeds), evaluator.recipe.to_json()])
        self._known = self._read()

    def _read(self) -> dict[str, dict[str, Any]]:
        if not self.path.exists():
            return {}
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            return dict(content["results"]) if content["settings"] == self._settings else {}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"{self.path} is damaged ({error!r}); remove it") from error

    def verify(
        self, rows: Sequence[Row], advance: Callable[[], None] = lambda: None
    ) -> list[Verification | EvaluationError]:
        """Trains what is not known yet, several networks in parallel; saves after each round.

        Args:
            rows: Winners of one problem.
            advance: Called after each network.
        """
        results: list[Verification | EvaluationError] = []
        for first in range(0, len(rows), self.evaluator.workers):
            chunk = rows[first : first + self.evaluator.workers]
            results += self._verify_chunk(chunk)
            self._save()
            for _ in chunk:
                advance()
        return results

    def _verify_chunk(self, rows: Sequence[Row]) -> list[Verification | EvaluationError]:
        new = {r.canonical: r for r in rows if self._key(r) not in self._known}
        batch = [Architecture(self.problem.space, row.tokens) for row in new.values()]
        outcomes = self.evaluator.train(batch, self.seeds) if batch else []
        failed: dict[tuple[int, ...], EvaluationError] = {}
        for row, outcome in zip(new.values(), outcomes, strict=True):
            if isinstance(outcome, EvaluationError):
                failed[row.canonical] = outcome
            else:
                self._known[self._key(row)] = asdict(self._judge(row, outcome))
                self._keep_weights(row, outcome)
        return [failed.get(row.canonical) or self._recall(row) for row in rows]

    def _recall(self, row: Row) -> Verification:
        known = self._known[self._key(row)]
        return Verification(**known | {k: tuple(known[k]) for k in ("test", "valid")})

    def _judge(self, row: Row, outcome: Verified) -> Verification:
        test = tuple(outcome.test_accuracies)
        valid = tuple(result.valid_accuracy for result in outcome.results)
        return Verification(
            test=test,
            valid=valid,
            reward=self._reward(row, float(np.mean(test))),
            choice=self._reward(row, float(np.mean(valid))),
            best_seed=self.seeds[int(np.argmax(valid))],
        )

    def _reward(self, row: Row, accuracy: float) -> float:
        assert isinstance(row.result, Measurement)
        trained = Measurement.of("trained", accuracy=accuracy)
        return self.problem.reward(row.result.overridden(trained))[0]

    def weights_path(self, row: Row) -> Path:
        """Where the weights of a winner's best training lie."""
        return self.path.parent / "weights" / f"{'-'.join(map(str, row.canonical))}.npz"

    def _keep_weights(self, row: Row, outcome: Verified) -> None:
        path = self.weights_path(row)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, allow_pickle=False, **outcome.best.weights)

    def _key(self, row: Row) -> str:
        return " ".join(map(str, row.canonical))

    def _save(self) -> None:
        content = {"settings": self._settings, "results": self._known}
        partial = self.path.with_suffix(".part")
        partial.write_text(json.dumps(content, indent=1), encoding="utf-8")
        partial.replace(self.path)


def full_recipe() -> Recipe:
    """The recipe of verification: the one that the table was made with."""
    return Recipe()
