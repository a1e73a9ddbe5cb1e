"""Groups of commands: the lazy one at the top, and nouns that know other words for their verbs."""

from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperGroup
from typer.main import get_command

ALIASES = {"ls": ("list",), "get": ("show",), "rm": ("archive", "revoke", "void", "delete")}
"""Other words for verbs; of several the first that a noun has."""


class Entry(NamedTuple):
    """Where a command is, ``module:name`` in this package, and what it is for in a line."""

    place: str
    help: str


class NounGroup(TyperGroup):
    """The verbs of a noun, under their aliases too."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        known = (cmd_name, *ALIASES.get(cmd_name, ()))
        return next((found for name in known if (found := super(NounGroup, self).get_command(ctx, name))), None)


class LazyGroup(TyperGroup):
    """Commands that are imported when somebody asks for them."""

    entries: dict[str, Entry]

    def list_commands(self, ctx: Any) -> list[str]:
        del ctx
        return list(self.entries)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        del ctx
        if cmd_name not in self.commands and cmd_name in self.entries:
            self.commands[cmd_name] = load(cmd_name, self.entries[cmd_name])
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The table's own lines: nothing is imported for them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self.entries.items()])


def load(name: str, entry: Entry) -> Any:
    """Import a command. A function becomes a command of its own, a Typer app a group."""
    module_name, _, attribute = entry.place.partition(":")
    found = getattr(import_module(f"lava_proxy.cli.{module_name}"), attribute)
    if isinstance(found, typer.Typer):
        command: Any = get_command(found)
    else:
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        single.command(name, context_settings=getattr(found, "context_settings", {}))(found)
        command = get_command(single)
    command.name = name
    return command


def noun(help: str) -> typer.Typer:
    """A group for the verbs of one noun."""
    return typer.Typer(
        cls=NounGroup,
        help=help,
        rich_markup_mode=None,
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
