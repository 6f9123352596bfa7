"""What a token means: one layer specification, and how it becomes operations of a graph."""

from __future__ import annotations

from dataclasses import dataclass, replace

from emnas_gym.errors import ShapeError
from emnas_gym.graph import GraphBuilder, Pads

KINDS = ("conv", "depthwise", "dense", "dropout", "pad", "output")
FIELDS = {  # fields that a kind has, apart from its name
    "conv": ("filters", "kernel", "stride", "padding", "activation", "batch_norm"),
    "depthwise": ("filters", "kernel", "stride", "padding", "activation", "batch_norm"),
    "dense": ("units", "activation"),
    "dropout": ("rate",),
    "pad": ("pads",),
    "output": ("head", "rate"),
}
REQUIRED = {
    "conv": ("filters", "kernel", "stride", "padding", "activation"),
    "depthwise": ("kernel", "stride", "padding", "activation"),
    "dense": ("units", "activation"),
    "dropout": ("rate",),
    "pad": ("pads",),
    "output": ("head",),
}
CHOICES = {
    "padding": ("valid", "same"),
    "activation": ("none", "relu", "relu6", "sigmoid"),
    "head": ("dense", "mean"),
}
DETAILS = (
    "kind", "filters", "units", "kernel", "stride", "padding", "activation",
    "batch_norm", "head", "rate", "pad_top", "pad_bottom", "pad_left", "pad_right",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """One layer as a token names it; fields that its kind does not have keep their defaults.

    Attributes:
        kind: One of `KINDS`.
        filters: Output channels of ``conv``; ``depthwise`` carries it and ignores it.
        kernel: Side of the square window.
        stride: Step of the window.
        padding: ``"valid"`` or ``"same"``.
        activation: ``"none"``, ``"relu"``, ``"relu6"`` or ``"sigmoid"``.
        units: Outputs of ``dense``.
        rate: Dropout rate (``dropout``, and before the classifier of ``output``).
        pads: Zeros (top, bottom, left, right) of ``pad``.
        batch_norm: Whether a batch norm stands before the activation.
        head: How ``output`` reaches its classes: ``"dense"`` on the flattened map, or ``"mean"``
            (global average, then the classifier).
    """

    kind: str
    filters: int = 0
    kernel: int = 0
    stride: int = 0
    padding: str = ""
    activation: str = ""
    units: int = 0
    rate: float = 0.0
    pads: Pads = (0, 0, 0, 0)
    batch_norm: bool = False
    head: str = ""

    def canonical(self) -> LayerSpec | None:
        """The specification that stands for all of the same behaviour; None for no effect at all.

        A depthwise convolution ignores its filters, a window of one pixel needs no padding, and a
        pad without zeros does nothing.
        """
        if self.kind == "pad" and not any(self.pads):
            return None
        filters = 0 if self.kind == "depthwise" else self.filters
        padding = "valid" if self.kernel == 1 else self.padding
        return replace(self, filters=filters, padding=padding)

    def details(self) -> list[float]:
        """Its fields as numbers, in the order of `DETAILS`; names are 1, 2, …; 0 is "not there"."""
        return [
            KINDS.index(self.kind) + 1,
            self.filters,
            self.units,
            self.kernel,
            self.stride,
            _ordinal("padding", self.padding),
            _ordinal("activation", self.activation),
            float(self.batch_norm),
            _ordinal("head", self.head),
            self.rate,
            *self.pads,
        ]

    def lower(self, builder: GraphBuilder, classes: int) -> None:
        """Appends the operations of this layer to ``builder``.

        Args:
            builder: The graph so far.
            classes: Number of classes of the task, used by ``output``.

        Raises:
            ShapeError: If the layer does not fit the shape that the graph has reached.
        """
        if self.kind in ("conv", "depthwise"):
            op = "conv2d" if self.kind == "conv" else "depthwise_conv2d"
            fused = "none" if self.activation == "sigmoid" else self.activation
            builder.window(
                op,
                self.kernel,
                self.stride,
                "valid" if self.kernel == 1 else self.padding,
                filters=self.filters,
                activation=fused,
                batch_norm=self.batch_norm,
            )
        elif self.kind == "dense":
            builder.dense(self.units, "none" if self.activation == "sigmoid" else self.activation)
        elif self.kind == "dropout":
            builder.pointwise("dropout", rate=self.rate)
        elif self.kind == "pad":
            if any(self.pads):
                builder.pad(self.pads)
        else:
            self._lower_output(builder, classes)
        if self.activation == "sigmoid":
            builder.pointwise("sigmoid")

    def _lower_output(self, builder: GraphBuilder, classes: int) -> None:
        if classes < 2:
            raise ShapeError(f"a classifier needs two or more classes, not {classes}")
        if self.head == "mean":
            builder.mean()
        if self.rate:
            builder.pointwise("dropout", rate=self.rate)
        builder.dense(classes)
        builder.pointwise("softmax")

    def __str__(self) -> str:
        """A short form for people, such as ``conv 16 3×3/2 same relu``."""
        if self.kind in ("conv", "depthwise"):
            width = f" {self.filters}" if self.kind == "conv" else ""
            norm = " bn" if self.batch_norm else ""
            window = f"{self.kernel}×{self.kernel}/{self.stride}"
            return f"{self.kind}{width} {window} {self.padding}{norm} {self.activation}"
        if self.kind == "dense":
            return f"dense {self.units} {self.activation}"
        if self.kind == "dropout":
            return f"dropout {self.rate:g}"
        if self.kind == "pad":
            return "pad " + "/".join(map(str, self.pads))
        return "output" if self.head == "dense" else "average + output"


def _ordinal(field: str, value: str) -> int:
    return CHOICES[field].index(value) + 1 if value else 0
