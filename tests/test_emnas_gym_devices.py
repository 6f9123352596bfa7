"""Energy of devices whose power is known."""

from __future__ import annotations

import numpy as np
import pytest

from emnas_gym.analytic import AnalyticEvaluator
from emnas_gym.budgets import Budgets
from emnas_gym.devices import Device, devices
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.space import SearchSpace

POWERED = [
    d for d in devices().values() if d.active_power_mw is not None and d.latency_error is not None
]


def _measured(device: Device, space: SearchSpace, count: int) -> list[Measurement]:
    evaluator = AnalyticEvaluator.for_problem(Problem.make(space, device=device))
    rng = np.random.default_rng(0)
    results = evaluator.evaluate([space.sample(rng) for _ in range(count)])
    return [result for result in results if isinstance(result, Measurement)]


def test_at_least_five_timed_boards_have_a_power_with_a_source() -> None:  # E4
    assert len(POWERED) >= 5
    assert all("power:" in device.source for device in POWERED)


@pytest.mark.parametrize("device", POWERED, ids=lambda device: device.name)
def test_constant_power_makes_energy_proportional_to_time(
    device: Device, space: SearchSpace
) -> None:  # E4
    measured = _measured(device, space, 60)
    energy = np.array([m.energy_mj for m in measured], float)
    latency = np.array([m.latency_ms for m in measured], float)
    assert len(energy) == 60
    assert np.ptp(latency) > 10 * latency.min()
    power_mw = 1000 * energy / latency
    assert power_mw.std() / power_mw.mean() < 1e-9  # MicroNets measured 0.0073 on real boards
    assert power_mw.mean() == pytest.approx(device.active_power_mw)
    assert device.latency_a_ms is not None and device.latency_b_ms_per_mac is not None
    busy_ms = 60 * device.latency_a_ms
    busy_ms += device.latency_b_ms_per_mac * sum(m.macs or 0 for m in measured)
    integral = (device.active_power_mw or 0.0) * busy_ms / 1000
    assert energy.sum() == pytest.approx(integral)  # of power over all the time together
    assert {m.provenance["energy_mj"] for m in measured} == {"analytic"}


def test_an_energy_budget_is_a_time_budget_at_constant_power(space: SearchSpace) -> None:  # E4, E8
    device = devices()["stm32u575zi"]
    measured = _measured(device, space, 60)
    limit_ms = float(np.median([m.latency_ms or 0.0 for m in measured]))
    by_time = Budgets(latency_ms=limit_ms)
    by_energy = Budgets(energy_mj=limit_ms * (device.active_power_mw or 0.0) / 1000 * (1 + 1e-12))
    assert 0 < sum(bool(by_time.broken(m)) for m in measured) < 60
    for m in measured:
        assert bool(by_time.broken(m)) == bool(by_energy.broken(m))


def test_a_board_without_a_line_has_no_energy(space: SearchSpace) -> None:
    (measured,) = _measured(devices()["esp32-s3"], space, 1)
    assert devices()["esp32-s3"].active_power_mw
    assert measured.latency_ms is None
    assert measured.energy_mj is None
