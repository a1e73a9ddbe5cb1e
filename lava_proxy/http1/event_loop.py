"""asyncio's event loop, but who connects is sent where `--connect-to` says, and only where `targets` allows."""

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

from lava_proxy.core.addresses import ConnectTo
from lava_proxy.http1.targets import Destination, redirected

Refusal = Callable[[Destination, str, int], str | None]
"""What a connection is for, and the address and port it is about to be made to: why not, or ``None``."""

_DESTINATION: ContextVar[Destination | None] = ContextVar("destination", default=None)
"""What the connection that is being made is for; tasks of its own that it starts inherit it."""


class EventLoop(asyncio.SelectorEventLoop):
    """``redirects`` and, once it is set, ``refusal`` are asked for every TCP connection that is made on this loop."""

    def __init__(self, redirects: Sequence[ConnectTo] = ()) -> None:
        super().__init__()
        self.redirects = tuple(redirects)
        self.refusal: Refusal | None = None

    async def create_connection(  # type: ignore[override]  # the base has overloads for TLS and ready sockets
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | None = None,
        port: int | None = None,
        **more: Any,
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        if host is None or port is None:  # a socket that is connected already
            return await super().create_connection(protocol_factory, **more)
        to_host, to_port = redirected(self.redirects, host, port)
        destination = Destination(host=host, port=port, is_redirected=(to_host, to_port) != (host, port))
        token = _DESTINATION.set(destination)
        try:
            return await super().create_connection(protocol_factory, to_host, to_port, **more)
        finally:
            _DESTINATION.reset(token)

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Called with the resolved address of each attempt.

        Raises:
            PermissionError: the address is refused.
        """
        destination = _DESTINATION.get()
        if destination is not None and self.refusal is not None:
            reason = self.refusal(destination, address[0], address[1])
            if reason:
                raise PermissionError(errno.EACCES, f"{destination.host}: {reason}")
        await super().sock_connect(sock, address)
