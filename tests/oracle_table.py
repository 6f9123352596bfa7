"""NAS-Bench-201 with the test accuracy itself as the signal, as its known figures have it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.runs import make_agent
from emnas_gym.ledger import Ledger
from emnas_gym.table import Metric
from emnas_gym.table_env import table_problem
from predictors.table_convert import nb201_table

AGING = {"crossover": 0.0, "mutation": 1.0, "replacement": "oldest", "elites": 0, "batch": 1}
KNOWN_EVOLUTION = AGING | {"population": 10, "tournament": 3, "repeats": True}


def oracle_runs(
    dataset: str, agent: str, options: dict[str, Any], runs: int, evaluations: int = 100
) -> NDArray[np.float64]:
    """Best test accuracy in percent after so many evaluations, shape (runs,)."""
    table = nb201_table(dataset, ())
    test = np.asarray(table.metrics["epochs_200"].test)
    table = replace(table, metrics={"oracle": Metric(test, test)})
    problem, evaluator = table_problem(table, classes=False)
    found = []
    for seed in range(runs):
        ledger = Ledger(evaluator, problem, evaluations)
        make_agent(agent, **options).search(problem, ledger, seed)
        found.append(100.0 * ledger.best.reward)
        ledger.history.close()
    return np.array(found)
