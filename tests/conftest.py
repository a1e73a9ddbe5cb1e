"""What every room's tests may use: recorded traffic, full length or not, a home, a stand-in provider, a running proxy."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lava_proxy.demo.provider import StandIn, TlsFiles, running_stand_in
from lava_proxy.wiring import MadeHome
from tests.support.certificates import Authority, make_authority
from tests.support.proxy import RunningProxy, Shop, ai_hosts, new_home, open_shop, running_proxy

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


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Whose certificates the stand-in provider has; the proxy is told to trust it for upstreams."""
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def provider_files(authority: Authority) -> TlsFiles:
    """A certificate for every AI host."""
    return authority.issue(*ai_hosts(), "localhost", "127.0.0.1")


@pytest.fixture
def provider(provider_files: TlsFiles) -> Iterator[StandIn]:
    """The stand-in provider, behind TLS."""
    with running_stand_in(tls=provider_files) as running:
        yield running


@pytest.fixture
def made_home(tmp_path: Path) -> MadeHome:
    """A new home in test mode, with its merchant key."""
    return new_home(tmp_path / "home")


@pytest.fixture
def shop(made_home: MadeHome) -> Iterator[Shop]:
    """The same home, opened."""
    with open_shop(made_home) as opened:
        yield opened


@pytest.fixture
def proxy(made_home: MadeHome, provider: StandIn, authority: Authority) -> Iterator[RunningProxy]:
    """The proxy of that home as a process, led to the stand-in for every AI host."""
    with running_proxy(made_home.home, provider=provider, authority=authority) as running:
        yield running
