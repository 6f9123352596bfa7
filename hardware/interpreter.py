"""Runs .tflite models on this machine."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from emnas_gym.errors import BackendMissing, DatasetError
from hardware.backend import Backend, find_backend
from hardware.captured import captured
from hardware.errors import ModelFileError
from hardware.extras import advice
from hardware.model_file import check_content
from hardware.program import Array, Quantization

CALIBRATION_BYTES = 32 << 20  # of activations that one batched run may keep


@lru_cache(maxsize=1)
def backend() -> Backend:
    """The interpreter of this machine.

    Raises:
        BackendMissing: If there is none that works.
    """
    try:
        return find_backend()
    except ImportError as error:
        raise BackendMissing(f"{error}; {advice('ai_edge_litert')}") from error


def _kernels(reference: bool, keep_activations: bool) -> Any:  # noqa: ANN401
    """Which kernels run: activations that a delegate computes inside itself cannot be kept."""
    kinds = backend().module.OpResolverType
    if reference:
        return kinds.BUILTIN_REF
    return kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES if keep_activations else kinds.AUTO


class Model:
    """A loaded model with one input and one output.

    Args:
        content: Bytes of a .tflite file.
        reference: Use the reference kernels, whose int8 results are the same on every machine.
        threads: Threads of the interpreter; more than one spins where processors are shared.
        keep_activations: Keep every activation, for `activation_ranges`.

    Raises:
        ModelFileError: If the bytes are no model that the interpreter can load.
        BackendMissing: If no interpreter is installed.
    """

    _announced: ClassVar[bool] = False  # the interpreter announces its delegate once a process

    def __init__(
        self,
        content: bytes,
        reference: bool = False,
        threads: int = 1,
        keep_activations: bool = False,
    ) -> None:
        check_content(content)
        delegated = not (reference or keep_activations)
        quiet = captured(2) if delegated and not Model._announced else nullcontext()
        Model._announced |= delegated
        try:
            with quiet, warnings.catch_warnings():
                # keeping activations costs memory, which the interpreter warns of
                warnings.simplefilter("ignore", UserWarning)
                self._interpreter = backend().module.Interpreter(
                    model_content=content,
                    num_threads=threads,
                    experimental_op_resolver_type=_kernels(reference, keep_activations),
                    experimental_preserve_all_tensors=keep_activations,
                )
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise ModelFileError(f"the interpreter refuses the model: {reason}") from error
        inputs = self._interpreter.get_input_details()
        outputs = self._interpreter.get_output_details()
        if len(inputs) != 1 or len(outputs) != 1:
            raise ModelFileError(f"{len(inputs)} inputs and {len(outputs)} outputs, not one each")
        self._input, self._output = inputs[0], outputs[0]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one image."""
        return tuple(int(size) for size in self._input["shape"][1:])

    @property
    def input_dtype(self) -> np.dtype[Any]:
        """Type of the input's numbers."""
        dtype: np.dtype[Any] = np.dtype(self._input["dtype"])
        return dtype

    @property
    def output_quantization(self) -> Quantization:
        """Scale and zero point of the output; a scale of 0 where it is float."""
        return Quantization.of(*self._output["quantization"])

    def invoke(self) -> None:
        """Runs once on whatever the input holds; what latency measurements time.

        Raises:
            ModelFileError: If a kernel fails.
        """
        try:
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise ModelFileError(f"the model fails when it runs: {error}") from error

    def raw(self, images: Array) -> Array:
        """Outputs in the model's own numbers.

        Args:
            images: (N, *input_shape) in the type of the input.

        Returns:
            (N, ...) in the type of the output.

        Raises:
            DatasetError: If the images do not fit the input.
        """
        if images.shape[1:] != self.input_shape or images.dtype != self.input_dtype:
            given, known = (images.shape[1:], images.dtype), (self.input_shape, self.input_dtype)
            raise DatasetError(f"images of shape and type {given}, where the model takes {known}")
        if not len(images):
            raise DatasetError("no images to run the model on")
        outputs = []
        for image in images:
            self._interpreter.set_tensor(self._input["index"], image[np.newaxis])
            self.invoke()
            outputs.append(self._interpreter.get_tensor(self._output["index"])[0])
        return np.stack(outputs)

    def run(self, images: Array) -> Array:
        """Real-valued outputs, for a classifier its probabilities.

        Args:
            images: (N, *input_shape) float.

        Returns:
            (N, classes) float32.
        """
        steps = self.output_quantization
        outputs: Array = self.raw(self.quantize(images)).astype(np.float32)
        return outputs if steps.scale == 0 else (outputs - steps.zero_point) * steps.scales

    def quantize(self, images: Array) -> Array:
        """Images in the numbers of the input; unchanged values for a float model."""
        scale, zero_point = self._input["quantization"]
        if scale == 0:
            return np.asarray(images, self.input_dtype)
        limits = np.iinfo(self.input_dtype)
        steps: Array = np.rint(np.asarray(images, np.float32) / np.float32(scale))
        integers: Array = np.clip(steps + zero_point, limits.min, limits.max)
        return integers.astype(self.input_dtype)

    def activation_ranges(self, images: Array, count: int) -> Array:
        """Least and largest value of the first ``count`` tensors over all images.

        Args:
            images: (N, *input_shape) float32.
            count: Number of tensors.

        Returns:
            (count, 2).
        """
        details = self._interpreter.get_tensor_details()[:count]
        bytes_an_image = 4 * sum(int(np.prod(d["shape"])) for d in details)
        step = max(1, min(len(images), CALIBRATION_BYTES // bytes_an_image))
        ranges = np.array([[np.inf, -np.inf]] * count)
        for start in range(0, len(images), step):
            batch = images[start : start + step]
            self._interpreter.resize_tensor_input(self._input["index"], batch.shape)
            self._interpreter.allocate_tensors()
            self._interpreter.set_tensor(self._input["index"], batch)
            self.invoke()
            for i in range(count):
                values = self._interpreter.get_tensor(i)
                ranges[i] = min(ranges[i, 0], values.min()), max(ranges[i, 1], values.max())
        return ranges
