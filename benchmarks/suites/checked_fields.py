"""Checks of data from outside: a check takes a value and its place, and names what is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from emnas_gym.errors import EmNASError, nearest

LARGEST = 1e18  # no honest number of a benchmark is larger
DEPTH = 12  # of nested data that is only shown or passed on
Check = Callable[[Any, str], None]


class ResultError(EmNASError, ValueError):
    """The result of a suite that is damaged, foreign or absurd: which field, and what it lacks."""


def number(low: float = -LARGEST, high: float = LARGEST) -> Check:
    """A finite number of a range."""

    def check(value: Any, where: str) -> None:  # noqa: ANN401
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ResultError(f"{where}: a number is expected, not {shown(value)}")
        if not low <= value <= high:  # not a number fails as well
            raise ResultError(f"{where}: {shown(value)} lies outside {low:g} to {high:g}")

    return check


def whole(low: int = 0, high: int = 10**12) -> Check:
    """A whole number of a range."""

    def check(value: Any, where: str) -> None:  # noqa: ANN401
        if isinstance(value, bool) or not isinstance(value, int):
            raise ResultError(f"{where}: a whole number is expected, not {shown(value)}")
        number(low, high)(value, where)

    return check


def text(most: int = 2000, least: int = 0) -> Check:
    """A text that is not too long."""

    def check(value: Any, where: str) -> None:  # noqa: ANN401
        if not isinstance(value, str):
            raise ResultError(f"{where}: a text is expected, not {shown(value)}")
        if not least <= len(value) <= most:
            raise ResultError(f"{where}: a text of {least} to {most:,} characters is expected")

    return check


def flag(value: Any, where: str) -> None:  # noqa: ANN401
    """True or false."""
    if not isinstance(value, bool):
        raise ResultError(f"{where}: true or false is expected, not {shown(value)}")


def one_of(*known: str) -> Check:
    """One of a few words."""

    def check(value: Any, where: str) -> None:  # noqa: ANN401
        text()(value, where)
        if value not in known:
            raise ResultError(f"{where}: {shown(value)} is unknown{nearest(value, known)}")

    return check


def maybe(inner: Check) -> Check:
    """Null, or what another check takes."""

    def check(value: Any, where: str) -> None:  # noqa: ANN401
        if value is not None:
            inner(value, where)

    return check


def items(inner: Check, most: int, least: int = 0) -> Check:
    """A list of alike values."""

    def check(value: Any, where: str) -> None:  # noqa: ANN401
        if not isinstance(value, (list, tuple)):
            raise ResultError(f"{where}: a list is expected, not {shown(value)}")
        if not least <= len(value) <= most:
            raise ResultError(f"{where}: {least} to {most:,} entries are read, not {len(value):,}")
        for i, entry in enumerate(value):
            inner(entry, f"{where}[{i}]")

    return check


def row(*inner: Check) -> Check:
    """A list of a fixed length, each place with a check of its own."""

    def check(value: Any, where: str) -> None:  # noqa: ANN401
        items(_anything, len(inner), len(inner))(value, where)
        for i, (entry, one) in enumerate(zip(value, inner, strict=True)):
            one(entry, f"{where}[{i}]")

    return check


def fields(**inner: Check) -> Check:
    """A mapping that has these fields; further ones are let be."""

    def check(value: Any, where: str) -> None:  # noqa: ANN401
        _mapping(value, where)
        for name, one in inner.items():
            place = f"{where}.{name}" if where else name
            if name not in value:
                raise ResultError(f"{place} is missing")
            one(value[name], place)

    return check


def named(inner: Check, most: int = 1000) -> Check:
    """A mapping from any names to alike values."""

    def check(value: Any, where: str) -> None:  # noqa: ANN401
        _mapping(value, where)
        if len(value) > most:
            raise ResultError(f"{where}: up to {most:,} entries are read, not {len(value):,}")
        for name, entry in value.items():
            text(200)(name, f"{where}: a name")
            inner(entry, f"{where}[{name!r}]")

    return check


def plain(value: Any, where: str, depth: int = DEPTH) -> None:  # noqa: ANN401
    """Any data that is neither deep, nor long, nor without a finite value."""
    if depth == 0:
        raise ResultError(f"{where}: nested deeper than {DEPTH} levels")
    if isinstance(value, Mapping):
        named(lambda v, w: plain(v, w, depth - 1))(value, where)
    elif isinstance(value, (list, tuple)):
        items(lambda v, w: plain(v, w, depth - 1), 10_000)(value, where)
    elif isinstance(value, str):
        text(20_000)(value, where)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ResultError(f"{where}: {value} is no finite number")


def shown(value: Any) -> str:  # noqa: ANN401
    """A value as a message shows it: short, whatever it is."""
    if isinstance(value, (Mapping, list, tuple)):
        return f"a {type(value).__name__} of {len(value)}"
    written = f"{value:.6g}" if isinstance(value, float) else repr(value)[:60]
    return "null" if value is None else written


def _mapping(value: Any, where: str) -> None:  # noqa: ANN401
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise ResultError(f"{where or 'the file'}: a table is expected, not {shown(value)}")


def _anything(value: Any, where: str) -> None:  # noqa: ANN401
    """Takes everything."""
