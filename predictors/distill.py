"""A fast student of a slow teacher (Hinton et al. 2015, "Distilling the knowledge in a network").

Measured networks are few, and a fast model alone learns too little from them. A slow ensemble that
learned from them says what it thinks of many networks that nobody trained, and the fast model is
fitted on that. Most of them are drawn. Others are met by a search that climbs what the teacher
says, since there a search will ask the student; and by one that climbs what a half-trained student
says, so that the teacher corrects what a search would be led astray by (Ross et al. 2011, "A
reduction of imitation learning and structured prediction to no-regret online learning").
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.base import clone

from emnas_gym.automaton import Automaton
from emnas_gym.features import layer_table
from emnas_gym.models.base import Array
from emnas_gym.models.ensemble import link, unlink
from emnas_gym.models.pooled import PooledNetwork
from emnas_gym.space import SearchSpace, sample_tokens
from emnas_gym.surrogate_file import Predictor
from emnas_gym.tasks import Task
from predictors.climb import Judge, climb
from predictors.estimators.pooled import PooledRegressor
from predictors.fitted import Figures
from predictors.metrics import agreement
from predictors.splits import is_test
from predictors.store import Tokens

TRUTH = 0.5  # weight of a measured value in the target of its network; the teacher has the rest
HALF_TRAINED = 5  # times fewer epochs
FOUNDERS = 4000  # with which a climb begins, at most
Measured = tuple[Sequence[Tokens], Array]  # training networks, and their values


@dataclass(frozen=True)
class Lessons:
    """How many networks the teacher is asked about.

    Attributes:
        uniform: Drawn with a uniform length, then uniform legal tokens.
        canonical: Drawn with a uniform length, then uniform legal behaviours.
        walks: Drawn with uniform legal tokens, the end included.
        generations: Generations of a search.
        children: Networks of a generation that climbs what the teacher says, repeats counted.
        astray: The same of one that climbs what a half-trained student says.
        seed: Decides which.
    """

    uniform: int = 50_000
    canonical: int = 20_000
    walks: int = 20_000
    generations: int = 12
    children: int = 2500
    astray: int = 2500
    seed: int = 0


def distil(
    space: SearchSpace,
    task: Task,
    teacher: Predictor,
    measured: Measured,
    student: PooledRegressor,
    lessons: Lessons,
) -> PooledNetwork:
    """Fits a student on what a teacher says, of networks drawn, climbed to, and measured.

    Held-out networks (`predictors.splits.is_test`) are left out of the lessons.

    Args:
        space: The search space.
        task: Input shape and classes.
        teacher: Fitted on the measured networks.
        measured: Training networks and their values.
        student: With the link of the teacher; it is cloned.
        lessons: What the teacher is asked about.

    Returns:
        The student's model.
    """
    asked = Judge(teacher, layer_table(space, task))
    rng, table = np.random.default_rng(lessons.seed), space.automaton(task)
    drawn = _drawn(table, rng, lessons)
    begin = [drawn[i] for i in rng.permutation(len(drawn))[:FOUNDERS]]
    met = climb(table, asked.score, begin, rng, lessons.generations, lessons.children)
    networks = _not_held_out(space, [*drawn, *met])
    early = clone(student).set_params(epochs=max(student.epochs // HALF_TRAINED, 1))
    half = Judge(_taught(asked, early, networks, measured), asked.table)
    astray = climb(table, half.score, begin, rng, lessons.generations, lessons.astray)
    return _taught(asked, student, _not_held_out(space, [*networks, *astray]), measured)


def _drawn(table: Automaton, rng: np.random.Generator, lessons: Lessons) -> list[Tokens]:
    counts = {
        "uniform-length": lessons.uniform,
        "canonical": lessons.canonical,
        "walk": lessons.walks,
    }
    return [
        sample_tokens(table, rng, sampler)
        for sampler, count in counts.items()
        for _ in range(count)
    ]


def _not_held_out(space: SearchSpace, networks: Iterable[Tokens]) -> list[Tokens]:
    """Networks of distinct behaviour that are not held out."""
    distinct = {space.canonical_tokens(tokens): tokens for tokens in networks}
    return [tokens for canonical, tokens in distinct.items() if not is_test(canonical)]


def _taught(
    teacher: Judge, student: PooledRegressor, networks: Sequence[Tokens], measured: Measured
) -> PooledNetwork:
    everything = [*networks, *measured[0]]
    scores, doubts = teacher.both(everything)
    told = scores[len(networks) :]
    told += TRUTH * (link(student.link, measured[1]) - told)
    rows, fitted = teacher.rows(everything), clone(student)
    model: PooledNetwork = fitted.fit_rows(teacher.table.described(), rows, scores, doubts).model_
    return model


def compare(
    space: SearchSpace,
    task: Task,
    teacher: Predictor,
    student: PooledNetwork,
    *,
    seeds: Sequence[int],
    size: int,
    best: int,
) -> Figures:
    """How far a student agrees with its teacher on networks that neither was fitted on by choice.

    Args:
        space: The search space.
        task: Input shape and classes.
        teacher: What taught.
        student: What was taught.
        seeds: One search each on the student and on the teacher, from equal beginnings.
        size: Children of a generation, and networks at the beginning.
        best: How many winners of a search are compared.

    Returns:
        Agreement on drawn networks, and among the tenth that the teacher likes best; agreement on
        what the searches met, and mean values of their winners, each by both.
    """
    table, layers = space.automaton(task), layer_table(space, task)
    judges = {"student": Judge(student, layers), "teacher": Judge(teacher, layers)}
    met: dict[str, list[tuple[Array, Array]]] = {name: [] for name in judges}
    drawn: list[Tokens] = []
    for seed in seeds:
        rng = np.random.default_rng([seed, size])
        begin = [sample_tokens(table, rng) for _ in range(size)]
        drawn += begin
        for name, judge in judges.items():
            found = climb(table, judge.score, begin, np.random.default_rng(seed), 12, size)
            met[name].append((judges["student"].score(found), judges["teacher"].score(found)))
    said, true = (unlink(student.link, judges[name].score(drawn)) for name in judges)
    top = np.argsort(-true, kind="stable")[: max(len(true) // 10, 2)]
    climbed = {name: np.concatenate(pairs, axis=1) for name, pairs in met.items()}
    return {
        "drawn": {**agreement(said, true), "n": len(drawn)},
        "drawn_top_tenth": {**agreement(said[top], true[top]), "n": len(top)},
        "met_by_search": {
            **agreement(*(unlink(student.link, v) for v in climbed["student"])),
            "n": climbed["student"].shape[1],
        },
        "winners_of_student": _winners(student.link, met["student"], 0, best),
        "winners_of_teacher": _winners(student.link, met["teacher"], 1, best),
    }


def _winners(
    scale: str, searches: Sequence[tuple[Array, Array]], by: int, best: int
) -> dict[str, float]:
    """Mean value of the best of each search, as the student and as the teacher says."""
    chosen = [
        [unlink(scale, scores[np.argsort(-pair[by], kind="stable")[:best]]) for scores in pair]
        for pair in searches
    ]
    means = np.mean([[values.mean() for values in pair] for pair in chosen], axis=0)
    return {"student_says": float(means[0]), "teacher_says": float(means[1])}
