"""What one layer asks of a device, counted: terms of an additive latency.

A term is a kind of work and an amount, e.g. ``"conv 3x3/2 same: macs"`` → 442,368. The details are
what two boards distinguish, a Kendryte K210 and a Cortex-A7 that runs TFLite.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from emnas_gym import costs
from emnas_gym.graph import GraphBuilder, LayerGraph, Node, Shape
from emnas_gym.layers import LayerSpec
from emnas_gym.models.kpu_terms import CACHE_WAY, CACHE_WAYS, Terms

DETAILS = {
    "sigmoid": "a sigmoid costs by the convolution before it, which may or may not absorb it",
    "small": "maps below 4 × 4, which the KPU refuses, so that the CPU computes them",
    "parity": "whether the zeros of a stride-2 window lie on both sides (odd maps) or on one",
    "cache": "2 × 2 convolutions by how many channels share a set of the 4 KiB cache way",
    "patches": "convolutions by the patches they gather, and apart where they read the image",
    "kpu": "steps that the compiler makes of the whole network for a K210, instead of its layers",
}
WINDOWS = ("conv2d", "depthwise_conv2d")
KPU_LEAST = 4
IMAGE_CHANNELS = 3  # and fewer


def layer_terms(
    spec: LayerSpec, shape: Shape, classes: int, details: Sequence[str]
) -> tuple[Shape, Terms]:
    """Terms of one layer on the shape that it reads, and the shape that it returns.

    Raises:
        ShapeError: If the layer does not fit the shape.
    """
    builder = GraphBuilder(shape)
    spec.lower(builder, classes)
    graph = builder.build()
    terms: Terms = {}
    for node in graph.nodes[1:]:
        if node.op not in ("dropout", "sigmoid"):
            _add_node(terms, graph, node, details)
    if spec.activation == "sigmoid":
        after = f" after {_window_name(graph.nodes[1])}" if "sigmoid" in details else ""
        terms[f"sigmoid{after}: out"] = math.prod(builder.shape)
        terms["sigmoid: calls"] = 1
    return builder.shape, terms


def _add_node(terms: Terms, graph: LayerGraph, node: Node, details: Sequence[str]) -> None:
    before = graph.in_shapes(node)[0]
    if "patches" in details and node.op in WINDOWS:
        _add_patches(terms, graph, node)
        return
    name = _window_name(node)
    if node.op in WINDOWS:
        if "small" in details and min(*before[:2], *node.shape[:2]) < KPU_LEAST:
            name += " small"
        elif "parity" in details and node.stride[0] == 2:
            name += " odd" if before[0] % 2 else " even"
    amounts = _amounts(graph, node)
    _add(terms, name, amounts)
    if "cache" in details and node.op == "conv2d" and node.kernel == (2, 2):
        shared = before[2] * math.gcd(before[0] * before[1], CACHE_WAY) / CACHE_WAY
        if shared >= CACHE_WAYS:
            terms[f"conv 2x2 with {shared:g} channels a cache set: macs"] = amounts["macs"]


def _amounts(graph: LayerGraph, node: Node) -> dict[str, int]:
    return {
        "calls": 1,
        "macs": costs.node_macs(graph, node),
        "in": math.prod(graph.in_shapes(node)[0]),
        "out": node.size,
    }


def _add(terms: Terms, name: str, amounts: Mapping[str, float]) -> None:
    for what, amount in amounts.items():
        if amount:
            terms[f"{name}: {what}"] = terms.get(f"{name}: {what}", 0) + amount


def _add_patches(terms: Terms, graph: LayerGraph, node: Node) -> None:
    """A convolution as a product of matrices, after a patch was gathered for every pixel."""
    amounts = _amounts(graph, node)
    pixels, side = math.prod(node.shape[:2]), node.kernel[0]
    depth = graph.in_shapes(node)[0][2] if node.op == "conv2d" else 1
    kind = "conv" if node.op == "conv2d" else "depthwise"
    if node.op == "conv2d" and depth <= IMAGE_CHANNELS:
        kind = "conv of the image"
    gathered = {"pixels": pixels, "patches": pixels * side * side * depth}
    own = f"{kind} {side}x{side}/{node.stride[0]}"
    if node.op == "conv2d":
        _add(terms, f"any {kind}", amounts | gathered | {"rows": pixels * side})
        del amounts["in"]
        _add(terms, own, amounts | gathered)
    else:
        _add(terms, f"any {kind}", gathered | {"rows": pixels * side})
        _add(terms, own, amounts)


def _window_name(node: Node) -> str:
    if node.op not in WINDOWS:
        return node.op
    kind = "conv" if node.op == "conv2d" else "depthwise"
    size, step = node.kernel[0], node.stride[0]
    return f"{kind} {size}x{size}/{step}" + (f" {node.padding}" if size > 1 else "")
