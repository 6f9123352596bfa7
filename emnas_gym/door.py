"""How every command line of the project ends: one clear line, and an exit code that tells."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from emnas_gym.errors import EmNASError

FAILED, USAGE, INTERRUPTED = 1, 2, 130


def run_door(app: Callable[..., Any], how_to_go_on: str = "") -> None:
    """Runs a typer application and exits.

    Errors raised on purpose are printed in one line (exit code 2), Ctrl-C says how to go on
    (exit code 130); everything else is a defect and keeps its traceback.

    Args:
        app: The application.
        how_to_go_on: What to say after Ctrl-C.
    """
    try:
        code = app(standalone_mode=False)
    except EmNASError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(USAGE)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has gone
        sys.exit(FAILED)
    except BaseException as error:
        _exit_known(error, how_to_go_on)
        raise
    if code == INTERRUPTED:  # what recent versions of typer make of Ctrl-C
        _exit_interrupted(how_to_go_on)
    sys.exit(code if isinstance(code, int) else 0)


def _exit_interrupted(how_to_go_on: str) -> NoReturn:
    print(f"interrupted. {how_to_go_on}".strip(), file=sys.stderr)
    sys.exit(INTERRUPTED)


def _exit_known(error: BaseException, how_to_go_on: str) -> None:
    """Exits for Ctrl-C and for what the command-line library says of wrong usage."""
    name = type(error).__name__
    if isinstance(error, KeyboardInterrupt) or name == "Abort":
        _exit_interrupted(how_to_go_on)
    show = getattr(error, "show", None)
    if callable(show):  # wrong usage: the library's own message, in its own form
        show()
        sys.exit(getattr(error, "exit_code", USAGE))


def print_json(data: object) -> None:
    """Prints exactly one JSON object on standard output."""
    print(json.dumps(data, allow_nan=False))
