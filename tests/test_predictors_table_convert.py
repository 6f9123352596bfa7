"""Converting tables: NAS-Bench-201 with its known facts, and the formats into each other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from data_files import needs
from table_worlds import small_table
from typer.testing import CliRunner

from agents.runs import make_agent
from emnas_gym.errors import EvaluationError, TableFileError, UnknownName
from emnas_gym.ledger import Ledger
from emnas_gym.table import Table
from emnas_gym.table_env import table_problem
from emnas_gym.table_file import read_table, write_table
from emnas_gym.table_space import TableSpace
from predictors.cells.tables import ACCURACIES, LATENCIES
from predictors.cli import app
from predictors.table_convert import nb201_table


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """As the command writes it, read back."""
    needs(ACCURACIES, LATENCIES)
    path = tmp_path_factory.mktemp("nb201") / "cells.npz"
    done = CliRunner().invoke(app, ["convert", "nb201", "--out", str(path), "--json"])
    assert done.exit_code == 0, done.output
    about = json.loads(done.stdout)
    assert (about["architectures"], about["classes"]) == (15625, 6466)
    return read_table(path)


def test_the_known_facts_of_nas_bench_201(cells: Table) -> None:
    """Dong and Yang 2020, table 5: the best cell reaches 91.61 % and 94.37 % on CIFAR-10."""
    problem, evaluator = table_problem(cells, classes=False)
    best = evaluator.optimum(problem)
    assert best.networks == 15625 == cells.product
    assert best.reward == pytest.approx(0.9161, abs=5e-5)
    assert cells.metrics["epochs_200"].test.max() == pytest.approx(0.9437, abs=5e-5)
    assert evaluator.test_regret(best.architecture) == pytest.approx(0, abs=1e-12)
    assert len(np.unique(TableSpace(cells).represented)) == 6466


def test_the_known_facts_on_cifar_100() -> None:
    """Dong and Yang 2020, table 5: 73.49 % and 73.51 %."""
    needs(ACCURACIES, LATENCIES)
    problem, evaluator = table_problem(nb201_table("cifar100", []), classes=False)
    best = evaluator.optimum(problem)
    assert best.reward == pytest.approx(0.7349, abs=5e-5)
    assert max(evaluator.test_accuracies(best.architecture)) == pytest.approx(0.7351, abs=5e-5)
    assert evaluator.training_seconds(best.architecture) is None, "known of CIFAR-10 alone"


def test_a_search_is_charged_in_simulated_training_cost(cells: Table) -> None:  # E2
    _, long = table_problem(cells)
    _, short = table_problem(cells, metric="epochs_12")
    network = next(long.space.enumerate())
    seconds = long.training_seconds(network)
    assert seconds is not None
    assert seconds == pytest.approx(short.training_seconds(network) * 200 / 12)  # type: ignore[operator]
    assert 200 * 2.5 < seconds < 200 * 17.4


def test_a_cell_that_the_edge_tpu_cannot_run_is_an_error(cells: Table) -> None:  # E18
    problem, evaluator = table_problem(cells, device="edgetpu", classes=False)
    lame = np.flatnonzero(np.isnan(cells.costs["latency_ms/edgetpu"]))
    assert 0 < len(lame) < 15625
    network = problem.space.architecture(evaluator.space.tokens_of(int(lame[0])))
    assert isinstance(evaluator.evaluate([network])[0], EvaluationError)
    on_pi, other = table_problem(cells, device="raspi4", classes=False)
    assert other.optimum(on_pi).architecture != evaluator.optimum(problem).architecture


def test_evolution_searches_the_cells(cells: Table) -> None:
    problem, evaluator = table_problem(cells)
    ledger = Ledger(evaluator, problem, 300)
    make_agent("evolution", population=32, tournament=8).search(problem, ledger, 0)
    assert ledger.best.reward >= evaluator.top(problem, 1)
    assert ledger.distinct > 250, "children are new networks, not isomorphic ones"


def test_names_that_are_not_there() -> None:
    with pytest.raises(UnknownName, match="cifar10"):
        nb201_table("cifar1")
    needs(ACCURACIES, LATENCIES)
    with pytest.raises(UnknownName, match="raspi4"):
        nb201_table("cifar10", ["rapsi4"])


def test_formats_convert_into_each_other(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    write_table(small_table(), tmp_path / "a.csv")
    for source, target in (("a.csv", "b.parquet"), ("b.parquet", "c.npz"), ("c.npz", "d.csv")):
        command = ["convert", source.split(".")[1], str(tmp_path / source), str(tmp_path / target)]
        done = CliRunner().invoke(app, [*command, "--json"])
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["architectures"] == 12
    assert (tmp_path / "d.csv").read_bytes() == (tmp_path / "a.csv").read_bytes()


def test_a_wrong_source_is_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["convert", "csv", str(tmp_path / "a.npz"), "b.npz"])
    assert isinstance(done.exception, TableFileError)
    done = CliRunner().invoke(app, ["convert", "csv", str(tmp_path / "a.csv"), "b.npz"])
    assert isinstance(done.exception, TableFileError)
