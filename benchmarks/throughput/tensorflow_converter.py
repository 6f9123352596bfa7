"""The same networks through TensorFlow's own converter: what ours is held against.

TensorFlow is large and nothing else needs it: `pip install tensorflow-cpu` where it is wanted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import reduce
from typing import Any

import numpy as np

from emnas_gym.graph import LayerGraph, Node
from hardware.extras import load
from hardware.folding import Linear, fold
from hardware.program import Array


def convert_int8(graph: LayerGraph, weights: Mapping[str, Array], images: Array) -> bytes:
    """A full int8 .tflite file, made by TensorFlow.

    Args:
        graph: Any graph; training-only operations are dropped.
        weights: Arrays with the names and shapes of `LayerGraph.weight_shapes`.
        images: (N, *input shape) float32, for calibration.

    Raises:
        BackendMissing: If TensorFlow is not installed.
    """
    tf: Any = load("tensorflow")
    model = _Module(tf, graph.deployed(), weights)
    signature = tf.TensorSpec((1, *graph.input_shape), tf.float32)
    function = tf.function(model.forward).get_concrete_function(signature)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]

    def inputs() -> Iterator[list[Array]]:
        for image in images:
            yield [image[np.newaxis].astype(np.float32)]

    converter.representative_dataset = inputs
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


class _Module:
    """A graph as TensorFlow operations on constants, batch norm folded."""

    def __init__(self, tf: Any, graph: LayerGraph, weights: Mapping[str, Array]) -> None:  # noqa: ANN401
        self.tf, self.graph, self.weights = tf, graph, weights

    def forward(self, x: Any) -> Any:  # noqa: ANN401
        """The network's output for one image."""
        values = [x]
        for node in self.graph.nodes[1:]:
            values.append(
                self._activated(node, self._apply(node, [values[i] for i in node.inputs]))
            )
        return values[-1]

    def _apply(self, node: Node, read: list[Any]) -> Any:  # noqa: ANN401
        tf, x = self.tf, read[0]
        window = {"strides": [1, *node.stride, 1], "padding": node.padding.upper()}
        if node.op in ("conv2d", "depthwise_conv2d", "dense"):
            return self._linear(fold(node, self.weights), node, x, window)
        if node.op in ("max_pool2d", "avg_pool2d"):
            pool = tf.nn.max_pool2d if node.op == "max_pool2d" else tf.nn.avg_pool2d
            return pool(x, node.kernel, node.stride, node.padding.upper())
        if node.op == "pad":
            top, bottom, left, right = node.pads
            return tf.pad(x, [[0, 0], [top, bottom], [left, right], [0, 0]])
        simple = {
            "mean": lambda: tf.reduce_mean(x, axis=[1, 2], keepdims=True),
            "sigmoid": lambda: tf.sigmoid(x),
            "softmax": lambda: tf.nn.softmax(x),
            "add": lambda: tf.add_n(read),
            "mul": lambda: reduce(tf.multiply, read),
            "slice": lambda: x[(slice(None), *_taken(node))],
            "concat": lambda: tf.concat(read, -1),
        }
        return simple[node.op]()

    def _linear(self, linear: Linear, node: Node, x: Any, window: dict[str, Any]) -> Any:  # noqa: ANN401
        tf, kernel = self.tf, linear.kernel
        taps = {**window, "dilations": list(node.dilation)}
        if node.op == "conv2d":
            y = tf.nn.conv2d(x, tf.constant(kernel.transpose(1, 2, 3, 0)), **taps)
        elif node.op == "depthwise_conv2d":
            y = tf.nn.depthwise_conv2d(x, tf.constant(kernel.transpose(1, 2, 3, 0)), **taps)
        else:
            y = tf.matmul(tf.reshape(x, (1, -1)), tf.constant(kernel.T))
        return tf.nn.bias_add(y, tf.constant(linear.bias))

    def _activated(self, node: Node, y: Any) -> Any:  # noqa: ANN401
        if node.activation == "relu":
            return self.tf.nn.relu(y)
        return self.tf.nn.relu6(y) if node.activation == "relu6" else y


def _taken(node: Node) -> Iterator[slice]:
    """What a ``slice`` takes along each axis."""
    return (slice(*bounds) for bounds in zip(node.begin, node.end, node.step, strict=True))
