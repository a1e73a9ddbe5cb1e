"""The proxy as `lava up` runs it: with the edge of our own in front of mitmproxy's."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from lava_proxy.http1.event_loop import EventLoop
from tests.addons.conftest import StartRig
from tests.addons.rig import Rig, running_rig
from tests.support.certificates import Authority


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"proxy": EventLoop}


@pytest.fixture
def rig(tmp_path: Path, authority: Authority) -> StartRig:
    """``async with rig(line=…, answering=…) as r``."""

    def start(**more: object) -> AbstractAsyncContextManager[Rig]:
        return running_rig(tmp_path, authority, is_lean=True, **more)  # type: ignore[arg-type]

    return start
