"""Random networks as int8 programs, with the files that the interpreter reads."""

from __future__ import annotations

from functools import cache

from test_hardware_graphs import (
    SMALL_COLOUR,
    Drawn,
    branching_graphs,
    images_for,
    space_graphs,
    trained_looking_weights,
)

from emnas_gym.graph import LayerGraph
from hardware.export import int8_program
from hardware.program import Program
from hardware.tflite_writer import write_tflite

GRAPHS = Drawn(
    100,
    lambda: [
        *branching_graphs(60),
        *space_graphs("emnas-382", 30),
        *space_graphs("emnas-mobile-49", 10, SMALL_COLOUR),
    ],
)


@cache
def programs(graph: LayerGraph, seed: int) -> tuple[Program, bytes]:
    """The int8 program of a graph, and its .tflite file."""
    weights, images = trained_looking_weights(graph, seed), images_for(graph, 16, seed)
    program = int8_program(graph, weights, images)
    return program, write_tflite(program)
