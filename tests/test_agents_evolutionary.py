"""Selection, replacement, first populations and variation, against closed forms and by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chisquare
from table_worlds import small_table
from tiny_worlds import DOZEN, in_memory

from agents.base import OptionError
from agents.evolutionary.individuals import Census, Individual
from agents.evolutionary.initial import InitialSpace, first_population, read_networks
from agents.evolutionary.offspring import Variation
from agents.evolutionary.replacement import discard_oldest, discard_worst, next_generation, replace
from agents.evolutionary.selection import (
    elitism,
    fittest,
    rank,
    rank_shares,
    roulette,
    roulette_shares,
    tournament,
)
from emnas_gym.errors import InfeasibleBudgets, UnknownName
from emnas_gym.problem import Problem
from emnas_gym.space import load_space
from emnas_gym.table_env import table_problem
from emnas_gym.testing import tiny_problem
from emnas_gym.variation import crossover, edits_of

FITNESS = [0.5, 0.1, 0.9, 0.3, 0.0, 0.7, 0.2]
DRAWS = 20_000
Selection = Callable[[Sequence[Individual], np.random.Generator], Individual]


def _alive(fitness: Sequence[float]) -> list[Individual]:
    return [Individual(birth, (birth,), value) for birth, value in enumerate(fitness)]


def _tournament_chances(fitness: Sequence[float], size: int) -> np.ndarray:
    """((P − r + 1)^S − (P − r)^S) / P^S for the r-th fittest (Real et al. 2019)."""
    count = len(fitness)
    ranks = np.array([sum(other >= one for other in fitness) for one in fitness])
    return ((count - ranks + 1) ** size - (count - ranks) ** size) / count**size


SHARES = np.array(FITNESS) / sum(FITNESS)
RANKS = np.array([4, 1, 6, 3, 0, 5, 2]) / 21
CASES: dict[str, tuple[Selection, np.ndarray]] = {
    "tournament-1": (lambda alive, rng: tournament(alive, 1, rng), np.full(7, 1 / 7)),
    "tournament-3": (lambda alive, rng: tournament(alive, 3, rng), _tournament_chances(FITNESS, 3)),
    "tournament-9": (lambda alive, rng: tournament(alive, 9, rng), _tournament_chances(FITNESS, 9)),
    "roulette": (roulette, SHARES),
    "rank": (rank, RANKS),
    "elitism": (lambda alive, rng: elitism(alive, 2, rng), np.array([0, 0, 0.5, 0, 0, 0.5, 0])),
}


@pytest.mark.parametrize("name", CASES)
def test_parents_are_drawn_by_the_closed_form(name: str) -> None:  # C5, C8, C9
    draw, chances = CASES[name]
    assert chances.sum() == pytest.approx(1.0)
    alive, rng = _alive(FITNESS), np.random.default_rng(5)
    counted = Counter(draw(alive, rng).birth for _ in range(DRAWS))
    seen = np.array([counted[birth] for birth in range(len(alive))])
    possible = chances > 0
    assert not seen[~possible].any(), "the impossible does not happen"
    errors = np.sqrt(chances * (1 - chances) / DRAWS)
    assert (np.abs(seen / DRAWS - chances) <= 3 * errors).all()
    assert chisquare(seen[possible], DRAWS * chances[possible]).pvalue > 0.01


def test_shares_of_rewards_below_zero_and_of_equals() -> None:  # C8
    assert roulette_shares(np.array([-1.0, 1.0, 0.0])) == pytest.approx([0, 2 / 3, 1 / 3])
    assert roulette_shares(np.zeros(4)) == pytest.approx([0.25] * 4)
    assert roulette_shares(np.full(2, -3.0)) == pytest.approx([0.5] * 2)
    assert rank_shares(np.array([5.0, 5.0, 1.0])) == pytest.approx([0.5, 0.5, 0.0])
    assert rank_shares(np.full(4, 7.0)) == pytest.approx([0.25] * 4)
    assert rank_shares(np.array([2.0])) == pytest.approx([1.0])


def _births(alive: Sequence[Individual]) -> list[int]:
    return [one.birth for one in alive]


def test_the_worst_is_the_minimum_of_all() -> None:  # C6
    kept = discard_worst(_alive(FITNESS), 6)
    assert _births(kept) == [0, 1, 2, 3, 5, 6]
    assert _births(discard_worst(_alive([0.5, 0.2, 0.2]), 2)) == [0, 2], "of equals the older dies"


def test_the_oldest_has_the_least_birth() -> None:  # C7
    shuffled = [_alive(FITNESS)[i] for i in (3, 0, 6, 2, 5, 1, 4)]
    assert _births(discard_oldest(shuffled, 5)) == [2, 3, 4, 5, 6]
    assert _births(discard_oldest(_alive([0.9, 0.8, 0.1, 0.2]), 2, elites=1)) == [0, 3]
    assert _births(discard_oldest(_alive([0.1, 0.2]), 5)) == [0, 1], "nobody dies without need"


def test_a_generation_follows_another() -> None:  # C5
    alive, children = _alive([0.9, 0.1, 0.5]), _alive([0] * 7)[3:]
    assert _births(next_generation(alive, children, 3)) == [3, 4, 5]
    assert _births(next_generation(alive, children, 3, elites=2)) == [0, 2, 3]
    assert _births(next_generation(alive, children[:1], 3)) == [0, 2, 3], "the fittest fill up"
    better = [Individual(7, (), 0.3), Individual(8, (), 0.6), Individual(9, (), 0.4)]
    assert _births(next_generation(alive, better, 2, elites=1)) == [0, 8]


@pytest.mark.parametrize("rule", ["worst", "oldest", "generational"])
def test_elites_never_die(rule: str) -> None:  # C5
    rng, alive, best = np.random.default_rng(3), _alive(FITNESS), max(FITNESS)
    for birth in range(10, 400, 3):
        children = [Individual(birth + i, (), float(rng.random())) for i in range(3)]
        best = max(best, *(one.fitness for one in children))
        alive = replace(rule, alive, children, 7, elites=1)
        assert len(alive) == 7
        assert fittest(alive, 1)[0].fitness == best
        assert _births(alive) == sorted(_births(alive))


def test_rates_of_crossover_and_mutation(problem: Problem) -> None:  # C10, C11
    table, rng = problem.automaton, np.random.default_rng(0)
    mother, father = (1, 1, 1, 1, 382), (3, 3, 3, 3, 3, 382)
    assert table.fits(mother)
    assert table.fits(father)
    asked = Counter[int]()
    edited = 0
    for _ in range(1000):
        parents = iter([mother, father])
        taken: list[tuple[int, ...]] = []

        def parent(parents=parents, taken=taken) -> tuple[int, ...]:  # type: ignore[no-untyped-def]  # noqa: ANN001
            taken.append(next(parents))
            return taken[-1]

        child = Variation(table, rng, crossover=0.3, mutation=0.6).child(parent)
        asked[len(taken)] += 1
        crossed = {mother} | {(*mother[:i], *father[j:]) for i in range(1, 4) for j in range(1, 5)}
        edited += child not in crossed
    error = np.sqrt(0.3 * 0.7 / 1000)
    assert abs(asked[2] / 1000 - 0.3) < 3 * error
    assert edited / 1000 < 0.6 + 3 * np.sqrt(0.6 * 0.4 / 1000)
    assert edited / 1000 > 0.5, "an edit may give what a cut gives too, but rarely"


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_rates_of_none_and_all(problem: Problem, rate: float) -> None:  # C10, C11
    table, rng = problem.automaton, np.random.default_rng(1)
    parents = [problem.space.sample(rng, problem.task, problem.budgets).tokens for _ in range(30)]
    for parent in parents:
        child = Variation(table, rng, 0.0, rate, distance=2).child(lambda parent=parent: parent)  # type: ignore[misc]
        assert problem.space.distance(parent, child) == 2 * rate
        assert table.fits(child)


def test_fixed_genomes_keep_their_length(problem: Problem) -> None:  # A21
    problem = Problem.make(budgets=problem.budgets, min_layers=6, max_layers=6)
    table, rng = problem.automaton, np.random.default_rng(1)
    assert edits_of(table) == ("replace",)
    pool = [InitialSpace.of(problem).draw(rng) for _ in range(20)]
    vary = Variation(table, rng, crossover=1.0)
    children = [vary.child(lambda: pool[int(rng.integers(20))]) for _ in range(200)]
    assert {len(child) for child in children} == {6}
    assert all(table.fits(child) for child in children)
    assert crossover(table, pool[0], pool[1], rng, True) is not None


# ---------------------------------------------------------------------------- first populations


def _first(
    problem: Problem, kind: str, count: int, space: InitialSpace | None = None, networks: str = ""
) -> list[tuple[int, ...]]:
    census, rng = Census(problem, in_memory(tiny_problem(), 1)), np.random.default_rng(0)
    return first_population(kind, count, space or InitialSpace.of(problem), census, rng, networks)


def test_trivial_networks_are_the_shortest(problem: Problem) -> None:  # C2
    born = _first(problem, "trivial", 40)
    assert {len(tokens) for tokens in born} == {problem.min_layers}
    assert len({problem.space.canonical_tokens(tokens) for tokens in born}) == 40


def test_rich_networks_stand_there_unchanged(problem: Problem, tmp_path: Path) -> None:  # C3
    seeds = [InitialSpace.of(problem).draw(np.random.default_rng(i)) for i in range(3)]
    text = "; ".join(" ".join(map(str, seed)) for seed in seeds)
    (tmp_path / "made.txt").write_text(text.replace(";", "\n"), encoding="utf-8")
    for given in (text, str(tmp_path / "made.txt")):
        born = _first(problem, "rich", 12, networks=given)
        assert born[:3] == seeds
        for other in born[3:]:
            assert min(problem.space.distance(seed, other) for seed in seeds) == 1
    assert _first(problem, "rich", 3, networks=text) == seeds


BAD = ["", "1 2 x 382", "1 1 1 999999", "0 1 1 382", "1 1 1", "no/such/file.txt", "1 1 1 382;" * 9]


@pytest.mark.parametrize("networks", BAD)
def test_networks_that_are_none_are_refused(problem: Problem, networks: str) -> None:  # C3
    with pytest.raises(OptionError):
        _first(problem, "rich", 8, networks=networks)


def test_a_file_of_networks_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_bytes(b"1 " * (1 << 20))
    with pytest.raises(OptionError, match="bytes or less"):
        read_networks(str(path))


def test_random_networks_are_uniform_over_their_genes() -> None:  # C4
    problem, _ = table_problem(small_table(), classes=False)
    rng, space = np.random.default_rng(2), InitialSpace.of(problem)
    drawn = np.array([space.draw(rng) for _ in range(6000)])
    for column in drawn.T:
        assert chisquare(np.unique(column, return_counts=True)[1]).pvalue > 0.01


def test_the_initial_space_is_a_part_of_the_search_space(tmp_path: Path) -> None:  # C1
    path = tmp_path / "small.toml"
    few = DOZEN.replace("filters = [4, 8]", "filters = [8, 16]").replace(
        "max_layers = 3", "max_layers = 5"
    )
    path.write_text(few, encoding="utf-8")
    problem = Problem.make()
    space = InitialSpace.of(problem, str(path), min_layers=4)
    search = problem.space
    kinds = {spec.canonical() for spec in load_space(path).specs}
    allowed = {
        search.canonical_token[token]
        for token in range(1, search.num_tokens + 1)
        if search.spec(token).canonical() in kinds
    }
    drawn = [space.draw(np.random.default_rng(i)) for i in range(60)]
    assert {len(tokens) for tokens in drawn} == {4, 5}
    assert {token for tokens in drawn for token in tokens} == allowed
    assert all(problem.automaton.fits(tokens) for tokens in drawn)


def test_an_initial_space_that_is_no_part_is_refused(tmp_path: Path) -> None:  # C1
    path = tmp_path / "other.toml"
    path.write_text(DOZEN, encoding="utf-8")  # four filters: the search space has eight and more
    with pytest.raises(OptionError, match="lacks"):
        InitialSpace.of(Problem.make(min_layers=4), str(path), min_layers=4, max_layers=4)
    with pytest.raises(OptionError, match="initial_min_layers"):
        InitialSpace.of(Problem.make(), min_layers=2)
    with pytest.raises(UnknownName):
        InitialSpace.of(Problem.make(), "emnas-381")
    table, _ = table_problem(small_table())
    with pytest.raises(OptionError, match="table"):
        InitialSpace.of(table, "emnas-382", 3, 3)
    with pytest.raises(InfeasibleBudgets):
        InitialSpace.of(Problem.make(budgets={"flash_bytes": 100}))
