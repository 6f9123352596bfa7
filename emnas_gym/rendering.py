"""A network while it grows: as text, as pixels, or in a window."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray

from emnas_gym import costs
from emnas_gym.analytic import AnalyticEvaluator
from emnas_gym.drawing import Box, Gauge, boxes, gauges, known_values, quantity, shape_text
from emnas_gym.graph import GraphBuilder, LayerGraph
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem


@dataclass(frozen=True)
class Scene:
    """All that a picture shows.

    Attributes:
        problem: What is searched.
        tokens: Tokens so far.
        graph: The layers so far, perhaps without an output; None if they do not build.
        spent: Costs so far: flash_bytes, ram_bytes, macs, and latency_ms where the device has a line.
        reward: Of the finished network.
        measurement: Of the finished network.
        history: Rewards of the episodes so far, the latest last.
    """

    problem: Problem
    tokens: tuple[int, ...]
    graph: LayerGraph | None
    spent: Mapping[str, float] = field(default_factory=dict)
    reward: float | None = None
    measurement: Measurement | None = None
    history: tuple[float, ...] = ()
