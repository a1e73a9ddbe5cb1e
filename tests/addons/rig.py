"""The proxy in the test's own event loop: our engine, our addons, a line of the test's choice, a provider on 127.0.0.1."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lava_proxy import secrets
from lava_proxy.addons.edge import Control, Edge
from lava_proxy.addons.engine import Engine, EngineSettings
from lava_proxy.http1.event_loop import EventLoop
from lava_proxy.addons.ports import bind_port
from lava_proxy.addons.roster import roster
from lava_proxy.core.addresses import ConnectTo
from lava_proxy.gateway.front import Front
from lava_proxy.process import lean_front
from tests.addons.fake_line import FakeLine
from tests.addons.upstream import Answering, Upstream, answer_json, running_upstream
from tests.addons.wire import Wire
from tests.support.certificates import Authority

BODY_SIZE_LIMIT = 1_000_000


@dataclass(slots=True, kw_only=True)
class Rig:
    line: FakeLine
    upstream: Upstream
    engine: Engine
    edge: Edge
    front: Front | None
    port: int
    ca_file: Path
    flags: dict[str, bool] = field(default_factory=dict)

    async def dial(self) -> Wire:
        return await Wire.dial(self.port, self.ca_file)

    async def tunnel(self, host: str = "api.openai.com", *, user: str | None = None, secret: str = "") -> Wire:
        return await (await self.dial()).tunnel(host, user=user, secret=secret)

    async def until(self, claim: Callable[[], object]) -> None:
        """Wait until something is true; fail where it never becomes so."""
        for _ in range(1000):
            if claim():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("it did not come true in time")


class Started:
    def __init__(self) -> None:
        self.event = asyncio.Event()

    def running(self) -> None:
        self.event.set()


@contextlib.asynccontextmanager
async def running_rig(
    folder: Path,
    authority: Authority,
    *,
    line: FakeLine | None = None,
    answering: Answering = answer_json,
    before: Iterable[object] = (),
    after: Iterable[object] = (),
    allows_unknown_tunnels: bool = False,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    is_lean: bool = False,
) -> AsyncIterator[Rig]:
    """``before`` and ``after`` are more addons, on either side of ours. Every AI host leads to the provider.

    ``is_lean``: with the edge of our own in front, as `lava up` has it; without, as under stock mitmproxy.
    """
    line = line or FakeLine()
    flags = {"stopping": False}
    ca_file = secrets.ensure_authority(folder / "ca")
    edge = Edge(
        line=line,
        control=Control(ca_pem=ca_file.read_bytes, unready=lambda: None, is_stopping=lambda: flags["stopping"]),
        body_size_limit=BODY_SIZE_LIMIT,
        allows_unknown_tunnels=allows_unknown_tunnels,
    )
    settings = EngineSettings(
        certificate_folder=folder / "ca",
        upstream_authorities=authority.certificate_file,
        body_size_limit=BODY_SIZE_LIMIT,
        tls_cert=tls_cert,
        tls_key=tls_key,
    )
    async with running_upstream(authority.issue("api.openai.com", "api.anthropic.com"), answering) as upstream:
        lead_to(upstream.port)
        sockets = bind_port("127.0.0.1", 0)
        started = Started()
        front = lean_front(edge, settings) if is_lean else None
        engine = Engine(settings, sockets, (*before, *roster(edge), *after, started), front.protocol if front else None)
        task = asyncio.get_running_loop().create_task(engine.run())
        await asyncio.wait_for(started.event.wait(), 20)
        try:
            port = sockets[0].getsockname()[1]
            yield Rig(
                line=line,
                upstream=upstream,
                engine=engine,
                edge=edge,
                front=front,
                port=port,
                ca_file=ca_file,
                flags=flags,
            )
        finally:
            if front is not None:
                front.service.close_all()
            engine.shutdown()  # type: ignore[no-untyped-call]
            await task
            await _end_connections(engine)


def lead_to(port: int, *hosts: str) -> None:
    """From here on, 443 of these hosts is that port."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, EventLoop)
    names = hosts or ("api.openai.com", "api.anthropic.com")
    loop.redirects = tuple(ConnectTo(host=name, port=443, to_host="127.0.0.1", to_port=port) for name in names)


async def _end_connections(engine: Engine) -> None:
    """mitmproxy leaves open connections to the end of its event loop."""
    handlers = list(engine.port.connections.values())
    for handler in handlers:
        for transport in list(handler.transports.values()):
            if transport.handler is not None:
                transport.handler.cancel("the test is over")
    for _ in range(200):
        if not engine.port.connections:
            return
        await asyncio.sleep(0.01)
    logging.getLogger(__name__).error("connections outlived the test")
