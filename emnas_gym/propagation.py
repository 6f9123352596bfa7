"""How signals and gradients fare in an untrained network: whether it can start to learn.

Plain deep stacks without batch norm either begin to learn within a few epochs or stay at chance.
Which of the two is decided by what differs between two images: every layer of random weights keeps
or loses a part of it, and of the gradient that comes back. Both are recursions over the layers in
closed form, for wide layers, zero biases and Glorot's uniform weights (Glorot & Bengio 2010,
"Understanding the difficulty of training deep feedforward neural networks"; Schoenholz et al.
2017, "Deep information propagation"; He et al. 2015, "Delving deep into rectifiers").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emnas_gym.features import LAYER

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
VERSION = 1  # changes with the meaning, number or order of the signals
PIXEL_POWER = 0.3  # mean square of pixels scaled to −1 … 1
LIKENESS = 0.5  # share of it that two images of one task have in common
SLOPE = 8 / np.pi  # λ² of Φ(z/λ), the normal distribution function of the logistic's slope at 0
FAINT = 1e-9  # of a whole: a smaller difference is lost in rounding, in trainings too
LEAST = 1e-30  # what vanishes still has a logarithm
SIGNALS = (
    "difference",
    "contrast",
    "power",
    "gradient",
    "lesson_difference",
    "lesson",
    "lesson_contrast",
)
_COLUMN = {name: i for i, name in enumerate(LAYER)}


class Moments(NamedTuple):
    """Of an activation f at two jointly normal pre-activations x and x' of mean 0.

    Attributes:
        power: E[f(x)²].
        shared: E[f(x) f(x')].
        slope: E[f'(x)²].
        shared_slope: E[f'(x) f'(x')].
    """

    power: Array
    shared: Array
    slope: Array
    shared_slope: Array


def relu_moments(power: Array, shared: Array) -> Moments:
    """Rectified linear units: the arc-cosine kernels of Cho & Saul 2009.

    Args:
        power: Variance of the pre-activations, above 0.
        shared: Their covariance, at most the variance.
    """
    cosine = np.clip(shared / power, -1.0, 1.0)
    angle = np.arccos(cosine)
    both = (np.pi - angle) / (2 * np.pi)  # share of weights for which both are active
    return Moments(
        power / 2,
        power * (np.sin(angle) / (2 * np.pi) + both * cosine),
        np.full_like(power, 0.5),
        both,
    )


def sigmoid_moments(power: Array, shared: Array) -> Moments:
    """Logistic units, taken as normal distribution functions (Williams 1998; MacKay 1992).

    Args:
        power: Variance of the pre-activations.
        shared: Their covariance, at most the variance.
    """
    return Moments(
        _logistic_mean(power, power),
        _logistic_mean(power, shared),
        _logistic_slope(power, power),
        _logistic_slope(power, shared),
    )


def _logistic_mean(power: Array, shared: Array) -> Array:
    mean: Array = 0.25 + np.arcsin(shared / (SLOPE + power)) / (2 * np.pi)
    return mean


def _logistic_slope(power: Array, shared: Array) -> Array:
    spread = np.sqrt((1 + power / SLOPE) ** 2 - (shared / SLOPE) ** 2)
    slope: Array = 1 / (2 * np.pi * SLOPE * spread)
    return slope


@dataclass(frozen=True)
class Fans:
    """What decides how a layer passes on signals; each of shape (N, L), 1 where nothing is done.

    Attributes:
        forward: Variance of an output for inputs of mean square 1.
        backward: Mean square of the gradient at an input for outputs whose gradients have 1.
        weights: Number of weights; 0 where there are none.
        places: Outputs that share each weight.
    """

    forward: Array
    backward: Array
    weights: Array
    places: Array


def fans(layers: Array) -> Fans:
    """Reads the fans of layers off their features.

    Keras counts for a depthwise kernel (k, k, C, 1) as many inputs as for a full one, so that its
    weights are smaller than signals would need: wide depthwise layers damp by 2 / (C + 1).

    Args:
        layers: (N, L, F), from `emnas_gym.features.LayerTable.gather`.
    """
    conv, depthwise = _of(layers, "conv") > 0, _of(layers, "depthwise") > 0
    flat = (_of(layers, "dense") > 0) | (_of(layers, "output") > 0)
    kernel, channels = np.maximum(_of(layers, "kernel"), 1.0), 2 ** _of(layers, "channels")
    before, places = 2 ** _of(layers, "in"), np.where(flat, 1.0, 2 ** _of(layers, "map"))
    windows = np.rint((2 ** _of(layers, "fan_in") - 1) / kernel**2)
    channels_in = np.where(conv, windows, np.where(depthwise, channels, 1.0))
    area = np.where(flat, 1.0, kernel**2)
    fan_in, fan_out = area * np.where(flat, before, channels_in), area * channels
    variance = 2 / (fan_in + np.where(depthwise, area, fan_out))
    seen = _seen(layers, kernel, before / channels_in, places, flat)
    read = np.where(depthwise, area, fan_in) * seen
    fed = (
        np.where(depthwise, area, fan_out)
        * seen
        * np.where(flat, 1.0, places * channels_in / before)
    )
    there = conv | depthwise | flat
    weights = np.where(depthwise, area * channels, fan_in * channels)
    return Fans(
        np.where(there, variance * read, 1.0),
        np.where(there, variance * fed, 1.0),
        np.where(there, weights, 0.0),
        places,
    )


def _of(layers: Array, name: str) -> Array:
    column: Array = layers[:, :, _COLUMN[name]]
    return column


def _seen(layers: Array, kernel: Array, before: Array, after: Array, flat: Mask) -> Array:
    """Mean share of a window that lies on the map, for square maps and kernels up to 3."""
    side, count = np.sqrt(before), np.sqrt(after)
    zeros = np.maximum((count - 1) * np.maximum(_of(layers, "stride"), 1.0) + kernel - side, 0.0)
    zeros = np.where(_of(layers, "same") > 0, zeros, 0.0)
    share: Array = np.where(flat, 1.0, (1 - zeros / (count * kernel)) ** 2)
    return share


def propagate(layers: Array, power: float = PIXEL_POWER, likeness: float = LIKENESS) -> Array:
    """Signals of every layer at initialisation.

    Args:
        layers: (N, L, F), zeros after the output layer, from `LayerTable.gather`.
        power: Mean square of the pixels.
        likeness: Covariance of two images as a share of it.

    Returns:
        Binary logarithms in the order of `SIGNALS`, shape (N, L, `len(SIGNALS)`), zeros where
        there is no layer: of what leaves the layer, the mean square difference of two images
        (half of it), its share of the mean square, and that itself; the mean square gradient of
        the output at its pre-activations; that at a weight, as it differs between two images, in
        all, and the share.
    """
    found = fans(layers)
    value, shared, slopes = _forward(layers, found, power, likeness)
    gradient, shared_gradient = _backward(found, slopes)
    lesson = found.places * gradient * value[:, :-1]
    lesson_shared = found.places * shared_gradient * shared[:, :-1]
    out, out_shared = value[:, 1:], shared[:, 1:]
    columns = (
        np.maximum(out - out_shared, FAINT * out),
        _contrast(out, out_shared),
        out,
        gradient,
        np.maximum(lesson - lesson_shared, FAINT * lesson),
        lesson,
        _contrast(lesson, lesson_shared),
    )
    there = (layers != 0).any(axis=2, keepdims=True)
    signals = np.log2(np.maximum(np.stack(columns, axis=2), LEAST))
    return np.where(there, signals, 0.0)


def _contrast(whole: Array, shared: Array) -> Array:
    contrast: Array = np.maximum(1 - shared / np.maximum(whole, LEAST), FAINT)
    return contrast


def _forward(
    layers: Array, found: Fans, power: float, likeness: float
) -> tuple[Array, Array, list[tuple[Array, Array]]]:
    """Mean squares and covariances before and after each layer, (N, L + 1), and its slopes."""
    value, shared = np.full(len(layers), power), np.full(len(layers), power * likeness)
    values, shareds, slopes = [value], [shared], []
    sigmoid, relu = _of(layers, "sigmoid") > 0, _of(layers, "relu") > 0
    for step in range(layers.shape[1]):
        before = value * found.forward[:, step], shared * found.forward[:, step]
        linear = Moments(*before, np.ones(len(layers)), np.ones(len(layers)))
        curved = zip(sigmoid_moments(*before), relu_moments(*before), linear, strict=True)
        value, shared, slope, shared_slope = (
            np.where(sigmoid[:, step], s, np.where(relu[:, step], r, n)) for s, r, n in curved
        )
        values.append(value)
        shareds.append(shared)
        slopes.append((slope, shared_slope))
    return np.stack(values, axis=1), np.stack(shareds, axis=1), slopes


def _backward(found: Fans, slopes: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    """Mean squares and covariances of gradients at pre-activations, each (N, L)."""
    gradient = shared = np.ones(len(found.forward))
    gradients, shareds = [], []
    for step in reversed(range(len(slopes))):
        gradient, shared = gradient * slopes[step][0], shared * slopes[step][1]
        gradients.append(gradient)
        shareds.append(shared)
        gradient, shared = gradient * found.backward[:, step], shared * found.backward[:, step]
    return np.stack(gradients[::-1], axis=1), np.stack(shareds[::-1], axis=1)
