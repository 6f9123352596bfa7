"""What is fixed around the cells of a network: stem, stages, how they are joined, classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from emnas_gym.branched.cell import Built, Cell, Choices, Site
from emnas_gym.branched.operations import convolution
from emnas_gym.graph import GraphBuilder, LayerGraph
from emnas_gym.tasks import Task

JOINS = ("none", "residual", "reduction")
SHARES = ("all", "stage", "each")


@dataclass(frozen=True, slots=True)
class Stage:
    """Cells of one shape.

    Attributes:
        channels: Channels of their nodes.
        cells: Number of cells.
        join: How the map is halved before: ``"none"``, by a ``"residual"`` block of its own as in
            NAS-Bench-201, or by the first cell, which is a ``"reduction"`` cell.
    """

    channels: int
    cells: int
    join: str = "none"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a cell stands.

    Attributes:
        group: Name of the decisions that it obeys.
        cell: Name of the cell.
        stage: Index of the stage.
        stride: 2 for the reduction cell of a stage.
    """

    group: str
    cell: str
    stage: int
    stride: int


@dataclass(frozen=True)
class Skeleton:
    """Stem, stages, global average, classifier.

    Attributes:
        channels: Channels of the stem, a convolution.
        kernel: Its window.
        stride: Its step.
        stages: In order.
        share: Which cells are alike: ``"all"`` of one name, those of a ``"stage"``, or ``"each"``
            decides for itself.
        cells: Names of the cells: ``normal``, and ``reduction`` where that is another one.
    """

    channels: int
    kernel: int
    stride: int
    stages: tuple[Stage, ...]
    share: str
    cells: tuple[str, ...]

    @property
    def places(self) -> tuple[Place, ...]:
        """All cells in order."""
        found = []
        for i, stage in enumerate(self.stages):
            for j in range(stage.cells):
                stride = 2 if stage.join == "reduction" and j == 0 else 1
                cell = "reduction" if stride == 2 and "reduction" in self.cells else "normal"
                group = {"all": cell, "stage": f"stage {i}", "each": f"cell {i}.{j}"}[self.share]
                if self.share == "stage" and len(self.cells) > 1:
                    group = f"{group} {cell}"
                found.append(Place(group, cell, i, stride))
        return tuple(found)

    @property
    def groups(self) -> dict[str, str]:
        """Name of the cell of every group of decisions, in order."""
        return {place.group: place.cell for place in self.places}

    def assemble(
        self, task: Task, cells: Mapping[str, Cell], choices: Mapping[str, Choices]
    ) -> tuple[LayerGraph, list[Built]]:
        """Builds a network.

        Args:
            task: Input shape and classes.
            cells: By their names.
            choices: Of every group; where some are missing the graph ends with that cell.

        Returns:
            The graph, and the cells in it in the order of `places`.

        Raises:
            ShapeError: If a window does not fit.
            InvalidArchitecture: If a cell is disconnected.
        """
        builder, built = GraphBuilder(task.input_shape), []
        stem = convolution(builder, 0, self.channels, self.stride, self.kernel)
        outputs, before = [stem, stem], -1
        for place in self.places:
            stage = self.stages[place.stage]
            if place.stage != before and stage.join == "residual":
                halved = residual_block(builder, outputs[-1], stage.channels)
                outputs, before = [halved, halved], place.stage
            before = place.stage
            cell = cells[place.cell]
            reads = outputs[-cell.inputs :]
            found = cell.assemble(
                builder, reads, stage.channels, place.stride, choices[place.group]
            )
            built.append(found)
            if found.output is None:
                return builder.build(), built
            outputs.append(found.output)
        builder.mean(outputs[-1])
        builder.dense(task.classes)
        builder.pointwise("softmax")
        return builder.build(), built

    def sites(self, built: list[Built]) -> dict[str, list[Site]]:
        """The shapes at which the cells of every group stand."""
        found: dict[str, list[Site]] = {group: [] for group in self.groups}
        for place, cell in zip(self.places, built, strict=True):
            found[place.group].append(cell.site)
        return found


def residual_block(builder: GraphBuilder, reads: int, channels: int) -> int:
    """The block of a residual network that halves the map (He et al., 2016)."""
    inner = convolution(builder, reads, channels, 2, 3)
    inner = convolution(builder, inner, channels, 1, 3, activation="none")
    pooled = builder.window("avg_pool2d", 2, 2, "same", reads=reads)
    short = convolution(builder, pooled, channels, activation="none")
    return builder.join("add", (inner, short), activation="relu")
