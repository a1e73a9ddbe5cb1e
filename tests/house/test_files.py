"""What is in the checkout: no machine's paths, locks that fit, a version that is told."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import lava_proxy
from tests.house.project import ROOT, pyproject, tracked_files

LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
MACHINE_PATHS = re.compile(
    r"(?<![A-Za-z0-9_.:/-])/(work|farm|root|home/[a-z]+|Users/[A-Za-z]+|opt/[a-z]+/simple)(/|\b(?![A-Za-z]))"
)


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for file in tracked_files()
        if file.is_file() and not file.is_symlink() and file != Path(__file__)
        for number, line in enumerate(file.read_text(errors="ignore").splitlines(), 1)
        if MACHINE_PATHS.search(line)
    ]

    assert found == []


def test_every_dependency_has_a_sentence_that_says_what_it_is_for() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    project = pyproject()
    requirements = project["project"]["dependencies"] + project["dependency-groups"]["dev"]

    silent = [r for r in requirements if not re.search(rf'^  "{re.escape(r)}",\s+# .+ \w+', text, re.MULTILINE)]

    assert silent == []


def test_the_changelog_tells_of_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()

    assert f"## [{lava_proxy.__version__}]" in text
    assert "## [Unreleased]" in text


def test_the_version_is_the_same_wherever_it_is_told() -> None:
    assert pyproject()["project"]["version"] == lava_proxy.__version__


def test_there_is_a_lock_for_every_python_that_is_promised() -> None:
    assert [lock.name for lock in LOCKS] == ["dev-3.12.txt", "dev-3.13.txt", "run-3.12.txt", "run-3.13.txt"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_line_of_a_lock_carries_hashes_and_no_address(lock: Path) -> None:
    for block in _blocks(lock):
        assert "--hash=sha256:" in block, block.splitlines()[0]
    assert "://" not in lock.read_text()
    assert "index-url" not in lock.read_text()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_is_in_step_with_what_the_project_asks_for(lock: Path) -> None:
    project = pyproject()
    wanted = project["project"]["dependencies"]
    if lock.name.startswith("dev"):
        wanted = wanted + project["dependency-groups"]["dev"]
    locked: dict[str, list[str]] = {}
    for block in _blocks(lock):
        name, _, version = block.split()[0].partition("==")
        locked.setdefault(canonicalize_name(name), []).append(version)

    for requirement in map(Requirement, wanted):
        versions = locked.get(canonicalize_name(requirement.name), [])
        assert versions, f"{requirement.name} is not locked: run `make lock`"
        assert all(requirement.specifier.contains(version) for version in versions), f"{requirement}: {versions}"


@pytest.mark.parametrize("minor", ["3.12", "3.13"])
def test_users_run_the_versions_that_were_tested(minor: str) -> None:
    run, dev = (ROOT / f"requirements/{kind}-{minor}.txt" for kind in ("run", "dev"))

    assert {block.split()[0] for block in _blocks(run)} <= {block.split()[0] for block in _blocks(dev)}


def _blocks(lock: Path) -> list[str]:
    """One text per package: its line, its hashes, who wants it."""
    return [
        block for block in re.split(r"\n(?=[a-z])", lock.read_text()) if block.strip() and not block.startswith("#")
    ]
