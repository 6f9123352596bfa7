"""Rewards: the original's formulas, MnasNet's, hard budgets; ranges that hold for anything."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from conftest import BUDGETS
from hypothesis import given
from hypothesis import strategies as st

from emnas_gym.budgets import Budgets
from emnas_gym.devices import devices
from emnas_gym.errors import EmNASError, EvaluationError, UnknownName
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem, latency_scale
from emnas_gym.rewards import (
    Constrained,
    Exponential,
    Linear,
    Reward,
    Scale,
    WeightedProduct,
    make_reward,
)
from emnas_gym.tasks import DIGITS, GRASP, TASKS, Task

REWARDS: list[Reward] = [
    WeightedProduct(1.1, 0.8),
    WeightedProduct(1.1, 2.0, exponent=-0.5),
    Linear(1000.0),
    Linear(20.0, weight=5.0),
    Linear(20.0, weight=0.0),
    Exponential(70.0, 1000.0),
    Exponential(70.0, 30.0),
    Constrained(Budgets()),
    Constrained(Budgets(ram_bytes=8192, flash_bytes=32768, latency_ms=2.0)),
]
NAMES = ["weighted_product", "linear", "exponential", "constrained"]


def _measured(accuracy: float, latency_ms: float, **more: Any) -> Measurement:
    return Measurement.of("board", accuracy=accuracy, latency_ms=latency_ms, **more)


def _value(reward: Reward, accuracy: float, latency_ms: float) -> float:
    return reward(_measured(accuracy, latency_ms))[0]


# ----------------------------------------------------------------------------------- the formulas


def original_linear(accuracy: float, latency: float, weight: float) -> float:
    """The original as it is described: s = 1 − 6·10⁻⁴ · latency."""
    accuracy, latency = np.clip(accuracy, 0.4, 1.0), np.clip(latency, 0.0, 1000.0)
    return float((weight * accuracy + 1 - 6e-4 * latency) / (weight + 1))


def original_exponential(accuracy: float, latency: float, threshold: float) -> float:
    """The original as it is described: alpha = 0 up to the threshold, beta = −1 above."""
    accuracy, latency = np.clip(accuracy, 0.4, 1.0), np.clip(latency, 0.0, 1000.0)
    exponent = 0 if latency <= threshold else -1
    return float(accuracy * (latency / threshold) ** exponent)


GRID = list(itertools.product(np.linspace(0.0, 1.0, 11), [0, 1, 35, 70, 70.1, 149.9, 999, 5000]))


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0, 5.0])
def test_linear_is_the_originals(weight: float) -> None:  # E7, E9
    reward = Linear(1000.0, weight)
    for accuracy, latency in GRID:
        expected = original_linear(accuracy, latency, weight)
        assert _value(reward, accuracy, latency) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("threshold", [20.0, 70.0, 500.0])
def test_exponential_is_the_originals(threshold: float) -> None:  # E7, E9
    reward = Exponential(threshold, 1000.0)
    for accuracy, latency in GRID:
        expected = original_exponential(accuracy, latency, threshold)
        assert _value(reward, accuracy, latency) == pytest.approx(expected, abs=1e-12)


def test_the_originals_own_examples() -> None:
    """A MobileNet predicted at 0.835 and 149.9 ms had 0.885; an invalid draw had 0.4."""
    grasp = Problem.make("emnas-mobile-49", "grasp", "sipeed-maix-bit", reward="linear")
    assert round(_value(grasp.reward, 0.835, 149.9), 3) == 0.885
    assert _value(grasp.reward, 0.4, 1000.0) == pytest.approx(0.4)
    exponential = Problem.make(
        "emnas-mobile-49", "grasp", "sipeed-maix-bit", reward="exponential"
    ).reward
    assert round(exponential.range[0], 3) == 0.028
    assert _value(exponential, 0.9, 70.0) == 0.9
    assert _value(exponential, 0.9, 140.0) == pytest.approx(0.45)


def test_weighted_product_is_mnasnets() -> None:  # E9
    reward = WeightedProduct(target_ms=80.0, floor_ms=1.0)
    assert _value(reward, 0.75, 80.0) == 0.75
    # twice the latency costs about 5 % of accuracy: the reason for −0.07
    assert _value(reward, 0.75, 160.0) == pytest.approx(0.75 * 2**-0.07)
    assert 2**-0.07 == pytest.approx(0.9526, abs=1e-4)
    for accuracy, latency in itertools.product([0.1, 0.5, 0.97], [1.0, 7.0, 80.0, 300.0, 1e6]):
        expected = accuracy * (latency / 80.0) ** -0.07
        assert _value(reward, accuracy, latency) == pytest.approx(expected)


def test_constrained_is_accuracy_inside_and_negative_outside() -> None:  # E8
    reward = Constrained(Budgets(ram_bytes=1000, latency_ms=2.0))
    inside = _measured(0.9, 2.0, ram_bytes=1000)
    assert reward(inside) == (0.9, {"accuracy": 0.9, "excess": 0.0})
    over = _measured(0.9, 2.0, ram_bytes=1500)
    assert reward(over) == (pytest.approx(-0.5 / 1.5), {"accuracy": 0.9, "excess": 0.5})
    both = _measured(0.9, 3.0, ram_bytes=1500)
    assert reward(both)[0] == pytest.approx(-1.0 / 2.0)
    refused = _measured(0.9, 1.0, ram_bytes=10, feasible=False)
    assert reward(refused)[0] < 0
    with pytest.raises(EvaluationError, match="needs ram_bytes, which nothing measured"):
        reward(_measured(0.9, 1.0))


# --------------------------------------------------------------------------------------- ranges

numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(st.sampled_from(REWARDS), numbers, numbers, st.none() | st.booleans())
def test_any_measurement_lies_in_the_declared_range(
    reward: Reward, accuracy: float, latency: float, feasible: bool | None
) -> None:
    more = {"ram_bytes": 9000, "flash_bytes": 1, "feasible": feasible}
    value, terms = reward(_measured(accuracy, latency, **more))
    low, high = reward.range
    assert low <= value <= high
    assert reward.illegal < low
    assert math.isfinite(value)
    assert terms


@pytest.mark.parametrize("reward", REWARDS, ids=lambda r: r.name)
def test_both_ends_of_the_range_are_reached(reward: Reward) -> None:
    low, high = reward.range
    more = {"ram_bytes": 1, "flash_bytes": 1}
    assert reward(_measured(1.0, 1e-9, **more))[0] == pytest.approx(high)
    if reward.name != "constrained":
        assert reward(_measured(0.0, 1e9, **more))[0] == pytest.approx(low)
    elif reward.to_json()["budgets"]:
        assert reward(_measured(0.0, 1e9, **more))[0] == pytest.approx(low)


@given(
    st.sampled_from([r for r in REWARDS if r.name != "constrained"]),
    st.floats(0, 1), st.floats(0, 1), st.floats(0, 2000), st.floats(0, 2000),
)  # fmt: skip
def test_more_accuracy_and_less_latency_never_pay_less(
    reward: Reward, a: float, b: float, x: float, y: float
) -> None:
    worse = _value(reward, min(a, b), max(x, y))
    for other in [(max(a, b), max(x, y)), (min(a, b), min(x, y)), (max(a, b), min(x, y))]:
        assert _value(reward, *other) >= worse - 1e-12


def test_a_larger_weight_moves_the_choice_to_accuracy() -> None:  # E9
    """Between a fast poor and a slow good network: latency of the preferred one is monotone."""
    candidates = [(0.6 + 0.39 * t, 50 + 900 * t**2) for t in np.linspace(0, 1, 30)]
    chosen = []
    for weight in (0.0, 0.5, 1.0, 2.0, 5.0, 20.0):
        reward = Linear(1000.0, weight)
        chosen.append(max(candidates, key=lambda c: _value(reward, *c))[1])
    assert chosen == sorted(chosen)
    assert chosen[0] == 50
    assert chosen[-1] > 900
    chosen = []
    for exponent in (0.0, -0.03, -0.07, -0.2, -1.0):
        product = WeightedProduct(70.0, 1.0, exponent)
        chosen.append(max(candidates, key=lambda c: _value(product, *c))[1])
    assert chosen == sorted(chosen, reverse=True)
    assert chosen[0] > chosen[-1]


# --------------------------------------------------------------------------------------- missing


@pytest.mark.parametrize("reward", REWARDS, ids=lambda r: r.name)
def test_missing_and_not_finite_fields_are_typed_errors(reward: Reward) -> None:
    for field in reward.objectives:
        values = {"accuracy": 0.5, "latency_ms": 1.0, "ram_bytes": 1, "flash_bytes": 1}
        del values[field]
        with pytest.raises(EvaluationError, match=f"needs {field}, which nothing measured"):
            reward(Measurement.of("board", **values))
        for bad in (math.nan, math.inf):
            with pytest.raises(EvaluationError, match=f"needs a number as {field}"):
                reward(Measurement.of("board", **values, **{field: bad}))


def test_the_vector_is_larger_is_better() -> None:  # E7
    for reward in REWARDS:
        vector = reward.vector(_measured(0.8, 3.0))
        assert vector.dtype == np.float32
        assert np.allclose(vector, [0.8, -3.0][: len(reward.objectives)])


# --------------------------------------------------------------------------------------- making


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("device", sorted(devices()))
@pytest.mark.parametrize("task", [*TASKS.values(), Task("photos", (32, 32, 3), 5)], ids=str)
def test_every_reward_has_constants_for_every_task_and_device(
    name: str, device: str, task: Task
) -> None:
    reward = Problem.make("emnas-382", task, device, BUDGETS, name).reward
    low, high = reward.range
    assert -math.inf < reward.illegal < low < high < math.inf
    assert reward.to_json()["name"] == name
    scale = latency_scale(task, devices()[device])
    assert 0 < scale.floor_ms <= scale.target_ms < scale.cap_ms


def test_the_originals_constants_stand_with_its_own_task() -> None:
    scale = latency_scale(GRASP, devices()["sipeed-maix-bit"])
    assert (scale.target_ms, scale.cap_ms) == (70.0, 1000.0)
    assert latency_scale(DIGITS, devices()["stm32f446re"]).target_ms < 5


def test_options_replace_constants() -> None:
    reward = Problem.make(reward={"name": "linear", "weight": 2.0, "cap_ms": 50}).reward
    assert isinstance(reward, Linear)
    assert (reward.weight, reward.cap_ms) == (2.0, 50)
    own = Exponential(5.0, 50.0)
    assert Problem.make(reward=own).reward is own


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("liner", {}, UnknownName, "unknown reward 'liner': did you mean linear"),
        ("linear", {"wait": 1.0}, UnknownName, "option of reward linear 'wait': did you mean we"),
        ("linear", {"scale": 1.0}, UnknownName, "option of reward linear 'scale'"),
        ("constrained", {"weight": 1.0}, UnknownName, "option of reward constrained"),
        ("linear", {"weight": "much"}, EmNASError, "weight is a number"),
        ("linear", {"weight": -1.0}, EmNASError, "weight is a number from 0"),
        ("linear", {"cap_ms": 0}, EmNASError, "cap_ms is a number"),
        ("linear", {"cap_ms": math.nan}, EmNASError, "cap_ms is a number"),
        ("exponential", {"threshold_ms": -3}, EmNASError, "threshold_ms is a number"),
        ("weighted_product", {"target_ms": True}, EmNASError, "target_ms is a number"),
        ("weighted_product", {"exponent": 0.07}, EmNASError, "exponent is a number from -10 to 0"),
    ],
)
def test_senseless_rewards_are_typed_errors(
    name: str, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make_reward(name, Scale(1.0, 10.0, 0.5), Budgets(), **options)
