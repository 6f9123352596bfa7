"""Small networks that are trained on all known devices and go on training on the new one.

Without an embedding it is plain fine-tuning. With one it is a small and plain form of HELP (Lee et
al. 2021, "HELP: hardware-adaptive efficient latency prediction"): a device is described by how
long the reference networks take on it, the network reads that description beside the features,
and it is trained on many devices, of which most are mixtures of the known ones. HELP's learned
step sizes and second-order gradients are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emnas_gym.errors import DatasetError, SurrogateFileError
from emnas_gym.models.base import FittedModel, check_shape, finite
from predictors.estimators.base import Estimator
from predictors.training import one_thread
from predictors.transfer.known import KnownDevices

Array = NDArray[np.float64]
HIDDEN = 48
LEAST = 3
LAYERS = ("weight0", "bias0", "weight1", "bias1", "weight2", "bias2")


class ConditionedModel(FittedModel):
    """A network of two tanh layers on features and a device embedding; latency in ms.

    Args:
        values: ``centre`` and ``scale`` (F,), ``embedding`` (E,), ``weight0`` … ``bias2`` as
            (inputs, outputs) and (outputs,), and ``offset`` and ``spread`` of the log latency.
    """

    kind: ClassVar[str] = "conditioned-latency"
    reads: ClassVar[str] = "features"

    def __init__(self, values: Mapping[str, Array]) -> None:
        self.values = dict(values)

    def predict(self, x: Any) -> tuple[Array, Array]:  # noqa: ANN401
        """Latency in ms and zeros: it does not know its doubt.

        Args:
            x: Features, shape (N, F).
        """
        v = self.values
        standard = (np.asarray(x) - v["centre"]) / v["scale"]
        embedding = np.broadcast_to(v["embedding"], (len(standard), len(v["embedding"])))
        hidden = np.concatenate([standard, embedding], axis=1)
        for i in range(3):
            hidden = (np.tanh(hidden) if i else hidden) @ v[f"weight{i}"] + v[f"bias{i}"]
        mean: Array = np.exp(hidden[:, 0] * v["spread"] + v["offset"])
        return mean, np.zeros_like(mean)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All values."""
        return dict(self.values)

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], options: Mapping[str, Any]) -> Self:
        """Makes the model of what was read from a file.

        Raises:
            SurrogateFileError: If parts are missing or do not fit together.
        """
        values = finite(arrays, ["centre", "scale", "embedding", "offset", "spread", *LAYERS])
        width, size = values["centre"].size, values["embedding"].size
        hidden, second = values["bias0"].size, values["bias1"].size
        shapes: dict[str, tuple[int, ...]] = {"centre": (width,), "scale": (width,)}
        shapes |= {"embedding": (size,), "offset": (), "spread": ()}
        shapes |= {"weight0": (width + size, hidden), "bias0": (hidden,)}
        shapes |= {"weight1": (hidden, second), "bias1": (second,)}
        shapes |= {"weight2": (second, 1), "bias2": (1,)}
        for name, shape in shapes.items():
            check_shape(values, name, shape)
        if not (values["scale"] > 0).all():
            raise SurrogateFileError("scale is not above 0")
        return cls(values)


@dataclass(frozen=True)
class Taught:
    """A network that was trained on known devices.

    Attributes:
        network: The network.
        known: The devices.
        references: Features of the reference networks, shape (E, F); None without embedding.
    """

    network: nn.Sequential
    known: KnownDevices
    references: Array | None


def teach(
    known: KnownDevices,
    x: Array,
    references: Array | None = None,
    steps: int = 300,
    rate: float = 5e-3,
    seed: int = 0,
) -> Taught:
    """Trains a network on the known devices, by their models' latency of some networks.

    Args:
        known: Models of the known devices.
        x: Features of the networks to train on, shape (M, F).
        references: Features of the networks that describe a device, shape (E, F); None trains
            one network for the average device.
        steps: Steps of Adam.
        rate: Its largest step size, of a one-cycle schedule.
        seed: Decides everything.
    """
    rng = np.random.default_rng(seed)
    rows = torch.tensor(known.standardised(x), dtype=torch.float32)
    logs = known.log_latency(x)
    described = known.log_latency(references) if references is not None else logs
    size = 0 if references is None else len(references)
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network(rows.shape[1] + size)
        optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
        for _ in range(steps):
            mixture = _mixture(len(known.names), rng)
            seen = described @ mixture
            middle, spread = float(seen.mean()), float(seen.std()) or 1.0
            batch = rng.integers(len(rows), size=64)
            inputs = _inputs(rows[batch], (seen - middle) / spread if size else np.zeros(0))
            goal = torch.tensor((logs[batch] @ mixture - middle) / spread, dtype=torch.float32)
            _step(network, optimiser, inputs, goal)
            schedule.step()
    return Taught(network, known, references)


def _mixture(devices: int, rng: np.random.Generator) -> Array:
    """Weights of a device to learn: a known one, or a mixture in logarithms of two."""
    weights = np.zeros(devices)
    one, other = rng.integers(devices, size=2)
    share = rng.random() if rng.random() < 0.5 else 1.0
    weights[one] += share
    weights[other] += 1.0 - share
    return weights


def _network(inputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, HIDDEN), nn.Tanh(),
        nn.Linear(HIDDEN, 1),
    )  # fmt: skip


def _inputs(rows: Tensor, embedding: Array) -> Tensor:
    code = torch.tensor(embedding, dtype=torch.float32).expand(len(rows), len(embedding))
    return torch.cat([rows, code], dim=1)


def _step(
    network: nn.Sequential, optimiser: torch.optim.Optimizer, inputs: Tensor, goal: Tensor
) -> None:
    loss = ((network(inputs)[:, 0] - goal) ** 2).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


class ConditionedLatency(Estimator):
    """Latency of a new device from a taught network and a few gradient steps.

    Args:
        taught: What `teach` returned; with references, the samples are these networks.
        steps: Gradient steps on the samples.
        rate: Step size of Adam.
    """

    def __init__(self, taught: Taught, steps: int = 20, rate: float = 2e-3) -> None:
        self.taught = taught
        self.steps = steps
        self.rate = rate

    def fit(self, x: Any, y: Any) -> Self:  # noqa: ANN401
        """Goes on training on the samples.

        Args:
            x: Features of the samples, shape (n, F).
            y: Latency in ms, shape (n,), above 0.

        Raises:
            DatasetError: If the samples cannot be used.
        """
        x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        references = self.taught.references
        if len(x) < LEAST or y.shape != (len(x),) or not (y > 0).all():
            raise DatasetError(f"{LEAST} samples or more above 0 ms are needed, not {y.shape}")
        if references is not None and not np.array_equal(x, references):
            raise DatasetError("the samples are the reference networks, in their order")
        logs = np.log(y)
        offset, spread = float(logs.mean()), float(logs.std()) or 1.0
        goal = (logs - offset) / spread
        embedding = goal if references is not None else np.zeros(0)
        network = self._tuned(x, goal, embedding)
        self.model_ = _as_model(network, self.taught.known, embedding, offset, spread)
        return self

    def _tuned(self, x: Array, goal: Array, embedding: Array) -> nn.Sequential:
        known = self.taught.known
        network = _network(x.shape[1] + len(embedding))
        network.load_state_dict(self.taught.network.state_dict())
        rows = torch.tensor(known.standardised(x), dtype=torch.float32)
        inputs, goals = _inputs(rows, embedding), torch.tensor(goal, dtype=torch.float32)
        optimiser = torch.optim.Adam(network.parameters(), lr=self.rate)
        with one_thread():
            for _ in range(self.steps):
                _step(network, optimiser, inputs, goals)
        return network


def _as_model(
    network: nn.Sequential, known: KnownDevices, embedding: Array, offset: float, spread: float
) -> ConditionedModel:
    values: dict[str, Array] = {"centre": known.centre, "scale": known.scale}
    values |= {"embedding": embedding, "offset": np.array(offset), "spread": np.array(spread)}
    linear = [layer for layer in network if isinstance(layer, nn.Linear)]
    for i, layer in enumerate(linear):
        values[f"weight{i}"] = layer.weight.detach().numpy().T.astype(np.float64)
        values[f"bias{i}"] = layer.bias.detach().numpy().astype(np.float64)
    return ConditionedModel(values)
