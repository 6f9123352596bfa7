"""A fast student of a slow teacher (Hinton et al. 2015, "Distilling the knowledge in a network").

Measured networks are few, and a fast model alone learns too little from them. A slow ensemble that
learned from them says what it thinks of many networks that nobody trained, and the fast model is
fitted on that. Half of them are drawn; the others are met by a search that climbs what the teacher
says, since that is where searches will ask the student.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from emnas_gym.automaton import Automaton
from emnas_gym.features import LayerTable, layer_table, network_features
from emnas_gym.models.ensemble import link
from emnas_gym.models.pooled import PooledNetwork
from emnas_gym.models.recurrent import RecurrentEnsemble
from emnas_gym.space import SearchSpace, sample_tokens
from emnas_gym.surrogate_file import Predictor
from emnas_gym.tasks import Task
from emnas_gym.variation import mutate
from predictors.estimators.pooled import PooledRegressor
from predictors.splits import is_test
from predictors.store import Tokens

Array = NDArray[np.float64]
Score = Callable[[Sequence[Tokens]], Array]
CHUNK = 4096  # networks that a teacher is asked about at once
TOURNAMENT = 8  # of so many the best has a child
FAR = 0.3  # share of children two edits away
FOUNDERS = 4000  # with which a climb begins


@dataclass(frozen=True)
class Lessons:
    """How many networks the teacher is asked about.

    Attributes:
        uniform: Drawn with a uniform length, then uniform legal tokens.
        canonical: Drawn with a uniform length, then uniform legal behaviours.
        walks: Drawn with uniform legal tokens, the end included.
        generations: Generations of a search that climbs what the teacher says.
        children: Networks of a generation, repeats not counted out.
        seed: Decides which.
    """

    uniform: int = 60_000
    canonical: int = 20_000
    walks: int = 20_000
    generations: int = 12
    children: int = 2500
    seed: int = 0


@dataclass(frozen=True)
class Teacher:
    """A fitted ensemble, asked about networks.

    Attributes:
        model: The ensemble.
        table: Layers of its space and task.
    """

    model: Predictor
    table: LayerTable

    def both(self, networks: Sequence[Tokens]) -> tuple[Array, Array]:
        """Mean and deviation of the members on the scale of the link, each of shape (N,)."""
        parts = [self._scores(networks[i : i + CHUNK]) for i in range(0, len(networks), CHUNK)]
        scores = np.concatenate(parts, axis=1)
        return scores.mean(axis=0), scores.std(axis=0)

    def score(self, networks: Sequence[Tokens]) -> Array:
        """Mean of the members on the scale of the link, shape (N,)."""
        return self.both(networks)[0]

    def rows(self, networks: Sequence[Tokens]) -> NDArray[np.int64]:
        """Rows of the layers of networks in the table, shape (N, longest), 0 after the end."""
        canonical = self.table.space.canonical_tokens
        return self.table.rows([self.table.walk(canonical(tokens)) for tokens in networks])

    def _scores(self, networks: Sequence[Tokens]) -> Array:
        rows = self.rows(networks)
        layers, lengths = self.table.described()[rows], (rows > 0).sum(axis=1)
        if isinstance(self.model, RecurrentEnsemble):
            return self.model.scores(layers, lengths)
        return self.model.scores(network_features(layers, lengths))


def distil(
    space: SearchSpace,
    task: Task,
    teacher: Predictor,
    measured: tuple[Sequence[Tokens], Array],
    student: PooledRegressor,
    lessons: Lessons | None = None,
    truth: float = 0.5,
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
        truth: Weight of the measured value in the target of a measured network.

    Returns:
        The student's model.
    """
    lessons = lessons or Lessons()
    asked = Teacher(teacher, layer_table(space, task))
    networks = list(_lessons(space, task, asked.score, lessons))
    scores, doubts = asked.both([*networks, *measured[0]])
    told = link(student.link, measured[1])
    scores[len(networks) :] += truth * (told - scores[len(networks) :])
    rows = asked.rows([*networks, *measured[0]])
    fitted: PooledRegressor = clone(student)
    return fitted.fit_rows(asked.table.described(), rows, scores, doubts).model_


def _lessons(space: SearchSpace, task: Task, score: Score, lessons: Lessons) -> Iterator[Tokens]:
    """Networks of distinct behaviour that are not held out."""
    rng, table = np.random.default_rng(lessons.seed), space.automaton(task)
    drawn = [
        sample_tokens(table, rng, sampler)
        for sampler, count in (
            ("uniform-length", lessons.uniform),
            ("canonical", lessons.canonical),
            ("walk", lessons.walks),
        )
        for _ in range(count)
    ]
    begin = [drawn[i] for i in rng.permutation(len(drawn))[:FOUNDERS]]
    met = climb(table, score, begin, rng, lessons.generations, lessons.children)
    for canonical, tokens in {space.canonical_tokens(t): t for t in [*drawn, *met]}.items():
        if not is_test(canonical):
            yield tokens


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
