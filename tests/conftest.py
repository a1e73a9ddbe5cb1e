"""What every room's tests may use: the recorded traffic, and whether to run at full length."""

import os
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run everything at full length: `make test-long`")


def pytest_configure() -> None:
    """A developer's own LAVA_* variables must not change what a test means, nor reach a process that it starts."""
    for name in [name for name in os.environ if name.startswith("LAVA_") and name != "LAVA_SHARED"]:
        del os.environ[name]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--long"):
        return
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason="full length: run it with --long"))


@pytest.fixture(scope="session")
def full_length(request: pytest.FixtureRequest) -> bool:
    """Whether a property or a repetition is to run at its full length."""
    return bool(request.config.getoption("--long"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with recorded traffic: ``LAVA_SHARED``, else ``../shared`` beside the project. Skips where absent."""
    folder = Path(os.environ.get("LAVA_SHARED") or PROJECT.parent / "shared")
    if not (folder / "traffic").is_dir():
        pytest.skip(f"no recorded traffic: {folder} is absent (LAVA_SHARED names another place)")
    return folder
