"""Commands whose modules are imported when they run: the help of a door need not wait for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

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
        stand_in = type("StandIn", (_StandIn,), {"late": late})
        app.command(late.name, cls=stand_in, help=late.help)(_nothing)


class _StandIn(TyperCommand):
    """Is listed; whatever is done with it, completion included, is done with the command itself."""

    late: ClassVar[LateCommand]

    def make_context(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        return self.late.load().make_context(*arguments, **options)


def _nothing() -> None:
    """Never runs: the context of a stand-in is that of the command itself."""
