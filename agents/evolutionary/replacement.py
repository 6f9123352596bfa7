"""Who dies once there are too many: the worst, the oldest, or the whole generation."""

from __future__ import annotations

from collections.abc import Sequence

from agents.evolutionary.individuals import Individual
from agents.evolutionary.selection import fittest

REPLACEMENTS = ("worst", "oldest", "generational")
Alive = list[Individual]


def replace(
    rule: str, alive: Sequence[Individual], children: Sequence[Individual], size: int, elites: int
) -> Alive:
    """The next population by the rule of this name, by birth.

    Args:
        rule: One of `REPLACEMENTS`.
        alive: The population.
        children: Those who were born.
        size: How many live on.
        elites: So many of the fittest never die.
    """
    if rule == "worst":
        return discard_worst([*alive, *children], size)
    if rule == "oldest":
        return discard_oldest([*alive, *children], size, elites)
    return next_generation(alive, children, size, elites)


def discard_worst(everyone: Sequence[Individual], size: int) -> Alive:
    """The fittest live on; of equals the younger ones, so that a plateau can be crossed."""
    kept = sorted(everyone, key=lambda one: (one.fitness, one.birth))[-size:]
    return _by_birth(kept)


def discard_oldest(everyone: Sequence[Individual], size: int, elites: int = 0) -> Alive:
    """The youngest live on (Real et al. 2019), and the elites whatever their age."""
    kept = fittest(everyone, min(elites, size))
    births = {one.birth for one in kept}
    others = sorted((one for one in everyone if one.birth not in births), key=_birth)
    return _by_birth([*kept, *others[max(len(others) - size + len(kept), 0) :]])


def next_generation(
    alive: Sequence[Individual], children: Sequence[Individual], size: int, elites: int = 0
) -> Alive:
    """The children live on, the fittest first, beside the elites of those before them.

    Where there are fewer children than places, the fittest of those before fill them.
    """
    before = fittest(alive, len(alive))
    kept = before[: min(elites, size)]
    kept += fittest(children, size - len(kept))
    rest = before[elites:] if elites < size else []
    return _by_birth([*kept, *rest[: size - len(kept)]])


def _birth(one: Individual) -> int:
    return one.birth


def _by_birth(kept: Sequence[Individual]) -> Alive:
    return sorted(kept, key=_birth)
