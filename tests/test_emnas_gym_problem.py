"""Problems and budgets: made from names, limits that mean what they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import BUDGETS, TINY
from hypothesis import given
from hypothesis import strategies as st

from emnas_gym.budgets import Budgets
from emnas_gym.devices import Device, devices, resolve_device
from emnas_gym.errors import InfeasibleBudgets, UnknownName
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem, latency_scale
from emnas_gym.rewards import Linear
from emnas_gym.tasks import DIGITS, Task, resolve_task


def test_what_is_not_said_is_the_default() -> None:
    problem = Problem.make()
    assert problem.space.name == "emnas-382"
    assert problem.task == DIGITS
    assert problem.device.name == "stm32f446re"
    assert problem.reward.name == "weighted_product"
    assert (problem.min_layers, problem.max_layers) == (4, 15)
    assert problem.budgets == problem.device.budgets == Budgets(131072, 524288)


def test_objects_and_names_make_the_same_problem() -> None:
    by_name = Problem.make("emnas-382", "digits", "nrf5340", {"ram_bytes": 8192}, "linear")
    device = devices()["nrf5340"]
    reward = Linear(latency_scale(DIGITS, device).cap_ms)
    by_object = Problem.make(by_name.space, DIGITS, device, Budgets(ram_bytes=8192), reward)
    assert by_name == by_object
    assert hash(by_name.reward) == hash(reward)
    assert Problem.make(reward="exponential").reward != by_name.reward
    assert json.dumps(by_name.to_json()) == json.dumps(by_object.to_json())


def test_the_json_tells_problems_apart(tmp_path: Path) -> None:
    def text(**keywords: Any) -> str:
        return json.dumps(Problem.make(**{"space": TINY} | keywords).to_json(), sort_keys=True)

    variants: list[dict[str, Any]] = [
        {}, {"space": "emnas-382"}, {"task": "grasp"}, {"device": "nrf5340"},
        {"budgets": {"ram_bytes": 5000}}, {"budgets": {"flash_bytes": 5000}}, {"reward": "linear"},
        {"reward": {"name": "linear", "weight": 2.0}}, {"min_layers": 3}, {"max_layers": 4},
        {"task": Task("digits", (8, 8, 1), 10)}, {"task": Task("digits", (16, 16, 1), 3)},
    ]  # fmt: skip
    assert len({text(**variant) for variant in variants}) == len(variants)
    assert text() == text()


def test_masks_keep_budgets_only_where_we_plan_the_memory() -> None:
    limits = {"ram_bytes": 8192, "flash_bytes": 32768, "macs": 50_000}
    mcu = Problem.make(TINY, budgets=limits).automaton.budgets
    assert mcu == Budgets(**limits)
    npu = Problem.make(TINY, device="ethos-u55-128", budgets=limits).automaton.budgets
    assert npu == Budgets(macs=50_000), "its compiler decides the memory"


def test_latency_energy_are_not_the_masks_business() -> None:
    limits = {"latency_ms": 1e-6, "energy_mj": 1e-6}
    assert Problem.make(TINY, budgets=limits).automaton.budgets == Budgets()


@pytest.mark.parametrize(
    ("limits", "error", "message"),
    [
        ({"ram": 1}, UnknownName, "unknown budget 'ram': did you mean ram_bytes"),
        ({"ram_bytes": 0}, InfeasibleBudgets, "ram_bytes = 0 is not above 0"),
        ({"ram_bytes": -5}, InfeasibleBudgets, "is not above 0"),
        ({"latency_ms": float("nan")}, InfeasibleBudgets, "is not above 0"),
        ({"ram_bytes": "8k"}, InfeasibleBudgets, "is not a number"),
        ({"ram_bytes": True}, InfeasibleBudgets, "is not a number"),
        (8192, InfeasibleBudgets, "a mapping of limits by name, not 8192"),
    ],
)
def test_senseless_budgets(limits: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Problem.make(TINY, budgets=limits)


def test_budgets_that_no_network_fits_say_what_is_least() -> None:
    problem = Problem.make(TINY, budgets={"flash_bytes": 900})
    with pytest.raises(InfeasibleBudgets, match=r"flash_bytes = 900; the least .* flash_bytes = "):
        _ = problem.automaton


@given(
    st.fixed_dictionaries({
        name: st.none() | st.integers(1, 100)
        for name in ("ram_bytes", "flash_bytes", "latency_ms", "energy_mj", "macs")
    }),
    st.fixed_dictionaries({
        name: st.none() | st.integers(1, 100)
        for name in ("ram_bytes", "flash_bytes", "latency_ms", "energy_mj", "macs")
    }),
)  # fmt: skip
def test_broken_is_every_known_value_above_its_limit(
    limits: dict[str, int | None], values: dict[str, int | None]
) -> None:  # E8
    broken = Budgets(**limits).broken(Measurement.of("board", **values))
    expected = {
        name: (value, limit)
        for name, limit in limits.items()
        if limit is not None and (value := values[name]) is not None and value > limit
    }
    assert broken == expected


def test_budgets_round_trip() -> None:
    assert Budgets.of(BUDGETS.to_json()) == BUDGETS
    assert Budgets.of(None) == Budgets.of({}) == Budgets()
    assert Budgets.of(BUDGETS) is BUDGETS


def test_every_device_says_where_its_figures_come_from() -> None:
    for name, device in devices().items():
        assert device.name == name
        assert len(device.source) > 10
        assert device.kind in ("mcu", "npu", "kpu", "host")
        assert (device.kind == "npu") == (device.accelerator is not None)
        timed = device.latency_b_ms_per_mac is not None
        assert timed == (device.latency_error is not None), "an estimate carries its error"
        if device.kind == "mcu":
            assert timed != ("latency: none" in device.source)
            assert device.ram_bytes is not None
            assert "memories" in device.source
        assert (device.active_power_mw is not None) == ("power:" in device.source)
    assert len(devices()) >= 16
    assert sum(d.active_power_mw is not None for d in devices().values()) >= 5
    own = Device("mine", "My board", "Cortex-M0", 8.0, "mcu", "my own")
    assert resolve_device(own) is own
    assert latency_scale(DIGITS, own).target_ms > 0


def test_unknown_tasks_and_devices_list_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"unknown task 'digit': did you mean digits\?.*Task"):
        resolve_task("digit")
    with pytest.raises(UnknownName, match="did you mean stm32f446re"):
        resolve_device("stm32f446")
    with pytest.raises(UnknownName, match="unknown device None"):
        resolve_device(None)  # type: ignore[arg-type]
