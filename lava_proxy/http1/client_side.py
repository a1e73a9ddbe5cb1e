"""One client connection to one AI host: reads requests, has each admitted, and sends it on."""

import asyncio
import logging
import ssl
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from http import HTTPStatus

from msgspec import Struct

from lava_proxy.http1.answers import Answer, fault, refused_answer
from lava_proxy.http1.bridge import Bridge
from lava_proxy.http1.direction import misdirected
from lava_proxy.http1.exchange import Exchange
from lava_proxy.http1.fields import PROXY_HEADERS, as_text, changed
from lava_proxy.http1.provider_side import ProviderSide
from lava_proxy.http1.requests import Request, RequestReader
from lava_proxy.http1.websocket import Frames
from lava_proxy.services.exchange import Credentials, Ending, Forward, Head, Line, Refused, Via

log = logging.getLogger(__name__)

_FAULT = fault(503, code="internal_error", message="The proxy could not admit this call; it was not sent.")
_OURS = PROXY_HEADERS | {b"expect"}


class Origin(Struct, frozen=True, kw_only=True):
    """Whom a client connection speaks to, and as whom. ``host`` is as ``host_name`` gives it."""

    via: Via
    scheme: str
    host: str
    port: int
    credentials: Credentials | None


@dataclass(slots=True, kw_only=True)
class Service:
    """What the connections of one port share."""

    line: Line
    upstream_tls: ssl.SSLContext
    body_size_limit: int
    is_stopping: Callable[[], bool]
    bridge: Bridge = field(default_factory=Bridge)
    connections: set["ClientSide"] = field(default_factory=set)

    def busy(self) -> int:
        """Connections with a request in hand."""
        return sum(each.is_busy for each in self.connections)

    def close_idle(self, before: float) -> None:
        """Close what has been silent since ``before``, in the loop's time."""
        for each in list(self.connections):
            if each.active_at < before:
                each.close()

    def close_all(self) -> None:
        for each in list(self.connections):
            each.close()

    def cut_all(self) -> None:
        """Break every connection off, so that each call ends as what it is now: one that was not sent, as such."""
        for each in list(self.connections):
            each.cut()


class ClientSide(asyncio.Protocol):
    """Answers a client's requests one after the other, in the order they came.

    Whatever goes wrong here is answered or closes the connection; nothing is sent on by accident.
    """

    def __init__(self, service: Service, origin: Origin) -> None:
        self._service, self._origin = service, origin
        self._loop = asyncio.get_running_loop()
        self._reader = RequestReader(service.body_size_limit)
        self._transport: asyncio.Transport | None = None
        self._early: list[bytes] = []
        self._server_name: str | None = None
        self._opening: Future[Forward | Refused] | None = None
        self._request: Request | None = None
        self._exchange: Exchange | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._provider: ProviderSide | None = None
        self._conversation: _Conversation | None = None
        self.active_at = self._loop.time()

    @property
    def is_busy(self) -> bool:
        return self._request is not None

    def started(self, transport: asyncio.Transport, server_name: str | None) -> None:
        """The connection is there, TLS included; some of what the client said may have come before."""
        self._transport, self._server_name = transport, server_name
        self._service.connections.add(self)
        early, self._early = self._early, []
        for data in early:
            self.data_received(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def cut(self) -> None:
        """End the connection and its call, because we are stopping."""
        transport, exchange = self._transport, self._exchange
        if exchange is not None:
            self._exchange = None
            exchange.leave(Ending.STOPPED)
        self.connection_lost(None)
        if transport is not None:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            self._early.append(data)
            return
        self.active_at = self._loop.time()
        if self._conversation is not None:
            self._conversation.from_client(data)
            return
        try:
            self._reader.feed(data)
            if self._request is None:
                self._go_on()
            elif self._reader.ready or self._reader.is_full:
                self._transport.pause_reading()  # one ahead is enough
        except Exception:
            log.exception("a connection was closed because of a fault of ours")
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 however it ended, it is gone
        self._service.connections.discard(self)
        if self._opening is not None:
            opening, self._opening = self._opening, None
            self._service.line.abandon(opening)
        if self._connecting is not None:
            self._connecting.cancel()
        if self._exchange is not None:
            is_complete = self._conversation is not None and self._conversation.is_closing
            exchange, self._exchange = self._exchange, None
            exchange.leave(Ending.COMPLETE if is_complete else Ending.CLIENT_GONE)
        if self._provider is not None:
            self._provider.drop()
        self._transport = self._provider = self._request = self._conversation = None

    def provider_is_full(self, *, is_full: bool) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if is_full:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        if self._provider is not None:
            self._provider.client_is_full(is_full=True)

    def resume_writing(self) -> None:
        if self._provider is not None:
            self._provider.client_is_full(is_full=False)

    def write(self, data: bytes) -> None:
        self.active_at = self._loop.time()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def answer(self, answer: Answer) -> None:
        body = b"" if self._request is not None and self._request.is_head else answer.body
        lines = b"".join([b"%b: %b\r\n" % each for each in answer.fields])
        self.write(b"HTTP/1.1 %d %b\r\n%b\r\n%b" % (answer.status, _reason(answer.status), lines, body))

    def exchange_ended(self, *, keeps_open: bool, is_cut: bool) -> None:
        self._exchange = self._conversation = None
        self._next(keeps_open=keeps_open, is_cut=is_cut)

    def switched(self, rest: bytes) -> None:
        assert self._provider is not None and self._exchange is not None
        conversation = self._conversation = _Conversation(self, self._provider, self._exchange)
        self._provider.relay(conversation)
        conversation.from_provider(rest)
        if self._conversation is conversation:
            conversation.from_client(self._reader.release())
            self.provider_is_full(is_full=False)  # what the client said ahead may have been too much to read on

    def _go_on(self) -> None:
        """Serve the next request, if it is here."""
        reader, transport = self._reader, self._transport
        if transport is None or transport.is_closing():
            return
        if reader.ready:
            self._serve(reader.ready.popleft())
        elif reader.fault is not None:
            self.answer(reader.fault)
            transport.close()
        elif reader.awaits_continue and reader.is_amid:
            reader.awaits_continue = False
            transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _next(self, *, keeps_open: bool, is_cut: bool = False) -> None:
        """A request has been answered."""
        self._request = None
        transport = self._transport
        if transport is None:
            return
        if not keeps_open:
            if is_cut:
                transport.abort()
            else:
                transport.close()
            return
        self._reader.resume()
        if not transport.is_closing():
            transport.resume_reading()
        if self._reader.ready or self._reader.fault is not None or self._reader.awaits_continue:
            self._loop.call_soon(self._go_on_if_idle)

    def _go_on_if_idle(self) -> None:
        if self._request is None:
            self._go_on()

    def _serve(self, request: Request) -> None:
        self._request = request
        try:
            self._admit(request)
        except Exception:
            log.exception("a call was refused because of a fault of ours")
            self._refuse(_FAULT)

    def _admit(self, request: Request) -> None:
        service, origin = self._service, self._origin
        if service.is_stopping():
            self._refuse(fault(503, code="stopping", message="The proxy is stopping; try again later.", closes=True))
            return
        if not request.target.startswith(b"/") or request.method == b"CONNECT":
            message = "The request must name a path on this host."
            self._refuse(fault(400, code="invalid_request", message=message, closes=True))
            return
        headers = as_text(request.fields)
        hosts = [value for name, value in headers if name == "host"]
        host_header = ", ".join(hosts) if hosts else None
        elsewhere = misdirected(origin.host, server_name=self._server_name, host_header=host_header)
        if elsewhere is not None:
            self._refuse(elsewhere)
            return
        head = Head(
            via=origin.via,
            method=request.method.decode("latin-1"),
            scheme=origin.scheme,
            host=origin.host,
            port=origin.port,
            path=request.target.decode("utf-8", "surrogateescape"),
            headers=headers,
            credentials=origin.credentials,
            host_header=host_header,
            server_name=self._server_name,
        )
        opening = self._opening = service.line.open(head, request.body)
        if opening.done():
            self._decide(opening)
        else:
            service.bridge.when_done(opening, lambda: self._decide(opening))

    def _decide(self, opening: Future[Forward | Refused]) -> None:
        """The line has said whether the request may go. A client that has left meanwhile has given it up."""
        request = self._request
        if self._opening is not opening or request is None:
            return
        self._opening = None
        outcome = opening.result()
        if isinstance(outcome, Refused):
            self._refuse(refused_answer(outcome))
            return
        exchange = self._exchange = Exchange(request, outcome, self)
        try:
            self._send(exchange, _outgoing(request, outcome))
        except Exception:
            log.exception("a call was refused because of a fault of ours")
            exchange.fail(_FAULT)

    def _send(self, exchange: Exchange, data: bytes) -> None:
        if self._provider is not None and self._provider.is_free:
            self._provider.send(exchange, data)
        else:
            self._connecting = self._loop.create_task(self._connect(exchange, data))

    async def _connect(self, exchange: Exchange, data: bytes) -> None:
        service, origin = self._service, self._origin
        is_tls = origin.scheme == "https"
        try:
            _, provider = await self._loop.create_connection(
                ProviderSide,
                origin.host,
                origin.port,
                ssl=service.upstream_tls if is_tls else None,
                server_hostname=origin.host if is_tls else None,
            )
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError; a host's name may be none
            message = f"Cannot connect to {origin.host}:{origin.port}: {str(error) or type(error).__name__}."
            exchange.fail(fault(502, code="unreachable", message=message))
            return
        finally:
            self._connecting = None
        if self._exchange is not exchange:  # the client has left
            provider.drop()
            return
        if not provider.is_free:  # it was closed, or spoke, before it was asked
            provider.drop()
            message = f"{origin.host}:{origin.port} broke the connection off before it was asked anything."
            exchange.fail(fault(502, code="unreachable", message=message))
            return
        self._provider = provider
        provider.send(exchange, data)

    def _refuse(self, answer: Answer) -> None:
        request = self._request
        self.answer(answer)
        self._next(keeps_open=request is not None and request.keeps_open and not answer.closes)


class _Conversation:
    """A WebSocket between the two sides, passed on as it comes until either ends it."""

    def __init__(self, client: ClientSide, provider: ProviderSide, exchange: Exchange) -> None:
        self._client, self._provider, self._exchange = client, provider, exchange
        self._client_frames, self._provider_frames = Frames(), Frames()

    @property
    def is_closing(self) -> bool:
        """Whether one side has taken its leave."""
        return self._client_frames.has_close or self._provider_frames.has_close

    def from_client(self, data: bytes) -> None:
        if data:
            self._client_frames.feed(data)
            self._provider.write(data)

    def from_provider(self, data: bytes) -> None:
        if not data:
            return
        self._provider_frames.feed(data)
        self._client.write(data)
        if self._provider_frames.has_close:
            self._end(Ending.COMPLETE)

    def provider_is_full(self, *, is_full: bool) -> None:
        self._client.provider_is_full(is_full=is_full)

    def provider_left(self) -> None:
        self._end(Ending.COMPLETE if self.is_closing else Ending.UPSTREAM_GONE)

    def _end(self, ending: Ending) -> None:
        self._exchange.leave(ending)
        self._provider.close()
        self._client.exchange_ended(keeps_open=False, is_cut=False)


def _outgoing(request: Request, forward: Forward) -> bytes:
    """The request as the line wants it to be, on one connection to the provider."""
    drop = _OURS.union([name.encode() for name in forward.drop_headers])
    setting = {name.encode(): value.encode() for name, value in forward.set_headers}
    body = request.body
    if forward.body is not None:
        body = forward.body
        if not request.is_chunked:
            setting[b"content-length"] = str(len(body)).encode()
    if request.is_chunked:
        body = (b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)) if body else b"0\r\n\r\n"
    lines = b"".join([b"%b: %b\r\n" % each for each in changed(request.fields, drop, setting)])
    return b"%b %b HTTP/1.1\r\n%b\r\n%b" % (request.method, request.target, lines, body)


def _reason(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b"Unknown"
