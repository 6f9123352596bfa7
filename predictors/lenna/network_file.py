"""A fitted `BlockNetwork` as a file."""

from __future__ import annotations

from pathlib import Path

from emnas_gym.array_file import read_arrays, write_arrays
from emnas_gym.errors import DomainError
from predictors.lenna.network import BlockNetwork
from predictors.lenna.network_kinds import make_network
from predictors.sealed_file import read_sealed, told_of, write_sealed

MAGIC = b"EmNAS block predictor 1\n"


def save_network(network: BlockNetwork, path: str | Path) -> Path:
    """Writes a fitted network into one file; an existing one is replaced.

    Returns:
        The path.
    """
    return write_sealed(Path(path), MAGIC, network.options(), write_arrays(network.arrays()))


def load_network(path: str | Path) -> BlockNetwork:
    """Reads what `save_network` wrote; it predicts the same bits.

    Raises:
        SurrogateFileError: If the file is missing, damaged, too large, or makes no sense.
        DomainError: If it was fitted on another form of a space.
    """
    try:
        with told_of(Path(path)):
            header, data = read_sealed(Path(path), MAGIC, "block predictor")
            network = make_network(header["kind"], header["width"])
            network.restore(read_arrays(data), header)
            return network
    except DomainError as error:
        raise DomainError(f"{path}: {error}; fit one again (`benchmarks lenna fit`)") from error
