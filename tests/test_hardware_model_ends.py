"""Int8 networks with uint8 or float32 at their ends compute what they computed before."""

from __future__ import annotations

import numpy as np
import pytest
from int8_programs import GRAPHS, programs
from test_hardware_graphs import images_for

from emnas_gym import costs
from emnas_gym.errors import UnknownName
from emnas_gym.memory import align
from hardware.errors import ModelFileError
from hardware.flat_model import write_flat
from hardware.interpreter import Model
from hardware.model_ends import with_io
from hardware.tflite_writer import write_tflite

pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")
SOME = range(0, len(GRAPHS), 3)


def test_uint8_is_int8_and_128_to_the_bit() -> None:  # F1
    for index in SOME:
        program, content = programs(GRAPHS[index], index)
        before = Model(content, reference=True)
        after = Model(write_tflite(with_io(program, "uint8")), reference=True)
        images = before.quantize(images_for(GRAPHS[index], 2, index))
        assert after.input_dtype == np.uint8
        raw = after.raw((images.astype(int) + 128).astype(np.uint8))
        np.testing.assert_array_equal(raw.astype(int), before.raw(images).astype(int) + 128)
        real = images_for(GRAPHS[index], 2, index)
        np.testing.assert_array_equal(after.run(real), before.run(real))


def test_float_ends_are_the_integers_real_values() -> None:  # F1
    for index in SOME:
        program, content = programs(GRAPHS[index], index)
        before = Model(content, reference=True)
        after = Model(write_tflite(with_io(program, "float32")), reference=True)
        steps = before.quantize(images_for(GRAPHS[index], 2, index)).astype(np.float32)
        quantization = program.tensors[0].quantization
        assert quantization is not None
        images = (steps - quantization.zero_point) * np.float32(quantization.scale)
        assert after.input_dtype == np.float32
        np.testing.assert_array_equal(after.run(images), before.run(images))


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_the_micro_runtime_follows_the_plan_and_computes_the_same(dtype: str) -> None:
    """Uint8 ends lie in the place of the int8 ones: the arena's head stays as it was."""
    runtime = pytest.importorskip(
        "tflite_micro.python.tflite_micro.runtime", reason="needs the package tflite-micro"
    )
    for index in SOME:
        program, _ = programs(GRAPHS[index], index)
        content = write_tflite(with_io(program, dtype))
        model = Model(content, reference=True)
        image = model.quantize(images_for(GRAPHS[index], 1, index))
        interpreter = runtime.Interpreter.from_bytes(content, arena_size=8 << 20)
        interpreter.set_input(image, 0)
        interpreter.invoke()
        difference = np.abs(interpreter.get_output(0).astype(float) - model.raw(image)).max()
        quantization = program.tensors[program.output].quantization
        assert quantization is not None
        assert difference <= 1.0001 * (1 if dtype == "uint8" else quantization.scale)


def test_the_plan_has_room_for_the_ends() -> None:
    for index in SOME:
        program, _ = programs(GRAPHS[index], index)
        for dtype, width in (("uint8", 1), ("float32", 4)):
            changed = with_io(program, dtype)
            places = [t for t in changed.tensors if t.data is None]
            head = max(t.offset + align(int(np.prod(t.shape))) for t in places[1:-1])
            assert head == costs.arena_head_bytes(GRAPHS[index])
            for end, neighbour in (
                (places[0], places[1]),
                (places[-1], places[program.output + 1]),
            ):
                size = int(np.prod(end.shape))
                apart = end.offset + width * size <= neighbour.offset or (
                    neighbour.offset + size <= end.offset
                )
                assert apart if dtype == "float32" else end.offset == neighbour.offset
                assert end.offset % 16 == 0


def test_int8_stays_as_it_is_and_others_are_refused() -> None:
    program, content = programs(GRAPHS[0], 0)
    assert with_io(program, "int8") is program
    with pytest.raises(UnknownName, match="did you mean uint8"):
        with_io(program, "uint16")
    with pytest.raises(ModelFileError, match="the firmware runs int8 programs"):
        write_flat(with_io(program, "uint8"), content)
