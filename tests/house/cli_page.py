"""Writes docs/cli.md from the commands' own help: `make docs`. A test compares the two, so that none can be forgotten."""

from collections.abc import Iterator
from typing import Any

from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption
from typer.main import get_command

from lava_proxy.cli import app
from tests.house.project import DOCS

INTRODUCTION = """# The command line

Written by `make docs` from the commands' own `--help`.

Everything is `lava NOUN VERB`, or `lava VERB` for the proxy itself. `ls`, `rm` and `get` are other words for `list`, `archive`
(or `revoke`) and `show`. Customers are named by id or reference id everywhere. Every command takes `--home FOLDER`
(else `LAVA_HOME`, else the platform's data folder) and `--json`: one document on standard output, nothing else; streams print one
document a line. Commands that write take `--idempotency-key`; those that destroy ask, unless `--yes` is given.

Ranges are `--since` and `--until`: `30d`, a date, or RFC 3339; `--tz` names the time zone of dates. Exit codes are in
[errors](errors.md#exit-codes). `lava --install-completion` completes commands in your shell.
"""
_EVERYWHERE = {"home", "json", "help"}


def main() -> None:
    (DOCS / "cli.md").write_text(render())


def render() -> str:
    """The whole page."""
    root = get_command(app)
    assert isinstance(root, TyperGroup)
    return "\n".join([INTRODUCTION, *_group(root, ("lava",))]).rstrip() + "\n"


def _group(group: TyperGroup, path: tuple[str, ...]) -> Iterator[str]:
    """Single commands first, then the nouns."""
    context = group.make_context("lava", [], resilient_parsing=True)
    named = ((name, group.get_command(context, name)) for name in group.list_commands(context))
    commands = {name: command for name, command in named if command is not None and not command.hidden}
    for name, command in commands.items():
        if isinstance(command, TyperCommand):
            yield from _command(command, (*path, name))
    for name, command in commands.items():
        if isinstance(command, TyperGroup):
            if command.invoke_without_command:
                yield from _command(command, (*path, name))
            else:
                yield f"## {' '.join((*path, name))}\n"
                yield f"{_text(command.help)}\n"
            yield from _group(command, (*path, name))


def _command(command: Any, path: tuple[str, ...]) -> Iterator[str]:
    arguments: list[Any] = [parameter for parameter in command.params if isinstance(parameter, TyperArgument)]
    options = [parameter for parameter in command.params if isinstance(parameter, TyperOption) and not parameter.hidden]
    usage = " ".join([*path, *(_argument(argument) for argument in arguments)])
    yield f"{'##' if len(path) == 2 else '###'} {' '.join(path)}\n"
    yield f"    {usage}{' [OPTIONS]' if options else ''}\n"
    yield f"{_text(command.help)}\n"
    lines: list[tuple[str, str | None]] = [
        ((argument.metavar or argument.name.upper()).strip("[]"), argument.help)
        for argument in arguments
        if argument.help
    ]
    lines += [(_option(option), _help(option)) for option in options if option.name not in _EVERYWHERE]
    if lines:
        yield "| | |\n|---|---|"
        yield from (f"| `{_cell(name)}` | {_cell(text)} |" for name, text in lines)
        yield ""


def _argument(argument: Any) -> str:
    name = (argument.metavar or argument.name.upper()).strip("[]…") + ("…" if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _option(option: Any) -> str:
    names = "/".join([*option.opts, *option.secondary_opts])
    if option.is_flag:
        return names
    kind = option.display_type(None).strip("<>")
    return f"{names} {option.metavar or {'str': 'TEXT', 'int': 'N', 'int range': 'N'}.get(kind, kind)}"


def _help(option: Any) -> str:
    is_told = option.show_default is not False and isinstance(option.default, (int, str)) and not option.is_flag
    return f"{option.help or ''} Default: {option.default}." if is_told and option.default != "" else option.help or ""


def _text(text: str | None) -> str:
    """Help as Markdown: paragraphs that typer is told not to wrap are commands to type."""
    paragraphs = [part.strip("\n") for part in (text or "").split("\n\n")]
    return "\n\n".join(_typed(part) if part.startswith("\b") else part for part in paragraphs if part)


def _typed(paragraph: str) -> str:
    return "\n".join(f"    {line}" for line in paragraph.removeprefix("\b").strip("\n").splitlines())


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


if __name__ == "__main__":
    main()
