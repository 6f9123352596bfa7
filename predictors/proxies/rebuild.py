"""The same network once more with another input, other widths or fewer layers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from emnas_gym.graph import WEIGHTED, WINDOWS, GraphBuilder, LayerGraph, Node, Shape


def rebuilt(
    graph: LayerGraph,
    input_shape: Shape | None = None,
    widths: Mapping[str, int] | None = None,
    dropped: Collection[str] = (),
) -> LayerGraph:
    """Builds a graph node by node, so that every shape is inferred anew.

    Args:
        graph: The network.
        input_shape: What it is to read; as before if None.
        widths: Name of a convolution or dense layer → its new number of filters or units.
        dropped: Names of nodes that are left out; what read them reads what they read.

    Returns:
        The new graph; its nodes have names of their own.

    Raises:
        ShapeError: If a window does not fit the map any more, or branches no longer fit together.
    """
    builder = GraphBuilder(input_shape or graph.input_shape)
    wide = widths or {}
    moved = {0: 0}  # index in the old graph → index in the new one
    for index, node in enumerate(graph.nodes[1:], start=1):
        reads = [moved[i] for i in node.inputs]
        kept = node.name not in dropped
        moved[index] = _add(builder, node, reads, wide.get(node.name)) if kept else reads[0]
    return builder.build()


def _add(builder: GraphBuilder, node: Node, reads: list[int], width: int | None) -> int:
    if node.op in WINDOWS:
        return builder.window(
            node.op,
            node.kernel[0],
            node.stride[0],
            node.padding,
            filters=width or node.shape[-1],
            dilation=node.dilation[0],
            activation=node.activation,
            batch_norm=node.batch_norm,
            reads=reads[0],
        )
    simple: dict[str, Callable[[], int]] = {
        "dense": lambda: builder.dense(width or node.shape[-1], node.activation, reads[0]),
        "pad": lambda: builder.pad(node.pads, reads[0]),
        "mean": lambda: builder.mean(reads[0]),
        "slice": lambda: builder.slice(
            node.begin, (node.end[0], node.end[1], node.end[2]), node.step, reads[0]
        ),
    }
    if node.op in simple:
        return simple[node.op]()
    if len(reads) > 1:
        return builder.join(node.op, reads, node.activation)
    return builder.pointwise(node.op, reads[0], node.rate)


def hidden_layers(graph: LayerGraph) -> list[Node]:
    """The weighted nodes in their order, all but the classifier."""
    return [node for node in graph if node.op in WEIGHTED][:-1]


def with_activation(graph: LayerGraph, name: str) -> list[str]:
    """Names of a layer's node and, where one follows, of its sigmoid."""
    index = next(i for i, node in enumerate(graph) if node.name == name)
    follows = [n.name for n in graph if n.op == "sigmoid" and n.inputs == (index,)]
    return [name, *follows]
