"""Commands whose modules are imported when they run: the help of a door need not wait for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand
from typer.main import get_command, get_group


@dataclass(frozen=True)
class LateCommand:
    """A command, or a group of commands, of another module.

    Attributes:
        name: How it is called.
        target: ``"module:function"``, or ``"module:app"`` with a typer application.
        help: First paragraph of its help, as the list of commands shows it.
    """

    name: str
    target: str
    help: str

    def load(self) -> Any:  # noqa: ANN401
        """The command itself, as typer makes it."""
        module, _, attribute = self.target.partition(":")
        found = getattr(import_module(module), attribute)
        if isinstance(found, typer.Typer):
            return get_group(found)
        alone = typer.Typer(add_completion=False)
        alone.command(self.name)(found)
        return get_command(alone)


def add_late(app: typer.Typer, commands: Iterable[LateCommand]) -> None:
    """Adds commands to the door of a folder without importing their modules.

    Args:
        app: The door.
        commands: In the order in which its help shows them.
    """
    for late in commands:
        app.command(late.name, cls=_Unread, help=late.help)(_runner(late))


class _Unread(TyperCommand):
    """Leaves all arguments, ``--help`` included, to the command that is loaded."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401
        ctx.args = list(args)
        return list(args)


def _runner(late: LateCommand) -> Any:  # noqa: ANN401
    def run(ctx: typer.Context) -> None:
        code = late.load().main(list(ctx.args), ctx.command_path, standalone_mode=False)
        if isinstance(code, int) and code:
            raise typer.Exit(code)

    return run
