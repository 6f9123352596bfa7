"""The data sets of the published figures: what they are made of, and where they lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from emnas_gym.errors import UnknownName
from predictors.lenna.backends.base import Settings
from predictors.lenna.collect import Plan, Progress, collect_rows
from predictors.lenna.drawing import Draw
from predictors.lenna.measure import Stop
from predictors.lenna.row_store import BlockRows, RowStore

FUSION = 0.5
NARROW = Draw(chosen=(8, 16, 32))  # what real backends are asked for: cheap enough to repeat
GROUPS = Draw(chosen=(16, 256))


@dataclass(frozen=True)
class DataSet:
    """One file of rows.

    Attributes:
        name: Stem of the file.
        title: What it is.
        plan: How it is made.
    """

    name: str
    title: str
    plan: Plan


def data_sets(rows: int) -> dict[str, DataSet]:
    """All data sets by name.

    Args:
        rows: Of each simulated one across channels; groups have two thirds, real ones a
            50th part.
    """
    real = Stop(half_width=0.05, resets=8, cap=320)
    side = 16
    found = [
        DataSet(
            "serial",
            "simulated, one operation after the other, 1 to 1,000 channels",
            Plan(Settings("simulated"), rows=rows),
        ),
        DataSet(
            "fused",
            f"simulated, {FUSION:.0%} of an operation's time saved behind convolutions",
            Plan(Settings("simulated", fusion=FUSION), rows=rows),
        ),
        DataSet(
            "groups",
            "simulated, serial, 16 or 256 channels",
            Plan(Settings("simulated"), GROUPS, Stop(half_width=0.008, cap=8000), 2 * rows // 3),
        ),
        DataSet(
            "torch",
            "torch on this machine's processor, one thread, 16×16 maps, 8, 16 or 32 channels",
            Plan(Settings("torch", side=side), NARROW, real, rows // 50),
        ),
        DataSet(
            "litert",
            "LiteRT int8 on this machine, one thread, 16×16 maps, 8, 16 or 32 channels",
            Plan(Settings("litert", side=side), NARROW, real, rows // 50),
        ),
        DataSet(
            "npu",
            "Ethos-U55-128 as Vela models it, 16×16 maps, 8, 16 or 32 channels",
            Plan(Settings("npu", side=side), NARROW, real, rows // 50),
        ),
    ]
    return {data.name: data for data in found}


def gather(
    data: DataSet, folder: Path, workers: int, progress: Progress = lambda rows, failed: None
) -> BlockRows:
    """The rows of a data set; only those that a file lacks are measured.

    Raises:
        StoreError: If a file was measured elsewhere: another folder is needed.
    """
    path = folder / f"{data.name}.sqlite"
    collect_rows(path, data.plan, workers, progress)
    with RowStore.reading(path) as store:
        return store.read()


def find_data_set(name: str, rows: int) -> DataSet:
    """A data set by name.

    Raises:
        UnknownName: If there is none.
    """
    known = data_sets(rows)
    if name not in known:
        raise UnknownName("data set", name, known)
    return known[name]
