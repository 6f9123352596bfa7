"""Predictors of block latency as torch modules: probabilities in, microseconds out.

Pre-processing is affine and inside: logarithm of the channels and of the latency standardised on
the training rows, probabilities as multiples of the even share. Gradients flow through all of it,
so that a search can hold its architecture parameters against a latency.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from emnas_gym.branched.cell_space import CellSpace
from emnas_gym.errors import DomainError, SurrogateFileError
from emnas_gym.space import load_space
from predictors.lenna.columns import OPERATIONS, blocks_of, check_probabilities, offered
from predictors.lenna.gates import Array

BlockSpace = Literal["lenna-block", "lenna-reduction"]
SPACES: dict[bool, BlockSpace] = {False: "lenna-block", True: "lenna-reduction"}
CONTEXT = 4  # type, log channels, their square, both multiplied
BASES = ("centre", "scale", "middle", "unit")
SPREAD = 0.3  # scale of the shares that networks read


class BlockNetwork(nn.Module, ABC):
    """Latency of blocks by type, channels and probabilities of operations.

    A subclass names itself and turns what it reads into scores.

    Args:
        width: Units of the hidden layers.

    Attributes:
        kind: Name of the class in files.
        channels: Least and largest number of channels it was fitted on.
        types: Types of blocks it was fitted on: whether they are reductions.
        about: Where its rows were measured, as plain data.
    """

    kind: ClassVar[str]
    offered: Tensor
    centre: Tensor
    scale: Tensor
    middle: Tensor
    unit: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.channels: tuple[float, float] = (1.0, 1.0)
        self.types: tuple[bool, ...] = ()
        self.about: Mapping[str, Any] = {}
        for name, value in zip(BASES, (0.0, 1.0, 0.0, 1.0), strict=True):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float64))
        known = torch.from_numpy(np.stack([offered(False), offered(True)]))
        self.register_buffer("offered", known, persistent=False)

    def forward(self, reduction: Tensor, channels: Tensor, probabilities: Tensor) -> Tensor:
        """Latencies in microseconds, shape (N,).

        Args:
            reduction: Types of the blocks, bool (N,).
            channels: Of their inputs, (N,).
            probabilities: (N, 15, 11), 0 where an edge has no such operation.
        """
        return torch.exp(self.score(reduction, channels, probabilities) * self.unit + self.middle)

    def score(self, reduction: Tensor, channels: Tensor, probabilities: Tensor) -> Tensor:
        """Standardised logarithms of latencies, float64 (N,); arguments as of `forward`."""
        dtype = next(self.parameters()).dtype
        size = (channels.to(self.centre.dtype).log() - self.centre) / self.scale
        kind = reduction.to(size.dtype) * 2 - 1
        context = torch.stack([kind, size, size**2, kind * size], dim=1).to(dtype)
        even = probabilities * len(OPERATIONS) - 1
        shares = torch.where(self.offered[reduction.long()], even, torch.zeros_like(even))
        return self._score(context, SPREAD * shares.to(dtype)).to(self.unit.dtype)

    @abstractmethod
    def _score(self, context: Tensor, shares: Tensor) -> Tensor:
        """Scores (N,) of what blocks are (N, 4) and of what they do (N, 15, 11)."""

    def predict(self, x: Array) -> Array:
        """Latencies in microseconds of rows, shape (N,).

        Args:
            x: The 167 columns, shape (N, 167).

        Raises:
            DatasetError: If rows have other columns, or numbers that are none of their kind.
            DomainError: If blocks are of a type or width that it was not fitted on.
        """
        reduction, channels, probabilities = blocks_of(np.asarray(x, dtype=np.float64))
        for is_reduction, p in zip(reduction.tolist(), probabilities, strict=True):
            check_probabilities(is_reduction, p)
        for is_reduction in set(reduction.tolist()):
            self.check_block(is_reduction, float(channels[reduction == is_reduction].max()))
            self.check_block(is_reduction, float(channels[reduction == is_reduction].min()))
        with torch.inference_mode():
            tensors = (torch.from_numpy(np.array(a)) for a in (reduction, channels, probabilities))
            found: Array = self(*tensors).numpy()
        return found

    # -------------------------------------------------------------------------------- what it knows

    def check_block(self, reduction: bool, channels: float) -> None:
        """Checks that a block is of a type and width that it was fitted on.

        Raises:
            DomainError: If it is not.
        """
        least, most = self.channels
        if reduction not in self.types or not least <= channels <= most:
            kinds = " and ".join("reduction" if kind else "normal" for kind in self.types) or "no"
            raise DomainError(
                f"the predictor was fitted on {kinds} blocks of {least:g} to {most:g} channels, "
                f"not on a {'reduction' if reduction else 'normal'} one of {channels:g}: "
                "collect rows of it (`benchmarks lenna collect`), or measure a table of operations"
            )

    def check_space(self, space: CellSpace) -> None:
        """Checks that it knows the block of a space.

        Raises:
            DomainError: If that is another space than LENNA's, or one whose block was never seen.
        """
        name, _, _ = space.name.partition("@")
        known = {SPACES[kind]: kind for kind in self.types}
        if name not in known or space.cells != load_space(SPACES[known[name]]).cells:
            raise DomainError(
                f"the predictor knows the blocks of {', '.join(known) or 'no space'}, not "
                f"{space.name}: for that one make a table (predictors.lenna.make_table)"
            )
        self.check_block(known[name], space.skeleton.channels)

    # ---------------------------------------------------------------------------------------- files

    def arrays(self) -> dict[str, Array]:
        """All numbers by name, for a file."""
        return {name: np.asarray(value.numpy()) for name, value in self.state_dict().items()}

    def options(self) -> dict[str, Any]:
        """What is stored besides, as plain data."""
        return {
            "kind": self.kind,
            "width": self.width,
            "channels": list(self.channels),
            "types": [SPACES[kind] for kind in self.types],
            "fingerprints": {
                SPACES[kind]: load_space(SPACES[kind]).fingerprint for kind in self.types
            },
            "about": dict(self.about),
        }

    def restore(self, arrays: Mapping[str, Array], options: Mapping[str, Any]) -> None:
        """Takes over what was read from a file, which is not trusted.

        Raises:
            SurrogateFileError: If something is missing, of another shape, or not finite.
            DomainError: If it was fitted on another form of a space.
        """
        kinds = {name: kind for kind, name in SPACES.items()}
        for name in options["types"]:
            if name not in kinds or options["fingerprints"][name] != load_space(name).fingerprint:
                raise DomainError(f"the predictor was fitted on another space than our {name}")
        state = self.state_dict()
        shapes = {name: tuple(value.shape) for name, value in state.items()}
        if {name: array.shape for name, array in arrays.items()} != shapes:
            raise SurrogateFileError("has other arrays than a network of its size")
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise SurrogateFileError("holds numbers that are not finite")
        if not (arrays["scale"] > 0 and arrays["unit"] > 0):
            raise SurrogateFileError("has a scale that is not above 0")
        least, most = (float(value) for value in options["channels"])
        if not (math.isfinite(most) and 1 <= least <= most):
            raise SurrogateFileError(f"was fitted on {least:g} to {most:g} channels")
        self.load_state_dict(
            {name: torch.tensor(array, dtype=state[name].dtype) for name, array in arrays.items()}
        )
        self.channels = (least, most)
        self.types = tuple(kinds[name] for name in options["types"])
        self.about = dict(options["about"])
        self.eval()
