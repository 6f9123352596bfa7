"""Up to how many MACs a table's networks were drawn: noted by `collect`, kept by `fit --table`."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the package torch")

from typer.testing import CliRunner

from emnas_gym import costs
from emnas_gym.errors import DomainError, StoreError
from emnas_gym.fitted import FittedEvaluator
from emnas_gym.space import load_space
from emnas_gym.tasks import DIGITS
from predictors import predictor_fit
from predictors.cli import app
from predictors.collect import draw
from predictors.drawn_limit import drawn_limit, note_limit
from predictors.estimators.count import CountRegressor
from predictors.estimators.median import MedianRegressor
from predictors.store import TableStore, Training

LIMIT = 20_000
SPACE = load_space("emnas-382")
FAILED = ((1, 2), 0, "train", "does not matter")


@pytest.mark.parametrize(
    ("runs", "limit"),
    [
        ([None], None),
        ([500], 500),
        ([500, 500], 500),
        ([500, 900], 900),
        ([900, 500], 900),
        ([500, None], None),
        ([None, 500], None),
        ([500, None, 500], None),
    ],
)
def test_the_widest_of_all_runs_counts(
    runs: list[int | None], limit: int | None, tmp_path: Path
) -> None:
    for run in runs:
        with TableStore(tmp_path / "t.sqlite", {}) as store:
            note_limit(store, run)
            store.add_failure(*FAILED)
            found = drawn_limit(store.about())
    assert found == limit


def test_a_table_from_before_has_none(tmp_path: Path) -> None:
    assert drawn_limit({}) is None
    with TableStore(tmp_path / "t.sqlite", {}) as store:
        store.add_failure(*FAILED)
        note_limit(store, 500)
        assert drawn_limit(store.about()) is None, "what was drawn before may be larger"


@pytest.mark.parametrize(
    ("space", "patience", "limit"), [("emnas-382", 0, None), ("emnas-mobile-49", 5, 4_000_000)]
)
def test_a_store_that_begins_from_a_committed_table_has_the_limit_of_both(
    space: str, patience: int, limit: int | None, tmp_path: Path
) -> None:
    out = tmp_path / "t.sqlite"
    options = ["--limit", "1", "--max-macs", "3999999", "--seeds", "1", "--workers", "1"]
    command = ["collect", "--space", space, "--out", str(out), "--patience", str(patience)]
    done = CliRunner().invoke(app, [*command, *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    with TableStore(out, {}) as store:
        assert len(store.done()) >= 1000, "the committed table is in it"
        assert drawn_limit(store.about()) == limit


@pytest.mark.parametrize("noted", ["0", "-5", "1e6", "²", "9" * 19, "all"])
def test_a_damaged_note_is_refused(noted: str) -> None:
    with pytest.raises(StoreError, match="no number of MACs"):
        drawn_limit({"max_macs": noted})


def test_collect_notes_it_and_what_is_fitted_knows_no_larger_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, made = tmp_path / "t.sqlite", tmp_path / "made.json"
    few = ["--limit", "1", "--epochs", "1", "--seeds", "1", "--workers", "1", "--anew"]
    command = ["collect", "--out", str(table), "--max-macs", str(LIMIT), *few]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    drawn = draw(SPACE, DIGITS, 40, seed=0, max_macs=LIMIT)
    with TableStore(table, {}) as store:
        rows = [Training(tokens, 9, "spread", (0.5,), 0.5, 1.0) for tokens, _ in drawn]
        store.add_trainings(rows)
    tried = {
        "median": ("counts", MedianRegressor()),
        "macs": ("counts", CountRegressor("macs", link="logit")),
    }
    monkeypatch.setattr(predictor_fit, "candidates", lambda field, rows: tried)
    command = ["fit", "--table", str(table), "--out", str(made)]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    evaluator = FittedEvaluator(made)
    assert evaluator.domain.macs == LIMIT
    wide = next(
        tokens
        for tokens, _ in draw(SPACE, DIGITS, 30, seed=1)
        if costs.macs(SPACE.build(tokens, DIGITS)) > LIMIT
    )
    known = SPACE.architecture(drawn[0][0])
    assert evaluator.evaluate([known])[0].accuracy == pytest.approx(0.5, abs=0.1)
    with pytest.raises(DomainError, match=f"budgets={{'macs': {LIMIT}}}"):
        evaluator.evaluate([SPACE.architecture(wide)])
