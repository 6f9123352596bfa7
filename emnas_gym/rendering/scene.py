"""All that a picture of a growing network shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from emnas_gym import costs
from emnas_gym.analytic import AnalyticEvaluator
from emnas_gym.errors import EmNASError
from emnas_gym.graph import LayerGraph
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem, latency_scale
from emnas_gym.rendering.boxes import Box, boxes
from emnas_gym.rendering.gauges import Gauge, gauges, known_values


@dataclass(frozen=True)
class Scene:
    """All that a picture shows.

    Attributes:
        problem: What is searched.
        tokens: Tokens so far.
        graph: The layers so far, perhaps without an output; None if they do not build.
        spent: Costs so far: flash_bytes, ram_bytes, macs, and latency_ms if the device has a line.
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

    @property
    def finished(self) -> bool:
        """Whether the output layer is placed."""
        end = self.problem.space.end_token
        if not end:  # the last position ends it
            return len(self.tokens) == self.problem.max_layers
        return bool(self.tokens) and self.tokens[-1] == end

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The layers as boxes."""
        return () if self.graph is None else boxes(self.graph)

    @property
    def gauges(self) -> tuple[Gauge, ...]:
        """Costs against budgets: measured ones once there are any, else those so far."""
        known = self.measurement or Measurement()
        return gauges(
            {**self.spent, **known_values(known)},
            self.problem.budgets.to_json(),
            before={} if self.finished else spent(self.problem, self.tokens[:-1]),
            usual=usual_costs(self.problem),
            provenance=dict.fromkeys(self.spent, "analytic") | dict(known.provenance),
        )


def make_scene(
    problem: Problem,
    tokens: Sequence[int],
    measurement: Measurement | None = None,
    reward: float | None = None,
    history: Sequence[float] = (),
) -> Scene:
    """The scene of the layers so far, whose graph and costs follow from the tokens.

    Args:
        problem: What is searched.
        tokens: Tokens so far.
        measurement: Of the finished network.
        reward: Of the finished network.
        history: Rewards of the episodes so far, the latest last.
    """
    placed = tuple(int(token) for token in tokens)
    graph = partial_graph(problem, placed)
    cost = spent(problem, placed)
    return Scene(problem, placed, graph, cost, reward, measurement, tuple(history))


def partial_graph(problem: Problem, tokens: Sequence[int]) -> LayerGraph | None:
    """The graph of the layers so far, which may still lack its output; None if it does not build.

    Args:
        problem: Its space and task.
        tokens: Tokens so far; 0, "no layer", adds nothing.
    """
    try:
        return problem.space.begun([int(token) for token in tokens], problem.task)
    except EmNASError:
        return None


def spent(problem: Problem, tokens: Sequence[int]) -> dict[str, float]:
    """What the layers so far cost; empty if they do not build."""
    graph = partial_graph(problem, tokens)
    if graph is None:
        return {}
    macs = costs.macs(graph)
    known: dict[str, float] = {
        "flash_bytes": costs.flash_bytes(graph),
        "ram_bytes": costs.ram_bytes(graph),
        "macs": macs,
    }
    latency = AnalyticEvaluator.for_problem(problem).latency_ms(macs)
    return known if latency is None else known | {"latency_ms": latency}


def usual_costs(problem: Problem) -> dict[str, float]:
    """The usual latency of a task on a device, and the MACs that take so long."""
    target = latency_scale(problem.task, problem.device).target_ms
    constant, slope = problem.device.latency_a_ms, problem.device.latency_b_ms_per_mac
    macs = {"macs": (target - (constant or 0.0)) / slope} if slope else {}
    return {"latency_ms": target} | macs
