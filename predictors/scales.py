"""Usual latencies of the networks of our table, by which rewards are scaled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emnas_gym import costs
from emnas_gym.devices import devices
from emnas_gym.space import load_space
from emnas_gym.tasks import DIGITS
from predictors.store import Tokens
from predictors.tables import Table

Array = NDArray[np.float64]
Scales = dict[str, dict[str, float]]
TARGET, CAP = 0.5, 0.99  # quantiles
HEAD = """\
# Usual latencies by task and device, in ms, written by `python -m predictors fit --what digits`:
# target is the median and cap the 99 % quantile over the networks of our table, floor what no
# network undercuts: the constant of the device's line, or half of the least that was measured.
# Task grasp has the original's own threshold and caps; on the JeVois, the median of its table.
# A device whose scales a larger table changes by less than 5 % keeps them: rewards stay comparable.
"""
STEADY = 0.05
OF_THE_ORIGINAL = {
    "grasp.sipeed-maix-bit": {"target_ms": 70.0, "cap_ms": 1000.0, "floor_ms": 1.0},
    "grasp.jevois": {"target_ms": 7.0, "cap_ms": 100.0, "floor_ms": 0.5},
}


def digits_scales(table: Table, space: str) -> Scales:
    """Scales of every device that has a latency line or measured latencies.

    Args:
        table: Trained networks and their costs.
        space: Their search space.
    """
    macs = np.array([_macs(space, tokens) for tokens in table.networks], dtype=np.float64)
    scales: Scales = {}
    for name, device in devices().items():
        measured = [row["latency_ms"] for row in table.costs.get(name, {}).values()]
        if device.latency_b_ms_per_mac is not None:
            constant = device.latency_a_ms or 0.0
            latency = constant + device.latency_b_ms_per_mac * macs
            scales[f"{DIGITS.name}.{name}"] = _scale(latency, constant)
        elif measured:
            scales[f"{DIGITS.name}.{name}"] = _scale(np.array(measured), min(measured) / 2)
    return scales


def _macs(space: str, tokens: Tokens) -> int:
    return costs.macs(load_space(space).build(tokens, DIGITS))


def _scale(latency: Array, floor: float) -> dict[str, float]:
    values = {
        "target_ms": float(np.quantile(latency, TARGET)),
        "cap_ms": float(np.quantile(latency, CAP)),
        "floor_ms": floor,
    }
    return {name: float(f"{value:.4g}") for name, value in values.items()}


def steady(scales: Scales, known: Mapping[str, Mapping[str, float]]) -> Scales:
    """Scales of which every device keeps those that it had, unless one of them is 5 % off.

    Args:
        scales: Of a table, as `digits_scales` makes them.
        known: Device → its scales so far.
    """
    kept = {}
    for name, new in scales.items():
        old = known.get(name.partition(".")[2], {})
        close = old.keys() == new.keys() and all(
            abs(old[key] - value) <= STEADY * abs(value) for key, value in new.items()
        )
        kept[name] = dict(old) if close else new
    return kept


def write_scales(path: Path, scales: Mapping[str, Mapping[str, float]]) -> None:
    """Writes the file of scales."""
    sections = [
        f"[{name}]\n" + "".join(f"{key} = {value!r}\n" for key, value in values.items())
        for name, values in {**scales, **OF_THE_ORIGINAL}.items()
    ]
    path.write_text(HEAD + "\n" + "\n".join(sections), encoding="utf-8")
