"""Flat models on the firmware, to the bit as the reference kernels of TensorFlow Lite have them."""

from __future__ import annotations

import math
import struct
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from faulty_line import CHECKED, FaultyLine, compiled
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from int8_programs import GRAPHS, programs
from numpy.typing import NDArray
from outside_programs import needs_program
from test_hardware_graphs import (
    branching_graph,
    images_for,
    trained_looking_weights,
)

from emnas_gym import costs
from emnas_gym.graph import GraphBuilder
from emnas_gym.memory import align, plan_arena
from emnas_gym.operator_order import scheduled
from hardware.errors import DeviceRefused, ModelFileError
from hardware.export import int8_program
from hardware.flat_memory import carried_plan, plan_flat
from hardware.flat_model import (
    HEADER_WORDS,
    quantized_multiplier,
    sigmoid_table,
    softmax_scale,
    write_flat,
)
from hardware.interpreter import Model
from hardware.link.framing import Frame, Unpacker, pack
from hardware.link.port import Port
from hardware.link.remote import BEGIN, COMMIT, HELLO, INPUT, MAGIC, MODEL, OUTPUT, PUT, RUN, Remote
from hardware.link.session import Session
from hardware.lowering import lower_float
from hardware.program import Operator, Program, Quantization, Tensor
from hardware.quantization import PROBABILITY
from hardware.tflite_writer import write_tflite

pytest.importorskip("serial", reason="needs the package pyserial")
pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    needs_program("gcc")
    return compiled(tmp_path_factory.mktemp("firmware"), *CHECKED)


@pytest.fixture(scope="module")
def remote(command: list[str]) -> Iterator[Remote]:
    with FaultyLine(command) as line, Port(line.path) as port:
        yield Remote(Session(port))


def _flat(index: int = 0) -> tuple[bytes, bytes, Model]:
    """A flat model, an input for it, and the interpreter with the same network."""
    program, content = programs(GRAPHS[index], index)
    model = Model(content, reference=True)
    image = model.quantize(images_for(GRAPHS[index], 1, 7))
    return write_flat(program, content), image.tobytes(), model


# ------------------------------------------------------------------------------------- same bits

TENS = [  # where ten graphs begin; the first thirty are enough for every day
    pytest.param(first, marks=pytest.mark.slow if first >= 30 else ())
    for first in range(0, len(GRAPHS), 10)
]


@pytest.mark.parametrize("first", TENS)
def test_the_firmware_and_the_reference_kernels_agree_to_the_bit(  # F1, F4
    remote: Remote, first: int
) -> None:
    for index in range(first, first + 10):
        graph = GRAPHS[index]
        program, content = programs(graph, index)
        model = Model(content, reference=True)
        remote.upload(MODEL, write_flat(program, content))
        for image in model.quantize(images_for(graph, 2, 1000 + index)):
            expected = model.raw(image[np.newaxis])[0]
            remote.upload(INPUT, image.tobytes())
            remote.run(1, 0, seconds=60)
            got = np.frombuffer(remote.download(OUTPUT, expected.size), np.int8)
            np.testing.assert_array_equal(got, expected.ravel(), err_msg=f"graph {index}")


@pytest.mark.parametrize("first", TENS)
def test_in_place_the_networks_compute_the_same(remote: Remote, first: int) -> None:  # F1, F8
    for index in range(first, first + 10):
        program, content = programs(GRAPHS[index], index)
        if plan_flat(program) == carried_plan(program):
            continue
        model = Model(content, reference=True)
        image = model.quantize(images_for(GRAPHS[index], 1, seed=index + 1))
        remote.upload(MODEL, write_flat(program, content, small=True))
        remote.upload(INPUT, image.tobytes())
        remote.run(1, 0, 60.0)
        expected = model.raw(image).tobytes()
        assert remote.download(OUTPUT, len(expected)) == expected


def test_the_random_graphs_have_every_operator() -> None:
    known = {op.code for i, g in enumerate(GRAPHS) for op in programs(g, i)[0].operators}
    assert known >= {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "MAX_POOL_2D", "ADD"}
    assert known >= {"AVERAGE_POOL_2D", "PAD", "CONCATENATION", "LOGISTIC", "SOFTMAX", "QUANTIZE"}
    assert known >= {"RELU", "RELU6", "MUL", "STRIDED_SLICE"}
    assert any(max(node.dilation) > 1 for graph in GRAPHS for node in graph)


def test_the_arena_is_the_one_that_was_planned(remote: Remote) -> None:  # E5
    for index, graph in enumerate(GRAPHS[:20]):
        remote.upload(MODEL, write_flat(*programs(graph, index)))
        assert remote.state().arena_bytes == plan_arena(scheduled(graph)).head_bytes
        assert remote.state().arena_bytes == costs.arena_head_bytes(graph)


def test_working_in_place_never_takes_more_memory(remote: Remote) -> None:  # F8
    """Less than the plan that every file carries, and than every map for itself."""
    saved = []
    for index, graph in enumerate(GRAPHS):
        program, content = programs(graph, index)
        (arena,) = struct.unpack_from("<I", write_flat(program, content, small=True), 12)
        maps = [tensor for tensor in program.tensors if tensor.data is None]
        assert arena <= plan_arena(scheduled(graph)).head_bytes
        assert arena <= sum(align(math.prod(tensor.shape)) for tensor in maps)
        saved.append(plan_arena(scheduled(graph)).head_bytes - arena)
    assert np.mean(np.array(saved) > 0) > 0.2
    remote.upload(MODEL, write_flat(*programs(GRAPHS[0], 0), small=True))
    (arena,) = struct.unpack_from("<I", write_flat(*programs(GRAPHS[0], 0), small=True), 12)
    assert remote.state().arena_bytes == arena


@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (5, 1), (3, 2)])
def test_a_depthwise_layer_in_place_takes_one_plane_more(  # F8
    remote: Remote, kernel: int, dilation: int
) -> None:
    builder = GraphBuilder((9, 7, 1))
    builder.window("conv2d", 1, 1, "same", filters=24)
    for _ in range(2):
        builder.window("depthwise_conv2d", kernel, 1, "same", dilation=dilation, activation="relu6")
    graph = builder.build()
    images = images_for(graph, 8)
    program = int8_program(graph, trained_looking_weights(graph), images)
    content = write_tflite(program)
    remote.upload(MODEL, write_flat(program, content, small=True))
    assert remote.state().arena_bytes == align(9 * 7 * 24) + align(9 * 7)
    assert plan_arena(graph).head_bytes == 2 * align(9 * 7 * 24)
    model = Model(content, reference=True)
    image = model.quantize(images[:1])
    remote.upload(INPUT, image.tobytes())
    for _ in range(2):  # the input was overwritten, and is there again
        remote.run(2, 0, 30.0)
        assert remote.download(OUTPUT, 9 * 7 * 24) == model.raw(image).tobytes()


def test_in_place_over_a_map_that_changes_is_refused(remote: Remote) -> None:
    builder = GraphBuilder((8, 8, 4))
    builder.window("depthwise_conv2d", 3, 1, "same")
    graph = builder.build()
    program = int8_program(graph, trained_looking_weights(graph), images_for(graph, 4))
    good = bytearray(write_flat(program, small=True))
    words = np.frombuffer(good, "<i4").copy()
    record = words[HEADER_WORDS:]
    assert record[0] == 17
    for word, value in ((5, 16), (6, 4), (12, 2), (int(record[1]) - 1, 1 << 20)):
        changed = words.copy()
        changed[HEADER_WORDS + word] = value
        remote.upload(MODEL, changed.tobytes())
        remote.upload(INPUT, bytes(256))
        with pytest.raises(DeviceRefused):
            remote.run(1, 0, 10.0)


# -------------------------------------------------------------------------------------- timing


def test_a_run_is_timed_as_often_as_asked(remote: Remote) -> None:  # E3, E10
    flat, image, model = _flat(61)
    remote.upload(MODEL, flat)
    remote.upload(INPUT, image)
    ticks = remote.run(repeats=100, warm_up=3, seconds=60)
    assert len(ticks) == 100
    assert min(ticks) > 0
    each = remote.profile(seconds=60)
    state = remote.state()
    assert len(each) == state.operators > 3
    assert state.source == zlib.crc32(programs(GRAPHS[61], 61)[1])
    assert state.firmware != 0
    assert model.input_dtype == np.int8


def test_what_cannot_run_is_refused_in_words(remote: Remote) -> None:
    flat, image, _ = _flat()
    remote.upload(MODEL, b"")
    with pytest.raises(DeviceRefused, match="too short for a model"):
        remote.run(1, 0, 5)
    remote.upload(MODEL, flat)
    remote.upload(INPUT, image + b"\0")
    with pytest.raises(DeviceRefused, match="no input of the model's size"):
        remote.run(1, 0, 5)
    remote.upload(INPUT, image)
    for repeats, warm_up in [(0, 0), (101, 0), (1, 101)]:
        with pytest.raises(DeviceRefused, match="1 to 100 repeats"):
            remote.run(repeats, warm_up, 5)
    large = bytearray(flat)
    struct.pack_into("<I", large, 12, 1 << 30)
    remote.upload(MODEL, bytes(large))
    with pytest.raises(DeviceRefused, match="needs a larger arena"):
        remote.run(1, 0, 5)
    remote.upload(MODEL, b"TFL3" + flat[4:])
    with pytest.raises(DeviceRefused, match="not a model of this firmware's format"):
        remote.profile(5)
    assert remote.state().operators == 0
    remote.upload(MODEL, flat)
    assert remote.run(1, 0, 5)


# ------------------------------------------------------------------------------- damaged models

HEADER, WORDS = 40, 40 + 4 * 60
CHANGES = st.lists(
    st.tuples(
        st.integers(4, WORDS // 4),
        st.sampled_from([0, 1, -1, 255, 2**15, 2**24, -(2**31), 2**31 - 1])
        | st.integers(-300, 300),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 59), CHANGES)
def test_a_damaged_model_is_refused_or_runs_but_never_harms(
    command: list[str], index: int, changes: list[tuple[int, int]]
) -> None:
    """Words of the header and of the records are changed; AddressSanitizer and UBSan look on."""
    flat, image, _ = _flat(index)
    damaged = bytearray(flat)
    for word, value in changes:
        if word * 4 + 4 <= len(damaged):
            struct.pack_into("<i", damaged, word * 4, value)
    requests = [*_puts(MODEL, bytes(damaged)), *_puts(INPUT, image)]
    requests += [(RUN, struct.pack("<HH", 1, 0)), (HELLO, MAGIC + b"\x01")]
    frames = [pack(Frame(kind, i, payload)) for i, (kind, payload) in enumerate(requests)]
    done = subprocess.run(command, input=b"".join(frames), capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    ran, greeted = Unpacker().feed(done.stdout)[-2:]
    assert ran.kind in (RUN | 0x80, 0xFF), ran
    assert greeted.kind == HELLO | 0x80


def _puts(slot: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    yield BEGIN, struct.pack("<BII", slot, len(data), zlib.crc32(data))
    for offset in range(0, len(data), 1000):
        yield PUT, struct.pack("<BI", slot, offset) + data[offset : offset + 1000]
    yield COMMIT, bytes([slot])


# --------------------------------------------------------------------------------- closed forms


@given(st.floats(1e-8, 1e6))
def test_a_multiplier_is_the_factor_in_31_bits(real: float) -> None:
    significand, exponent = quantized_multiplier(real)
    assert 1 << 30 <= significand < 1 << 31
    assert math.isclose(significand * 2.0 ** (exponent - 31), real, rel_tol=2.0**-30)


def test_multipliers_at_the_ends() -> None:
    assert quantized_multiplier(1.0) == (1 << 30, 1)
    assert quantized_multiplier(1 - 2.0**-40) == (1 << 30, 1), "rounds up to the next power"
    assert quantized_multiplier(0.0) == (0, 0)
    assert quantized_multiplier(2.0**-40) == (0, 0), "nothing is left of it"


def test_the_table_of_a_sigmoid_is_that_of_the_function() -> None:
    integers = np.arange(-128, 128)
    table = sigmoid_table(Quantization.of(0.05, 3))[integers.astype(np.int8).view(np.uint8)]
    exact = 256 / (1 + np.exp(-0.05 * (integers - 3))) - 128
    assert np.abs(table - np.clip(exact, -128, 127)).max() <= 0.5 + 1e-4


def test_the_scale_of_a_softmax() -> None:
    significand, exponent, least = softmax_scale(Quantization.of(0.125))
    assert significand * 2.0 ** (exponent - 31) == 0.125 * 2**26
    assert least == -124, "the reference's radius: 31 halves to 31, here 15.5 in steps of an eighth"
    assert softmax_scale(Quantization.of(1e-4))[2] == -255


# -------------------------------------------------------------------------- single operators

SCALES = [1 / 256, 1 / 128, 7e-4, 3e-3, 0.02, 0.11, 0.5, 2.0, 40.0]


@pytest.mark.parametrize("scale", SCALES)
def test_sigmoids_agree_for_every_input(remote: Remote, scale: float) -> None:
    every = np.arange(-128, 128).astype(np.int8).reshape(1, 16, 16, 1)
    for zero_point in (-128, -7, 0, 127):
        _compare(remote, "LOGISTIC", every, Quantization.of(scale, zero_point))


@pytest.mark.parametrize("scale", SCALES)
def test_softmaxes_agree_on_ties_and_near_them(remote: Remote, scale: float) -> None:
    rng = np.random.default_rng(0)
    for classes in (2, 3, 4, 10, 511):
        rows = rng.integers(-30, 30, (1, 16, 16, classes)).astype(np.int8)
        half = classes // 2
        rows[:, ::2, :, -half:] = rows[:, ::2, :, :half]  # halves of one are where roundings differ
        rows[0, 0, 0] = np.resize([56, 52], classes)
        rows[0, 1] = rng.integers(-128, 128, (16, classes))
        _compare(remote, "SOFTMAX", rows, Quantization.of(scale))


@pytest.mark.parametrize("zero_point", [-128, -3, 127])
def test_products_agree(remote: Remote, zero_point: int) -> None:
    every = np.arange(-128, 128).astype(np.int8).reshape(1, 16, 16, 1)
    for scale in (1 / 300, 0.004, 0.03):
        _compare(remote, "MUL", every, Quantization.of(scale, zero_point))


@pytest.mark.parametrize("zero_point", [-128, -5, 0, 77])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 4), (5, 6), (16, 16), (300, 3)])
def test_means_agree_on_ties_too(remote: Remote, size: tuple[int, int], zero_point: int) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(-128, 128, (1, *size, 64)).astype(np.int8)
    scale, axes = Quantization.of(0.01, zero_point), np.array([1, 2], np.int32)
    tensors = (
        Tensor(values.shape, "int8", None, scale, 0),
        Tensor((1, 1, 1, 64), "int8", None, scale, 1 << 16),
        Tensor((2,), "int32", axes),
    )
    operator = Operator("MEAN", (0, 2), 1, {"keepDims": True})
    _agree(remote, Program(tensors, (operator,), 1), values)
    rows = replace(tensors[2], data=np.array([1, 3], np.int32))
    with pytest.raises(ModelFileError, match="MEAN is over the pixels"):
        write_flat(Program((*tensors[:2], rows), (operator,), 1))


@pytest.mark.parametrize("zero_point", [-128, -3, 127])
def test_products_with_a_value_a_channel_agree(remote: Remote, zero_point: int) -> None:
    rng = np.random.default_rng(zero_point + 128)
    values = rng.integers(-128, 128, (1, 8, 9, 11)).astype(np.int8)
    read, made = Quantization.of(0.01, zero_point), Quantization.of(0.003, 4)
    tensors = (
        Tensor(values.shape, "int8", None, read, 0),
        Tensor((1, 1, 1, 11), "int8", None, read, 1 << 12),
        Tensor(values.shape, "int8", None, made, 1 << 13),
    )
    pool = {"padding": "VALID", "strideH": 8, "strideW": 9, "filterHeight": 8, "filterWidth": 9}
    pool["fusedActivationFunction"] = "NONE"
    operators = (
        Operator("MAX_POOL_2D", (0,), 1, pool),
        Operator("MUL", (0, 1), 2, {"fusedActivationFunction": "RELU6"}),
    )
    _agree(remote, Program(tensors, operators, 2), values)


@pytest.mark.parametrize(
    ("begin", "step", "shape"),
    [
        ((0, 0, 0), (2, 2, 1), (5, 5, 7)),
        ((1, 3, 2), (1, 3, 2), (9, 2, 3)),
        ((9, 9, 6), (1, 1, 1), (1, 1, 1)),
    ],
)
def test_slices_agree(
    remote: Remote, begin: tuple[int, ...], step: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    values = np.random.default_rng(0).integers(-128, 128, (1, 10, 10, 7)).astype(np.int8)
    end = [b + s * (n - 1) + 1 for b, s, n in zip(begin, step, shape, strict=True)]
    scale = Quantization.of(0.1, 7)
    constants = [np.array(v, np.int32) for v in ((0, *begin), (1, *end), (1, *step))]
    tensors = (
        Tensor(values.shape, "int8", None, scale, 0),
        Tensor((1, *shape), "int8", None, scale, 1 << 12),
        *(Tensor((4,), "int32", constant) for constant in constants),
    )
    operator = Operator("STRIDED_SLICE", (0, 2, 3, 4), 1, {"endMask": 1})
    _agree(remote, Program(tensors, (operator,), 1), values)
    for change in ({"beginMask": 2}, {"endMask": 3}, {"endMask": 1, "shrinkAxisMask": 2}):
        with pytest.raises(ModelFileError, match="slices one image"):
            write_flat(Program(tensors, (replace(operator, options=change),), 1))


@pytest.mark.parametrize("word", range(8, 14))
def test_a_slice_beyond_its_map_is_refused(remote: Remote, word: int) -> None:
    builder = GraphBuilder((6, 6, 6))
    builder.slice((1, 1, 1), (6, 6, 6), (2, 2, 2))
    graph = builder.build()
    program = int8_program(graph, {}, images_for(graph, 1))
    flat = bytearray(write_flat(program))
    place = 4 * (HEADER_WORDS + 2 + word)
    struct.pack_into("<i", flat, place, struct.unpack_from("<i", flat, place)[0] + 2)
    remote.upload(MODEL, bytes(flat))
    with pytest.raises(DeviceRefused, match="a slice reaches beyond its map"):
        remote.run(1, 0, 5)


def test_maps_that_only_broadcast_are_refused() -> None:
    maps = [Tensor((1, 4, 4, 3), "int8", None, Quantization.of(0.1), 0)]
    maps.append(Tensor((1, 1, 4, 3), "int8", None, Quantization.of(0.1), 64))
    for code, words in (("ADD", "adds maps of one shape"), ("MUL", "a map and its channels")):
        operator = Operator(code, (0, 1), 0, {"fusedActivationFunction": "NONE"})
        with pytest.raises(ModelFileError, match=words):
            write_flat(Program(tuple(maps), (operator,), 0))


@pytest.mark.parametrize(("dilation", "padding"), [(2, "SAME"), (3, "VALID"), (2, "VALID")])
def test_dilated_convolutions_agree(remote: Remote, dilation: int, padding: str) -> None:
    rng = np.random.default_rng(dilation)
    values = rng.integers(-128, 128, (1, 16, 16, 2)).astype(np.int8)
    kernel = rng.integers(-127, 128, (3, 3, 3, 2)).astype(np.int8)
    scales = np.array([0.01, 0.02, 0.005], np.float32)
    size = 16 if padding == "SAME" else 16 - 2 * dilation
    tensors = (
        Tensor(values.shape, "int8", None, Quantization.of(0.02, 5), 0),
        Tensor((1, size, size, 3), "int8", None, Quantization.of(0.3, -9), 1 << 12),
        Tensor(kernel.shape, "int8", kernel, Quantization(scales, 0, 0)),
        Tensor((3,), "int32", np.array([50, -900, 7], np.int32), Quantization(scales * 0.02)),
    )
    options = {"padding": padding, "strideH": 1, "strideW": 1, "fusedActivationFunction": "RELU"}
    options |= {"dilationHFactor": dilation, "dilationWFactor": dilation}
    _agree(remote, Program(tensors, (Operator("CONV_2D", (0, 2, 3), 1, options),), 1), values)


def _compare(remote: Remote, code: str, values: NDArray[np.int8], read: Quantization) -> None:
    """Runs one operator that keeps the shape on the firmware and in the interpreter."""
    options = {"SOFTMAX": {"beta": 1.0}, "MUL": {"fusedActivationFunction": "NONE"}}
    tensors = tuple(
        Tensor(values.shape, "int8", None, quantization, place)
        for quantization, place in ((read, 0), (PROBABILITY, 1 << 18))
    )
    inputs = (0, 0) if code == "MUL" else (0,)
    operator = Operator(code, inputs, 1, options.get(code, {}))
    _agree(remote, Program(tensors, (operator,), 1), values)


def _agree(remote: Remote, program: Program, values: NDArray[np.int8]) -> None:
    content = write_tflite(program)
    remote.upload(MODEL, write_flat(program, content))
    remote.upload(INPUT, values.tobytes())
    remote.run(1, 0, seconds=60)
    expected = Model(content, reference=True).raw(values)
    got = np.frombuffer(remote.download(OUTPUT, expected.size), np.int8)
    np.testing.assert_array_equal(got, expected.ravel())


def test_only_planned_int8_programs_are_written() -> None:
    graph = branching_graph(0)
    with pytest.raises(ModelFileError, match="int8 programs whose activations have a place"):
        write_flat(lower_float(graph, trained_looking_weights(graph)))
    program, _ = programs(graph, 0)
    strange = replace(program.operators[0], code="GATHER")
    with pytest.raises(ModelFileError, match="the firmware has no operator GATHER"):
        write_flat(replace(program, operators=(strange,)))
