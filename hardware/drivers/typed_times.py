"""Times as people type them: ``12.3 ms``, ``850 us, 860 us``, ``12,3`` in their spreadsheets."""

from __future__ import annotations

import re
from dataclasses import dataclass

from emnas_gym.errors import EmNASError

MICROSECONDS = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}
HOUR = 3.6e9  # microseconds; nothing that fits a board runs longer
MOST_CHARACTERS = 10_000
_PIECES = re.compile(r" ?[,;] ?| (?=[-+.0-9])")
_PIECE = re.compile(r"([-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[-+]?[0-9]+)?)\s*([^\W\d_]*)")
_BARE_COMMA = re.compile(r"(?<![0-9.])(?=([0-9][0-9.]*),([0-9][0-9.]*))")
_UNITS = ", ".join(MICROSECONDS)


class BadTime(EmNASError, ValueError):
    """What was typed is no time of a run; the message says why, to the one who typed it."""


@dataclass(frozen=True)
class Times:
    """Runs of one network.

    Attributes:
        values: One a run, above 0, at most an hour.
        unit: One of `MICROSECONDS`.
    """

    values: tuple[float, ...]
    unit: str

    @property
    def microseconds(self) -> tuple[float, ...]:
        """One a run."""
        return tuple(value * MICROSECONDS[self.unit] for value in self.values)

    @property
    def text(self) -> str:
        """The values, exactly; with `unit` beside them they read back as they are."""
        return " ".join(map(repr, self.values))


def parse_times(text: str, unit: str = "", decimal_comma: bool = False) -> Times:
    """Reads values that commas, semicolons or spaces separate.

    A value without a unit has that of the next one that has any. A comma between two digits can be
    decimal or separate two values: without a space it is read only where both numbers have points.

    Args:
        text: What was typed.
        unit: Of the last value, if nothing is typed behind it.
        decimal_comma: Whether commas between digits are decimal, as in files with semicolons.

    Raises:
        BadTime: If it cannot be understood, or a time is not above 0 or beyond an hour.
    """
    if len(text) > MOST_CHARACTERS:
        raise BadTime(f"{len(text):,} characters are too many")
    pieces = [_piece(piece) for piece in _PIECES.split(_plain(text, decimal_comma))]
    units: list[str] = []
    latest = _known(_folded(unit)) if unit.strip() else ""
    for value, own in reversed(pieces):
        latest = own or latest
        if not latest:
            raise BadTime(f"{value:g} has no unit: type one of {_UNITS} behind it")
        units.insert(0, latest)
    values = [value for value, _ in pieces]
    for value, known in zip(values, units, strict=True):
        if not 0 < value * MICROSECONDS[known] <= HOUR:
            raise BadTime(f"{value:g} {known} is no time of a run: above 0, at most an hour")
    if len(set(units)) == 1:
        return Times(tuple(values), units[0])
    return Times(tuple(v * MICROSECONDS[u] for v, u in zip(values, units, strict=True)), "us")


def _plain(text: str, decimal_comma: bool) -> str:
    plain = _folded(text)
    if decimal_comma:
        return re.sub(r"(?<=[0-9]),(?=[0-9])", ".", plain)
    for left, right in _BARE_COMMA.findall(plain):
        if "." not in left or "." not in right:
            raise BadTime(
                f"{left},{right} can be one value or two: type a point in a decimal number, and a "
                "space behind a comma that separates"
            )
    return plain


def _folded(text: str) -> str:
    return (
        " ".join(text.split()).casefold().replace("\u03bc", "u")
    )  # casefold makes both signs for micro one


def _piece(piece: str) -> tuple[float, str]:
    found = _PIECE.fullmatch(piece)
    if found is None:
        raise BadTime(f"{piece[:40]!r} is no number with a unit, such as '12.3 ms'")
    return float(found[1]), _known(found[2]) if found[2] else ""


def _known(unit: str) -> str:
    if unit not in MICROSECONDS:
        raise BadTime(f"the unit {unit[:40]!r} is none of {_UNITS}")
    return unit
