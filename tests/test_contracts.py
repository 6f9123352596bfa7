"""The contract suites on everything that is registered: what is added later is checked as well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradient_worlds
import numpy as np
import pytest
from outside_programs import needs_program
from table_worlds import small_table

from emnas_gym.architecture import Architecture
from emnas_gym.budgets import Budgets
from emnas_gym.errors import DomainError
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem
from emnas_gym.registry import NEED_IMAGES, make_evaluator, names, resolve, reward_driven
from emnas_gym.space import SearchSpace, load_space
from emnas_gym.table_env import table_problem
from emnas_gym.tasks import DIGITS, GRASP
from emnas_gym.testing import check_agent, check_evaluator, check_search_space

K210 = {"task": "grasp", "device": "sipeed-maix-bit"}
MOBILE = {"space": "emnas-mobile-49", **K210}
PROBLEMS: dict[str, list[dict[str, Any]]] = {  # evaluator → what it is asked about
    "analytic": [{}, {"device": "jevois"}, {"device": "ethos-u55-128"}, {"space": "darts-cell"}],
    "surrogate": [{}, K210, MOBILE],
    "bench": [{"space": "emnas-bench-8"}, {"space": "emnas-bench-8", "device": "ethos-u55-128"}],
    "trained": [{}],
    "trained-ray": [{}],
    "early-stopped": [{}],
    "shared": [{"space": "nb201-cell"}],
    "audited": [{}],
    "host": [{}, {"space": "nb201-cell"}],
    "npu": [{"device": "ethos-u55-128"}],
    "emulated": [{}, {"device": "stm32f746zg"}],
    "boards": [{}, {"device": "stm32l4r5zi"}],  # the latter has a power, and so energies
}
SLOW = ("trained-ray", "shared")  # start a cluster and train a supernet; others test them too
CASES = [
    pytest.param(name, options, marks=pytest.mark.slow if name in SLOW else ())
    for name, every in PROBLEMS.items()
    for options in every
]
NEEDS = {
    "trained": "torch",
    "audited": "torch",
    "host": "ai_edge_litert",
    "npu": "ethosu.regor",
    "emulated": "serial",
}
NEEDS |= {"boards": "ai_edge_litert", "early-stopped": "torch", "shared": "torch"}
TRAINS = ("trained", "trained-ray", "early-stopped", "audited", "shared")

ORIGINAL = {"batch": 10, "width": 8, "learning_rate": 0.03, "elite": 1, "imitation": 1.0}
ORIGINAL |= {"tries": 2, "passes": 1}
RL = {"envs": 4, "steps": 8, "hidden": 16, "width": 4}
GRADIENT = {"epochs": 2, "warm_up": 1, "batch_size": 12}
OPTIONS: dict[str, dict[str, Any]] = {  # agent → hyperparameters for a world of a dozen networks
    "random": {},
    "evolution": {"population": 8, "tournament": 3},
    "genetic": {"population": 8},
    "nsga2": {"population": 8},
    "munas": {"population": 8, "tournament": 3},
    "local-search": {},
    "annealing": {"start": 4},
    "tpe": {"startup": 5},
    "cma-es": {},
    "reinforce": {"batch": 8, "hidden": 16, "width": 8},
    "ppo": RL | {"minibatch": 16, "epochs": 2},
    "a2c": RL,
    "maskable-ppo": RL | {"minibatch": 16, "epochs": 2},
    "controller-v1": ORIGINAL,
    "controller-v2": ORIGINAL,
    "lstm-v1": ORIGINAL,
    "lstm-v2-1": ORIGINAL,
    "lstm-v2-2": ORIGINAL,
    "lstm-v2-3": ORIGINAL,
    "ff-v1": ORIGINAL,
    "ff-v2": ORIGINAL,
    "ff-v3": ORIGINAL,
    "dqn": {"envs": 4, "hidden": 16, "width": 4, "warm_up": 16, "minibatch": 16, "explore": 200},
    "recurrent-ppo": RL | {"minibatch": 16, "epochs": 2, "recurrent": 16},
    "factorised-reinforce": {"batch": 8, "hidden": 16, "width": 8},
    "network-policy": {"first": 4, "batch": 2},
    "position-reinforce": {"tries": 20},
    "q-learning": {"replays": 2, "horizon": 60},
    "bananas": {"estimator": "elastic_net", "initial": 5, "batch": 2, "pool": 10},
    "pnas": {"estimator": "gaussian_process", "beam": 3, "expansions": 12},
    "train-sort": {"estimator": "elastic_net", "train": 5, "sort": 20, "batch": 2},
    "gp": {"initial": 4, "pool": 12},
    "cartographer": {"initial": 3},
    "darts": GRADIENT,
    "gdas": GRADIENT,
    "pc-darts": GRADIENT | {"divisor": 2},
    "proxyless": GRADIENT,
}


def test_nothing_that_is_registered_is_forgotten() -> None:
    assert sorted(PROBLEMS) == names("evaluator")
    assert sorted(OPTIONS) == names("agent")


def _networks(problem: Problem, count: int) -> list[Architecture]:
    rng = np.random.default_rng(1)
    return [problem.space.sample(rng, problem.task, problem.budgets) for _ in range(count)]


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_evaluator(
    name: str,
    options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:  # E10
    monkeypatch.setenv("EMNAS_DEVICES", "host")
    if name in NEEDS:
        pytest.importorskip(NEEDS[name], reason=f"needs {NEEDS[name]}")
    if name == "emulated":
        needs_program("qemu-system-arm")
    if name == "trained-ray":
        request.getfixturevalue("ray_cluster")
    problem = Problem.make(**options)
    evaluator = resolve("evaluator", name).for_problem(problem)
    try:
        check_evaluator(evaluator, _networks(problem, 2 if name in TRAINS else 3))
    finally:
        evaluator.close()


@pytest.mark.parametrize("options", [{}, K210, MOBILE], ids=str)
def test_what_an_environment_makes_of_the_default(options: dict[str, Any]) -> None:
    problem = Problem.make(**options)
    check_evaluator(make_evaluator("surrogate", problem), _networks(problem, 4))


@pytest.mark.parametrize("name", NEED_IMAGES)
def test_agent_that_trains_on_images(name: str, tmp_path: Path) -> None:
    """What it charges for its supernets counts as spent; a table has nothing to train on."""
    world = gradient_worlds.small_problem(tmp_path)
    agent = resolve("agent", name)
    check_agent(lambda: agent.with_options(**OPTIONS[name]), world, evaluations=9, optimum=False)
    problem, evaluator = table_problem(small_table())
    with pytest.raises(DomainError, match="proxy_space"):
        agent.with_options().search(problem, Ledger(evaluator, problem, 3), 0)


def test_the_registry_knows_what_agents_need() -> None:
    needs = {name: resolve("agent", name).needs for name in OPTIONS}
    assert {name for name, needed in needs.items() if needed} == set(NEED_IMAGES)
    assert sorted([*reward_driven(), *NEED_IMAGES]) == sorted(OPTIONS)


@pytest.mark.parametrize("name", reward_driven())
def test_agent(name: str) -> None:
    check_agent(lambda: resolve("agent", name).with_options(**OPTIONS[name]))


@pytest.mark.parametrize("name", reward_driven())
def test_agent_on_a_table(name: str) -> None:
    problem, _ = table_problem(small_table())
    check_agent(lambda: resolve("agent", name).with_options(**OPTIONS[name]), problem)


@pytest.mark.parametrize("incomplete", [False, True])
@pytest.mark.parametrize("classes", [False, True])
def test_tables(incomplete: bool, classes: bool) -> None:
    """Spaces and evaluators of a full table and of one with gaps, repeats or none."""
    table = small_table(incomplete=incomplete)
    problem, evaluator = table_problem(table, device="board", classes=classes, noise_seed=1)
    check_search_space(problem.space, problem.task)
    check_search_space(problem.space, problem.task, Budgets(macs=800), samples=10)
    check_evaluator(evaluator, list(problem.space.enumerate(problem.task)))


def test_spaces(space: SearchSpace, mobile: SearchSpace, tiny: SearchSpace) -> None:  # A1, A5
    check_search_space(space, DIGITS, Budgets(ram_bytes=8192, flash_bytes=32768), samples=10)
    check_search_space(space, samples=5)
    check_search_space(mobile, samples=3)
    check_search_space(mobile, GRASP, samples=3)
    check_search_space(tiny)
    assert load_space("emnas-382") == space
