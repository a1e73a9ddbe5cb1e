"""The event loop of the proxy, a certificate authority for the provider, and the proxy itself."""

import asyncio
import warnings
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

import pytest

with warnings.catch_warnings(action="ignore"):
    import mitmproxy.addons  # noqa: F401  it uses pyparsing by names that pyparsing is about to drop

from lava_proxy.http1.event_loop import EventLoop
from tests.addons.rig import Rig, running_rig
from tests.support.certificates import Authority


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The tests of this folder run on the proxy's own event loop."""
    return {"proxy": EventLoop}


class StartRig(Protocol):
    def __call__(self, **more: object) -> AbstractAsyncContextManager[Rig]: ...


@pytest.fixture
def mitmproxy_rig(tmp_path: Path, authority: Authority) -> StartRig:
    """As ``rig``, for what only mitmproxy's edge has."""

    def start(**more: object) -> AbstractAsyncContextManager[Rig]:
        return running_rig(tmp_path, authority, **more)  # type: ignore[arg-type]

    return start


@pytest.fixture(params=["mitmproxy", "lean"])
def rig(request: pytest.FixtureRequest, tmp_path: Path, authority: Authority) -> StartRig:
    """``async with rig(line=…, answering=…) as r``, once for either edge."""
    is_lean = request.param == "lean"

    def start(**more: object) -> AbstractAsyncContextManager[Rig]:
        return running_rig(tmp_path, authority, is_lean=is_lean, **more)  # type: ignore[arg-type]

    return start
