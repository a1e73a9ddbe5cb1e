"""`make setup` finds a Python, or says clearly what is missing."""

import shutil
import subprocess
from pathlib import Path

from tests.house.project import ROOT

TOOLS = ("sh", "dirname", "cat", "ls", "sort", "mktemp", "rm", "mkdir", "tail", "cksum", "touch")


def run_setup(folder: Path, *, pythons: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """`.ci/setup` in an empty checkout, where PATH has the usual tools and these programs (name → shell text)."""
    (folder / "bin").mkdir()
    for tool in TOOLS:
        (folder / "bin" / tool).symlink_to(shutil.which(tool) or tool)
    for name, text in pythons.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / "bin" / name).chmod(0o755)
    (folder / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "setup", folder / ".ci")
    environment = {"PATH": str(folder / "bin"), "HOME": str(folder), "PYENV_ROOT": str(folder / "none")}
    return subprocess.run(
        [str(folder / ".ci" / "setup")], env=environment, capture_output=True, text=True, check=False, cwd=folder
    )


def test_a_machine_with_an_old_python_only_is_told_what_to_install(tmp_path: Path) -> None:
    done = run_setup(tmp_path, pythons={"python3": "exit 1"})

    assert done.returncode == 1
    assert "no Python 3.12 or newer found" in done.stderr
    assert "make setup PYTHON=" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_a_python_without_venv_is_told_from_no_python(tmp_path: Path) -> None:
    done = run_setup(tmp_path, pythons={"python3.13": 'case "$*" in *ensurepip*) exit 1;; esac'})

    assert done.returncode == 1
    assert "lacks the module venv" in done.stderr
    assert "python3-venv" in done.stderr


def test_a_python_that_cannot_make_the_environment_leaves_no_stamp_behind(tmp_path: Path) -> None:
    done = run_setup(tmp_path, pythons={"python3.13": 'case "$*" in *"-m venv"*) exit 3;; esac'})

    assert done.returncode != 0
    assert not (tmp_path / ".venv" / ".setup-done").exists()
