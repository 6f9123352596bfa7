"""Every error that the project raises on purpose, each saying what, where and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

LISTED = 20  # known names that a message lists where none is near


class EmNASError(Exception):
    """Base of all errors raised on purpose; a command prints it without a traceback."""


class UnknownName(EmNASError, LookupError):
    """A name that no registry knows; the message lists the nearest ones.

    Args:
        kind: What was looked up, e.g. ``"device"``.
        name: The name as given.
        known: All names that would have been understood.
        hint: A further sentence, e.g. which other forms are accepted.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        self.kind, self.name, self.known, self.hint = kind, name, sorted(known), hint
        super().__init__(
            f"unknown {kind} {name!r}{nearest(name, self.known)}" + (f" {hint}" if hint else "")
        )

    def __reduce__(self) -> tuple[type[UnknownName], tuple[str, str, list[str], str]]:
        """Lets it cross from a worker process: pickle calls with the message alone otherwise."""
        return type(self), (self.kind, self.name, self.known, self.hint)


class BackendMissing(EmNASError, ImportError):
    """A folder of the repository, or a package of an extra, that is not installed."""


class SpaceFileError(EmNASError, ValueError):
    """A search-space file that cannot be understood: file, key, nearest name."""


class InvalidArchitecture(EmNASError, ValueError):
    """Tokens that break the rules of their space, or a network that cannot be built."""


class ShapeError(InvalidArchitecture):
    """An operation that does not fit the shape it is given."""


class OrderError(InvalidArchitecture):
    """An order of operations that a graph does not allow, or that has too many to compare."""


class NotPreserving(InvalidArchitecture):
    """A change of a network after which its weights cannot compute what they did before."""


class InfeasibleBudgets(EmNASError, ValueError):
    """Budgets that no network of the space fits."""


class IllegalAction(EmNASError, ValueError):
    """An action outside the action space, or taken after the end of an episode."""


class DomainError(EmNASError, ValueError):
    """An evaluator asked outside the domain for which it was fitted."""


class EvaluationError(EmNASError, RuntimeError):
    """One architecture could not be measured; the batch goes on without it."""


class EvaluationStopped(EmNASError, RuntimeError):
    """An evaluator that cannot go on: no device is left, a disk is full.

    A ledger keeps what was measured; the same run begun again goes on from there.

    Args:
        message: What happened, and what to do.
        results: For each architecture of the batch its result, or None where there is none yet.
    """

    def __init__(self, message: str, results: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.message, self.results = message, list(results)

    def __reduce__(self) -> tuple[type[EvaluationStopped], tuple[str, list[Any]]]:
        """Lets it cross from a worker process with its results."""
        return type(self), (self.message, self.results)


class BudgetSpent(EmNASError, RuntimeError):
    """The ledger's number of evaluations is used up."""


class StoreError(EmNASError, RuntimeError):
    """A history or table file that is locked, damaged or of another run."""


class TableFileError(EmNASError, ValueError):
    """A table of architectures that cannot be understood: file, line or column, and what to do."""


class DatasetError(EmNASError, ValueError):
    """Images that cannot be used as they are: what is wrong, and what to do."""


class SurrogateFileError(EmNASError, ValueError):
    """A surrogate file that is damaged or does not match what asks for it."""


class InterruptedRun(EmNASError):
    """Ctrl-C: all that was measured is saved, and the message says how to go on."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns ``": did you mean a, b?"`` or, where nothing is near, the known names."""
    names = sorted(known)
    close = difflib.get_close_matches(str(name), names, n=3, cutoff=0.5)
    if close:
        return f": did you mean {', '.join(close)}?"
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f" (known: {', '.join(names[:LISTED])}{more})" if names else ""
