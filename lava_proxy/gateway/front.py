"""The first bytes of a connection say whose it is: ours where they are a CONNECT to an AI host, mitmproxy's otherwise.

What is taken here is the plain case: one whole CONNECT head by itself, to an AI host's port 443, where TLS follows.
Whatever is odd, or speaks of another host or port, goes to mitmproxy with every byte it began with.
"""

import asyncio
import logging
import re
import ssl
from collections.abc import Callable
from weakref import WeakKeyDictionary

from msgspec import Struct

from lava_proxy.http1.client_side import ClientSide, Origin, Service
from lava_proxy.http1.names import host_name, read_credentials
from lava_proxy.services.exchange import Via

log = logging.getLogger(__name__)

ProtocolFactory = Callable[[], asyncio.Protocol]

_HEAD = re.compile(rb"CONNECT (?P<host>[A-Za-z0-9.-]{1,253}):443 HTTP/1\.[01]\r\n(?P<fields>(?:[^\r\n]+\r\n)*)\r\n")
_FIELD = re.compile(rb"(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(?P<value>[^\r\n\0]*)\r\n")
_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
_SILENCE_SECONDS = 60.0
_HANDSHAKE_SECONDS = 20.0
_TLS_PORT = 443


class Contexts:
    """What TLS with clients needs: for each host a context with its certificate, and the name that a client asked for."""

    def __init__(self, certificate: Callable[[str, ssl.SSLContext], None], *, hosts_max: int = 1024) -> None:
        """``certificate`` loads the certificate of a host, and its key, into a context."""
        self._certificate, self._hosts_max = certificate, hosts_max
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._names: WeakKeyDictionary[ssl.SSLObject, str] = WeakKeyDictionary()

    def context(self, host: str) -> ssl.SSLContext:
        found = self._contexts.get(host)
        if found is None:
            if len(self._contexts) >= self._hosts_max:
                self._contexts.clear()
            found = self._contexts[host] = self._make(host)
        return found

    def server_name(self, connection: ssl.SSLObject) -> str | None:
        """What the client asked for; ``None`` where it named no server."""
        return self._names.get(connection)

    def _make(self, host: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        self._certificate(host, context)

        def named(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
            if not name:
                return None
            try:
                self._names[connection] = name
                if host_name(name) != host:
                    connection.context = self.context(host_name(name))
            except Exception:
                log.exception("there is no certificate for a host that a client asked for")
                return int(ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME)
            return None

        context.sni_callback = named
        return context


class Front(Struct, frozen=True, kw_only=True):
    """What the connections of the port share."""

    service: Service
    contexts: Contexts
    is_ai_host: Callable[[str, int], bool]

    def protocol(self, other: ProtocolFactory) -> asyncio.Protocol:
        """For a new connection; ``other`` makes mitmproxy's."""
        return FirstLook(self, other)


class FirstLook(asyncio.Protocol):
    """Waits for the first bytes, and gives the connection to whom they concern."""

    def __init__(self, front: Front, other: ProtocolFactory) -> None:
        self._front, self._other = front, other
        self._transport: asyncio.Transport | None = None
        self._handshake: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        loop = asyncio.get_running_loop()
        self._silence = loop.call_later(_SILENCE_SECONDS, self._hand_over, b"")

    def data_received(self, data: bytes) -> None:
        self._silence.cancel()
        transport = self._transport
        if transport is None or self._handshake is not None:
            return
        try:
            origin = self._read(data)
            context = self._front.contexts.context(origin.host) if origin is not None else None
        except Exception:
            log.exception("a connection was left to mitmproxy because of a fault of ours")
            origin = context = None
        if origin is None or context is None:
            self._hand_over(data)
            return
        transport.pause_reading()
        transport.write(_ESTABLISHED)
        self._handshake = asyncio.get_running_loop().create_task(self._start_tls(transport, origin, context))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 nothing was said yet
        self._silence.cancel()
        self._transport = None

    def _read(self, data: bytes) -> Origin | None:
        """Where the client wants to get to, if that is for us."""
        found = _HEAD.fullmatch(data)
        if found is None:
            return None
        host = host_name(found["host"].decode())
        if not self._front.is_ai_host(host, _TLS_PORT):
            return None
        shown: list[str] = []
        for field in found["fields"].splitlines(keepends=True):
            matched = _FIELD.fullmatch(field)
            if matched is None:
                return None
            if matched["name"].lower() == b"proxy-authorization":
                shown.append(matched["value"].strip().decode("utf-8", "surrogateescape"))
        if len(shown) > 1 or self._front.service.is_stopping():
            return None
        credentials = read_credentials(shown[0] if shown else None)
        return Origin(via=Via.CONNECT, scheme="https", host=host, port=_TLS_PORT, credentials=credentials)

    async def _start_tls(self, transport: asyncio.Transport, origin: Origin, context: ssl.SSLContext) -> None:
        loop, contexts = asyncio.get_running_loop(), self._front.contexts
        client = ClientSide(self._front.service, origin)
        try:
            inside = await loop.start_tls(
                transport,
                client,
                context,
                server_side=True,
                ssl_handshake_timeout=_HANDSHAKE_SECONDS,
            )
        except (OSError, ssl.SSLError) as error:
            log.info("a client broke off the TLS handshake: %s", error, extra={"host": origin.host})
            transport.abort()
            return
        except Exception:
            log.exception("a connection was closed because of a fault of ours")
            transport.abort()
            return
        if inside is None or inside.is_closing():
            return
        connection = inside.get_extra_info("ssl_object")
        client.started(inside, contexts.server_name(connection))

    def _hand_over(self, data: bytes) -> None:
        transport, self._transport = self._transport, None
        if transport is None or transport.is_closing():
            return
        other = self._other()
        transport.set_protocol(other)
        other.connection_made(transport)
        if data:
            other.data_received(data)
