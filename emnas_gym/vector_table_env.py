"""Many environments over a table as one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gymnasium.vector import AutoresetMode

from emnas_gym.budgets import Budgets
from emnas_gym.devices import Device
from emnas_gym.errors import UnknownName
from emnas_gym.rewards import Reward
from emnas_gym.table import Table
from emnas_gym.table_env import BENCH, table_problem
from emnas_gym.vector_env import EmNASVectorEnv
from emnas_gym.vector_info import put_rows
from emnas_gym.vector_turn import Turn


class EmNASVectorTableEnv(EmNASVectorEnv):
    """N environments of `emnas_gym.table_env.EmNASTableEnv` as one; see `EmNASVectorEnv`.

    Infos have its ``regret``, ``report_test_accuracy`` and ``simulated_seconds`` as well, (N,)
    float64, of those with a complete architecture.

    Args:
        num_envs: N.
        table: As in `EmNASTableEnv`, and so the following.
        metric: Which validation signal.
        device: Whose costs count.
        budgets: Limits by name.
        reward: Name, mapping with ``name`` and constants, or object.
        classes: Whether architectures of one class count as the same network.
        trial: Which trial counts.
        noise_seed: By which one trial of each architecture is drawn.
        observation: One of ``tokens``, ``ids``, ``onehot``, ``layers``.
        on_invalid: One of ``resample``, ``end``, ``penalise``.
        autoreset_mode: As in `EmNASVectorEnv`.
        render_mode: None: tables are drawn by the single environment alone.

    Raises:
        UnknownName: If a render mode is asked for.
    """

    def __init__(
        self,
        num_envs: int = 1,
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
        autoreset_mode: str | AutoresetMode | None = None,
        render_mode: str | None = None,
    ) -> None:
        if render_mode is not None:
            raise UnknownName("render_mode", render_mode, ())
        problem, self.table_evaluator = table_problem(
            table, metric, device, budgets, reward, classes, trial, noise_seed
        )
        super().__init__(
            num_envs,
            evaluator=self.table_evaluator,
            **problem.keywords(),
            observation=observation,
            on_invalid=on_invalid,
            autoreset_mode=autoreset_mode,
        )

    def _measure(self, turn: Turn) -> None:
        """Measures the finished networks, and reports what their search may not know."""
        super()._measure(turn)
        done = turn.finished[: turn.measured]
        if len(done):
            rows = self.table_evaluator.space.rows_of(turn.info["architecture"][done])
            for name, values in self.table_evaluator.reports(self.problem, rows).items():
                put_rows(turn.info, name, done, values, self.num_envs)
