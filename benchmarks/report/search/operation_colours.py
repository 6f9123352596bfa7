"""Colours of operations on edges: by what they are, so that one has the same in all figures."""

from __future__ import annotations

KINDS = (  # how a name begins, and the class of the style sheet
    ("sep", "depthwise"),
    ("dilsep", "depthwise"),
    ("mbconv", "depthwise"),
    ("shuffle", "depthwise"),
    ("conv", "conv"),
    ("dilconv", "conv"),
    ("avg_pool", "pool"),
    ("max_pool", "pool"),
    ("skip", "output"),
    ("none", "pad"),
)
KIND_NAMES = {
    "conv": "convolution",
    "depthwise": "depthwise",
    "pool": "pool",
    "output": "skip",
    "pad": "none",
    "dense": "other",
}


def kind_of(operation: str) -> str:
    """The class of an operation; ``output`` for a skip, ``pad`` for none, ``dense`` for others."""
    return next((kind for start, kind in KINDS if operation.startswith(start)), "dense")
