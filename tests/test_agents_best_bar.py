"""The bar of a search: what rich shows of it on a terminal, and that it can be silent."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from agents.best_bar import BestBar

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def _shown(rewards: list[float], quiet: bool = False, total: int = 4) -> list[str]:
    """The lines that a terminal is given while the rewards come in, without their colours."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=120, color_system=None)
    bar = BestBar("evolution", total, console, quiet)
    with bar.progress:
        for reward in rewards:
            bar(reward)
            bar.progress.refresh()
    text = ESCAPES.sub("", file.getvalue())
    return [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]


def test_the_best_reward_so_far_stands_beside_the_bar() -> None:
    lines = _shown([0.25, 0.75, 0.5])
    assert lines[0].startswith("evolution ")
    assert "best reward" not in lines[0], "there is none yet"
    assert "0/4" in lines[0]
    seen = list(dict.fromkeys(re.findall(r"best reward (\S+)\s.*?(\d/4)", "\n".join(lines))))
    assert seen == [("0.2500", "1/4"), ("0.7500", "2/4"), ("0.7500", "3/4")]


@pytest.mark.parametrize("reward", [-3.5, 0.0, 12.34567])
def test_any_reward_is_better_than_none(reward: float) -> None:
    assert f"evolution, best reward {reward:.4f} " in _shown([reward])[-1]


def test_it_is_full_at_the_last_reward() -> None:
    last = _shown([0.1, 0.2], total=2)[-1]
    assert "2/2" in last
    assert "━" * 40 in last
    assert "━" * 40 not in _shown([0.1], total=2)[-1]


def test_a_quiet_one_shows_nothing() -> None:
    assert _shown([0.5, 0.9], quiet=True) == []
