"""Measured costs: what each kind of device gives, stored once, failures kept apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import TINY
from outside_programs import needs_program

from emnas_gym import costs
from emnas_gym.errors import UnknownName
from emnas_gym.tasks import DIGITS
from predictors.collect import enumerated
from predictors.collect_costs import collect_costs, evaluator_name
from predictors.store import TableStore

ABOUT = {"space": TINY.fingerprint, "task": "digits"}


def _networks(count: int) -> list[tuple[int, ...]]:
    return [tokens for tokens, _ in enumerated(TINY, DIGITS)][:: 40 // count][:count]


@pytest.mark.parametrize(
    ("device", "name"),
    [
        ("host", "host"),
        ("ethos-u55-32", "npu"),
        ("ethos-u85-2048", "npu"),
        ("cortex-m3", "emulated"),
        ("cortex-m7", "emulated"),
    ],
)
def test_who_measures(device: str, name: str) -> None:
    assert evaluator_name(device) == name


def test_a_board_without_a_way_to_measure_is_refused() -> None:
    with pytest.raises(UnknownName, match="cortex-m4"):
        evaluator_name("cortex-m")


def test_cycles_of_an_npu_are_stored_once(tmp_path: Path) -> None:  # E10
    pytest.importorskip("ethosu.regor", reason="needs ethos-u-vela")
    networks, told = _networks(4), []
    with TableStore(tmp_path / "t.sqlite", ABOUT) as store:
        for part in (networks[:2], networks):
            collect_costs(TINY, DIGITS, "ethos-u55-64", part, store, told.append)
        rows = store.costs("ethos-u55-64")
    assert set(rows) == set(networks)
    assert all(set(row) == {"latency_ms", "npu_cycles"} for row in rows.values())
    assert told == [0, 2, 2, 2], "two were there already"


def test_instructions_of_an_emulated_core_follow_the_work(tmp_path: Path) -> None:
    needs_program("qemu-system-arm")
    networks = _networks(5)
    with TableStore(tmp_path / "t.sqlite", ABOUT) as store:
        collect_costs(TINY, DIGITS, "cortex-m4", networks, store, lambda _: None)
        rows, failures = store.costs("cortex-m4"), store.failures()
    assert failures == []
    assert {key for row in rows.values() for key in row} == {"instructions"}
    macs = [costs.macs(TINY.build(tokens, DIGITS)) for tokens in networks]
    counts = [rows[tokens]["instructions"] for tokens in networks]
    assert min(counts) > 1000
    assert np.corrcoef(macs, counts)[0, 1] > 0.5
