"""`targets` as hooks, for stock mitmproxy; `lava up` asks before it connects (see `event_loop`)."""

import asyncio
import ipaddress
import logging
from collections.abc import Sequence
from weakref import WeakSet

from mitmproxy.addonmanager import Loader
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.connection import Server
from mitmproxy.master import Master
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from lava_proxy.addons.edge import Edge
from lava_proxy.http1.targets import Destination, Targets, redirected
from lava_proxy.core.addresses import ConnectTo, is_loopback

log = logging.getLogger(__name__)


class TargetGuard:
    """Refuses an address that is written out before it is connected to, and any other before the first byte is sent."""

    def __init__(self, edge: Edge, redirects: Sequence[ConnectTo]) -> None:
        self._edge, self._redirects = edge, redirects
        self._redirected: WeakSet[Server] = WeakSet()
        self._master: Master | None = None

    def load(self, loader: Loader) -> None:
        self._master = loader.master

    def server_connect(self, data: ServerConnectionHookData) -> None:
        assert data.server.address is not None
        host, port = data.server.address[:2]
        to = redirected(self._redirects, host, port)
        if to != (host, port):
            data.server.address = to
            self._redirected.add(data.server)
        elif data.server.error is None and _is_address(host):
            data.server.error = self._refusal(data.server, host, port)

    def server_connected(self, data: ServerConnectionHookData) -> None:
        assert data.server.peername is not None
        reason = self._refusal(data.server, *data.server.peername[:2])
        if reason:
            log.warning("a connection was refused: %s", reason)
            self._abort(data)

    def _refusal(self, server: Server, address: str, port: int) -> str | None:
        assert server.address is not None
        listening = self._proxyserver().listen_addrs()
        own = tuple((str(host), int(own_port)) for host, own_port, *_ in listening)
        targets = Targets(
            own=own, is_loopback_only=all(is_loopback(host) for host, _ in own), is_exempt=self._edge.is_own_host
        )
        host, wanted_port = server.address[:2]
        destination = Destination(host=host, port=wanted_port, is_redirected=server in self._redirected)
        return targets.refusal(destination, address, port)

    def _abort(self, data: ServerConnectionHookData) -> None:
        """mitmproxy has no way to refuse a connection that is made: what it writes next must go nowhere."""
        writer = self._proxyserver().connections[data.client.id].transports[data.server].writer
        if isinstance(writer, asyncio.StreamWriter):
            writer.transport.abort()

    def _proxyserver(self) -> Proxyserver:
        assert self._master is not None
        found = self._master.addons.get("proxyserver")  # type: ignore[no-untyped-call]
        assert isinstance(found, Proxyserver)
        return found


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
