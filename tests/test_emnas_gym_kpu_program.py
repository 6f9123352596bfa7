"""What the compiler makes of a network for a K210: single cases, whole chains, its own report."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from data_files import EMNAS, needs

from emnas_gym.errors import ShapeError
from emnas_gym.layers import LayerSpec
from emnas_gym.models.kpu_program import lower, parts
from emnas_gym.models.kpu_steps import Step, Steps, absorb_pads, layer_steps, working_memory
from emnas_gym.models.kpu_terms import chain_steps, kpu_terms
from emnas_gym.space import SearchSpace
from emnas_gym.tasks import DIGITS, GRASP
from predictors.emnas_tables import read_table

CONV = LayerSpec("conv", 8, 3, 1, "same", "relu")
HALF = LayerSpec("conv", 8, 3, 2, "same", "relu")
POINT = LayerSpec("conv", 8, 1, 1, "same", "relu")
POINT_HALF = LayerSpec("conv", 8, 1, 2, "same", "relu")
DEEP_HALF = LayerSpec("depthwise", 0, 3, 2, "same", "relu")
SMALL = LayerSpec("conv", 8, 2, 1, "same", "relu")
VALID = LayerSpec("conv", 8, 3, 1, "valid", "relu")
PAD = LayerSpec("pad", pads=(0, 1, 0, 1))


def steps(*specs: LayerSpec, side: int = 16, channels: int = 4) -> Steps:
    shape: tuple[int, ...] = (side, side, channels)
    found: list[Step] = []
    for spec in specs:
        shape, own = layer_steps(spec, shape, 2)
        found += own
    return absorb_pads(found)


def kinds(*specs: LayerSpec, side: int = 16) -> list[str]:
    return [step.kind + " pooled" * step.pooled for step in lower(steps(*specs, side=side))]


@pytest.mark.parametrize(
    ("specs", "side", "expected"),
    [
        ((CONV, POINT), 16, ["kpu", "kpu"]),
        ((VALID,), 16, ["kpu", "pad"]),
        ((SMALL,), 16, ["conv"]),
        ((CONV,), 3, ["conv"]),  # the KPU takes no map below 4 × 4
        ((POINT_HALF,), 16, ["kpu pooled"]),
        ((HALF,), 16, ["pad", "kpu pooled", "pad"]),  # zeros lie on one side of an even map
        ((HALF,), 15, ["pad", "kpu pooled"]),
        ((DEEP_HALF,), 16, ["kpu", "slice"]),  # nothing is pooled behind a depthwise one
        ((DEEP_HALF, POINT), 15, ["kpu", "pad", "kpu pooled"]),  # sliced behind the 1 × 1
        ((HALF,), 6, ["kpu", "slice"]),  # 3 × 3 is too small to be pooled into
        ((VALID, PAD, CONV), 16, ["kpu", "pad", "kpu"]),  # cuts and zeros in one
        ((PAD, LayerSpec("conv", 8, 3, 2, "valid", "relu")), 16, ["pad", "kpu pooled", "pad"]),
    ],
)
def test_single_cases(specs: tuple[LayerSpec, ...], side: int, expected: list[str]) -> None:
    assert kinds(*specs, side=side) == expected


def test_shapes_follow_one_another_and_end_where_the_layers_do(
    space: SearchSpace, mobile: SearchSpace, rng: np.random.Generator
) -> None:
    for each in (space, mobile):
        for tokens in (each.sample(rng).tokens for _ in range(12)):
            try:
                chain = chain_steps(each, GRASP, tokens)
            except ShapeError:
                continue
            lowered = lower(chain)
            assert lowered[0].reads == GRASP.input_shape
            assert lowered[-1].gives == chain[-1].gives
            for step, then in itertools.pairwise(lowered):
                assert step.gives == then.reads
            assert all(step.kernel in (1, 3) for step in lowered if step.kind == "kpu")


def test_parts_are_lowered_as_the_whole_is(
    space: SearchSpace, mobile: SearchSpace, rng: np.random.Generator
) -> None:
    cut = 0
    for each in (space, mobile):
        for tokens in (each.sample(rng).tokens for _ in range(100)):
            try:
                chain = chain_steps(each, GRASP, tokens)
            except ShapeError:
                continue
            pieces = parts(chain)
            assert sum(pieces, ()) == chain
            assert sum((lower(piece) for piece in pieces), ()) == lower(chain)
            cut += len(pieces) - 1
    assert cut > 500


def test_the_compilers_own_report_of_memory(mobile: SearchSpace) -> None:
    """All 440 networks that it converted, to the 10 bytes to which its report was noted."""
    needs(*EMNAS)
    converted = [row for row in read_table("dataset_7") if row.kmodel_memory_kb]
    assert len(converted) == 440
    for row in converted:
        counted = working_memory(lower(chain_steps(mobile, GRASP, row.tokens)))
        assert counted == pytest.approx(1000 * (row.kmodel_memory_kb or 0), abs=5.01), row.model_id


def test_terms_count_work_that_is_done(mobile: SearchSpace) -> None:
    def terms(*specs: LayerSpec) -> dict[str, float]:
        tokens = tuple(mobile.specs.index(spec) + 1 for spec in specs)
        return kpu_terms(mobile, DIGITS, (*tokens, mobile.end_token), cache=False)

    point = next(s for s in mobile.specs if str(s) == "conv 16 1×1/1 same bn relu6")
    stays = terms(point, point)
    assert stays["kpu conv 1x1: calls"] == 2
    assert stays["kpu conv 1x1: work"] == 16 * 1 * 16 + 16 * 4 * 16  # lines of 4 channels, twice
    assert stays["download: bytes"] == 16 * 16 * 16  # for the average
    assert not any(name.startswith("upload") for name in stays)
    valid = next(s for s in mobile.specs if str(s) == "depthwise 3×3/1 valid bn relu6")
    leaves = terms(point, valid, point)
    assert leaves["pad: out"] == 14 * 14 * 16
    assert leaves["upload by rows: bytes"] == 14 * 14 * 16


def test_taps_on_zeros_are_not_computed() -> None:
    """A 3 × 3 window around a single pixel multiplies once."""
    space = SearchSpace("one", (CONV, LayerSpec("output", head="mean")), 2, 2, ("conv",))
    task = type(DIGITS)("dot", (1, 1, 4), 2)
    assert kpu_terms(space, task, (1, 2), cache=False)["cpu conv 3x3/1: macs"] == 4 * 8
