from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import optuna
import pytest
from conftest import BUDGETS, TINY
from hypothesis import given, settings
from hypothesis import strategies as st
from optimum_contract import check_finds_optimum
from optuna.distributions import BaseDistribution
from optuna.trial import FixedTrial
from table_worlds import small_table
from tiny_worlds import formula

from agents.base import OptionError
from agents.optuna_peers import CMAES, TPE, silenced
from agents.trial_networks import Categories, Numbers, Vocabulary
from emnas_gym.problem import Problem
from emnas_gym.table_env import table_problem
from emnas_gym.testing import check_agent

BELOW_ONE = float(np.nextafter(1.0, 0.0))


@cache
def worlds() -> dict[str, Problem]:
    """Chains and tables, free and tight, of one and of several lengths."""
    table, _ = table_problem(small_table())
    gaps, _ = table_problem(small_table(incomplete=True), classes=False)
    tiny = Problem.make(TINY, budgets={"flash_bytes": 5000})
    return {
        "emnas-382": Problem.make(budgets=BUDGETS),
        "fixed": Problem.make(budgets=BUDGETS, min_layers=6, max_layers=6),
        "tiny": tiny,
        "tiny-three": replace(tiny, min_layers=2, max_layers=3),
        "tiny-short": replace(tiny, min_layers=2, max_layers=2),
        "table": table,
        "gaps": gaps,
    }


class Drawn(FixedTrial):
    """A trial whose every parameter is drawn from its range by one stream, the ends too."""

    def __init__(self, seed: int) -> None:
        super().__init__({})
        self.rng = np.random.default_rng(seed)

    def _suggest(self, name: str, distribution: BaseDistribution) -> object:
        if isinstance(distribution, optuna.distributions.CategoricalDistribution):
            return distribution.choices[int(self.rng.integers(len(distribution.choices)))]
        if isinstance(distribution, optuna.distributions.IntDistribution):
            return int(self.rng.integers(distribution.low, distribution.high + 1))
        return float(self.rng.choice([0.0, BELOW_ONE, 1.0, *self.rng.random(5)]))


@cache
def words(name: str) -> Vocabulary:
    return Vocabulary(worlds()[name].automaton)


NAMES = ["emnas-382", "fixed", "tiny", "tiny-short", "table", "gaps"]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_every_proposal_is_a_legal_network(name: str, seed: int) -> None:
    vocabulary = words(name)
    for make in (
        lambda: Categories(vocabulary, Drawn(seed)),
        lambda: Numbers(vocabulary, Drawn(seed), scores=False),
    ):
        assert vocabulary.table.fits(vocabulary.network(make()))
    if name != "emnas-382":  # of which CMA-ES would need thousands
        assert vocabulary.table.fits(vocabulary.network(Numbers(vocabulary, Drawn(seed), True)))


@pytest.mark.parametrize("name", ["tiny-three", "tiny-short", "table", "gaps"])
@pytest.mark.parametrize("way", ["categories", "scores", "line"])
def test_every_behaviour_can_be_proposed(name: str, way: str) -> None:
    problem, vocabulary = worlds()[name], words(name)
    found = set()
    for seed in range(1000):
        trial = Drawn(seed)
        reader = (
            Categories(vocabulary, trial)
            if way == "categories"
            else Numbers(vocabulary, trial, way == "scores")
        )
        found.add(problem.space.canonical_tokens(vocabulary.network(reader)))
    every = problem.space.enumerate(problem.task, problem.automaton.budgets)
    fitting = {a.canonical for a in every if problem.automaton.fits(a.canonical)}
    assert fitting <= found


def test_a_category_means_the_next_legal_token() -> None:
    vocabulary = words("table")
    first = vocabulary.categories[1].tolist()
    reader = Categories(vocabulary, FixedTrial({"token1": first[1]}))
    assert reader.token(1, np.array(first)) == first[1]
    reader = Categories(vocabulary, FixedTrial({"token1": first[1]}))
    assert reader.token(1, np.array([first[0], first[2]])) == first[2]
    reader = Categories(vocabulary, FixedTrial({"token1": first[1]}))
    assert reader.token(1, np.array([first[0]])) == first[0], "cyclically"


def test_scores_and_lines_by_hand() -> None:
    vocabulary = words("table")
    widths = Numbers.widths(vocabulary, scores=True)
    assert widths == [2, 3, 2]
    values = {f"x{i}_{j}": 0.1 * (j + 1) for i, width in enumerate(widths) for j in range(width)}
    ids = vocabulary.categories[1]
    scores = Numbers(vocabulary, FixedTrial(values), scores=True)
    assert scores.token(1, ids) == ids[2]
    assert scores.token(1, ids[:2]) == ids[1], "the largest of the legal ones"
    for number, expected in ((0.0, 0), (0.32, 0), (0.34, 1), (0.99, 2), (1.0, 2)):
        line = Numbers(vocabulary, FixedTrial({f"x{i}_0": number for i in range(3)}), scores=False)
        assert line.token(1, ids) == ids[expected]


@pytest.mark.slow  # the contract of all agents looks for it as well, with fewer seeds
@pytest.mark.parametrize("agent", [TPE, CMAES])
def test_finds_the_optimum(agent: type[TPE] | type[CMAES]) -> None:
    check_finds_optimum(agent)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"batch": 3}, {"repeats": True}])
@pytest.mark.parametrize("agent", [TPE, CMAES])
def test_the_contract_of_their_options(
    agent: type[TPE] | type[CMAES], options: dict[str, object]
) -> None:
    check_agent(lambda: agent.with_options(**options))


@pytest.mark.parametrize(
    ("agent", "options"), [(TPE, {}), (TPE, {"joint": False}), (CMAES, {"population": 6})]
)
def test_they_search_the_seeds_space(
    problem: Problem, agent: type[TPE] | type[CMAES], options: dict[str, object]
) -> None:
    ledger = formula(problem, 25)
    agent.with_options(**options).search(problem, ledger, 0)
    assert ledger.count == 25
    assert len({len(row.tokens) for row in ledger.rows}) > 3, "lengths are searched too"
    assert all(problem.automaton.fits(row.tokens) for row in ledger.rows)


def test_optuna_speaks_as_before_afterwards() -> None:
    before = optuna.logging.get_verbosity()
    with pytest.raises(KeyError), silenced():
        assert optuna.logging.get_verbosity() == optuna.logging.WARNING
        raise KeyError
    assert optuna.logging.get_verbosity() == before


@pytest.mark.parametrize("missing", ["optuna", "cmaes"])
def test_without_the_extra_the_error_names_it(missing: str) -> None:
    program = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from agents.runs import make_agent\n"
        "from emnas_gym.errors import BackendMissing\n"
        "try:\n    make_agent('tpe')\n"
        "except BackendMissing as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert (
        done.stdout.strip() == f"'tpe' needs the package {missing}: pip install 'emnas-gym[optuna]'"
    )


def test_one_number_is_too_few() -> None:
    problem = worlds()["tiny-short"]
    ledger = formula(problem, 9)
    with pytest.raises(OptionError, match="two numbers"):
        CMAES.with_options(relaxation="line").search(problem, ledger, 0)


BAD = [
    (TPE, {"batch": 0}),
    (TPE, {"startup": 0}),
    (TPE, {"candidates": 0}),
    (CMAES, {"population": 3}),
    (CMAES, {"relaxation": "x"}),
]


@pytest.mark.parametrize(("agent", "options"), BAD, ids=str)
def test_bad_values_are_refused(agent: type[TPE] | type[CMAES], options: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        agent.with_options(**options)
