"""What an exported network takes on a target."""

from __future__ import annotations

from emnas_gym.errors import EvaluationError
from emnas_gym.graph import LayerGraph
from hardware.npu_compiler import compile_model
from hardware.npu_configs import CONFIGS, npu_config
from predictors.lenna.targets import fixed_us, measuring


def measured_us(target: str, graph: LayerGraph, content: bytes) -> float:
    """What a network takes on a target, in the unit of the target.

    Args:
        target: One of `predictors.lenna.targets.target_names`.
        graph: The network.
        content: Its int8 file, with the weights that it was trained to: an NPU's compiler packs
            them, so that latency depends on them a little.

    Raises:
        EvaluationError: If the NPU cannot run all of it.
        DeviceError: If an emulated board fails.
    """
    if target.partition("/")[0] in CONFIGS:
        report = compile_model(content, npu_config(target))
        if report.cpu_operators:
            raise EvaluationError(f"{report.cpu_operators} operators do not run on {target}")
        return 1e3 * report.latency_ms
    with measuring(target) as measure:
        return float(measure([graph])[0]) + fixed_us(target)
