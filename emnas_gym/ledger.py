"""Counts and stores evaluations, answers repeats from the store, and stops at exactly N."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from emnas_gym.architecture import Architecture
from emnas_gym.env import EmNASEnv
from emnas_gym.errors import BudgetSpent, EvaluationError, EvaluationStopped, StoreError
from emnas_gym.evaluator import Evaluator, Result
from emnas_gym.history import Charge, History, Row
from emnas_gym.play_env import EmNASPlayEnv
from emnas_gym.problem import Problem
from emnas_gym.vector_env import EmNASVectorEnv

EPISODES_PER_EVALUATION = 20  # a rollout that never finishes a network ends as well
WHOLE = 1e-9  # what sums of equivalents are wrong by is not charged


class Ledger(Evaluator):
    """An evaluator that wraps another one.

    A repeat (same canonical network) counts and is not measured again. Resume is replay: opened
    on the file of an earlier run, the ledger answers what is stored, in the same order, and checks
    that the agent asks the same again.

    Training that is no evaluation, such as that of a supernet, is charged (`charge`): a
    full-training equivalent uses up one evaluation.

    Attributes:
        charges: What was charged, in order.
        charged: Its full-training equivalents.
        allowed: Evaluations that it leaves in all; a part of an equivalent takes a whole one.

    Args:
        evaluator: What measures.
        problem: What is evaluated; its reward is stored beside each measurement.
        evaluations: N; `BudgetSpent` is raised once they are used up.
        path: ``history.sqlite``; None keeps the record in memory.
        about: What else makes two runs the same (agent, its configuration, seed).
        watch: Called with each new row, e.g. by a progress bar.

    Raises:
        StoreError: If the file is in use, damaged, or of another run.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        problem: Problem,
        evaluations: int,
        path: Path | None = None,
        about: dict[str, Any] | None = None,
        watch: Callable[[Row], None] | None = None,
    ) -> None:
        if evaluations < 1:
            raise BudgetSpent(f"a run needs one evaluation or more, not {evaluations}")
        self.evaluator, self.problem, self.evaluations = evaluator, problem, evaluations
        self.provides, self.repeatable = evaluator.provides, evaluator.repeatable
        self.domain = evaluator.domain
        settings = {"problem": problem.to_json(), "rests_on": evaluator.rests_on}
        self.history = History(path, settings | (about or {}))
        self.rows: list[Row] = []
        self.episodes = self.steps = self.invalid_steps = 0
        self.charges: list[Charge] = []
        self.charged = 0.0
        self.allowed = evaluations
        self._stored, self._kept = self._read()
        self._stored_charges = self.history.charges()
        self._known = self._kept | {row.canonical: row.result for row in self._stored}
        self._batches = 0
        self._watch = watch

    def _read(self) -> tuple[list[Row], dict[tuple[int, ...], Result]]:
        try:
            return list(self.history.rows()), self.history.kept()
        except StoreError:
            self.history.close()  # so that the file can be replaced
            raise

    @property
    def count(self) -> int:
        """Evaluations used."""
        return len(self.rows)

    @property
    def remaining(self) -> int:
        """Evaluations left."""
        return max(self.allowed - len(self.rows), 0)

    @property
    def spent(self) -> bool:
        """Whether nothing is left, or too many episodes ended without a network."""
        return self.remaining <= 0 or self.episodes >= EPISODES_PER_EVALUATION * self.evaluations

    @property
    def distinct(self) -> int:
        """Canonical networks among the evaluations."""
        return len({row.canonical for row in self.rows})

    @property
    def best(self) -> Row:
        """The evaluation of highest reward; the first of equals.

        Raises:
            EvaluationError: If nothing was evaluated.
        """
        if not self.rows:
            raise EvaluationError("nothing was evaluated")
        return max(self.rows, key=lambda row: row.reward)

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        if len(batch) > self.remaining:
            if self.remaining:
                self._record(batch[: self.remaining])
            raise BudgetSpent(f"all {self.evaluations} evaluations are used{self._besides()}")
        return self._record(batch)

    def _besides(self) -> str:
        return f", {self.charged:.1f} of them by training besides" if self.charges else ""

    def _record(self, batch: Sequence[Architecture]) -> list[Result]:
        self._check_replay(batch)
        keys = [architecture.canonical for architecture in batch]
        new = {k: a for k, a in zip(keys, batch, strict=True) if k not in self._known}
        if new:
            self._measure(new)
        self._batches += 1
        rows = [
            Row(a.tokens, k, self._known[k], self.reward(self._known[k]), self._batches)
            for a, k in zip(batch, keys, strict=True)
        ]
        self._store(rows)
        return [row.result for row in rows]

    def _measure(self, new: Mapping[tuple[int, ...], Architecture]) -> None:
        """Measures what is not known; what an evaluator knows that stops on the way is kept."""
        try:
            results = self.evaluator.evaluate(list(new.values()))
        except EvaluationStopped as stopped:
            pairs = zip(new, stopped.results, strict=True)
            known = {key: self._complete(result) for key, result in pairs if result is not None}
            self._known.update(known)
            self.history.keep(known)
            raise
        self._known.update(zip(new, map(self._complete, results), strict=True))

    def reward(self, result: Result) -> float:
        """The scalar reward of a result; a failure has the value of an illegal network."""
        if isinstance(result, EvaluationError):
            return self.problem.reward.illegal
        return self.problem.reward(result)[0]

    def _complete(self, result: Result) -> Result:
        """The result, or the error that it lacks what the reward needs: one row, not the run."""
        try:
            self.reward(result)
        except EvaluationError as error:
            return error
        return result

    def _check_replay(self, batch: Sequence[Architecture]) -> None:
        """Refuses, before anything is measured, an agent that asks otherwise than is stored."""
        stored = self._stored[len(self.rows) : len(self.rows) + len(batch)]
        for number, (asked, row) in enumerate(zip(batch, stored, strict=False), len(self.rows)):
            if asked.tokens != row.tokens:
                raise StoreError(
                    f"{self.history.path}: evaluation {number} was {row.tokens}, now "
                    f"{asked.tokens}: the agent does not repeat its run (another version?); "
                    "start anew in another folder"
                )

    def _store(self, rows: list[Row]) -> None:
        replayed = max(min(len(self._stored) - len(self.rows), len(rows)), 0)
        self.history.append(rows[replayed:])
        self.rows += rows
        if self._watch is not None:
            for row in rows:
                self._watch(row)

    def charge(self, what: str, equivalents: float, seconds: float) -> None:
        """Charges training that is no evaluation, after it was done.

        Args:
            what: What was trained.
            equivalents: Images trained on ÷ images of one stand-alone training.
            seconds: Wall time; of a run that is replayed, that of the first time stays.

        Raises:
            BudgetSpent: If nothing is left; what was trained is charged all the same.
            StoreError: If an earlier run was charged otherwise, or the file cannot be written.
            ValueError: If an equivalent is negative or not finite.
        """
        if not (math.isfinite(equivalents) and equivalents >= 0):
            raise ValueError(f"equivalents are a number of 0 or more, not {equivalents}")
        number = len(self.charges)
        charge = Charge(what, equivalents, seconds, self.count)
        if number < len(self._stored_charges):
            stored = self._stored_charges[number]
            same = (stored.what, stored.after) == (what, self.count)
            if not same or not math.isclose(stored.equivalents, equivalents):
                raise StoreError(
                    f"{self.history.path}: charge {number} was {stored}, now {charge}: the agent "
                    "does not repeat its run (another version?); start anew in another folder"
                )
            charge = stored
        else:
            self.history.charge(charge)
        self.charges.append(charge)
        self.charged = math.fsum(charge.equivalents for charge in self.charges)
        self.allowed = max(self.evaluations - math.ceil(self.charged - WHOLE), 0)
        if self.spent:
            raise BudgetSpent(f"training took what was left of {self.evaluations} evaluations")

    def trace(self, step: int, **numbers: Any) -> None:  # noqa: ANN401
        """Stores what an agent tells of a step of its own, for reports; see `History.trace`.

        ``after``, the number of evaluations before it, is added.
        """
        self.history.trace(step, {"after": self.count} | numbers)

    def count_episode(self) -> None:
        """Counts an episode of an environment on this ledger, finished or not."""
        self.episodes += 1

    def count_step(self, invalid: bool) -> None:
        """Counts a step of an environment on this ledger."""
        self.steps += 1
        self.invalid_steps += invalid

    def count_steps(
        self, invalid: NDArray[np.bool_], measured: NDArray[np.bool_], ended: NDArray[np.bool_]
    ) -> NDArray[np.bool_] | None:
        """Counts one step of a vector environment as steps of its environments in turn."""
        self.steps += len(invalid)
        self.invalid_steps += int(invalid.sum())
        episodes = self.episodes + np.cumsum(ended)
        evaluations = self.count - measured.sum() + np.cumsum(measured)
        self.episodes += int(ended.sum())
        if not self.spent:
            return None
        spent: NDArray[np.bool_] = evaluations >= self.allowed
        return spent | (episodes >= EPISODES_PER_EVALUATION * self.evaluations)

    def env(self, **keywords: Any) -> EmNASEnv:  # noqa: ANN401
        """An environment that evaluates here; its episodes truncate once the ledger is spent.

        Args:
            keywords: ``observation``, ``on_invalid`` and ``render_mode`` of `EmNASEnv`.
        """
        return EmNASEnv(evaluator=self, **self.problem.keywords(), **keywords)

    def play_env(self, **keywords: Any) -> EmNASPlayEnv:  # noqa: ANN401
        """An environment of whole sequences that evaluates here; truncates as that of `env`.

        Args:
            keywords: Those of `env`, and the rules of `EmNASPlayEnv`.
        """
        return EmNASPlayEnv(evaluator=self, **self.problem.keywords(), **keywords)

    def vec_env(self, count: int, **keywords: Any) -> EmNASVectorEnv:  # noqa: ANN401
        """Several environments on this ledger as one, all that finish in a step measured together.

        Args:
            count: How many.
            keywords: Those of `env`, and ``autoreset_mode``; an episode is followed by the next in
                the same step if it is not given.
        """
        keywords = {"autoreset_mode": AutoresetMode.SAME_STEP} | keywords
        return EmNASVectorEnv(count, evaluator=self, **self.problem.keywords(), **keywords)

    @property
    def rests_on(self) -> dict[str, Any]:
        """What the evaluator rests on."""
        return self.evaluator.rests_on

    def remarks(self) -> list[str]:
        """The remarks of the evaluator."""
        return self.evaluator.remarks()

    def close(self) -> None:
        """Closes the history and the evaluator."""
        self.history.close()
        self.evaluator.close()
