"""Small networks that are trained on all known devices and go on training on the new one.

Without an embedding it is plain fine-tuning. With one it is a small and plain form of HELP (Lee et
al. 2021, "HELP: hardware-adaptive efficient latency prediction"): a device is described by how
long the reference networks take on it, the network reads that description beside the features,
and it is trained on many devices, of which most are mixtures of the known ones. HELP's learned
step sizes and second-order gradients are left out.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emnas_gym.errors import DatasetError, SurrogateFileError
from emnas_gym.models.base import FittedModel, check_shape, finite
from emnas_gym.models.known_devices import KnownDevices
from predictors.estimators.base import Estimator
from predictors.training import one_thread

Array = NDArray[np.float64]
HIDDEN, BATCH = 48, 64
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
        weights: Arrays by the names of `LAYERS`.
        known: The devices.
        references: Features of the reference networks, shape (E, F); None without embedding.
    """

    weights: Mapping[str, Array]
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
        steps: Steps of AdamW.
        rate: Its largest step size, of a one-cycle schedule.
        seed: Decides everything.
    """
    return teach_all(known, x, [references], steps, rate, seed)[0]


def teach_all(
    known: KnownDevices,
    x: Array,
    references: Sequence[Array | None],
    steps: int = 300,
    rate: float = 5e-3,
    seed: int = 0,
) -> list[Taught]:
    """Trains a network for each of several sets of references side by side, which is faster.

    Args:
        known: Models of the known devices.
        x: Features of the networks to train on, shape (M, F).
        references: Sets of one size, each of shape (E, F), or None each.
        steps: Steps of AdamW.
        rate: Its largest step size.
        seed: Decides everything.
    """
    rng = np.random.default_rng(seed)
    rows, logs = torch.tensor(known.standardised(x), dtype=torch.float32), known.log_latency(x)
    described = [known.log_latency(r) if r is not None else logs for r in references]
    size = 0 if references[0] is None else len(references[0])
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        weights = _start(len(references), rows.shape[1] + size)
        optimiser = torch.optim.AdamW(weights, lr=rate, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
        for _ in range(steps):
            mixture, batch = _mixture(len(known.names), rng), rng.integers(len(rows), size=BATCH)
            seen = np.stack([table @ mixture for table in described])
            middle, spread = seen.mean(axis=1), np.maximum(seen.std(axis=1), 1e-6)
            codes = (seen - middle[:, None]) / spread[:, None] if size else seen[:, :0]
            goal = (logs[batch] @ mixture - middle[:, None]) / spread[:, None]
            _step(weights, optimiser, _inputs(rows[batch], codes), goal)
            schedule.step()
    return [
        Taught(
            {n: w[i].detach().numpy().copy() for n, w in zip(LAYERS, weights, strict=True)},
            known,
            reference,
        )
        for i, reference in enumerate(references)
    ]


def _mixture(devices: int, rng: np.random.Generator) -> Array:
    """Weights of a device to learn: a known one, or a mixture in logarithms of two."""
    weights = np.zeros(devices)
    one, other = rng.integers(devices, size=2)
    share = rng.random() if rng.random() < 0.5 else 1.0
    weights[one] += share
    weights[other] += 1.0 - share
    return weights


def _start(count: int, inputs: int) -> list[Tensor]:
    """Weights and biases of so many networks side by side, in the order of `LAYERS`."""
    tensors: list[Tensor] = []
    for before, after in itertools.pairwise((inputs, HIDDEN, HIDDEN, 1)):
        weight = torch.randn(count, before, after) / before**0.5
        tensors += [weight.requires_grad_(), torch.zeros(count, 1, after).requires_grad_()]
    return tensors


def _inputs(rows: Tensor, codes: Array) -> Tensor:
    """Rows beside the embedding of each network, shape (networks, N, F + E)."""
    code = torch.tensor(codes, dtype=torch.float32)[:, None].expand(-1, len(rows), -1)
    return torch.cat([rows.expand(len(codes), -1, -1), code], dim=2)


def _step(
    weights: list[Tensor], optimiser: torch.optim.Optimizer, inputs: Tensor, goal: Array
) -> None:
    hidden = inputs
    for i in range(3):
        hidden = (torch.tanh(hidden) if i else hidden) @ weights[2 * i] + weights[2 * i + 1]
    loss = ((hidden[:, :, 0] - torch.tensor(goal, dtype=torch.float32)) ** 2).mean(dim=1).sum()
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
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
        known = self.taught.known
        values = {"centre": known.centre, "scale": known.scale, "embedding": embedding}
        values |= {"offset": np.array(offset), "spread": np.array(spread)}
        self.model_ = ConditionedModel(values | self._tuned(x, goal, embedding))
        return self

    def _tuned(self, x: Array, goal: Array, embedding: Array) -> dict[str, Array]:
        weights = [torch.tensor(self.taught.weights[n])[None].requires_grad_() for n in LAYERS]
        rows = torch.tensor(self.taught.known.standardised(x), dtype=torch.float32)
        inputs = _inputs(rows, embedding[None])
        optimiser = torch.optim.Adam(weights, lr=self.rate)
        with one_thread():
            for _ in range(self.steps):
                _step(weights, optimiser, inputs, goal[None])
        arrays = [tensor[0].detach().numpy().astype(np.float64) for tensor in weights]
        return {n: a[0] if n.startswith("bias") else a for n, a in zip(LAYERS, arrays, strict=True)}
