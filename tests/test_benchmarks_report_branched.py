"""The report's figure of a winner with branches."""

from __future__ import annotations

import re

import numpy as np
import pytest

from benchmarks.report.search.branched_figure import CAPTION
from benchmarks.report.search.winner_figures import network_figure
from emnas_gym.rendering.boxes import describe
from emnas_gym.space import load_space
from emnas_gym.tasks import DIGITS


@pytest.mark.parametrize("name", ["nb201-cell", "darts-cell", "lenna-block"])
def test_every_operation_is_a_block_and_every_input_a_wire(name: str) -> None:  # A7
    graph = load_space(name).sample(np.random.default_rng(0)).graph(DIGITS)
    boxes = describe(graph)
    figure = network_figure({"best": {"graph": boxes}})
    assert figure is not None and figure.caption == CAPTION
    for layout in figure.layouts:
        wires = [mark for mark in layout.marks if mark.role == "wire"]
        blocks = [mark for mark in layout.marks if mark.role.startswith("block")]
        assert len(blocks) == len(boxes)
        assert len(wires) == sum(len(box["reads"]) for box in boxes)
        for mark in [*wires, *blocks]:
            xs = [float(x) for x in re.findall(r"[MC](-?[\d.]+)", mark.d)]
            assert xs and all(0 <= x <= layout.width for x in xs)
            assert "nan" not in mark.d
    assert len(figure.rows) == len(boxes)
