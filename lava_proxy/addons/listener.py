"""The port: mitmproxy's proxy server on sockets that are bound before anything else is started.

Binding first tells at once, and exactly, that a port is taken; listening begins when everything behind it is ready.
"""

import asyncio
import socket
from collections.abc import Callable, Iterable
from typing import TypeVar

from mitmproxy import options
from mitmproxy.addons.proxyserver import Proxyserver, Servers
from mitmproxy.proxy import layers, mode_specs
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import Layer
from mitmproxy.proxy.mode_servers import AsyncioServerInstance

from lava_proxy.addons.dispatch import Dispatch
from lava_proxy.addons.handler import Handler

_BACKLOG = 1024
_REGULAR = mode_specs.ProxyMode.parse("regular")

FirstProtocol = Callable[[Callable[[], asyncio.Protocol]], asyncio.Protocol]
"""Makes what sees a connection first; given to make mitmproxy's own protocol, for connections that it leaves to it."""

Mode = TypeVar("Mode", bound=mode_specs.ProxyMode)


class Listener(AsyncioServerInstance[Mode]):
    """Generic like its base: a class for one mode would take that mode's place in mitmproxy's own table."""

    def __init__(self, mode: Mode, port: "Port") -> None:
        super().__init__(mode, port)  # type: ignore[no-untyped-call]
        self._port = port

    def make_top_layer(self, context: Context) -> Layer:
        return layers.modes.HttpProxy(context)

    async def listen(self, host: str, port: int) -> list[asyncio.Server]:  # type: ignore[override]  # noqa: ARG002
        loop, front = asyncio.get_running_loop(), self._port.front

        def stream() -> asyncio.Protocol:
            return asyncio.StreamReaderProtocol(asyncio.StreamReader(loop=loop), self.handle_stream, loop=loop)

        def first() -> asyncio.Protocol:
            return stream() if front is None else front(stream)

        return [await loop.create_server(first, sock=bound, backlog=_BACKLOG) for bound in self._port.sockets]

    async def handle_stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter | None = None) -> None:  # type: ignore[override]
        assert writer is not None
        handler = self._port.make_handler(reader, writer, self.mode)
        context = handler.layer.context
        handler.layer = self.make_top_layer(context)
        with self.manager.register_connection(context.client.id, handler):
            await handler.handle_client()


class Doors(Servers):
    """The listeners that are up: one on our sockets, or none once the option ``server`` is off."""

    def __init__(self, port: "Port") -> None:
        super().__init__(port)
        self._port = port

    async def update(self, modes: Iterable[mode_specs.ProxyMode]) -> bool:  # noqa: ARG002
        async with self._lock:
            if not self._port.is_open:
                for listener in self._instances.values():
                    await listener.stop()
                self._instances = {}
            elif not self._instances:
                listener = Listener(_REGULAR, self._port)
                await listener.start()
                self._instances = {_REGULAR: listener}
        await self.changed.send()
        return True


class Port(Proxyserver):
    """mitmproxy's ``Proxyserver`` on given sockets."""

    name = "proxyserver"

    def __init__(
        self,
        master: object,
        opts: options.Options,
        sockets: tuple[socket.socket, ...],
        dispatch: Dispatch,
        front: FirstProtocol | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._master, self._options, self._dispatch = master, opts, dispatch
        self.sockets, self.front = sockets, front
        self.servers = Doors(self)

    @property
    def is_open(self) -> bool:
        """Whether new connections are to be accepted."""
        return bool(self._options.server)

    def make_handler(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mode: mode_specs.ProxyMode
    ) -> Handler:
        return Handler(self._master, reader, writer, self._options, mode, self._dispatch)
