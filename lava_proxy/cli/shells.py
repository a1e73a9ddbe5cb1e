"""Variables as a shell, a file or a container reads them, quoted so that every value arrives as it is."""

import json
import re
import shlex
from collections.abc import Callable, Mapping
from enum import StrEnum


class Shell(StrEnum):
    BASH = "bash"
    FISH = "fish"
    PWSH = "pwsh"
    DOTENV = "dotenv"
    DOCKER = "docker"
    JSON = "json"


def render(shell: Shell, variables: Mapping[str, str]) -> str:
    """The variables in the notation of ``shell``, ending with a newline.

    >>> render(Shell.BASH, {"A": "it's"})
    'export A=\\'it\\'"\\'"\\'s\\'\\n'
    """
    if shell is Shell.JSON:
        return json.dumps(dict(variables), indent=2, ensure_ascii=False) + "\n"
    line = _LINES[shell]
    return "".join(line(name, value) + "\n" for name, value in variables.items())


def _bash(name: str, value: str) -> str:
    return f"export {name}={shlex.quote(value)}"


def _fish(name: str, value: str) -> str:
    """In fish's single quotes only the backslash and the quote itself are special."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"set -gx {name} '{escaped}';"


def _pwsh(name: str, value: str) -> str:
    """PowerShell doubles quotes, and takes typographic ones for plain ones."""
    doubled = re.sub("(['\u2018\u2019\u201a\u201b])", r"\1\1", value)
    return f"$env:{name} = '{doubled}'"


def _dotenv(name: str, value: str) -> str:
    """Readers of such files agree on single quotes, which keep everything as it is; else double ones with escapes."""
    if not re.search(r"['\\\n]", value):
        return f"{name}='{value}'"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'{name}="{escaped}"'


def _docker(name: str, value: str) -> str:
    """`docker run --env-file` takes the rest of the line as it is; it has no quotes and no line breaks."""
    return f"{name}={value}"


_LINES: dict[Shell, Callable[[str, str], str]] = {
    Shell.BASH: _bash,
    Shell.FISH: _fish,
    Shell.PWSH: _pwsh,
    Shell.DOTENV: _dotenv,
    Shell.DOCKER: _docker,
}
