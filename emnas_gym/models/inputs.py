"""The encodings of networks that fitted models read, by name.

All follow the canonical tokens, so that networks that behave alike are encoded alike, and all are
functions of space, task and tokens alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emnas_gym import encodings, features, graph_encoding
from emnas_gym.architecture import Architecture
from emnas_gym.errors import UnknownName
from emnas_gym.features import layer_table
from emnas_gym.models import counts, paths
from emnas_gym.models.additive import network_terms
from emnas_gym.models.base import Array
from emnas_gym.models.kind_sums import VERSION as KIND_SUMS
from emnas_gym.models.kind_sums import WIDTH, kind_sums
from emnas_gym.models.kpu_terms import Terms
from emnas_gym.models.layer_terms import DETAILS
from emnas_gym.models.mixture import JOIN
from emnas_gym.tasks import Task
from emnas_gym.token_space import TokenSpace

Batch = Sequence[Architecture]


@dataclass(frozen=True)
class Encoding:
    """How networks are written down.

    Attributes:
        encode: From a batch of one space and its task to what a model reads.
        columns: Length of the last axis for a space; None where there are no arrays.
        version: Changes with the meaning of the columns; files carry it.
        about: What it holds, for people.
    """

    encode: Callable[[Batch, Task], Any]
    columns: Callable[[TokenSpace], int | None]
    version: int | str
    about: str


def _layers(batch: Batch, task: Task) -> Array:
    table = layer_table(batch[0].space, task)
    return table.gather([table.walk(a.canonical) for a in batch])[0]


def _onehot(batch: Batch, task: Task) -> Array:
    return _flat(batch, encodings.onehot)


def _matrix(batch: Batch, task: Task) -> Array:
    return _flat(batch, encodings.layer_matrix)


def _flat(
    batch: Batch, one: Callable[[TokenSpace, Sequence[int], int], NDArray[np.float32]]
) -> Array:
    space = batch[0].space
    rows = [one(space, a.canonical, space.max_layers).ravel() for a in batch]
    return np.stack(rows).astype(np.float64)


def _paths(batch: Batch, task: Task) -> Array:
    return paths.paths(batch)


def _graphs(batch: Batch, task: Task) -> graph_encoding.Graphs:
    return graph_encoding.layer_graphs([a.space.build(a.canonical, task) for a in batch])


def _terms(batch: Batch, task: Task, details: Sequence[str] = ()) -> list[Terms]:
    return [network_terms(a.space, task, a.tokens, details) for a in batch]


ENCODINGS: dict[str, Encoding] = {
    "layers": Encoding(
        _layers,
        lambda space: len(features.LAYER),
        features.VERSION,
        "(N, L, F): every layer described, zeros after the output layer",
    ),
    "features": Encoding(
        features.features,
        lambda space: len(features.feature_names()),
        features.VERSION,
        "(N, F): summaries of the layers, first and last ones, what depends on several",
    ),
    "terms": Encoding(_terms, lambda space: None, 1, "N tables: kind of work → amount"),
    "onehot": Encoding(
        _onehot,
        lambda space: space.max_layers * (space.num_tokens + 1),
        1,
        "(N, L·(K + 1)): tokens one-hot, position after position",
    ),
    "matrix": Encoding(
        _matrix,
        lambda space: space.max_layers * space.details.shape[1],
        1,
        "(N, L·C): details of the token at every position",
    ),
    "counts": Encoding(
        counts.counts,
        lambda space: len(counts.COUNTS),
        counts.VERSION,
        "(N, C): logarithms of parameters, MACs, RAM, flash, layers, activations",
    ),
    "kind_sums": Encoding(
        kind_sums,
        lambda space: WIDTH,
        KIND_SUMS,
        "(N, W): of each kind of layer its number, work, outputs and parameters",
    ),
    "path": Encoding(
        _paths,
        lambda space: paths.WIDTH,
        paths.VERSION,
        "(N, W): which stretches of one to three layers occur, hashed",
    ),
    "graph": Encoding(
        _graphs,
        lambda space: len(graph_encoding.FEATURES),
        graph_encoding.VERSION,
        "`Graphs`: nodes (N, V, F), who reads whom (N, V, V), mask (N, V), as deployed",
    ),
}
MATRICES = (
    "features",
    "onehot",
    "matrix",
    "counts",
    "kind_sums",
    "path",
)  # any model on (N, F) reads them


def encoding(name: str) -> Encoding:
    """An encoding by name.

    Args:
        name: One of `ENCODINGS`; ``"terms+sigmoid+cache"`` tells these details of
            `emnas_gym.models.additive.DETAILS` apart; ``"features&layers"`` is a table of both.

    Raises:
        UnknownName: If there is none of this name, or no such detail.
    """
    if JOIN in name:
        return _several(name.split(JOIN))
    name, *details = name.split("+")
    if name not in ENCODINGS or (details and name != "terms"):
        raise UnknownName("encoding", "+".join([name, *details]), ENCODINGS)
    for detail in details:
        if detail not in DETAILS:
            raise UnknownName("detail", detail, DETAILS)
    found = ENCODINGS[name]
    return replace(found, encode=partial(_terms, details=details)) if details else found


def _several(names: Sequence[str]) -> Encoding:
    parts = {name: encoding(name) for name in names}
    return Encoding(
        lambda batch, task: {name: part.encode(batch, task) for name, part in parts.items()},
        lambda space: None,
        JOIN.join(str(part.version) for part in parts.values()),
        "a table of several encodings",
    )


def encode(name: str, batch: Batch, task: Task) -> Any:  # noqa: ANN401
    """Networks in an encoding.

    Args:
        name: As `encoding` understands it.
        batch: Architectures of one space, not empty.
        task: What they are for.

    Returns:
        What `ENCODINGS` says; N networks in the order of the batch.

    Raises:
        UnknownName: If there is no such encoding.
        ShapeError: If a network cannot be built.
    """
    return encoding(name).encode(batch, task)
