"""Repeats the trainings of a verified winner, by the full recipe, with the seeds of its file."""

from __future__ import annotations

import numpy as np

from benchmarks.replay.record import Claim, Verified
from benchmarks.replay.tolerance import tolerance_of
from benchmarks.replay.world import MOST_SEEDS, Given, OtherVersion, images, make_problem
from benchmarks.winners.verify import full_recipe
from emnas_gym.architecture import Architecture
from emnas_gym.errors import EvaluationError
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from predictors.trained import TrainedEvaluator


def retrain(claim: Claim, given: Given, exact: bool) -> tuple[float, bool, str]:
    """Trains a winner as verification did.

    Args:
        claim: The winner, with what verification is said to have found.
        given: What the user says.
        exact: Whether bits must be equal; else the noise of trainings is allowed.

    Returns:
        The reward of the mean test accuracy, whether what is recorded holds, and why.

    Raises:
        EmNASError: If it cannot be trained here.
    """
    told = claim.verified
    assert told is not None
    if not 1 <= told.trainings <= MOST_SEEDS:
        raise OtherVersion(f"{told.trainings} trainings cannot be repeated")
    problem = make_problem(claim.record, given)
    trained = _accuracies(claim, problem, told.trainings)
    reward = _reward(claim, problem, float(np.mean(trained)))
    if _equal(told, trained, reward):
        return reward, True, "equal bits"
    recorded = Measurement.from_json({**claim.measurement}).overridden(
        Measurement.of("trained", accuracy=told.mean)
    )
    if _reward(claim, problem, told.mean) != told.reward:
        return reward, False, "the file contradicts itself: its accuracy does not have its reward"
    tolerance = tolerance_of(recorded.to_json(), exact, told.trainings)
    if not tolerance.margins:
        return reward, False, f"trained here, the test accuracies are {trained}"
    low, high = tolerance.interval(recorded.to_json(), problem.reward)
    inside = low <= reward <= high
    return reward, inside, f"{'within' if inside else 'beyond'} {tolerance.words}"


def _accuracies(claim: Claim, problem: Problem, trainings: int) -> list[float]:
    trainer = TrainedEvaluator(images(problem), full_recipe(), workers=1)
    network = Architecture(problem.space, claim.tokens)
    outcome = trainer.train([network], range(trainings))[0]
    if isinstance(outcome, EvaluationError):
        raise outcome
    return outcome.test_accuracies


def _reward(claim: Claim, problem: Problem, accuracy: float) -> float:
    trained = Measurement.of("trained", accuracy=accuracy)
    return problem.reward(Measurement.from_json({**claim.measurement}).overridden(trained))[0]


def _equal(told: Verified, trained: list[float], reward: float) -> bool:
    each = not told.accuracies or list(told.accuracies) == trained
    return each and told.mean == float(np.mean(trained)) and told.reward == reward
