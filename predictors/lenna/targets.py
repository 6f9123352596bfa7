"""What networks take on a target: an NPU's model, an emulated core, a board's line, this machine.

Every target measures whole networks and single operations alike, so that a table of operations can
be held against the networks that they make up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from emnas_gym import costs
from emnas_gym.devices import Device, devices
from emnas_gym.errors import EvaluationError, UnknownName
from emnas_gym.graph import GraphBuilder, LayerGraph
from hardware.emulator import BOARDS
from hardware.export import export_int8
from hardware.npu_compiler import compile_model
from hardware.npu_configs import CONFIGS, NpuConfig, npu_config
from hardware.operator_counts import OperatorCounter
from hardware.random_weights import random_images, random_weights
from hardware.timing import Protocol, time_models
from predictors.lenna.gates import Array

Measure = Callable[[Sequence[LayerGraph]], Array]  # a unit of cost for each graph
MACS, HOST = "macs", "host"
CORE_CLOCK_MHZ = 180.0  # by which instructions of an emulated core are divided
HOST_PROTOCOL = Protocol(rounds=40, block_ms=1.0, model_seconds=0.5)


def target_names() -> list[str]:
    """Every target: ``macs``, ``host``, emulated cores, NPUs, and boards with a known line."""
    lines = [name for name, device in devices().items() if device.latency_b_ms_per_mac is not None]
    return sorted({MACS, HOST, *BOARDS, *CONFIGS, *lines})


def unit_of(target: str) -> str:
    """The unit of a target's costs: ``"macs"`` or ``"us"``."""
    return "macs" if target == MACS else "us"


@contextmanager
def measuring(target: str, runs: int = 1) -> Iterator[Measure]:
    """What measures graphs on a target; costs of an empty graph are 0.

    Args:
        target: ``"macs"``; ``"host"``: int8 on this machine, one thread; ``"cortex-m4"``, …:
            instructions of our kernels under QEMU at 180 MHz, one a cycle; ``"ethos-u55-128"``, …:
            Vela's estimate; the name of a board with a line (`Device.latency_b_ms_per_mac`).
        runs: Runs over which instructions are averaged.

    Raises:
        UnknownName: If there is no such target.
        CompilerError: If parts of an NPU's long name do not go together.
        BackendMissing: If what it needs is not installed.
        DeviceError: If an emulated board fails.
        EvaluationError: If an NPU cannot run a graph.
    """
    is_npu = target.partition("/")[0] in CONFIGS
    if not is_npu and target not in target_names():
        raise UnknownName("target", target, target_names())
    if target == MACS:
        yield _each(lambda graph: float(costs.macs(graph)))
    elif target == HOST:
        yield _host_us
    elif target in BOARDS:
        with OperatorCounter(target) as counter:
            yield _each(lambda graph: sum(counter.count(graph, runs=runs)) / CORE_CLOCK_MHZ)
    elif is_npu:
        config = npu_config(target)
        yield _each(lambda graph: _npu_us(graph, config))
    else:
        device = devices()[target]
        yield _each(lambda graph: _line_us(graph, device))


def _each(one: Callable[[LayerGraph], float]) -> Measure:
    def measure(graphs: Sequence[LayerGraph]) -> Array:
        return np.array([one(graph) if len(graph.nodes) > 1 else 0.0 for graph in graphs])

    return measure


def _int8(graph: LayerGraph) -> bytes:
    return export_int8(graph, random_weights(graph), random_images(graph.input_shape, 2))


def _npu_us(graph: LayerGraph, config: NpuConfig) -> float:
    report = compile_model(_int8(graph.deployed()), config)
    if report.cpu_operators:
        raise EvaluationError(f"{report.cpu_operators} operators do not run on {config}")
    return 1e3 * report.latency_ms


def _line_us(graph: LayerGraph, device: Device) -> float:
    """Slope alone; the constant of the line is no operation's (`fixed_us`)."""
    assert device.latency_b_ms_per_mac is not None
    return 1e3 * device.latency_b_ms_per_mac * costs.macs(graph)


def fixed_us(target: str) -> float:
    """What a target takes of any network whatever it is: the constant of a board's line."""
    device = devices().get(target)
    slope = None if device is None else device.latency_b_ms_per_mac
    return 0.0 if device is None or slope is None else 1e3 * (device.latency_a_ms or 0.0)


def _host_us(graphs: Sequence[LayerGraph]) -> Array:
    """Times in turns, less what an interpreter takes to run next to nothing."""
    builder = GraphBuilder((1, 1, 1))
    builder.mean()
    real = [i for i, graph in enumerate(graphs) if len(graph.nodes) > 1]
    contents = [_int8(builder.build()), *(_int8(graphs[i].deployed()) for i in real)]
    times = [1e3 * timing.latency_ms for timing in time_models(contents, HOST_PROTOCOL)]
    found = np.zeros(len(graphs))
    found[real] = np.maximum(np.array(times[1:]) - times[0], 0.0)
    return found
