from __future__ import annotations

from collections import Counter, deque
from pathlib import Path

import numpy as np
import pytest
import tiny_worlds

from agents.base import OptionError
from agents.evolution import Individual, Population, RegularisedEvolution
from emnas_gym.problem import Problem
from emnas_gym.testing import check_agent

SMALL = {"population": 8, "tournament": 3}


def test_contract_with_crossover_and_batches() -> None:
    options = SMALL | {"crossover": 0.5, "batch": 4}
    check_agent(lambda: RegularisedEvolution.with_options(**options))


def test_finds_the_optimum_of_the_dozen(tmp_path: Path) -> None:
    problem = tiny_worlds.dozen(tmp_path)
    tokens, reward = tiny_worlds.brute_force(problem)
    ledger = tiny_worlds.in_memory(problem, 100)
    RegularisedEvolution.with_options(**SMALL).search(problem, ledger, 0)
    assert (ledger.best.canonical, ledger.best.reward) == (tokens, reward)


def test_the_oldest_dies(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:  # C7
    dead: list[Individual] = []
    add = Population.add

    def watched(self: Population, individual: Individual) -> Individual | None:
        before = [*self.alive, individual]
        died = add(self, individual)
        if died is not None:
            assert died.birth == min(one.birth for one in before)
            dead.append(died)
        return died

    monkeypatch.setattr(Population, "add", watched)
    ledger = tiny_worlds.formula(problem, 60)
    RegularisedEvolution.with_options(population=20, tournament=4).search(problem, ledger, 0)
    assert [one.birth for one in dead] == list(range(40))
    least = min(row.reward for row in ledger.rows[-20:])
    assert any(one.fitness > least for one in dead), "the fit die as well"


def test_tournament_ranks_match_the_closed_form() -> None:  # C9
    alive, size, draws = 8, 3, 20_000
    population, rng = Population(alive), np.random.default_rng(0)
    fitness = rng.permutation(alive)
    for birth in range(alive):
        population.add(Individual(birth, (), float(fitness[birth])))
    won = Counter(population.tournament(size, rng).fitness for _ in range(draws))
    for rank in range(1, alive + 1):  # rank 1 is the fittest
        chance = ((alive - rank + 1) ** size - (alive - rank) ** size) / alive**size
        error = np.sqrt(chance * (1 - chance) / draws)
        assert abs(won[float(alive - rank)] / draws - chance) < 3 * error


def _distance(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    """Levenshtein's edit distance."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]


def test_a_child_is_one_edit_from_a_living_network(problem: Problem) -> None:  # C10
    ledger, size = tiny_worlds.formula(problem, 300), 30
    RegularisedEvolution.with_options(population=size, tournament=5).search(problem, ledger, 3)
    alive = deque((row.tokens for row in ledger.rows[:size]), maxlen=size)
    for row in ledger.rows[size:]:
        assert min(_distance(row.tokens, parent) for parent in alive) == 1
        assert problem.automaton.fits(row.tokens)
        alive.append(row.tokens)


def test_no_network_is_measured_twice_where_there_are_others(problem: Problem) -> None:
    ledger = tiny_worlds.formula(problem, 300)
    RegularisedEvolution().search(problem, ledger, 0)
    assert ledger.distinct == ledger.count == 300


def test_a_longer_search_begins_as_a_shorter_one(problem: Problem) -> None:
    histories = []
    for evaluations in (70, 140):
        ledger = tiny_worlds.formula(problem, evaluations)
        RegularisedEvolution.with_options(**SMALL).search(problem, ledger, 0)
        histories.append([row.tokens for row in ledger.rows])
    assert histories[1][:70] == histories[0]


@pytest.mark.parametrize(
    "options", [{"population": 1}, {"tournament": 0}, {"crossover": 1.5}, {"sampler": "x"}]
)
def test_bad_values_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        RegularisedEvolution.with_options(**options)
