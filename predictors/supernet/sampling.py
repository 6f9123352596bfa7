"""Which networks a supernet is trained as, step by step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from emnas_gym.branched.cell_space import CellSpace

Tokens = tuple[int, ...]
Sampler = Callable[[CellSpace, np.random.Generator], list[Tokens]]


def uniform(space: CellSpace, rng: np.random.Generator) -> list[Tokens]:
    """One network, every connected one as likely as the others (SPOS, Guo et al., 2020)."""
    sizes = [len(names) for names in space.operations.values()]
    while True:
        found = _tokens(space, rng.integers(0, sizes))
        if _connected(space, found):
            return [found]


def fair(space: CellSpace, rng: np.random.Generator) -> list[Tokens]:
    """As many networks as a position has choices, in which every choice stands once.

    Strict fairness of FairNAS (Chu et al., 2021): the weights step once for all of them. Where
    positions have different numbers of choices, the shorter ones are dealt again from the start,
    so that within a round counts of one position differ by one at most. Rounds with a disconnected
    network are dealt anew.
    """
    sizes = [len(names) for names in space.operations.values()]
    most = max(sizes)
    while True:
        columns = [
            np.concatenate([rng.permutation(n) for _ in range(-(-most // n))])[:most] for n in sizes
        ]
        found = [_tokens(space, row) for row in np.stack(columns, axis=1)]
        if all(_connected(space, tokens) for tokens in found):
            return found


SAMPLERS: dict[str, Sampler] = {"uniform": uniform, "fair": fair}


def _tokens(space: CellSpace, choices: np.ndarray) -> Tokens:
    return tuple(int(a + b) for a, b in zip(space.first_token, choices, strict=True))


def _connected(space: CellSpace, tokens: Tokens) -> bool:
    parts = space.choices(tokens).items()
    return all(space.groups[group].connected(choices) for group, choices in parts)
