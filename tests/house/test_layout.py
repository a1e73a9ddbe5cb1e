"""Where things stand, and which way imports go."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.project import PACKAGE, ROOT, modules, pyproject

LINTER = Path(sys.executable).with_name("lint-imports")
ROOMS_WITHOUT_A_FOLDER = {"process", "wiring", "annex", "settings", "secrets"}


@pytest.mark.parametrize("name", ["addons", "cli", "providers"])
def test_the_links_at_the_root_lead_into_the_package_from_anywhere(name: str) -> None:
    link = ROOT / name

    assert link.is_symlink()
    assert str(link.readlink()) == f"lava_proxy/{name}"
    assert link.resolve() == PACKAGE / name


def test_every_room_is_on_a_floor() -> None:
    floors = next(c for c in pyproject()["tool"]["importlinter"]["contracts"] if c["id"] == "floors")

    named = {room.strip(" ()") for floor in floors["layers"] for room in floor.split("|")}
    folders = {folder.name for folder in PACKAGE.iterdir() if (folder / "__init__.py").exists()}

    assert floors["exhaustive"]
    assert named - ROOMS_WITHOUT_A_FOLDER == folders


def test_every_room_says_what_it_is_for() -> None:
    silent = [str(file) for file, tree in modules() if file.name == "__init__.py" and not ast.get_docstring(tree)]

    assert silent == []


def test_no_module_is_too_long_to_read() -> None:
    lines = {str(file): sum(map(bool, map(str.strip, file.read_text().splitlines()))) for file, _ in modules()}
    long = {file: count for file, count in lines.items() if count > 450}

    assert long == {}


def test_no_function_is_too_long_to_read() -> None:
    """Counted without its signature: a command has an argument for each of its flags."""
    long = [
        f"{file}:{node.lineno} {node.name}"
        for file, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.body[0].lineno >= 60
    ]

    assert long == []


VIOLATIONS = {
    "a rule that reads the environment": ("core/x.py", "import os", "pure"),
    "a wire format that asks for the time": ("dialects/x.py", "from time import time", "pure"),
    "a service that knows a store": ("services/x.py", "from lava_proxy.store import tables", "floors"),
    "a sibling that knows a sibling": ("prices/x.py", "import lava_proxy.dialects", "floors"),
    "a rule that looks up": ("core/x.py", "import lava_proxy.services", "floors"),
    "a room on no floor": ("attic/__init__.py", "", "floors"),
    "mitmproxy in a service": ("services/x.py", "from mitmproxy.http import Headers", "door-mitmproxy"),
    "rich outside of the command line": ("services/x.py", "import rich.table", "door-terminal"),
    "typer outside of the command line": ("demo/x.py", "import typer", "door-terminal"),
    "SQLite outside of the store": ("services/x.py", "import sqlite3", "door-sqlite"),
    "sqlite-utils outside of the store": ("services/x.py", "import sqlite_utils", "door-sqlite"),
    "the price engine outside of its room": ("services/x.py", "import genai_prices", "door-prices"),
    "cryptography outside of secrets": ("store/x.py", "from cryptography import x509", "door-cryptography"),
    "Stripe outside of payments": ("services/x.py", "import stripe", "door-payments"),
    "FastAPI outside of web": ("gateway/x.py", "import fastapi", "door-web"),
    "uvicorn in the addons": ("addons/x.py", "import uvicorn", "door-web"),
    "botocore outside of the dialects": ("client/x.py", "import botocore.eventstream", "door-botocore"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", VIOLATIONS)
def test_the_check_of_floors_and_doors_refuses(name: str, tmp_path: Path) -> None:
    file, line, contract = VIOLATIONS[name]
    shutil.copytree(PACKAGE, tmp_path / "lava_proxy", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    assert _lint(tmp_path, contract) == 0

    (tmp_path / "lava_proxy" / file).parent.mkdir(exist_ok=True)
    (tmp_path / "lava_proxy" / file).write_text(f"{line}\n")

    assert _lint(tmp_path, contract) == 1


def _lint(folder: Path, contract: str) -> int:
    command = [str(LINTER), "--no-cache", "--contract", contract]
    return subprocess.run(
        command, cwd=folder, env={"PYTHONPATH": str(folder)}, capture_output=True, check=False
    ).returncode
