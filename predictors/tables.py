"""A collected table as one small file that is committed: packed from SQLite, and back again.

Accuracies are stored as counts of images classified rightly, so that nothing is lost; packing
checks that. The header says by which command, recipe and versions the table was made.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emnas_gym.array_file import BROKEN
from emnas_gym.errors import StoreError
from predictors.store import TableStore, Tokens, Training

FORMAT = 1
FOLDER = Path(__file__).parent / "tables"
MAX_BYTES = 6 << 20
FIELDS = ("latency_ms", "npu_cycles", "instructions")


@dataclass(frozen=True)
class Table:
    """Trained networks and their measured costs.

    Attributes:
        trainings: One row a training, in the order in which they were stored.
        costs: Device → tokens → measured fields.
        failures: Tokens, seed, stage and reason of what could not be measured.
        about: Space, task, recipe, and what else made the table.
    """

    trainings: tuple[Training, ...]
    costs: dict[str, dict[Tokens, dict[str, float]]]
    failures: tuple[tuple[Tokens, int, str, str], ...]
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def networks(self) -> list[Tokens]:
        """Distinct networks in the order in which they were first trained."""
        return list(dict.fromkeys(row.tokens for row in self.trainings))

    def accuracies(self) -> dict[Tokens, list[float]]:
        """Validation accuracy after the last epoch of every training of every network."""
        table: dict[Tokens, list[float]] = {}
        for row in self.trainings:
            table.setdefault(row.tokens, []).append(row.curve[-1])
        return table

    def values(self, device: str | None = None) -> dict[Tokens, float]:
        """What a predictor learns of every network: mean accuracy, or the latency on a device.

        Args:
            device: Of the latency in ms; None for validation accuracies, the mean over seeds.

        Raises:
            StoreError: If no latency was measured on the device.
        """
        if device is None:
            return {tokens: float(np.mean(row)) for tokens, row in self.accuracies().items()}
        rows = self.costs.get(device, {})
        found = {t: row["latency_ms"] for t, row in rows.items() if "latency_ms" in row}
        if not found:
            raise StoreError(
                f"the table has no latencies on {device}, but on {', '.join(self.costs) or 'none'}"
                f"; `collect --costs {device}` measures them"
            )
        return found


def packed_path(space: str, task: str) -> Path:
    """Where the committed table of a space and task lies."""
    return FOLDER / f"{space}_{task}.npz"


def read_store(path: Path) -> Table:
    """Reads a collected SQLite file, also while it is being written.

    Raises:
        StoreError: If there is none, or it is damaged.
    """
    with TableStore.reading(path) as store:
        costs = {device: store.costs(device) for device in store.devices()}
        failures = tuple(store.failures())
        return Table(tuple(store.trainings()), costs, failures, dict(store.about()))


def restore(path: Path, store: TableStore) -> int:
    """Fills a store from a packed table, so that `collect` goes on from there.

    Args:
        path: A file that `pack` wrote.
        store: A store of the same space, task and recipe; what it has stays.

    Returns:
        Number of trainings in the file.

    Raises:
        StoreError: If the file is damaged, or of something else.
    """
    table = unpack(path)
    known = store.about()
    for key in ("space", "task", "recipe"):
        if known.get(key, table.about[key]) != table.about[key]:
            raise StoreError(f"{path}: has {key} = {table.about[key]!r}, the store {known[key]!r}")
    for key, value in table.about.items():
        if key not in known:
            store.note(key, value)
    store.add_trainings(table.trainings)
    for device, rows in table.costs.items():
        store.add_costs(device, rows.items())
    for failure in table.failures:
        store.add_failure(*failure)
    return len(table.trainings)


def pack(table: Table, path: Path, images: tuple[int, int], command: str) -> None:
    """Writes a table compactly.

    Args:
        table: What was collected.
        path: The ``.npz`` to write.
        images: Validation and test images of the task.
        command: The command that collected it.

    Raises:
        StoreError: If it is empty, would lose anything, or would be larger than 6 MB.
    """
    if not table.trainings:
        raise StoreError("there are no trainings to pack yet")
    networks = _all_networks(table)
    index = {tokens: i for i, tokens in enumerate(networks)}
    header = _header(table, index, images, command)
    arrays = _training_arrays(table.trainings, index, header)
    arrays |= {"tokens": _token_array(networks)}
    for device, rows in table.costs.items():
        for name in FIELDS:
            column = np.full(len(networks), np.nan)
            for tokens, values in rows.items():
                column[index[tokens]] = values.get(name, np.nan)
            if not np.isnan(column).all():
                arrays[f"cost/{device}/{name}"] = column
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, allow_pickle=False, header=np.array(json.dumps(header)), **arrays)
    if path.stat().st_size > MAX_BYTES:
        raise StoreError(f"{path}: {path.stat().st_size} bytes are more than {MAX_BYTES}")
    again = unpack(path)
    same = (again.trainings, again.costs, again.failures)
    if same != (table.trainings, table.costs, table.failures):
        raise StoreError(f"{path}: what was packed does not read back as it was")


def _all_networks(table: Table) -> list[Tokens]:
    costed = (tokens for rows in table.costs.values() for tokens in rows)
    failed = (tokens for tokens, *_ in table.failures)
    return list(dict.fromkeys([*table.networks, *costed, *failed]))


def _training_arrays(
    rows: Sequence[Training], index: dict[Tokens, int], header: dict[str, Any]
) -> dict[str, NDArray[Any]]:
    valid, test = header["images"]["valid"], header["images"]["test"]
    origins = header["origins"]
    curves = np.array([row.curve for row in rows])
    return {
        "network": np.array([index[row.tokens] for row in rows], dtype=np.int32),
        "seed": np.array([row.seed for row in rows], dtype=np.int32),
        "origin": np.array([origins.index(row.origin) for row in rows], dtype=np.uint8),
        "hits": np.rint(curves * valid).astype(np.uint16),
        "test_hits": np.rint(np.array([r.test_accuracy for r in rows]) * test).astype(np.uint16),
        "seconds": np.array([row.seconds for row in rows]),
        "int8_hits": _int8_hits(rows, test),
    }


def _int8_hits(rows: Sequence[Training], test: int) -> NDArray[np.int16]:
    """Images that each int8 file classifies rightly; -1 where there was none."""
    known = [-1.0 if r.int8_accuracy is None else r.int8_accuracy * test for r in rows]
    hits: NDArray[np.int16] = np.rint(np.array(known)).astype(np.int16)
    return hits


def _token_array(networks: Sequence[Tokens]) -> NDArray[np.int16]:
    array = np.zeros((len(networks), max(map(len, networks))), dtype=np.int16)
    for row, tokens in zip(array, networks, strict=True):
        row[: len(tokens)] = tokens
    return array


def _header(
    table: Table, index: dict[Tokens, int], images: tuple[int, int], command: str
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "about": table.about,
        "command": command,
        **made_with(),
        "images": {"valid": images[0], "test": images[1]},
        "origins": sorted({row.origin for row in table.trainings}),
        "trainings": len(table.trainings),
        "networks": len(table.networks),
        "failures": [[index[tokens], *rest] for tokens, *rest in table.failures],
    }


def made_with() -> dict[str, Any]:
    """Versions of what a table is made with."""
    packages = ("numpy", "torch", "gymnasium", "ai-edge-litert", "ethos-u-vela")
    versions = {name: _version(name) for name in packages}
    return {"python": platform.python_version(), "versions": versions}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def unpack(path: Path) -> Table:
    """Reads a packed table.

    Raises:
        StoreError: If there is none, or it is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return _table(arrays)
    except (*BROKEN, IndexError) as error:
        raise StoreError(f"{path}: is no packed table, or damaged: {error}") from error


def read_header(path: Path) -> dict[str, Any]:
    """The header of a packed table.

    Raises:
        StoreError: If there is none, or it is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            header: dict[str, Any] = json.loads(str(archive["header"]))
        return header
    except (*BROKEN, IndexError) as error:
        raise StoreError(f"{path}: is no packed table, or damaged: {error}") from error


def _table(arrays: dict[str, NDArray[Any]]) -> Table:
    header = json.loads(str(arrays["header"]))
    if header["format"] != FORMAT:
        raise ValueError(f"format {header['format']} instead of {FORMAT}")
    networks = [tuple(int(t) for t in row if t) for row in arrays["tokens"]]
    valid, test = header["images"]["valid"], header["images"]["test"]
    rows = zip(
        arrays["network"].tolist(),
        arrays["seed"].tolist(),
        arrays["origin"].tolist(),
        arrays["hits"].tolist(),
        arrays["test_hits"].tolist(),
        arrays["seconds"].tolist(),
        arrays.get("int8_hits", np.full(len(arrays["seed"]), -1)).tolist(),
        strict=True,
    )
    trainings = tuple(
        Training(
            networks[network],
            seed,
            header["origins"][origin],
            tuple(count / valid for count in hits),
            test_hits / test,
            seconds,
            None if int8_hits < 0 else int8_hits / test,
        )
        for network, seed, origin, hits, test_hits, seconds, int8_hits in rows
    )
    failures = tuple((networks[i], seed, stage, why) for i, seed, stage, why in header["failures"])
    return Table(trainings, _costs(arrays, networks), failures, header["about"])


def _costs(
    arrays: dict[str, NDArray[Any]], networks: list[Tokens]
) -> dict[str, dict[Tokens, dict[str, float]]]:
    table: dict[str, dict[Tokens, dict[str, float]]] = {}
    for name, column in arrays.items():
        if not name.startswith("cost/"):
            continue
        _, device, what = name.split("/")
        for tokens, value in zip(networks, column.tolist(), strict=True):
            if not np.isnan(value):
                table.setdefault(device, {}).setdefault(tokens, {})[what] = value
    return table
