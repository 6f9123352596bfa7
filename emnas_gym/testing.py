"""Contract suites for your own spaces, evaluators and agents, as `check_env` is for environments.

Each raises `AssertionError` with what is wrong; none needs a test framework.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from emnas_gym import encodings
from emnas_gym.architecture import Architecture
from emnas_gym.automaton import Automaton
from emnas_gym.budgets import Budgets
from emnas_gym.errors import EvaluationError, IllegalAction, StoreError
from emnas_gym.evaluator import Evaluator, Result
from emnas_gym.history import Row
from emnas_gym.layers import LayerSpec
from emnas_gym.ledger import Ledger
from emnas_gym.measurement import FIELDS, Measurement
from emnas_gym.problem import Problem
from emnas_gym.space import SAMPLERS, SearchSpace, sample_tokens
from emnas_gym.tasks import DIGITS, Task
from emnas_gym.token_space import TokenSpace
from emnas_gym.variation import crossover, mutate

SMALL = 20_000  # sequences up to which a space is enumerated as well


class SearchAgent(Protocol):
    """What `check_agent` needs of an agent."""

    def search(self, problem: Problem, ledger: Ledger, seed: int) -> None:
        """Searches until the ledger is spent."""


def _check(holds: object, message: str) -> None:
    if not holds:
        raise AssertionError(message)


# -------------------------------------------------------------------------------- search spaces


def check_search_space(
    space: TokenSpace,
    task: Task = DIGITS,
    budgets: Budgets | None = None,
    samples: int = 30,
    seed: int = 0,
) -> None:
    """Checks that a space keeps its own rules: samples, masks, encodings, variation, enumeration.

    Args:
        space: The space.
        task: What its networks are for.
        budgets: Limits that every network must keep; none if None.
        samples: Networks drawn with each sampler.
        seed: Decides what is drawn.

    Raises:
        AssertionError: If it does not.
    """
    table = space.automaton(task, budgets)
    for sampler in SAMPLERS:
        rng, again = np.random.default_rng(seed), np.random.default_rng(seed)
        drawn = [space.sample(rng, task, budgets, sampler) for _ in range(samples)]
        repeated = [space.sample(again, task, budgets, sampler) for _ in range(samples)]
        _check(drawn == repeated, f"{sampler}: two draws with one seed differ")
        for architecture in drawn:
            _check_network(architecture, table)
            _check_encodings(architecture)
            _check_walk(architecture.tokens, table)
            _check_mutation(architecture.tokens, table, rng)
        for mother, father in zip(drawn, reversed(drawn), strict=True):
            child = crossover(table, mother.tokens, father.tokens, rng)
            _check(child is None or table.fits(child), f"crossover made {child}, which is illegal")
    if space.size() <= SMALL:
        _check_enumeration(space, table, seed)


def _check_network(architecture: Architecture, table: Automaton) -> None:
    space, tokens = architecture.space, architecture.tokens
    low, high = table.feasible_lengths[0], table.feasible_lengths[-1]
    _check(low <= len(tokens) <= high, f"{tokens} has {len(tokens)} tokens, not {low} to {high}")
    _check(table.fits(tokens), f"{tokens} was drawn, but the automaton says that it does not fit")
    broken = table.budgets.broken(space.promised(tokens, table.task))
    _check(not broken, f"{tokens} was drawn, but breaks its budgets: {broken}")
    canonical = space.canonical_tokens(architecture.canonical)
    _check(canonical == architecture.canonical, f"the canonical form of {tokens} is not final")
    copy = Architecture.from_json(architecture.to_json(), space)
    _check(copy == architecture, f"{tokens} does not come back from JSON")
    _check(hash(copy) == hash(architecture), f"equal architectures of {tokens} hash differently")


def _check_encodings(architecture: Architecture) -> None:
    space, tokens = architecture.space, architecture.tokens
    rows = encodings.onehot(space, tokens, space.max_layers)
    _check(encodings.from_onehot(rows) == tokens, f"{tokens} does not come back from one-hot")
    matrix = encodings.layer_matrix(space, tokens, space.max_layers)
    words = tuple(map(space.describe, encodings.from_layer_matrix(space, matrix)))
    _check(words == architecture.words, f"{tokens} does not come back from its details")


def _check_walk(tokens: Sequence[int], table: Automaton) -> None:
    """Walks along a network: masks and legal tokens agree, and nothing legal is a dead end."""
    cursor = table.start()
    for position, token in enumerate(tokens):
        legal, mask = table.legal(cursor), table.mask(cursor)
        _check(
            np.array_equal(np.flatnonzero(mask), legal),
            f"after {tokens[:position]} the mask allows other tokens than `legal`",
        )
        _check(token in legal, f"after {tokens[:position]} token {token} is refused, yet drawn")
        for next_token in legal[:: max(len(legal) // 8, 1)]:
            ahead = table.start()
            for placed in (*tokens[:position], int(next_token)):
                table.step(ahead, placed)
            alive = ahead.done or len(table.legal(ahead)) > 0
            _check(alive, f"{(*tokens[:position], int(next_token))} is legal, but a dead end")
        table.step(cursor, token)
    _check(cursor.done, f"{tokens} is complete, but the automaton goes on")
    _check(table.mask(cursor).nonzero()[0].tolist() == [0], "after the end only token 0 is legal")
    try:
        table.step(cursor, tokens[0])
    except IllegalAction:
        return
    raise AssertionError(f"after the end of {tokens} another token was accepted")


def _check_mutation(tokens: Sequence[int], table: Automaton, rng: np.random.Generator) -> None:
    child = mutate(table, tokens, rng)
    _check(table.fits(child), f"mutation of {tokens} made {child}, which is illegal")


def _check_enumeration(space: TokenSpace, table: Automaton, seed: int) -> None:
    listed = [a.tokens for a in space.enumerate(table.task, table.budgets)]
    _check(len(set(listed)) == len(listed), "the enumeration repeats a network")
    _check(len(listed) <= space.size(), f"{len(listed)} are listed, but the size is {space.size()}")
    _check(all(map(table.fits, listed)), "the enumeration lists a network that does not fit")
    rng = np.random.default_rng(seed)
    missed = {sample_tokens(table, rng) for _ in range(200)} - set(listed)
    _check(not missed, f"the enumeration misses {sorted(missed)[:3]}")


# ----------------------------------------------------------------------------------- evaluators


def check_evaluator(evaluator: Evaluator, architectures: Sequence[Architecture]) -> None:
    """Checks that an evaluator keeps its word on fields, order, repeats and failures.

    Args:
        evaluator: The evaluator.
        architectures: Two or more networks of its domain.

    Raises:
        AssertionError: If it does not.
    """
    name, batch = type(evaluator).__name__, list(architectures)
    _check(len(batch) >= 2, "give two architectures or more")
    unknown = evaluator.provides - set(FIELDS)
    _check(not unknown, f"{name} provides {sorted(unknown)}, which no measurement has")
    _check(evaluator.evaluate([]) == [], f"{name} returns something for an empty batch")
    results = evaluator.evaluate(batch)
    _check(len(results) == len(batch), f"{name}: {len(results)} results for {len(batch)}")
    for architecture, result in zip(batch, results, strict=True):
        _check_result(evaluator, architecture, result)
    if evaluator.repeatable:
        again = evaluator.evaluate(batch)
        _check(_same(results, again), f"{name} says it is repeatable, but two calls differ")
        backwards = evaluator.evaluate(batch[::-1])[::-1]
        _check(_same(results, backwards), f"{name}: results depend on the order of the batch")
        single = evaluator.evaluate(batch[:1])
        _check(_same(results[:1], single), f"{name}: results depend on the size of the batch")


def _check_result(evaluator: Evaluator, architecture: Architecture, result: Result) -> None:
    name, tokens = type(evaluator).__name__, architecture.tokens
    if isinstance(result, EvaluationError):
        _check(str(result), f"{name} failed on {tokens} without saying why")
        return
    _check(isinstance(result, Measurement), f"{name} returned a {type(result).__name__}")
    known = set(result.provenance)
    missing, extra = evaluator.provides - known, known - evaluator.provides
    _check(not missing, f"{name} provides {sorted(missing)}, but {tokens} lacks them")
    _check(not extra, f"{name} filled {sorted(extra)}, which it does not say it provides")
    for field in known:
        value = getattr(result, field)
        _check(np.isfinite(value) and value >= 0, f"{name} measured {field} = {value} of {tokens}")
    accuracy = result.accuracy
    _check(accuracy is None or accuracy <= 1, f"{name} measured accuracy = {accuracy} of {tokens}")


def _same(one: Sequence[Result], other: Sequence[Result]) -> bool:
    """Equal measurements; of failures only that both are."""
    return len(one) == len(other) and all(
        a == b or (isinstance(a, EvaluationError) and isinstance(b, EvaluationError))
        for a, b in zip(one, other, strict=True)
    )


# --------------------------------------------------------------------------------------- agents


def check_agent(
    make_agent: Callable[[], SearchAgent],
    problem: Problem | None = None,
    evaluations: int = 120,
    optimum: bool = True,
) -> None:
    """Checks that an agent spends exactly its budget, repeats itself, resumes, finds an optimum.

    What it charges for training of its own counts as spent.

    Args:
        make_agent: Makes a fresh agent.
        problem: A world small enough for brute force; `tiny_problem` if None.
        evaluations: Budget within which the best network must be found.
        optimum: Whether it must be found; an agent that follows the gradient of a loss instead of
            rewards need not.

    Raises:
        AssertionError: If it does not.
    """
    world = problem or tiny_problem()
    scripted = ScriptedEvaluator(world)
    for budget in (1, 7, evaluations):
        _check(_search(make_agent, world, scripted, budget, seed=0), "no network was evaluated")
    whole = _search(make_agent, world, scripted, evaluations, seed=1)
    again = _search(make_agent, world, scripted, evaluations, seed=1)
    _check(whole == again, _where("two searches with one seed differ", whole, again))
    other = _search(make_agent, world, scripted, evaluations, seed=2)
    _check(whole != other, "searches with two seeds are the same")
    _check_resume(make_agent, world, whole, evaluations)
    if not optimum:
        return
    best = max(row.reward for row in whole)
    reward = scripted.optimum_reward
    _check(best == reward, f"the best reward found is {best}, but there is {reward}")


def _search(
    make_agent: Callable[[], SearchAgent],
    problem: Problem,
    evaluator: Evaluator,
    evaluations: int,
    seed: int,
    path: Path | None = None,
    watch: Callable[[Row], None] | None = None,
) -> list[Row]:
    ledger = Ledger(evaluator, problem, evaluations, path, watch=watch)
    try:
        make_agent().search(problem, ledger, seed)
        used = ledger.count + evaluations - ledger.allowed
        _check(watch or used == evaluations, f"the agent used {used} of {evaluations} evaluations")
        return ledger.rows
    finally:
        ledger.close()


def _check_resume(
    make_agent: Callable[[], SearchAgent], problem: Problem, whole: list[Row], evaluations: int
) -> None:
    """Cuts a search off half-way, as Ctrl-C does, and begins it anew on the same file."""
    seen: list[Row] = []

    def cut(row: Row) -> None:
        seen.append(row)
        if len(seen) == max(len(whole) // 2, 1):
            raise KeyboardInterrupt

    with tempfile.TemporaryDirectory() as folder:
        path, evaluator = Path(folder) / "history.sqlite", ScriptedEvaluator(problem)
        try:
            _search(make_agent, problem, evaluator, evaluations, 1, path, cut)
        except KeyboardInterrupt:
            pass
        else:
            raise AssertionError("the agent swallows KeyboardInterrupt, so that nobody can stop it")
        try:
            resumed = _search(make_agent, problem, evaluator, evaluations, 1, path)
        except StoreError as error:
            raise AssertionError(f"a resumed search goes another way: {error}") from error
        _check(resumed == whole, _where("a resumed search goes another way", whole, resumed))
        distinct, measured = len({row.canonical for row in whole}), evaluator.measured
        _check(measured == distinct, f"{measured} networks were measured; only {distinct} differ")


def _where(message: str, one: list[Row], other: list[Row]) -> str:
    """The message, and the first evaluation at which two histories part."""
    pairs = list(zip(one, other, strict=False))
    at = next((i for i, (a, b) in enumerate(pairs) if a != b), len(pairs))
    return f"{message}, from evaluation {at} on (of {len(one)} and {len(other)})"


# ------------------------------------------------------------------------------------ tiny world


def tiny_problem() -> Problem:
    """A dozen networks of two or three layers."""
    specs = (
        LayerSpec("conv", filters=4, kernel=3, stride=1, padding="same", activation="relu"),
        LayerSpec("conv", filters=8, kernel=3, stride=2, padding="same", activation="relu"),
        LayerSpec("depthwise", kernel=3, stride=2, padding="same", activation="relu"),
        LayerSpec("output", head="dense"),
    )
    return Problem.make(SearchSpace("tiny-12", specs, 2, 3, first=("conv", "depthwise")))


class ScriptedEvaluator(Evaluator):
    """Accuracies from 0.05 to 0.95, all different, shuffled over the networks of a small world.

    Like a training, it seeds all global generators: an agent that draws from them would neither
    explore nor repeat itself.

    Args:
        problem: A world small enough for brute force.

    Attributes:
        optimum: Tokens of the best network.
        measured: Networks measured so far.
    """

    provides = frozenset({"accuracy", "latency_ms"})

    def __init__(self, problem: Problem) -> None:
        self.problem, self.measured = problem, 0
        listed = problem.space.enumerate(problem.task, problem.automaton.budgets)
        networks = list(
            dict.fromkeys(a.canonical for a in listed if problem.automaton.fits(a.tokens))
        )
        order = np.random.default_rng(0).permutation(len(networks))
        values = np.linspace(0.05, 0.95, len(networks))[order]
        self._accuracy = dict(zip(networks, map(float, values), strict=True))
        self.optimum = max(self._accuracy, key=self._accuracy.__getitem__)

    @property
    def optimum_reward(self) -> float:
        """Reward of the best network."""
        return self.problem.reward(self._measure(self.optimum))[0]

    def _measure(self, canonical: tuple[int, ...]) -> Measurement:
        accuracy = self._accuracy[canonical]
        return Measurement.of("predicted", accuracy=accuracy, latency_ms=1.0)

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        random.seed(0)
        np.random.seed(0)
        if "torch" in sys.modules:
            sys.modules["torch"].manual_seed(0)
        self.measured += len(batch)
        return [self._measure(architecture.canonical) for architecture in batch]
