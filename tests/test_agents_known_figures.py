"""The known figures of NAS-Bench-201: ours lie within three standard errors of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from data_files import needs
from oracle_table import KNOWN_EVOLUTION, oracle_runs

RUNS = 300
KNOWN = {  # agent → mean best test accuracy in percent after 100 evaluations
    ("random", "walk"): {"cifar10": 93.85, "cifar100": 71.57},
    ("genetic", "evolution"): {"cifar10": 94.17, "cifar100": 72.71},
    ("local-search", "first"): {"cifar10": 94.30, "cifar100": 73.39},
}
OPTIONS: dict[str, dict[str, Any]] = {
    "random": {"sampler": "walk"},
    "genetic": KNOWN_EVOLUTION,
    "local-search": {"repeats": True},
}


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
@pytest.mark.parametrize(("agent", "way"), KNOWN)
def test_ours_are_the_known_figures(agent: str, way: str, dataset: str) -> None:  # B1, B16
    """Three of our own errors, as if the known means had none."""
    needs("nb201/nb201_accuracy.npz", "nb201/hwnasbench_nb201.npz")
    found = oracle_runs(dataset, agent, OPTIONS[agent], RUNS)
    error = found.std(ddof=1) / np.sqrt(RUNS)
    assert abs(found.mean() - KNOWN[agent, way][dataset]) < 3 * error


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
@pytest.mark.parametrize("agent", ["genetic", "local-search", "annealing", "munas", "nsga2"])
def test_each_of_ours_beats_random_search(agent: str, dataset: str) -> None:  # B16
    needs("nb201/nb201_accuracy.npz", "nb201/hwnasbench_nb201.npz")
    from scipy.stats import mannwhitneyu

    random = oracle_runs(dataset, "random", OPTIONS["random"], 60)
    found = oracle_runs(dataset, agent, {}, 60)
    assert mannwhitneyu(found, random, alternative="greater").pvalue < 0.01
