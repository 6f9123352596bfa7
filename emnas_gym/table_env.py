"""The environment over a table: one operation a step, the optimum known, the test kept apart."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from emnas_gym.bench_file import read_bench, shipped_bench
from emnas_gym.budgets import Budgets
from emnas_gym.devices import Device, devices
from emnas_gym.env import EmNASEnv, Info
from emnas_gym.errors import TableFileError, UnknownName
from emnas_gym.problem import Problem
from emnas_gym.rewards import Reward, Scale, make_reward
from emnas_gym.table import Table
from emnas_gym.table_bench import bench_as_table
from emnas_gym.table_evaluator import TableEvaluator
from emnas_gym.table_file import read_table
from emnas_gym.table_rows import costs_of
from emnas_gym.table_space import TableSpace
from emnas_gym.views import Observation

BENCH = "bench"
CAP = 0.99  # quantile of the latencies of a table beyond which a network is not punished further


def table_problem(
    table: str | Path | Table = BENCH,
    metric: str | None = None,
    device: str | Device | None = None,
    budgets: Budgets | Mapping[str, Any] | None = None,
    reward: str | Mapping[str, Any] | Reward | None = None,
    classes: bool = True,
    trial: int | None = None,
    noise_seed: int | None = None,
) -> tuple[Problem, TableEvaluator]:
    """The problem of searching a table, and the evaluator that looks up in it.

    Args:
        table: Path of a file (`emnas_gym.table_file`), ``"bench"`` for our own, or an object.
        metric: Which validation signal; the first one of the table if None.
        device: Whose costs count; without one only those of no device do.
        budgets: Limits by name; those of the device if None.
        reward: Name, mapping with ``name`` and constants, or object. If None, accuracy with the
            latency of the device (``weighted_product``) where there is one, else accuracy alone
            within the budgets (``constrained``).
        classes: Whether architectures of one class count as the same network.
        trial: Which trial counts, from 0; the mean of all if None.
        noise_seed: By which one trial of each architecture is drawn.

    Raises:
        TableFileError: If there is no such file, or it is damaged.
        UnknownName: If the table has no such metric or no costs of the device, or the reward is
            unknown.
        DomainError: If it has no such trial.
    """
    space = _space(str(table), classes) if not isinstance(table, Table) else _of(table, classes)
    board = _device(space.table, device)
    evaluator = TableEvaluator(space, metric, board, trial, noise_seed)
    limits = board.budgets if budgets is None else Budgets.of(budgets)
    if not isinstance(reward, Reward):
        options = dict(reward) if isinstance(reward, Mapping) else {"name": reward}
        timed = "latency_ms" in evaluator.provides
        name = options.pop("name", None) or ("weighted_product" if timed else "constrained")
        reward = make_reward(name, _scale(space.table, board), limits, **options)
    return Problem.make(space, space.table.task, board, limits, reward), evaluator


def _space(table: str, classes: bool) -> TableSpace:
    if table != BENCH:
        return _of(read_table(table), classes)
    path = shipped_bench()
    if not path.is_file():
        raise TableFileError(
            f"{path}: our own table 'bench' is not in this installation; give the path of another "
            "one, table='cells.npz' (docs/tables.md shows where to get one)"
        )
    return _of(_bench(path), classes)


@lru_cache(maxsize=1)
def _bench(path: Path) -> Table:
    return bench_as_table(read_bench(path))


@lru_cache(maxsize=8)
def _of(table: Table, classes: bool) -> TableSpace:
    return TableSpace(table, classes)


def _device(table: Table, device: str | Device | None) -> Device:
    """The board, one that only the table knows, or none."""
    if device is None:
        return Device("none", "no device", "", 0.0, "table", table.source)
    if isinstance(device, Device):
        return device
    board = devices().get(device)
    named = {device} if board is None else {device, board.core.lower()}
    if not named & set(table.devices):
        raise UnknownName("device of the table", device, table.devices)
    return board or Device(device, device, "", 0.0, "table", table.source)


def _scale(table: Table, device: Device) -> Scale:
    """Usual latencies by the table: the median, nearly the largest, half of the least."""
    known = costs_of(table.costs, (device.name, device.core.lower())).get("latency_ms")
    values = np.zeros(0) if known is None else known[~np.isnan(known)]
    if not len(values):
        return Scale(target_ms=1.0, cap_ms=1.0, floor_ms=1.0)  # no reward with a latency is made
    floor = max(float(values.min()) / 2, 1e-6)
    target, cap = float(np.median(values)), float(np.quantile(values, CAP))
    return Scale(target_ms=max(target, floor), cap_ms=max(cap, floor), floor_ms=floor)


class EmNASTableEnv(EmNASEnv):
    """Search in a table of measured architectures, one operation at one position a step.

    ## Description
    The agent chooses an operation for the first position, then for the second, and so on. After
    the last one the architecture is looked up.

    ## Actions
    ``Discrete(K + 1)``: 1 + position · operations + operation, so that a mask allows the tokens of
    one position alone; where the table lacks architectures, only those that lead to one.

    ## Observations
    As in `EmNASEnv`; ``layers`` are position and operation of every token.

    ## Rewards
    As in `EmNASEnv`, of the validation signal.

    ## Information
    As in `EmNASEnv`; at the end of an episode also ``regret`` (what the reward at mean accuracy
    lacks to the best of the table), ``report_test_accuracy`` (mean over trials; for reports, never
    for a search) and ``simulated_seconds`` (what the training took), the last two where the table
    has them.

    Args:
        table: Path of a table file, ``"bench"`` for our own, or a `Table`.
        metric: Which validation signal; the first one of the table if None.
        device: Whose costs count: a name of the table's, or None for accuracy alone.
        budgets: Limits by name; those of the device if None.
        reward: Name, mapping with ``name`` and constants, or object; see `table_problem`.
        classes: Whether architectures of one class count as the same network.
        trial: Which trial counts, from 0; the mean of all if None.
        noise_seed: By which one trial of each architecture is drawn.
        observation: One of ``tokens``, ``ids``, ``onehot``, ``layers``.
        on_invalid: One of ``resample``, ``end``, ``penalise``.
        autoreset_mode: As in `EmNASEnv`.
        render_mode: ``ansi``.

    ## Versions
    v0: first.
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "render_modes": ["ansi"],
        "render_fps": 4,
    }

    def __init__(
        self,
        table: str | Path | Table = BENCH,
        metric: str | None = None,
        device: str | Device | None = None,
        budgets: Budgets | Mapping[str, Any] | None = None,
        reward: str | Mapping[str, Any] | Reward | None = None,
        classes: bool = True,
        trial: int | None = None,
        noise_seed: int | None = None,
        observation: str = "tokens",
        on_invalid: str = "resample",
        autoreset_mode: str | None = None,
        render_mode: str | None = None,
    ) -> None:
        problem, self.table_evaluator = table_problem(
            table, metric, device, budgets, reward, classes, trial, noise_seed
        )
        super().__init__(
            evaluator=self.table_evaluator,
            **problem.keywords(),
            observation=observation,
            on_invalid=on_invalid,
            autoreset_mode=autoreset_mode,
            render_mode=render_mode,
        )

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, Info]:
        """Chooses an operation.

        Args:
            action: Token id.

        Raises:
            IllegalAction: If the action lies outside the action space, or the episode is over.
        """
        observation, reward, terminated, truncated, info = super().step(action)
        if terminated and "architecture" in info:
            info |= self._report(info["architecture"])
        return observation, reward, terminated, truncated, info

    def _report(self, tokens: NDArray[np.int16]) -> Info:
        rows = self.table_evaluator.space.rows_of(tokens[None])
        found = self.table_evaluator.reports(self.problem, rows)
        return {name: float(values[0]) for name, values in found.items()}

    def render(self) -> Any:  # noqa: ANN401
        """The choices so far as text."""
        if self.render_mode is None or not self._started:
            return None
        space = self.problem.space
        placed = self._walk.tokens[: self._walk.placed].tolist()
        lines = [f"{space.name} · {self.problem.task.name} · {self.problem.device.title}"]
        lines += [f"{i:>3}  {token:>5}  {space.describe(token)}" for i, token in enumerate(placed)]
        lines.append(f"{len(placed)} of {self.problem.max_layers} positions")
        if self._finished is not None:
            measurement, reward = self._finished
            lines.append(f"reward {reward:.4f} · accuracy {measurement.accuracy:.4f} (table)")
        return "\n".join(lines) + "\n"
