"""A fitted model out of bytes that nobody vouches for."""

from __future__ import annotations

from emnas_gym.array_file import BROKEN, read_arrays
from emnas_gym.errors import SurrogateFileError
from emnas_gym.models.base import FittedModel
from emnas_gym.models.kinds import model_class


def unpack_model(kind: object, options: object, data: bytes | None) -> FittedModel:
    """A model from what a file says of it.

    Args:
        kind: As `emnas_gym.models.kinds` knows it.
        options: Plain JSON data.
        data: Bytes of its arrays; None where it has none.

    Raises:
        SurrogateFileError: If it is of no known kind, or does not fit together.
    """
    found = model_class(kind)
    if not isinstance(options, dict):
        raise SurrogateFileError(f"options are a table, not {type(options).__name__}")
    try:
        arrays = {} if data is None else read_arrays(data)
        return found.of(arrays, options)
    except SurrogateFileError:
        raise
    except BROKEN as error:
        raise SurrogateFileError(f"is no model of kind {kind!r}: {error}") from error
