"""What every driver must do, whatever it speaks to; each driver's tests call it."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
import pytest

from emnas_gym.measurement import PROVENANCES
from hardware.deployment import Deployment
from hardware.drivers.base import Driver
from hardware.errors import DeviceError
from hardware.reading import Reading, Repeats

REPEATS = Repeats(timed=3, warm_up=1, seconds=30.0)


def check_driver(open_driver: Callable[[], Driver], deployment: Deployment) -> Reading:
    """Checks one driver on one network, and returns what it measured.

    Args:
        open_driver: Opens the device; called more than once, never while it is open.
        deployment: A network that runs there, in the formats that the driver names.
    """
    with open_driver() as driver:
        assert set(driver.formats) <= set(deployment.files)
        about = driver.describe()
        assert about
        assert all(isinstance(value, str) and value for value in about.values())
        reading = driver.measure(deployment, REPEATS)
        _check_reading(reading, deployment)
        answers = driver.measure_all([deployment, deployment], REPEATS)
        assert len(answers) == 2
        for answer in answers:
            assert isinstance(answer, Reading)
            _check_reading(answer, deployment)
    driver.close()  # a second time
    with pytest.raises(DeviceError):  # never a number from what was let go
        driver.measure(deployment, REPEATS)
    with open_driver() as again:  # and others can have it
        assert again.describe().keys() == about.keys()
    return reading


def _check_reading(reading: Reading, deployment: Deployment) -> None:
    assert reading.provenance in PROVENANCES
    assert reading.model == zlib.crc32(deployment.tflite)
    assert len(reading.ticks) >= 1
    assert np.isfinite(reading.ticks).all()
    assert reading.ticks_per_second > 0
    assert 0 < reading.latency_ms < 1e5
    assert reading.spread_ms >= 0
    assert reading.clock
    assert reading.threads >= 1
    assert reading.difference is None or reading.difference >= 0
    assert set(reading.to_json()) >= {"latency_ms", "spread_ms", "provenance", "outliers"}
