"""What a network costs before anyone builds it: MACs, parameters, flash and RAM.

Flash and the persistent part of RAM are sums over the nodes of the deployed graph plus a header,
so that an action mask can add them up layer by layer. They are upper bounds of what
`hardware.export` writes and of what TensorFlow Lite Micro allocates on a 32-bit controller.
"""

from __future__ import annotations

import math

from emnas_gym.graph import WEIGHTED, LayerGraph, Node, kernel_shape
from emnas_gym.memory import plan_arena

FLASH_HEADER = 640
FLASH_SLACK = 256
PERSISTENT_HEADER = 640


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
    """The part of the arena that int8 activations share."""
    return plan_arena(graph.deployed()).head_bytes


def ram_bytes(graph: LayerGraph) -> int:
    """The whole arena: what activations share and what the runtime keeps."""
    return arena_head_bytes(graph) + persistent_bytes(graph)


def node_macs(graph: LayerGraph, node: Node) -> int:
    """Multiply-accumulates of one node."""
    if node.op not in WEIGHTED:
        return 0
    out_map = math.prod(node.shape[:-1])
    return out_map * _kernel_size(graph, node)


def node_params(graph: LayerGraph, node: Node) -> int:
    """Trained and running values of one node."""
    if node.op not in WEIGHTED:
        return 0
    per_channel = 5 if node.batch_norm else 1
    return _kernel_size(graph, node) + per_channel * node.shape[-1]


def node_flash(graph: LayerGraph, node: Node) -> int:
    """Bytes of the int8 file that one node adds."""
    if node.op not in WEIGHTED:
        return 160
    channels = node.shape[-1]
    return 480 + _kernel_size(graph, node) + 16 * channels


def node_persistent(graph: LayerGraph, node: Node) -> int:
    """Bytes that the runtime keeps for one node, on 32 bits."""
    tensors = 3 if node.op in WEIGHTED else 1
    per_channel = 8 * node.shape[-1] if node.op in WEIGHTED else 0
    tables = 512 if node.op == "softmax" else 0
    return 128 + 24 * tensors + per_channel + tables


def _kernel_size(graph: LayerGraph, node: Node) -> int:
    return math.prod(kernel_shape(node, graph.in_shapes(node)[0]))
