"""One edge of a supernet: its operations, mixed as a `Mixture` says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from emnas_gym.graph import LayerGraph, Shape
from predictors.network import GraphNetwork
from predictors.supernet.mixture import Mixture


class MixedEdge(nn.Module):
    """All operations of an edge, each with weights of its own.

    Args:
        number: Its number in the wiring.
        graphs: Of every operation that carries anything, by its name; in the order of choices.
        names: Of all operations, those that carry nothing included.
        shape: What the edge returns (height, width, channels).
        stride: Step by which it divides the map.
        divisor: The operations have this part of the channels (PC-DARTS); the rest goes beside.
    """

    def __init__(
        self,
        number: int,
        graphs: Mapping[str, LayerGraph],
        names: tuple[str, ...],
        shape: Shape,
        stride: int,
        divisor: int = 1,
    ) -> None:
        super().__init__()
        self.number, self.names, self.shape = number, names, shape
        self.stride, self.divisor = stride, divisor
        self.operations = nn.ModuleDict({n: GraphNetwork(g) for n, g in graphs.items()})

    def forward(self, x: Tensor, mixture: Mixture) -> Tensor:
        """What the edge returns.

        Args:
            x: (N, C, H, W).
            mixture: Of the whole cell; row `number` is this edge's.
        """
        if self.divisor == 1:
            out = self._mixed(x, mixture)
        else:
            part = x.shape[1] // self.divisor
            inner = self._mixed(x[:, :part], mixture)
            beside = self._past(x[:, part:], self.shape[-1] - inner.shape[1], functional.max_pool2d)
            out = shuffled(torch.cat([inner, beside], dim=1), self.divisor)
        if mixture.edges is not None:
            out = out * mixture.edges[self.number]
        if mixture.auxiliary:
            beside = self._past(x, self.shape[-1], functional.avg_pool2d)
            out = out + mixture.auxiliary * beside
        return out

    def _mixed(self, x: Tensor, mixture: Mixture) -> Tensor:
        if mixture.compared is not None:
            return self._gated(x, mixture)
        out: Tensor | None = None
        for j, name in enumerate(self.names):
            if mixture.computed[self.number, j] and name in self.operations:
                y = self.operation(name)(x)
                if mixture.weights.requires_grad:
                    y = y * mixture.weights[self.number, j]
                elif mixture.values[self.number, j] != 1:
                    y = y * float(mixture.values[self.number, j])
                out = y if out is None else out + y
        return self._nothing(x) if out is None else out

    def _gated(self, x: Tensor, mixture: Mixture) -> Tensor:
        """The open operation, with the gradient of all gates attached."""
        assert mixture.compared is not None
        active = int(mixture.computed[self.number].argmax())
        name = self.names[active]
        out = self.operation(name)(x) if name in self.operations else self._nothing(x)
        if not (mixture.weights.requires_grad and torch.is_grad_enabled()):
            return out
        others = [
            (j, self.operation(other))
            for j, other in enumerate(self.names)
            if mixture.compared[self.number, j] and other in self.operations and j != active
        ]
        counts = bool(mixture.compared[self.number, active])
        gated: Tensor = _Gate.apply(  # type: ignore[no-untyped-call]
            out, x.detach(), mixture.weights[self.number], active if counts else -1, others
        )
        return gated

    def operation(self, name: str) -> GraphNetwork:
        """An operation by its name."""
        found = self.operations[name]
        assert isinstance(found, GraphNetwork)
        return found

    def _nothing(self, x: Tensor) -> Tensor:
        height, width, channels = self.shape
        zero = x.new_zeros(())
        return zero.expand(len(x), channels // self.divisor, height, width)

    def _past(self, x: Tensor, channels: int, pool: Callable[..., Tensor]) -> Tensor:
        """A way without parameters: pooled where the map shrinks, zeros for further channels."""
        if self.stride > 1:
            x = pool(x, self.stride, ceil_mode=True)
        lacking = channels - x.shape[1]
        return functional.pad(x, (0, 0, 0, 0, 0, lacking)) if lacking else x


def shuffled(x: Tensor, groups: int) -> Tensor:
    """Channels interleaved: the first of every group, the second of every group, and so on."""
    count, channels, height, width = x.shape
    apart = x.reshape(count, groups, channels // groups, height, width)
    return apart.transpose(1, 2).reshape(count, channels, height, width)


class _Gate(torch.autograd.Function):
    """The identity on what the open operation returns; gradient of all gates on the way back.

    ∂L/∂g_j = ⟨∂L/∂output, operation j(x)⟩ (Cai et al., 2019, ProxylessNAS, equation 4).
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        out: Tensor,
        x: Tensor,
        gates: Tensor,
        active: int,
        others: list[tuple[int, GraphNetwork]],
    ) -> Tensor:
        ctx.save_for_backward(out, x)
        ctx.active, ctx.others, ctx.count = active, others, len(gates)
        return out.view_as(out)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any,  # noqa: ANN401
        gradient: Tensor,
    ) -> tuple[Tensor, None, Tensor, None, None]:
        out, x = ctx.saved_tensors
        found = gradient.new_zeros(ctx.count)
        if ctx.active >= 0:
            found[ctx.active] = (gradient * out).sum()
        for j, operation in ctx.others:
            with statistics_kept(operation):
                found[j] = (gradient * operation(x)).sum()
        return gradient, None, found, None, None


@contextmanager
def statistics_kept(module: nn.Module) -> Iterator[None]:
    """Leaves the running statistics of all batch norms as they are; what they compute stays."""
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
