"""`lava` as a function: one command in a home of its own, with what it printed and how it ended."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lava_proxy.cli import app
from lava_proxy.cli.entry import run


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """The JSON error: the last line on standard error."""
        return json.loads(self.err.splitlines()[-1])["error"]

    @property
    def facts(self) -> dict[str, str]:
        """Names and values, as they come through a pipe."""
        return dict(line.split("\t", 1) for line in self.out.splitlines() if "\t" in line)

    @property
    def rows(self) -> list[dict[str, str]]:
        """The lines of a table that came through a pipe, by column."""
        head, *lines = [line.split("\t") for line in self.out.splitlines()]
        return [dict(zip(head, line, strict=True)) for line in lines]


Lava = Callable[..., Said]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home that commands find by LAVA_HOME; it does not exist yet."""
    folder = tmp_path / "home"
    monkeypatch.setenv("LAVA_HOME", str(folder))
    monkeypatch.setenv("LAVA_PORT", "0")
    return folder


@pytest.fixture
def lava(home: Path, capsys: pytest.CaptureFixture[str]) -> Lava:
    """Run one command in this process."""

    def command(*arguments: str) -> Said:
        capsys.readouterr()
        code = run(app, arguments)
        printed = capsys.readouterr()
        return Said(code=code, out=printed.out, err=printed.err)

    return command
