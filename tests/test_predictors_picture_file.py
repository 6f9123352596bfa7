"""Pictures are written whole or not at all."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from PIL import Image

from emnas_gym.errors import BackendMissing
from predictors.picture_file import picture


def test_a_picture_has_the_size_that_is_asked_for(tmp_path: Path) -> None:
    with picture(tmp_path / "deep" / "a.png", 2.0, 1.5, dpi=40) as figure:
        figure.subplots().plot([0, 1], [1, 0])
    with Image.open(tmp_path / "deep" / "a.png") as image:
        assert image.size == (80, 60)
        assert len(image.convert("L").getcolors() or []) > 2, "something is drawn"


def test_nothing_is_written_if_drawing_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), picture(tmp_path / "a.png", 2.0, 1.5):
        1 / 0  # noqa: B018
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(BackendMissing, match="pip install matplotlib"):
        with picture(tmp_path / "a.png", 2.0, 1.5):
            pass
