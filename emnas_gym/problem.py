"""What is searched: a space, a task, a device, budgets and a reward."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from emnas_gym.automaton import Automaton
from emnas_gym.budgets import Budgets
from emnas_gym.devices import Device, resolve_device
from emnas_gym.errors import InfeasibleBudgets
from emnas_gym.rewards import Reward, Scale, make_reward
from emnas_gym.space import resolve_space
from emnas_gym.tasks import Task, resolve_task
from emnas_gym.token_space import TokenSpace

PLANNED = frozenset({"mcu"})  # devices whose memory we plan; elsewhere their compiler decides


@dataclass(frozen=True)
class Problem:
    """A search problem; made by `Problem.make` from names.

    Attributes:
        space: The networks.
        task: What they are for.
        device: Where they run.
        budgets: Limits.
        reward: What is maximised.
        min_layers: Least number of tokens, the end token included.
        max_layers: Largest number of tokens, the end token included.
    """

    space: TokenSpace
    task: Task
    device: Device
    budgets: Budgets
    reward: Reward
    min_layers: int
    max_layers: int

    @classmethod
    def make(
        cls,
        space: str | Path | TokenSpace = "emnas-382",
        task: str | Task = "digits",
        device: str | Device = "stm32f446re",
        budgets: Budgets | Mapping[str, Any] | None = None,
        reward: str | Mapping[str, Any] | Reward = "weighted_product",
        min_layers: int | None = None,
        max_layers: int | None = None,
    ) -> Problem:
        """Makes a problem from names or objects.

        Args:
            space: Name, path of a TOML file, or object.
            task: Name or object.
            device: Name or object.
            budgets: Limits; those of the device if None.
            reward: Name, mapping with ``name`` and constants, or object.
            min_layers: Least number of tokens with the end token; the space's if None.
            max_layers: Largest number of tokens with the end token; the space's if None.

        Raises:
            UnknownName: If a name is unknown.
            InfeasibleBudgets: If a limit is not positive, or a length is no whole number.
        """
        chosen = resolve_space(space)
        the_task, the_device = resolve_task(task), resolve_device(device)
        limits = the_device.budgets if budgets is None else Budgets.of(budgets)
        if not isinstance(reward, Reward):
            options: dict[str, Any] = (
                dict(reward) if isinstance(reward, Mapping) else {"name": reward}
            )
            name = options.pop("name", None)
            reward = make_reward(name, latency_scale(the_task, the_device), limits, **options)
        shortest = chosen.min_layers if min_layers is None else min_layers
        longest = chosen.max_layers if max_layers is None else max_layers
        if type(shortest) is not int or type(longest) is not int:
            raise InfeasibleBudgets(f"lengths are whole numbers, not {shortest!r}, {longest!r}")
        return cls(chosen, the_task, the_device, limits, reward, shortest, longest)

    @property
    def automaton(self) -> Automaton:
        """Masks and costs for these budgets; on devices with a compiler of their own, no limits.

        Raises:
            InfeasibleBudgets: If no network fits.
        """
        limits = self.budgets if self.device.kind in PLANNED else Budgets()
        masked = Budgets(
            ram_bytes=limits.ram_bytes, flash_bytes=limits.flash_bytes, macs=self.budgets.macs
        )
        return self.space.automaton(self.task, masked, self.min_layers, self.max_layers)

    def keywords(self) -> dict[str, Any]:
        """What an environment of this problem is made with."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def to_json(self) -> dict[str, Any]:
        """What makes two problems the same, as plain data."""
        return {
            "space": self.space.name,
            "space_fingerprint": self.space.fingerprint,
            "task": self.task.name,
            "input_shape": list(self.task.input_shape),
            "classes": self.task.classes,
            "device": self.device.name,
            "budgets": self.budgets.to_json(),
            "reward": self.reward.to_json(),
            "lengths": [self.min_layers, self.max_layers],
        }


@lru_cache(maxsize=1)
def _scales() -> dict[str, Any]:
    text = resources.files("emnas_gym").joinpath("scales.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def latency_scale(task: Task, device: Device) -> Scale:
    """Latencies that are usual for a task on a device.

    They are quantiles of a table where there is one. Elsewhere they follow from the device's line
    and the size of the input, 40 MACs a pixel value being usual and 4,000 many.
    """
    row = _scales().get(task.name, {}).get(device.name)
    if row is not None:
        return Scale(**row)
    size = 1
    for side in task.input_shape:
        size *= side
    constant = device.latency_a_ms or 0.01
    slope = device.latency_b_ms_per_mac or 1e-6
    usual, many = (constant + slope * per_value * size for per_value in (40, 4000))
    return Scale(target_ms=usual, cap_ms=many, floor_ms=constant)
