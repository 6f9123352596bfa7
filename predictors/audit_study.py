"""What doubting and verifying are worth: searches that climb a weak predictor, and its truth.

Two worlds with a truth that costs nothing, so that many seeds can be had. *table*: the networks
of the committed table, the truth being their trained accuracy; a search picks among hundreds of
them. *space*: the whole space; a local search climbs, and the shipped surrogate, fitted on
thousands of networks, stands in for the truth. In both the predictor is fitted on a few networks
of the table, others with each seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emnas_gym.architecture import Architecture
from emnas_gym.errors import BudgetSpent, EvaluationError
from emnas_gym.evaluator import Evaluator, Result
from emnas_gym.history import Row
from emnas_gym.ledger import Ledger
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.registry import make_evaluator
from emnas_gym.space import sample_tokens
from emnas_gym.surrogate import SurrogateEvaluator
from emnas_gym.surrogate_file import Surrogate
from emnas_gym.variation import mutate
from predictors.accuracy_fit import layers_of
from predictors.audit import AuditedEvaluator, AuditOptions
from predictors.estimators.recurrent import RecurrentRegressor
from predictors.store import Tokens

Array = NDArray[np.float64]
EVALUATIONS = 600  # of the predictor, in every search
TRUTHS = 20  # answers of the truth that a search may have, the winner's included
PARENTS, CHILDREN, FIRST = 10, 20, 100  # of the local search
WEAK = RecurrentRegressor(dropout=0.3, weight_decay=0.5, epochs=25)
ALONE = AuditOptions(kappa=0.0, every=0, best=False, budget=0.0)


@dataclass(frozen=True)
class Arm:
    """One way to search.

    Attributes:
        what: What it is.
        options: Of the audit.
        climbs: Whether it follows the predictor; else networks are drawn at random.
        finalists: The best networks that the truth is asked about at the end, as far as
            `TRUTHS` answers suffice.
        evaluations: Of the predictor.
    """

    what: str
    options: AuditOptions = ALONE
    climbs: bool = True
    finalists: int = 1
    evaluations: int = EVALUATIONS


def _doubting(kappa: float) -> AuditOptions:
    return AuditOptions(kappa=kappa, every=0, best=False, budget=0.0)


def _active(kappa: float) -> AuditOptions:
    """New bests, and now and then another network: what was never promising is known as well."""
    return AuditOptions(kappa=kappa, every=100, warm_up=FIRST, budget=TRUTHS - 1.0, refit=1)


ARMS = {
    "plain": Arm("the predictor's mean; the winner is verified"),
    "lcb 0.5": Arm("mean − 0.5 deviations", _doubting(0.5)),
    "lcb 1": Arm("mean − 1 deviation", _doubting(1.0)),
    "lcb 2": Arm("mean − 2 deviations", _doubting(2.0)),
    "active": Arm("new bests and every 100th are verified, and correct the predictor", _active(0)),
    "active lcb 1": Arm("both", _active(1.0)),
    "plain, finalists": Arm("as plain; the best 20 are verified", finalists=TRUTHS),
    "lcb 1, finalists": Arm("as lcb 1; the best 20 are verified", _doubting(1.0), True, TRUTHS),
    "active, finalists": Arm(
        "as active; what is left of 20 goes to the best", _active(0), True, TRUTHS
    ),
    "active lcb 1, finalists": Arm("the same for both", _active(1.0), True, TRUTHS),
    "random": Arm("networks drawn at random; the best predicted is verified", climbs=False),
    "random, finalists": Arm("as random; the best 20 are verified", ALONE, False, TRUTHS),
    "truth alone": Arm("20 random networks, all verified", ALONE, False, TRUTHS, TRUTHS),
}


class TableTruth(Evaluator):
    """Mean trained accuracy of the networks of a table; others fail.

    Args:
        accuracy: Canonical tokens → accuracy.
    """

    provides = frozenset({"accuracy"})

    def __init__(self, accuracy: dict[Tokens, float]) -> None:
        self.accuracy = accuracy

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        return [
            Measurement.of("table", accuracy=self.accuracy[a.canonical])
            if a.canonical in self.accuracy
            else EvaluationError(f"{a!r} is not in the table")
            for a in batch
        ]


Step = tuple[int, float, float]
Search = Callable[[Problem, Ledger, np.random.Generator], None]


def climb(problem: Problem, ledger: Ledger, rng: np.random.Generator) -> None:
    """A (μ + λ) local search: the best so far are mutated, until the ledger is spent."""
    table = problem.automaton
    first = [sample_tokens(table, rng) for _ in range(min(FIRST, ledger.evaluations))]
    try:
        ledger.evaluate([problem.space.architecture(tokens) for tokens in first])
        while not ledger.spent:
            parents = distinct_best(ledger.rows, PARENTS)
            chosen = [parents[int(i)] for i in rng.integers(len(parents), size=CHILDREN)]
            born = [mutate(table, row.tokens, rng) for row in chosen]
            ledger.evaluate([problem.space.architecture(tokens) for tokens in born])
    except BudgetSpent:
        return


def draw(problem: Problem, ledger: Ledger, rng: np.random.Generator) -> None:
    """Random search, until the ledger is spent."""
    table = problem.automaton
    drawn = [sample_tokens(table, rng) for _ in range(ledger.evaluations)]
    ledger.evaluate([problem.space.architecture(tokens) for tokens in drawn])


def pick_from(networks: Sequence[Tokens]) -> Search:
    """Searches a list: all of it is evaluated, in a random order, until the ledger is spent."""

    def pick(problem: Problem, ledger: Ledger, rng: np.random.Generator) -> None:
        order = rng.permutation(len(networks))[: ledger.evaluations]
        ledger.evaluate([problem.space.architecture(networks[i]) for i in order])

    return pick


def distinct_best(rows: Sequence[Row], count: int) -> list[Row]:
    """The rows of highest reward, one a network; the first of equals."""
    best: dict[Tokens, Row] = {}
    for row in sorted(rows, key=lambda row: -row.reward):
        best.setdefault(row.canonical, row)
        if len(best) == count:
            break
    return list(best.values())


@dataclass(frozen=True)
class Outcome:
    """How one search ended.

    Attributes:
        optimism: Promised minus verified reward, the mean over all finalists; an audit with a
            correction promises what it verified.
        verified: Reward of the winner with the truth's accuracy: the best of the finalists.
        accuracy: Its true accuracy.
        truths: Answers of the truth that were used.
        course: Whenever another network came to promise most: number of the evaluation, promised
            and true reward. What the truth says here is for the picture, and not counted.
    """

    optimism: float
    verified: float
    accuracy: float
    truths: int
    course: tuple[Step, ...]


def run(
    arm: Arm,
    problem: Problem,
    predictor: SurrogateEvaluator,
    truth: Evaluator,
    search: Search,
    seed: int,
) -> Outcome:
    """Searches once, and has the winner verified.

    Args:
        arm: How.
        problem: Whose reward is maximised.
        predictor: What is climbed.
        truth: What is true.
        search: Spends the ledger.
        seed: Decides everything.
    """
    audited = AuditedEvaluator(predictor, truth, problem, arm.options)
    stack = make_evaluator([audited], problem)
    ledger = Ledger(stack, problem, arm.evaluations)
    search(problem, ledger, np.random.default_rng(seed))
    asked = sum(row.asked for row in audited.rows)
    finalists = distinct_best(ledger.rows, max(min(arm.finalists, TRUTHS - asked), 1))
    known = {row.tokens: row.verified for row in audited.rows if row.verified is not None}
    new = [row for row in finalists if row.canonical not in known]
    known |= _ask(truth, problem, new)
    judged = [(_true_reward(problem, row, known[row.canonical]), row) for row in finalists]
    optimism = float(np.mean([row.reward - reward for reward, row in judged]))
    verified, winner = max(judged, key=lambda pair: pair[0])
    ledger.history.close()
    accuracy = known[winner.canonical]
    return Outcome(optimism, verified, accuracy, asked + len(new), _course(truth, problem, ledger))


def _course(truth: Evaluator, problem: Problem, ledger: Ledger) -> tuple[Step, ...]:
    """How the promised and the true reward of the best so far went."""
    rows: list[tuple[int, Row]] = []
    for number, row in enumerate(ledger.rows):
        if not rows or row.reward > rows[-1][1].reward:
            rows.append((number, row))
    known = _ask(truth, problem, [row for _, row in rows])
    return tuple((n, r.reward, _true_reward(problem, r, known[r.canonical])) for n, r in rows)


def _ask(truth: Evaluator, problem: Problem, rows: Sequence[Row]) -> dict[Tokens, float]:
    """True accuracy of the networks of rows.

    Raises:
        EvaluationError: If one has none.
    """
    networks = [problem.space.architecture(row.tokens) for row in rows]
    answers: dict[Tokens, float] = {}
    for row, answer in zip(rows, truth.evaluate(networks), strict=True):
        if isinstance(answer, EvaluationError):
            raise answer
        assert answer.accuracy is not None
        answers[row.canonical] = answer.accuracy
    return answers


def _true_reward(problem: Problem, row: Row, accuracy: float) -> float:
    assert isinstance(row.result, Measurement)
    return problem.reward(row.result.overridden(Measurement.of("table", accuracy=accuracy)))[0]


def weak_surrogate(
    shipped: Surrogate, problem: Problem, networks: Sequence[Tokens], accuracy: Array, seed: int
) -> SurrogateEvaluator:
    """A surrogate of few rows: the recurrent ensemble with the settings for hundreds of rows.

    Args:
        shipped: Lends domain and names.
        problem: Space and task.
        networks: Those it is fitted on.
        accuracy: Their trained accuracy, shape (N,).
        seed: Of the fit.
    """
    layers = layers_of(problem.space, problem.task, networks)
    model = RecurrentRegressor(**WEAK.get_params() | {"seed": seed}).fit(layers[0], accuracy)
    about = {"source": f"{len(networks)} networks of the committed table"}
    weak = Surrogate(**vars(shipped) | {"model": model.ensemble_, "about": about})
    return SurrogateEvaluator(weak, problem.task)
