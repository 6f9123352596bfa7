"""Numbers of a running search in a TensorBoard log."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from agents.scalars import Scalars

pytest.importorskip("tensorboard", reason="needs the package tensorboard")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter


def _told(folder: Path) -> dict[str, list[tuple[int, float]]]:
    (path,) = folder.glob("events.out.tfevents.*")
    events = EventAccumulator(str(path)).Reload()
    return {
        tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]
    }


def test_numbers_are_those_that_the_usual_writer_tells(tmp_path: Path) -> None:  # B25
    numbers = [(1, 0.25), (2, -1e9), (7, 3.0)]
    usual = SummaryWriter(str(tmp_path / "usual"))
    with Scalars(tmp_path / "ours") as ours:
        for at, value in numbers:
            ours.add(at, search__best=value, loss=value / 3)
            usual.add_scalar("search/best", value, at)
            usual.add_scalar("loss", value / 3, at)
    usual.close()
    assert _told(tmp_path / "ours") == _told(tmp_path / "usual")


def test_a_number_is_in_the_file_at_once_and_no_thread_has_it(tmp_path: Path) -> None:
    before = threading.active_count()
    scalars = Scalars(tmp_path / "log")
    scalars.add(3, reward=0.5)
    assert threading.active_count() == before, "Ctrl-C must find no queue to damage"
    assert _told(tmp_path / "log") == {"reward": [(3, 0.5)]}
    scalars.close()
    scalars.close()


def test_without_a_folder_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Scalars() as scalars:
        scalars.add(1, reward=0.5)
    assert not list(tmp_path.iterdir())
