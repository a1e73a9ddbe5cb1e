"""mitmproxy's HTTP layers, with what the hooks cannot decide: who is addressed, what is too large, when to connect."""

from typing import Protocol

from mitmproxy.connection import Address, Client, Connection, Server
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import ServerTLSLayer
from mitmproxy.proxy.layers.http import (
    GetHttpConnection,
    GetHttpConnectionCompleted,
    HttpClient,
    HttpLayer,
    HTTPMode,
    HttpStream,
    RegisterHttpConnection,
)
from mitmproxy.proxy.layers.http._events import RequestHeaders
from mitmproxy.proxy.tunnel import LayerStack

from lava_proxy.addons.answers import response_of
from lava_proxy.addons.http1 import QuickHttp1Client, QuickHttp1Server
from lava_proxy.http1.answers import fault

PORT_HOST = "port.lava.invalid"
"""Stands in for the host of a request that names none: it is addressed to the port itself."""


class Rules(Protocol):
    """What the layers ask."""

    @property
    def body_size_limit(self) -> int:
        """The largest request body that is held in memory, in bytes."""

    def is_passed_on(self, host: str) -> bool:
        """Whether a plain request to this host goes on as a stream, and so has no limit."""

    def is_plain_tunnel(self, client: Client) -> bool:
        """Whether the client's CONNECT leads to a host that is certainly not intercepted, whatever its TLS says."""


class LavaHttpLayer(HttpLayer):
    """HTTP on one client connection."""

    def __init__(self, context: Context, mode: HTTPMode, rules: Rules) -> None:
        super().__init__(context, mode)
        self._rules = rules
        self._targets: dict[Connection, tuple[Address, bool]] = {}

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.Start):
            self.connections[self.context.client] = QuickHttp1Server(_fork(self.context))  # stock keeps what is there
        yield from super()._handle_event(event)

    def make_stream(self, stream_id: int) -> layer.CommandGenerator[None]:
        stream = self.streams[stream_id] = LavaHttpStream(_fork(self.context), stream_id, self._rules)
        yield from self.event_to_child(stream, events.Start())

    def get_connection(
        self,
        event: GetHttpConnection,
        *,
        reuse: bool = True,  # noqa: ARG002 what stock asks for HTTP/2 clients
    ) -> layer.CommandGenerator[None]:
        """A connection to a provider: one that is there, or a new one. HTTP/1 only, and directly, never by another proxy."""
        for connection, target in self._targets.items():
            if target != (event.address, event.tls):  # not connection.address: a hook may have sent it elsewhere
                continue
            if connection in self.waiting_for_establishment:
                self.waiting_for_establishment[connection].append(event)
                return
            if connection.error:
                yield from self._give(event, (None, connection.error))
                return
            if connection.connected:
                yield from self._give(event, (connection, None))
                return
        yield from self._connect(event)

    def _give(
        self, event: GetHttpConnection, reply: tuple[None, str] | tuple[Connection, None]
    ) -> layer.CommandGenerator[None]:
        stream = self.command_sources.pop(event)
        yield from self.event_to_child(stream, GetHttpConnectionCompleted(event, reply))

    def _connect(self, event: GetHttpConnection) -> layer.CommandGenerator[None]:
        self._forget_closed()
        context = _fork(self.context)
        context.server = Server(address=event.address)
        stack = LayerStack()
        if event.tls:
            context.server.sni = event.address[0]
            stack /= ServerTLSLayer(context)
        stack /= LavaHttpClient(context)
        self.connections[context.server] = stack[0]
        self._targets[context.server] = (event.address, event.tls)
        self.waiting_for_establishment[context.server].append(event)
        yield from self.event_to_child(stack[0], events.Start())

    def _forget_closed(self) -> None:
        """Stock mitmproxy keeps every closed connection until the client leaves."""
        for connection in list(self._targets):
            if connection.timestamp_end is not None:
                del self._targets[connection], self.connections[connection]


class LavaHttpClient(HttpClient):
    """Opens the connection to a provider and speaks HTTP/1 on it."""

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        error = yield commands.OpenConnection(self.context.server)
        if not error:
            self.child_layer = QuickHttp1Client(self.context)
            self._handle_event = self.child_layer.handle_event  # type: ignore[method-assign]
            yield from self._handle_event(event)
        yield RegisterHttpConnection(self.context.server, error)


class LavaHttpStream(HttpStream):
    """One request and its answer."""

    def __init__(self, context: Context, stream_id: int, rules: Rules) -> None:
        super().__init__(context, stream_id)
        self._rules = rules

    def state_wait_for_request_headers(self, event: RequestHeaders) -> layer.CommandGenerator[None]:
        """An origin-form request speaks to the port; its Host header must not make it look like a proxied one."""
        request = event.request
        if self.mode is HTTPMode.regular and not request.host and request.method != "CONNECT":
            request.data.host, request.data.port, request.data.scheme = PORT_HOST, 80, b"http"
        yield from super().state_wait_for_request_headers(event)

    def check_body_size(self, request: bool) -> layer.CommandGenerator[bool]:
        """Only what is held in memory has a limit: requests that are not passed on, and no answers."""
        if request and self._held_bytes() > self._rules.body_size_limit:
            return (yield from super().check_body_size(request))
        return False

    def handle_connect_regular(self) -> layer.CommandGenerator[None]:
        """For a plain tunnel, connect before saying so: the client learns at once where it cannot get to, and a server
        that speaks first is heard."""
        if not self.flow.response and self._rules.is_plain_tunnel(self.flow.client_conn):
            error = yield commands.OpenConnection(self.context.server)
            if error:
                host, port = self.flow.request.host, self.flow.request.port
                answer = fault(502, code="unreachable", message=f"Cannot connect to {host}:{port}: {error}")
                self.flow.response = response_of(answer)
        yield from super().handle_connect_regular()  # type: ignore[no-untyped-call]

    def _held_bytes(self) -> int:
        """What has come so far, or what is announced."""
        if self.request_body_buf:
            return len(self.request_body_buf)
        announced = self.flow.request.headers.get("content-length", "")
        if not announced.isdecimal() or (
            self.mode is HTTPMode.regular and self._rules.is_passed_on(self.flow.request.host)
        ):
            return 0
        return int(announced)


def _fork(context: Context) -> Context:
    """As ``Context.fork``, which makes a server connection, id and all, only to replace it."""
    twin = Context.__new__(Context)
    twin.client, twin.options, twin.server = context.client, context.options, context.server
    twin.layers = context.layers.copy()
    return twin
