"""Starting proxies of a home, to serve or to die."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Protocol

from lava_proxy.core.money import parse_amount
from lava_proxy.demo.plan import Plan
from lava_proxy.demo.provider import StandIn
from lava_proxy.settings import Home
from tests.support.proxy import RunningProxy

PROCESS, VICTIM = "lava_proxy.process", "tests.proof.victim"
PLAN = Plan(output_tokens=10, chunks=5)
"""How the stand-in answers where a test does not say otherwise."""
TOKEN_NANOS = parse_amount("0.001")


class Start(Protocol):
    """Starts a proxy of the shop; ``settings`` are variables, LAVA_* ones and those of ``victim``."""

    def __call__(self, **settings: str) -> contextlib.AbstractContextManager[RunningProxy]: ...


def module_for(settings: Mapping[str, str]) -> str:
    """The victim only where it is asked for something."""
    return VICTIM if any(name.startswith("PROOF_") for name in settings) else PROCESS


def run_to_the_end(home: Home, **settings: str) -> subprocess.CompletedProcess[str]:
    """A start that is not to come to its end."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LAVA_")}
    told = {"LAVA_HOME": str(home.folder), "LAVA_PORT": "0", **settings}
    command = [sys.executable, "-m", module_for(settings)]
    return subprocess.run(command, check=False, env={**kept, **told}, capture_output=True, text=True, timeout=100)


async def until_waiting(provider: StandIn, count: int) -> None:
    """So many requests wait at latches of the stand-in."""
    counters = provider.counters
    assert await asyncio.to_thread(counters.wait_until, lambda seen: seen.waiting == count, timeout_seconds=60)
