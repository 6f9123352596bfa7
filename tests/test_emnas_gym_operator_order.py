"""Orders of operations: the least memory, against every order there is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from test_hardware_graphs import (
    branching_graph,
    branching_graphs,
    forward,
    images_for,
    space_graphs,
    trained_looking_weights,
)

from emnas_gym import costs
from emnas_gym.errors import InvalidArchitecture, OrderError, ShapeError
from emnas_gym.graph import GraphBuilder, LayerGraph
from emnas_gym.memory import MEAN_SCRATCH, plan_arena
from emnas_gym.operator_order import (
    OperatorOrder,
    best_order,
    reordered,
    scheduled,
    search_order,
    working_set,
)
from emnas_gym.split_sums import SUMS, split_sums, sum_of
from hardware.legalize import legalize

OPERATIONS = 9  # of a random graph at most


def random_dag(seed: int) -> LayerGraph:
    """Random edges and sizes, ends that lead nowhere, and means of large maps, with scratch."""
    rng = np.random.default_rng(seed)
    builder = GraphBuilder((300, 1, int(rng.integers(1, 4))))
    while len(builder.nodes) <= OPERATIONS - rng.integers(0, 3):
        source = int(rng.integers(max(0, len(builder.nodes) - 4), len(builder.nodes)))
        op = str(rng.choice(["conv2d", "conv2d", "concat", "concat", "mean", "slice"]))
        if op == "conv2d":
            builder.window(op, 1, 1, "same", filters=int(rng.integers(1, 9)), reads=source)
        elif op == "concat":
            shape = builder.nodes[source].shape
            alike = [i for i, node in enumerate(builder.nodes) if node.shape[0] == shape[0]]
            others = rng.choice(alike, size=int(rng.integers(1, 4))).tolist()
            builder.join(op, [source, *others])
        elif op == "mean":
            builder.mean(source)
        else:
            rows = builder.nodes[source].shape[0]
            builder.slice((0, 0, 0), (max(1, rows // 2), 1, 9), (1, 1, 1), source)
    return builder.build()


def all_orders(graph: LayerGraph, begun: tuple[int, ...] = (0,)) -> Iterator[tuple[int, ...]]:
    """Every topological order with the input first and the output last."""
    last = len(graph.nodes) - 1
    if len(begun) == last or last == 0:
        yield (*begun, last) if last else begun
        return
    for i in range(1, last):
        if i not in begun and set(graph.nodes[i].inputs) <= set(begun):
            yield from all_orders(graph, (*begun, i))


def plain_peak(graph: LayerGraph, order: tuple[int, ...], width: int = 1) -> int:
    """The peak from lifetimes alone: every tensor from its operation to its last reader."""
    place = {node: i for i, node in enumerate(order)}
    ends = dict(place)
    for i, node in enumerate(graph):
        for j in node.inputs:
            ends[j] = max(ends[j], place[i])
    peaks = []
    for now, running in enumerate(order):
        alive = [i for i in order if place[i] <= now <= ends[i]]
        node = graph.nodes[running]
        rows = graph.nodes[node.inputs[0]].shape[0] if node.inputs else 0
        scratch = -(-4 * node.shape[-1] // 16) * 16 + MEAN_SCRATCH
        peaks.append(sum(-(-graph.nodes[i].size * width // 16) * 16 for i in alive))
        peaks[-1] += scratch if node.op == "mean" and rows > 256 else 0
    return max(peaks)


def some_order(graph: LayerGraph, seed: int) -> tuple[int, ...]:
    """A random topological order."""
    rng, order, last = np.random.default_rng(seed), [0], len(graph.nodes) - 1
    while len(order) < last:
        ready = [
            i for i in range(1, last) if i not in order and set(graph.nodes[i].inputs) <= set(order)
        ]
        order.append(int(rng.choice(ready)))
    return (*order, last) if last else (0,)


def cells(count: int, edges: int = 1) -> LayerGraph:
    """A stack of cells of four nodes, all connected as those of NAS-Bench-201.

    Every edge is ``edges`` operations, the wide ones first; all edges of a node are written first.
    """
    builder = GraphBuilder((8, 8, 4))
    for _ in range(count):
        nodes = [len(builder.nodes) - 1]
        for to in range(1, 4):
            ends = list(nodes)
            for step in range(edges):
                filters = 4 if step == edges - 1 else 16 + 4 * to
                ends = [
                    builder.window("conv2d", 1, 1, "same", filters=filters, reads=end)
                    for end in ends
                ]
            nodes.append(builder.join("add", ends) if to > 1 else ends[0])
    return builder.build()


def residual_stack(seed: int) -> LayerGraph:
    """Random cells like those of NAS-Bench-201 in three stages, each of half the side."""
    rng = np.random.default_rng(seed)
    builder = GraphBuilder((16, 16, 3))
    last = builder.window("conv2d", 3, 1, "same", filters=8)
    kinds = rng.integers(0, 4, 6)
    for stage in range(3):
        if stage:
            down = [builder.window("conv2d", 1, 2, "same", filters=8 << stage, reads=last)]
            main = builder.window("conv2d", 3, 2, "same", filters=8 << stage, reads=last)
            down.append(builder.window("conv2d", 3, 1, "same", filters=8 << stage, reads=main))
            last = builder.join("add", down)
        for _ in range(5):
            nodes = [last]
            for to in range(1, 4):
                chosen = kinds[to * (to - 1) // 2 :][:to]
                ends = [edge(builder, int(k), n) for k, n in zip(chosen, nodes, strict=True)]
                nodes.append(builder.join("add", ends) if to > 1 else ends[0])
            last = nodes[-1]
    builder.mean(reads=last)
    builder.dense(10)
    return builder.build()


def edge(builder: GraphBuilder, kind: int, reads: int) -> int:
    """A convolution of one or three, an average pool, or nothing but the map."""
    if kind == 3:
        return reads
    if kind == 2:
        return builder.window("avg_pool2d", 3, 1, "same", reads=reads)
    filters = builder.nodes[reads].shape[2]
    return builder.window("conv2d", 1 + 2 * kind, 1, "same", filters=filters, reads=reads)


def lenna_block(seed: int) -> LayerGraph:
    """Five sums of 15 edges, each dense, separable or a pool."""
    rng = np.random.default_rng(seed)
    builder = GraphBuilder((8, 8, 8))
    nodes = [0]
    for _ in range(5):
        ends = []
        for source in nodes:
            kind = int(rng.integers(0, 3))
            if kind == 0:
                builder.window("max_pool2d", 3, 1, "same", reads=source)
            elif kind == 1:
                builder.window("depthwise_conv2d", 3, 1, "same", reads=source)
                builder.window("conv2d", 1, 1, "same", filters=8)
            else:
                builder.window("conv2d", 3, 1, "same", filters=8, reads=source)
            ends.append(len(builder.nodes) - 1)
        nodes.append(builder.join("add", ends) if len(ends) > 1 else ends[0])
    return builder.build()


def two_branches() -> LayerGraph:
    """Two branches that grow and shrink again, both grown before either shrinks."""
    builder = GraphBuilder((8, 8, 4))  # 256 bytes
    wide = [builder.window("conv2d", 1, 1, "same", filters=32, reads=0) for _ in range(2)]  # 2048
    small = [builder.window("conv2d", 8, 1, "valid", filters=16, reads=i) for i in wide]  # 16
    builder.join("concat", small)
    return builder.build()


# ------------------------------------------------------------------------------------ least memory


def test_no_order_of_200_random_graphs_needs_less() -> None:  # E5
    better = orders = 0
    for seed in range(200):
        graph = random_dag(seed)
        peaks = {order: plain_peak(graph, order) for order in all_orders(graph)}
        found = search_order(graph)
        assert found.exact
        assert found.peak_bytes == min(peaks.values()) == peaks[best_order(graph)]
        own = tuple(range(len(graph.nodes)))
        assert (found.order == own) == (peaks[own] == found.peak_bytes), "kept where it is the best"
        orders += len(peaks)
        better += peaks[own] > found.peak_bytes
    assert orders > 10_000
    assert better > 50


def test_the_working_set_is_what_lives_together() -> None:  # E5
    for seed in range(60):
        for graph in (random_dag(seed), branching_graph(seed).deployed()):
            order = some_order(graph, seed)
            for width in (1, 4):
                assert working_set(graph, order, width) == plain_peak(graph, order, width)


def test_a_chain_has_one_order() -> None:
    for graph in [*space_graphs("emnas-382", 20), *space_graphs("emnas-mobile-49", 20)]:
        deployed = graph.deployed()
        own = tuple(range(len(deployed.nodes)))
        head = plan_arena(deployed).head_bytes
        assert search_order(deployed) == OperatorOrder(own, head, head, 0)
        assert reordered(deployed) == deployed
        assert scheduled(graph) is deployed or scheduled(graph) == deployed
    lonely = GraphBuilder((3, 3, 1)).build()
    assert search_order(lonely) == OperatorOrder((0,), 16, 16, 0)
    assert scheduled(lonely) is lonely


def test_an_example_that_is_known() -> None:
    """Both wide maps and the input: 4352; a wide map, the input and what the other became: 2320."""
    graph = two_branches()
    assert working_set(graph, range(6)) == 256 + 2048 + 2048
    assert best_order(graph) == (0, 1, 3, 2, 4, 5)
    assert working_set(graph, best_order(graph)) == 256 + 2048 + 16
    assert working_set(graph, best_order(graph), 4) == 4 * (256 + 2048 + 16)
    assert plan_arena(graph).head_bytes == 4352
    assert plan_arena(scheduled(graph)).head_bytes == 2320 == costs.arena_head_bytes(graph)
    names = [node.name for node in reordered(graph)]
    assert names == ["input", "conv2d_1", "conv2d_3", "conv2d_2", "conv2d_4", "concat_5"]


# ------------------------------------------------------------------------------------- few sets


def test_a_stack_of_cells_costs_the_sum_of_its_cells() -> None:  # E5
    """Sets grow by a constant a cell at most: here one cell tells what all of them need."""
    one, two, many = (search_order(cells(count, edges=2)) for count in (1, 2, 15))
    assert one.exact and two.exact and many.exact
    own = working_set(cells(15, edges=2), range(len(cells(15, edges=2).nodes)))
    assert many.peak_bytes == two.peak_bytes < own
    assert 0 < many.sets <= 15 * two.sets < 2000
    assert len(many.order) == 1 + 15 * 14


def test_every_cell_of_a_stack_may_have_an_order_of_its_own() -> None:
    """Where the cells become smaller the first decides, and the others need no search."""
    builder = GraphBuilder((16, 16, 4))
    for _ in range(4):
        source = len(builder.nodes) - 1
        wide = [builder.window("conv2d", 1, 1, "same", filters=32, reads=source) for _ in range(3)]
        ends = [builder.window("conv2d", 3, 2, "same", filters=4, reads=i) for i in wide]
        builder.join("add", ends)
    found = search_order(builder.build())
    first = 16 * 16 * 36 + 2 * 8 * 8 * 4  # a wide map, the input, and two branches that are done
    assert (found.peak_bytes, found.exact) == (first, True)
    assert found.order[8:] == tuple(range(8, len(found.order)))


def test_too_many_sets_end_in_an_error_or_in_bounds_that_hold() -> None:
    graph = cells(1, edges=2)
    exact = search_order(graph)
    own = tuple(range(len(graph.nodes)))
    for most in range(exact.sets):
        found = search_order(graph, most)
        assert found.least_bytes <= exact.peak_bytes <= found.peak_bytes
        assert (found.exact, found.sets, found.order) == (False, most, own)
        assert found.peak_bytes == working_set(graph, own)
    assert search_order(graph, exact.sets) == exact
    with pytest.raises(OrderError, match=r"after 5 sets .* between \d+ and \d+ bytes"):
        best_order(graph, 5)
    assert best_order(graph, exact.sets) == exact.order


def test_an_order_that_is_none_is_refused() -> None:
    graph = two_branches()
    for order in [(0, 1, 2), (1, 0, 2, 3, 4, 5), (0, 1, 2, 3, 5, 4), (0, 1, 1, 3, 4, 5)]:
        with pytest.raises(OrderError, match="each of 6 nodes once, 0 first and 5 last"):
            working_set(graph, order)
    with pytest.raises(OrderError, match=r"node 3 \(conv2d_3\) reads \[1\], which"):
        reordered(graph, (0, 3, 1, 2, 4, 5))
    assert issubclass(OrderError, InvalidArchitecture) and not issubclass(OrderError, ShapeError)


# ----------------------------------------------------------------------------------- same network


def test_a_reordered_network_computes_the_same_to_the_bit() -> None:
    moved = 0
    for seed in range(80):
        graph = branching_graph(seed).deployed()
        other = reordered(graph)
        weights, image = trained_looking_weights(graph, seed), images_for(graph, 1, seed)[0]
        assert set(other.weight_shapes().items()) == set(graph.weight_shapes().items())
        assert {node.name for node in other} == {node.name for node in graph}
        assert all(j < i for i, node in enumerate(other) for j in node.inputs)
        assert (other.nodes[0], other.nodes[-1].name) == (graph.nodes[0], graph.nodes[-1].name)
        np.testing.assert_array_equal(
            forward(other, weights, image), forward(graph, weights, image)
        )
        moved += other != graph
    assert moved > 20


def test_an_exported_network_computes_the_same_in_whatever_order_it_is_written() -> None:  # E5, F1
    pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")
    from hardware.export import export_int8
    from hardware.interpreter import Model

    for seed in range(0, 60, 3):
        graph = branching_graph(seed).deployed()
        other = reordered(graph, some_order(graph, seed))
        weights, images = trained_looking_weights(graph, seed), images_for(graph, 4, seed)
        one, two = (Model(export_int8(each, weights, images)) for each in (graph, other))
        np.testing.assert_array_equal(one.raw(one.quantize(images)), two.raw(two.quantize(images)))


def test_a_schedule_never_needs_a_larger_arena_and_stays_as_it_is() -> None:  # E5
    smaller = 0
    for graph in branching_graphs(150, seed=2000):
        deployed, chosen = graph.deployed(), scheduled(graph)
        own, best = plan_arena(deployed).head_bytes, plan_arena(chosen).head_bytes
        assert costs.arena_head_bytes(graph) == best
        assert best < own or chosen == deployed
        assert scheduled(chosen) is chosen
        assert costs.ram_bytes(graph) == costs.ram_bytes(chosen)
        for cost in (costs.flash_bytes, costs.persistent_bytes, costs.setup_bytes, costs.macs):
            assert cost(graph) == cost(chosen)
        smaller += best < own
    assert smaller > 20


# ---------------------------------------------------------------------------------- sums of many


def five_branches() -> LayerGraph:
    """The sum of five convolutions of one map, all maps of 1024 bytes."""
    builder = GraphBuilder((8, 8, 16))
    ends = [builder.window("conv2d", 3, 1, "same", filters=16, reads=0) for _ in range(5)]
    builder.join("add", ends, "relu")
    return builder.build()


def test_a_sum_of_five_needs_four_maps_instead_of_six() -> None:  # E5
    """The input, what is added up, what is added, and the result; before: all five and another."""
    graph = five_branches()
    assert search_order(graph).least_bytes == plan_arena(graph).head_bytes == 6 * 1024
    assert costs.arena_head_bytes(graph) == 4 * 1024 == search_order(split_sums(graph)).least_bytes
    names = [node.name for node in scheduled(graph) if node.op == "add"]
    assert names == ["add_6/0", "add_6/1", "add_6/2", "add_6"]
    kept = [node.activation for node in scheduled(graph) if node.op == "add"]
    assert kept == ["none", "none", "none", "relu"]
    assert {sum_of(node) for node in scheduled(graph)} == {node.name for node in graph}


def test_sums_are_split_as_an_export_would_split_them() -> None:
    split_ones = 0
    for graph in branching_graphs(100, seed=4000):
        deployed = graph.deployed()
        split = split_sums(deployed)
        assert all(len(node.inputs) <= 2 for node in split if node.op in SUMS)
        assert split_sums(split) is split
        ours, theirs = legalize(split).nodes, legalize(deployed).nodes
        assert [replace(node, name="") for node in ours] == [
            replace(node, name="") for node in theirs
        ]
        assert split.weight_shapes() == deployed.weight_shapes()
        split_ones += split is not deployed
    assert split_ones > 20


def test_splitting_and_moving_change_no_bit_of_what_a_file_computes(  # E5, F1
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")
    from hardware import lowering
    from hardware.export import export_float, export_int8
    from hardware.interpreter import Model

    graphs = [five_branches(), *(lenna_block(seed) for seed in range(3))]
    for seed, graph in enumerate(graphs):
        weights, images = trained_looking_weights(graph, seed), images_for(graph, 4, seed)
        assert any("/" in node.name for node in scheduled(graph))
        answers = []
        for order in (scheduled, LayerGraph.deployed):
            monkeypatch.setattr(lowering, "scheduled", order)
            model = Model(export_int8(graph, weights, images), reference=True)
            floats = Model(export_float(graph, weights), reference=True)
            answers.append((model.raw(model.quantize(images)), floats.run(images)))
        for one, two in zip(*answers, strict=True):
            np.testing.assert_array_equal(one, two)


def test_a_block_of_fifteen_edges_is_ordered_in_few_sets() -> None:  # E5
    """LENNA's block: its sums, added up one by one, need a quarter less and more."""
    ratios = []
    for seed in range(10):
        graph = lenna_block(seed)
        whole, split = search_order(graph), search_order(split_sums(graph))
        assert whole.exact and split.exact
        assert whole.sets + split.sets < 10_000
        assert costs.arena_head_bytes(graph) == split.peak_bytes
        ratios.append(split.peak_bytes / whole.peak_bytes)
    assert np.mean(ratios) < 0.8


def test_the_arena_of_a_stack_of_cells_is_no_larger_than_what_lives_together() -> None:  # E5
    """Maps of one size: what no order undercuts is reached, whatever operations the cells have."""
    for seed in range(30):
        graph = residual_stack(seed)
        whole, split = search_order(graph), search_order(split_sums(graph))
        assert whole.exact and split.exact
        assert costs.arena_head_bytes(graph) == min(whole.peak_bytes, split.peak_bytes)
        assert whole.sets + split.sets < 500
