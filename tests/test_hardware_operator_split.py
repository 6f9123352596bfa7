"""Latency split by operation: instructions of our firmware on emulated cores."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from outside_programs import needs_program
from typer.testing import CliRunner

from emnas_gym import costs
from emnas_gym.devices import devices
from emnas_gym.errors import DomainError, InvalidArchitecture, UnknownName
from emnas_gym.graph import GraphBuilder, LayerGraph
from emnas_gym.operator_order import scheduled
from hardware import split_command
from hardware.application import app
from hardware.deployment import deploy
from hardware.drivers.framed import EmulatedDriver
from hardware.errors import DeviceRefused, ProtocolError
from hardware.kernel_costs import KINDS, kernel_costs, single, work
from hardware.operation_proxy import backbone, fit_line, measure_proxy, random_backbones
from hardware.operator_counts import OperatorCounter
from hardware.operator_split import PROVENANCE, emulated_core, split, split_network
from hardware.random_weights import random_images, random_weights
from hardware.reading import Repeats

pytest.importorskip("serial", reason="needs the package pyserial")
pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")
DOCUMENT = Path(__file__).parents[1] / "docs" / "devices_profiles.md"
F446 = devices()["stm32f446re"]


def branches() -> LayerGraph:
    """Two 1×1 convolutions of one map of 16 channels, one with ten times the filters."""
    builder = GraphBuilder((8, 8, 16))
    narrow = builder.window("conv2d", 1, 1, "same", filters=4, reads=0)
    wide = builder.window("conv2d", 1, 1, "same", filters=40, reads=0)
    builder.join("concat", [narrow, wide])
    builder.mean()
    builder.dense(4)
    builder.pointwise("dropout", rate=0.5)  # not deployed: no row
    builder.pointwise("softmax")
    return builder.build()


@pytest.fixture(scope="module")
def counter() -> Iterator[OperatorCounter]:
    needs_program("qemu-system-arm")
    with OperatorCounter("cortex-m4") as one:
        yield one


# -------------------------------------------------------------------------------------- arithmetic


def test_a_latency_is_split_in_proportion() -> None:  # E3
    assert split(8.0, [100.0, 300.0, 0.0]) == (2.0, 6.0, 0.0)
    for nothing in ([], [0.0, 0.0]):
        with pytest.raises(ProtocolError, match="nothing to split by"):
            split(8.0, nothing)


def test_a_core_that_is_not_emulated_is_named_with_the_others() -> None:
    assert emulated_core(F446) == "cortex-m4"
    assert emulated_core(devices()["stm32h743zi"]) == "cortex-m7"
    assert emulated_core(devices()["nrf5340"], "cortex-m4") == "cortex-m4"
    with pytest.raises(DomainError, match="cortex-m33, asked for nrf5340; name one of cortex-m3"):
        split_network(branches(), devices()["nrf5340"])
    with pytest.raises(UnknownName, match="did you mean cortex-m4"):
        OperatorCounter("cortex-m44")


# ------------------------------------------------------------------------------------- on the core


def test_the_rows_of_a_network_that_was_checked_by_hand() -> None:  # E3
    needs_program("qemu-system-arm")
    found = split_network(branches(), F446)
    assert [row.op for row in found.rows] == [
        "conv2d", "conv2d", "concat", "mean", "dense", "softmax",
    ]  # fmt: skip
    assert [row.macs for row in found.rows] == [4096, 40960, 0, 0, 176, 0]
    assert sum(row.share for row in found.rows) == pytest.approx(1)
    narrow, wide = found.rows[:2]
    assert wide.instructions / narrow.instructions == pytest.approx(10, rel=0.15)
    assert all(row.instructions > 0 for row in found.rows)
    macs = costs.macs(branches())
    assert F446.latency_a_ms is not None and F446.latency_b_ms_per_mac is not None
    line = F446.latency_a_ms + F446.latency_b_ms_per_mac * macs
    assert found.latency_ms == pytest.approx(line)
    assert sum(row.latency_ms or 0.0 for row in found.rows) == pytest.approx(line)
    assert found.latency_source == "the line of stm32f446re, ± 27%"
    assert (found.core, found.provenance) == ("cortex-m4", PROVENANCE)
    assert "not of the board's runtime" in PROVENANCE


def test_the_operators_together_are_the_run(counter: OperatorCounter) -> None:
    graph = branches().deployed()
    parts = counter.count(graph)
    with EmulatedDriver("cortex-m4") as driver:
        images = random_images(graph.input_shape, 2)
        reading = driver.measure(deploy(graph, random_weights(graph), images), Repeats(9, 1))
    total = reading.reported_ticks * 40
    assert 0 <= sum(parts) - total < 40 * (len(parts) + 1)  # the bookkeeping between operators


def test_small_operators_are_resolved_far_below_one_tick(counter: OperatorCounter) -> None:
    counts = [counter.count(branches().deployed(), runs=64) for _ in range(3)]
    for each in zip(*counts, strict=True):
        assert max(each) - min(each) < 20  # a tick is 40 instructions, the standard error 2.5


def test_a_node_of_several_operators_is_one_row(counter: OperatorCounter) -> None:
    once, thrice = (GraphBuilder((8, 8, 4)) for _ in range(2))
    once.join("add", [0, 0])
    thrice.join("add", [0, 0, 0, 0])
    (two,), (four,) = counter.count(once.build()), counter.count(thrice.build())
    assert four == pytest.approx(3 * two, rel=0.02)


def test_instructions_go_to_their_node_in_whatever_order_they_run(  # E3
    counter: OperatorCounter,
) -> None:
    """The branches run one after the other, though both of their wide layers stand first."""
    builder = GraphBuilder((8, 8, 4))
    wide = [builder.window("conv2d", 1, 1, "same", filters=n, reads=0) for n in (64, 32)]
    ends = [builder.window("conv2d", 8, 8, "valid", filters=1, reads=i) for i in wide]
    builder.join("concat", ends)
    graph = builder.build()
    assert [node.name for node in scheduled(graph)] != [node.name for node in graph]
    counted = counter.count(graph)
    assert counted[0] == pytest.approx(2 * counted[1], rel=0.1)
    assert counted[2] == pytest.approx(2 * counted[3], rel=0.1)
    assert counted[0] > counted[2] * 2
    run, weights = scheduled(graph), random_weights(graph)
    again = dict(zip(run.nodes[1:], counter.count(run, weights), strict=True))
    named = {node.name: instructions for node, instructions in again.items()}
    for node, instructions in zip(graph.nodes[1:], counter.count(graph, weights), strict=True):
        assert named[node.name] == pytest.approx(instructions, abs=25)


def test_the_parts_of_a_sum_that_is_added_up_one_by_one_are_one_row(  # E3
    counter: OperatorCounter,
) -> None:
    builder = GraphBuilder((8, 8, 4))
    ends = [builder.window("conv2d", 1, 1, "same", filters=4, reads=0) for _ in range(4)]
    builder.join("add", ends)
    graph = builder.build()
    run, weights = scheduled(graph), random_weights(graph)
    assert [node.op for node in run].count("add") == 3
    counted, parts = counter.count(graph, weights), counter.count(run, weights)
    assert (len(counted), len(parts)) == (5, 7)
    adds = [n for node, n in zip(run.nodes[1:], parts, strict=True) if node.op == "add"]
    assert counted[-1] == pytest.approx(sum(adds), abs=75)
    assert min(adds) > 1000


def test_a_given_latency_and_core_take_precedence() -> None:
    needs_program("qemu-system-arm")
    graph = single("dense", 4, 4)
    board = devices()["esp32-s3"]
    found = split_network(graph, board, core="cortex-m3", runs=1)
    assert (found.latency_ms, found.core) == (None, "cortex-m3")
    assert found.rows[0].latency_ms is None
    assert found.latency_source == "unknown: the device has no line"
    found = split_network(graph, board, core="cortex-m3", reading_ms=5.0, runs=1)
    assert [row.latency_ms for row in found.rows] == [5.0]


def test_a_network_that_is_too_large_is_refused_in_words(counter: OperatorCounter) -> None:
    builder = GraphBuilder((512, 512, 8))
    builder.mean()
    with pytest.raises(DeviceRefused):
        counter.count(builder.build(), runs=1)
    assert counter.count(single("dense", 2, 2), runs=1)  # and it goes on


# ------------------------------------------------------------------------------ kinds of operation


def test_work_is_counted_in_multiply_accumulates_or_elements() -> None:
    for kind, expected in {
        "conv 3×3": (6 * 6 * 9 * 8 * 8, "MAC"),
        "depthwise 3×3": (6 * 6 * 9 * 8, "MAC"),
        "dense": (6 * 6 * 8 * 16, "MAC"),
        "max pool 2×2": (3 * 3 * 4 * 8, "element read"),
        "global average": (6 * 6 * 8, "element read"),
        "add": (2 * 6 * 6 * 8, "element read"),
    }.items():
        graph = single(kind, 6, 8)
        assert work(graph, graph.nodes[-1]) == expected


def _documented() -> dict[str, list[str]]:
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in cells if row[0] in KINDS}


def test_the_published_table_is_what_is_measured() -> None:
    needs_program("qemu-system-arm")
    assert set(_documented()) == set(KINDS)
    kinds = ["conv 1×1", "dense", "max pool 2×2"]
    for cost in kernel_costs(["cortex-m4"], kinds, runs=8):
        unit, _, m4, _ = _documented()[cost.kind]
        small, large = (float(value) for value in m4.split("/"))
        assert unit == cost.unit
        assert (cost.small, cost.large) == pytest.approx((small, large), rel=0.02)


@pytest.mark.slow
def test_the_whole_published_table_is_what_is_measured() -> None:
    needs_program("qemu-system-arm")
    rows = split_command.kernel_rows(kernel_costs())
    for kind, unit, *cores in rows:
        assert unit == _documented()[kind][0]
        for measured, published in zip(cores, _documented()[kind][1:], strict=True):
            for a, b in zip(measured.split("/"), published.split("/"), strict=True):
                assert float(a) == pytest.approx(float(b), rel=0.02)


# --------------------------------------------------------------------------- operations as a proxy


def test_a_line_is_found() -> None:
    line = fit_line([1, 2, 3, 4], [5, 7, 9, 11])
    assert (line.constant, line.slope, line.r_squared) == pytest.approx((3, 2, 1))
    assert fit_line([1, 2, 3, 4], [1, -1, 1, -1]).r_squared < 0.3


def test_the_backbone_is_one_chain_of_many_widths() -> None:
    graphs = random_backbones(30)
    assert graphs == random_backbones(30)
    assert len({costs.macs(graph) for graph in graphs}) == 30
    assert {tuple(node.op for node in graph) for graph in graphs} == {
        tuple(node.op for node in backbone([8] * 5))
    }


def test_operations_tell_instructions_within_one_backbone() -> None:  # F13
    needs_program("qemu-system-arm")
    found = measure_proxy(8, seed=0, with_host=False)
    assert found.host is None
    assert found.emulated.r_squared >= 0.95
    assert 5 < found.emulated.slope < 20
    assert max(found.macs) > 3 * min(found.macs)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_they_do_whatever_networks_are_drawn(seed: int) -> None:  # F13
    needs_program("qemu-system-arm")
    found = measure_proxy(30, seed, with_host=seed == 1)
    assert found.emulated.r_squared >= 0.95
    if found.host is not None:  # reported, and nothing is claimed of it
        assert 0 <= found.host.r_squared <= 1


# ----------------------------------------------------------------------------------------- commands


def test_split_as_json_and_as_a_table() -> None:
    needs_program("qemu-system-arm")
    options = ["split", "--tokens", "31,75,100,382", "--runs", "2"]
    result = CliRunner().invoke(app, [*options, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["provenance"] == PROVENANCE
    assert sum(row["share"] for row in found["rows"]) == pytest.approx(1)
    result = CliRunner().invoke(app, [*options, "--latency-ms", "10"])
    assert result.exit_code == 0, result.output
    assert "latency 10 ms (given); core cortex-m4" in result.stdout
    assert PROVENANCE in result.stdout.replace("\n", " ")


def test_wrong_words_are_errors() -> None:
    for options, error in (
        (["--tokens", "one"], InvalidArchitecture),
        (["--tokens", "31,75,100,382", "--device", "stm32f447re"], UnknownName),
        (["--tokens", "31,75,100,382", "--device", "jevois"], DomainError),
    ):
        assert isinstance(CliRunner().invoke(app, ["split", *options]).exception, error)
