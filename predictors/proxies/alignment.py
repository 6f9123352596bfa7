"""Which layer of a child is which of its parent, if all others can be identities."""

from __future__ import annotations

from collections.abc import Iterator

from emnas_gym.errors import NotPreserving
from emnas_gym.graph import TRAINING_ONLY, WEIGHTED, WINDOWS, LayerGraph, Node

KEEP_RANGE = frozenset({"pad", "max_pool2d", "avg_pool2d", "mean", "slice", "dropout"})
UNBOUNDED, POSITIVE, SIX = 0, 1, 2  # what values are known to be: any, ≥ 0, 0 … 6


def aligned(parent: LayerGraph, child: LayerGraph) -> list[int | None]:
    """For every node of a child but its input the node of the parent that it is; None if it is new.

    Args:
        parent: A chain.
        child: A chain of the same input and output.

    Raises:
        NotPreserving: If there is no such correspondence; names the layer where they part.
    """
    if parent.output_shape != child.output_shape:
        raise NotPreserving(f"{child.output_shape} is given instead of {parent.output_shape}")
    dead: set[tuple[int, int]] = set()  # places from which the ends are not reached
    path: list[int | None] = []
    if not _walk(parent, child, 1, 1, path, dead):
        node = child.nodes[min(max(j for _, j in dead), len(child.nodes) - 1)]
        raise NotPreserving(
            f"the child cannot compute what its parent does: at {node.name}, "
            f"{node.shape} with activation {node.activation}, it is neither a layer of the parent "
            "at least as wide nor an identity; `closest` copies what is alike"
        )
    return path


def _walk(
    parent: LayerGraph,
    child: LayerGraph,
    i: int,
    j: int,
    path: list[int | None],
    dead: set[tuple[int, int]],
) -> bool:
    if (i, j) == (len(parent.nodes), len(child.nodes)):
        return True
    if (i, j) in dead:
        return False
    for step, (further_i, further_j) in _steps(parent, child, i, j):
        took = [step] if further_j > j else []
        path.extend(took)
        if _walk(parent, child, further_i, further_j, path, dead):
            return True
        del path[len(path) - len(took) :]
    dead.add((i, j))
    return False


def _steps(
    parent: LayerGraph, child: LayerGraph, i: int, j: int
) -> Iterator[tuple[int | None, tuple[int, int]]]:
    """What the child's layer j may be, and where that leads; what is old comes first."""
    old = parent.nodes[i] if i < len(parent.nodes) else None
    new = child.nodes[j] if j < len(child.nodes) else None
    if old is not None and new is not None and _is_grown(old, new):
        yield i, (i + 1, j + 1)
    if old is not None and old.op in TRAINING_ONLY:
        yield None, (i + 1, j)
    if new is not None and (new.op in TRAINING_ONLY or _is_identity(child, j)):
        yield None, (i, j + 1)


def _is_grown(old: Node, new: Node) -> bool:
    """Whether a layer is one of the parent, perhaps wider or with a larger window."""
    kind = (old.op, old.activation, old.batch_norm) == (new.op, new.activation, new.batch_norm)
    if not kind or old.shape[:-1] != new.shape[:-1] or new.shape[-1] < old.shape[-1]:
        return False
    if old.op in ("conv2d", "depthwise_conv2d"):
        same = (old.stride, old.dilation) == (new.stride, new.dilation)
        grows = old.kernel == new.kernel or old.dilation == (1, 1)
        return same and grows and _fits(old, new)
    window = (old.kernel, old.stride, old.pads) == (new.kernel, new.stride, new.pads)
    if old.op == "slice":  # one that takes channels would lose their copies
        return False
    return window if old.op in WINDOWS or old.op == "pad" else True


def window_offset(old: Node, new: Node) -> tuple[int, int]:
    """Where the taps of a window lie in a larger one (rows, columns), their maps being the same."""
    return new.pads[0] - old.pads[0], new.pads[2] - old.pads[2]


def _fits(old: Node, new: Node) -> bool:
    offsets = window_offset(old, new)
    sizes = zip(offsets, old.kernel, new.kernel, strict=True)
    return all(at >= 0 and at + small <= large for at, small, large in sizes)


def _is_identity(child: LayerGraph, index: int) -> bool:
    """Whether a layer can have weights with which it gives what it reads."""
    node = child.nodes[index]
    if node.op not in WEIGHTED:
        return False
    if not _leaves_alone(node.activation, _range_before(child, index)):
        return False
    before = child.in_shapes(node)[0]
    if node.op == "dense":
        size = 1
        for side in before:
            size *= side
        return node.shape[-1] >= size
    plain = (node.stride, node.dilation) == ((1, 1), (1, 1))
    return plain and node.shape[:-1] == before[:-1] and node.shape[-1] >= before[-1]


def _leaves_alone(activation: str, known: int) -> bool:
    needed = {"none": UNBOUNDED, "relu": POSITIVE, "relu6": SIX}
    return known >= needed[activation]


def _range_before(child: LayerGraph, index: int) -> int:
    """What is known of the values that a layer reads."""
    at = index - 1
    while child.nodes[at].op in KEEP_RANGE:
        at -= 1
    node = child.nodes[at]
    if node.op in ("sigmoid", "softmax") or node.activation == "relu6":
        return SIX
    return POSITIVE if node.activation == "relu" else UNBOUNDED
