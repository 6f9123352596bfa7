"""The state of a supernet's training in a file of plain numbers: nothing in it is executed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emnas_gym.array_file import MAX_BYTES, read_arrays, write_arrays
from emnas_gym.errors import StoreError

MOMENTS = ("exp_avg", "exp_avg_sq")  # of AdamW, one value a weight
Array = NDArray[Any]


@dataclass
class Progress:
    """How far a training has come.

    Attributes:
        about: What makes two trainings the same, as plain data.
        losses: Mean training loss of each finished epoch.
        trained: Images that went through a network.
        seconds: Processor time.
    """

    about: dict[str, Any]
    losses: list[float] = field(default_factory=list)
    trained: int = 0
    seconds: float = 0.0


def write_state(
    path: Path, progress: Progress, network: nn.Module, optimiser: torch.optim.Optimizer
) -> None:
    """Writes weights, statistics, moments and progress; the file is whole at any time.

    Weights stand one after the other in one array, in the order of the module.

    Raises:
        StoreError: If they are more than a file may hold.
    """
    head = json.dumps(vars(progress), sort_keys=True, allow_nan=False).encode()
    parameters = list(network.parameters())
    moments = {
        name: [_state(optimiser, p).get(name, torch.zeros_like(p)) for p in parameters]
        for name in MOMENTS
    }
    steps = [float(_state(optimiser, p).get("step", 0.0)) for p in parameters]
    arrays: dict[str, Array] = {
        "progress": np.frombuffer(head, dtype=np.uint8),
        "weights": _flat(parameters),
        "statistics": _flat(_statistics(network)),
        "steps": np.array(steps, dtype=np.float32),
        **{name: _flat(tensors) for name, tensors in moments.items()},
    }
    size = sum(array.nbytes for array in arrays.values())
    if size > MAX_BYTES:
        raise StoreError(f"{path}: a state of {size} B is over {MAX_BYTES} B; train without a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".new")
    partial.write_bytes(write_arrays(arrays))
    partial.replace(path)


@torch.no_grad()
def read_state(
    path: Path, progress: Progress, network: nn.Module, optimiser: torch.optim.Optimizer
) -> Progress:
    """Puts what `write_state` wrote into a network and its optimiser.

    Args:
        path: The file.
        progress: Of a training that has not begun; ``about`` is compared.
        network: Changed in place.
        optimiser: Of the network's parameters, without a state yet; changed in place.

    Raises:
        StoreError: If the file is of another training, or damaged.
    """
    arrays, parameters = _read(path), list(network.parameters())
    found = _progress(path, arrays)
    if found.about != json.loads(json.dumps(progress.about)):
        raise StoreError(
            f"{path}: is of another training ({found.about}, not {progress.about}); give another "
            "file or remove it"
        )
    sizes = dict.fromkeys(("weights", *MOMENTS), sum(p.numel() for p in parameters))
    sizes |= {"statistics": sum(b.numel() for b in _statistics(network)), "steps": len(parameters)}
    for name, size in sizes.items():
        array = arrays.get(name)
        if array is None or array.shape != (size,) or array.dtype != np.float32:
            raise StoreError(f"{path}: {name} are not {size} float32 numbers; remove the file")
    _fill(parameters, arrays["weights"])
    _fill(_statistics(network), arrays["statistics"])
    moments = {name: [torch.zeros_like(p) for p in parameters] for name in MOMENTS}
    for name, tensors in moments.items():
        _fill(tensors, arrays[name])
    for i, (parameter, step) in enumerate(zip(parameters, arrays["steps"].tolist(), strict=True)):
        if step:  # weights that no network has used yet have no moments
            optimiser.state[parameter] = {
                "step": torch.tensor(step),
                **{name: tensors[i] for name, tensors in moments.items()},
            }
    return found


def _read(path: Path) -> dict[str, Array]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"is larger than {MAX_BYTES} B")
        return read_arrays(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: no state of a supernet: {error}; remove it") from error


def _progress(path: Path, arrays: Mapping[str, Array]) -> Progress:
    try:
        content = json.loads(arrays["progress"].astype(np.uint8).tobytes().decode())
        losses = [float(loss) for loss in content["losses"]]
        seconds, trained = float(content["seconds"]), int(content["trained"])
        if not isinstance(content["about"], dict):
            raise TypeError("about is no table")
        return Progress(content["about"], losses, trained, seconds)
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path}: its progress cannot be read ({error!r}); remove it") from error


def _state(optimiser: torch.optim.Optimizer, parameter: Tensor) -> Mapping[str, Any]:
    found: Mapping[str, Any] = optimiser.state.get(parameter, {})
    return found


def _statistics(network: nn.Module) -> list[Tensor]:
    return [buffer for buffer in network.buffers() if buffer.is_floating_point()]


def _flat(tensors: Sequence[Tensor]) -> Array:
    parts = [tensor.detach().cpu().numpy().ravel() for tensor in tensors]
    return np.concatenate([np.zeros(0, dtype=np.float32), *parts])


@torch.no_grad()
def _fill(tensors: Sequence[Tensor], values: Array) -> None:
    start = 0
    for tensor in tensors:
        part = values[start : start + tensor.numel()].reshape(tensor.shape)
        tensor.copy_(torch.from_numpy(part.copy()))
        start += tensor.numel()
