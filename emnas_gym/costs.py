"""What a network costs before anyone builds it: MACs, parameters, flash and RAM.

Flash and what the runtime keeps in RAM are a header plus a sum over the nodes of the deployed
graph, so that an action mask can add them up layer by layer. Both are upper bounds: flash of the
int8 file that `hardware.export` writes, RAM of what TensorFlow Lite Micro allocates on a 32-bit
controller with its reference kernels.

Where the constants come from. Flash: the layout of a .tflite file whose tables all start at
multiples of four; only alignment, operator codes and layouts shared between tables are rounded up.
RAM: the tail of the arena that tflite-micro 0.dev20261023 reports on a 64-bit host, which a linear
fit over random networks explains to 13 bytes, with tensors counted as 12 instead of 24 bytes and
operators as 32 instead of 64, the sizes of those structures where a pointer has four bytes; kernel
data stay at their 64-bit size, so the bound lies between the two. One moment is not counted: while
a convolution of C channels is prepared, the runtime asks for about 12 C + 600 bytes (on that host),
which is more than activations and planning need where a layer is very wide and all maps are tiny.
"""

from __future__ import annotations

import math

from emnas_gym.graph import WEIGHTED, WINDOWS, LayerGraph, Node, kernel_shape
from emnas_gym.memory import align, is_large_mean, plan_arena
from emnas_gym.operator_order import scheduled

FLASH_HEADER = 660
FLASH_SLACK = 256  # file <= flash_bytes < file + FLASH_SLACK for every chain
CHAINED = frozenset({"add", "mul"})  # of many become a chain of two each
BRANCHING = frozenset({"add", "mul", "concat", "max_pool2d", "avg_pool2d", "sigmoid", "softmax"})
BRANCH_SLACK = 160  # and at most so much more for each of these where a network branches
PERSISTENT_HEADER = 736
SETUP_HEADER = 200

_TENSOR_SETUP = 24  # sizes of the planner's records where a pointer has four bytes
_BUFFER_SETUP = 40
_TENSOR_RAM = 12
_OPERATOR_RAM = 32
_TENSOR_FLASH = 36  # of an activation: shape, scale, zero point and place in the arena plan
_OPERATOR_FLASH = {  # tables of the operator and its tensors
    "conv2d": 280,
    "depthwise_conv2d": 288,
    "dense": 264,
    "pad": 192,
    "slice": 380,
    "mean": 112,
    "add": 96,
    "mul": 96,
    "concat": 92,
    "max_pool2d": 108,
    "avg_pool2d": 108,
    "sigmoid": 80,
    "softmax": 96,
}
_CODE_FLASH = {  # codes and layouts that the header does not include; counted at every use
    "slice": 44,
    "mean": 36,
    "add": 20,
    "mul": 20,
    "concat": 28,
    "max_pool2d": 36,
    "avg_pool2d": 36,
}
_DILATION_FLASH = 16  # two options and the longer layout that they need
_LARGE_MEAN_FLASH = 96  # a constant with the axes
_UNARY_FLASH = 80 + 20  # a relu or quantize operator and its code
_KERNEL_RAM = {  # options and state of one operator
    "conv2d": 112,
    "depthwise_conv2d": 112,
    "dense": 112,
    "pad": 64,
    "slice": 120,
    "mean": 72,
    "add": 72,
    "mul": 56,
    "concat": 56,
    "max_pool2d": 72,
    "avg_pool2d": 72,
    "sigmoid": 16,
    "softmax": 84,
}
_UNARY_RAM = 32
_SAME_SCALE = frozenset({"pad", "slice", "mean", "max_pool2d", "avg_pool2d", "concat"})


def macs(graph: LayerGraph) -> int:
    """Multiply-accumulates of one inference."""
    return sum(node_macs(graph, node) for node in graph)


def params(graph: LayerGraph) -> int:
    """Trained and running values, batch norm's four a channel included."""
    return sum(node_params(graph, node) for node in graph)


def flash_bytes(graph: LayerGraph) -> int:
    """Upper bound of the size of the int8 model file."""
    deployed = graph.deployed()
    return FLASH_HEADER + sum(node_flash(deployed, node) for node in deployed)


def persistent_bytes(graph: LayerGraph) -> int:
    """Upper bound of the part of the arena that the runtime keeps for itself, on 32 bits."""
    deployed = graph.deployed()
    return PERSISTENT_HEADER + sum(node_persistent(deployed, node) for node in deployed)


def arena_head_bytes(graph: LayerGraph) -> int:
    """The part of the arena that int8 activations share, in the order in which the graph runs."""
    return plan_arena(scheduled(graph)).head_bytes


def setup_bytes(graph: LayerGraph) -> int:
    """Upper bound of what the runtime needs, where activations lie later, to plan its memory."""
    deployed = graph.deployed()
    return SETUP_HEADER + sum(node_setup(deployed, node) for node in deployed)


def ram_bytes(graph: LayerGraph) -> int:
    """The arena that the runtime needs: what it keeps, and what activations or its planning need.

    Before the first inference the records from which the runtime plans its memory lie where the
    activations lie later; where maps are small they are the larger part.
    """
    return max(arena_head_bytes(graph), setup_bytes(graph)) + persistent_bytes(graph)


def node_macs(graph: LayerGraph, node: Node) -> int:
    """Multiply-accumulates of one node."""
    if node.op not in WEIGHTED:
        return 0
    return math.prod(node.shape[:-1]) * _kernel_size(graph, node)


def node_params(graph: LayerGraph, node: Node) -> int:
    """Trained and running values of one node."""
    if node.op not in WEIGHTED:
        return 0
    per_channel = 5 if node.batch_norm else 1
    return _kernel_size(graph, node) + per_channel * node.shape[-1]


def node_flash(graph: LayerGraph, node: Node) -> int:
    """Bytes of the int8 file that one node of a deployed graph adds at most."""
    own_tensor = _TENSOR_FLASH + 4 * len(node.shape)
    if node.op == "input":
        return own_tensor
    size = _OPERATOR_FLASH[node.op] + _CODE_FLASH.get(node.op, 0) + own_tensor
    if node.op in CHAINED:
        size *= len(node.inputs) - 1
    if node.op == "concat":
        size += 4 * len(node.inputs)
    if node.op in WEIGHTED:
        size += _constants_flash(_kernel_size(graph, node), node)
    size += 4 * (node.activation != "none") + 4 * (node.op in WINDOWS and node.padding == "valid")
    size += _LARGE_MEAN_FLASH * is_large_mean(graph, node)
    size += _DILATION_FLASH * (max(node.dilation) > 1)
    return size + _extra_operators(graph, node) * (_UNARY_FLASH + own_tensor)


def node_persistent(graph: LayerGraph, node: Node) -> int:
    """Bytes that the runtime keeps for one node of a deployed graph at most, on 32 bits."""
    operators, activations, constants = _counts(graph, node)
    size = operators * _OPERATOR_RAM + (activations + constants) * _TENSOR_RAM
    if node.op == "input":
        return size
    extra = _extra_operators(graph, node)
    size += (operators - extra) * _KERNEL_RAM[node.op] + extra * _UNARY_RAM
    if node.op in ("conv2d", "depthwise_conv2d"):
        size += 2 * align(4 * node.shape[-1])  # a multiplier and a shift for each channel
    if node.op == "concat":
        size += 2 * align(4 * len(node.inputs))
    return size


def node_setup(graph: LayerGraph, node: Node) -> int:
    """Bytes that the runtime needs for one node while it plans its memory, on 32 bits."""
    _, activations, constants = _counts(graph, node)
    return activations * (_TENSOR_SETUP + _BUFFER_SETUP) + constants * _TENSOR_SETUP


def _counts(graph: LayerGraph, node: Node) -> tuple[int, int, int]:
    """Operators, activations and constants that a node becomes in the file."""
    if node.op == "input":
        return 0, 1, 0
    operators = len(node.inputs) - 1 if node.op in CHAINED else 1
    operators += _extra_operators(graph, node)
    constants = 2 if node.op in WEIGHTED else {"pad": 1, "slice": 3}.get(node.op, 0)
    constants += is_large_mean(graph, node)
    return operators, operators, constants


def _kernel_size(graph: LayerGraph, node: Node) -> int:
    return math.prod(kernel_shape(node, graph.in_shapes(node)[0]))


def _constants_flash(kernel_size: int, node: Node) -> int:
    """Kernel, bias, and their scales and shared zero points: one a channel, for dense one."""
    scales = 1 if node.op == "dense" else node.shape[-1]
    return align(kernel_size + 4) + align(4 * node.shape[-1] + 4) + 16 * scales


def _extra_operators(graph: LayerGraph, node: Node) -> int:
    """Operators that one node needs besides its own.

    ``concat`` has no activation of its own, and sigmoid and softmax have a scale of their own,
    which a ``concat`` that reads them cannot keep.
    """
    if node.op == "concat":
        return int(node.activation != "none")
    if node.op not in ("sigmoid", "softmax") or graph.is_chain:
        return 0
    reached = {graph.nodes.index(node)}
    for i, other in enumerate(graph.nodes):
        if other.op in _SAME_SCALE and reached & set(other.inputs):
            if other.op == "concat":
                return 1
            reached.add(i)
    return 0
