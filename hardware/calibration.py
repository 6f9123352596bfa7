"""Finds the ranges of all activations by running the float model over images."""

from __future__ import annotations

import numpy as np

from emnas_gym.errors import DatasetError
from emnas_gym.graph import Shape
from hardware.interpreter import Model
from hardware.program import Array


def calibrate(content: bytes, count: int, images: Array) -> Array:
    """Ranges of the activations of a float model.

    Args:
        content: A float .tflite file of ours.
        count: Number of activations; they are its first tensors.
        images: (N, *input shape) float32; 50 to 200 that look like what the network will see.

    Returns:
        Least and largest value of each activation, (count, 2).

    Raises:
        DatasetError: If the images do not fit the input or are not finite.
    """
    model = Model(content, keep_activations=True)
    check_images(images, model.input_shape)
    return model.activation_ranges(np.ascontiguousarray(images, np.float32), count)


def check_images(images: Array, shape: Shape) -> None:
    """Checks images for calibration.

    Raises:
        DatasetError: If they do not fit the input or are not finite.
    """
    if images.ndim != len(shape) + 1 or images.shape[1:] != tuple(shape) or not len(images):
        expected = ", ".join(map(str, shape))
        raise DatasetError(f"calibration images have shape {images.shape}, not (N, {expected})")
    if images.dtype.kind not in "fiu" or not np.isfinite(images).all():
        raise DatasetError("calibration images are not made of finite numbers")
