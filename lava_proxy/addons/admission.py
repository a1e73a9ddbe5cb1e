"""Before a request leaves: may it? A refused one opens no connection to its host."""

import asyncio
from collections.abc import Awaitable
from concurrent.futures import Future

from mitmproxy.connection import Client
from mitmproxy.http import HTTPFlow

from lava_proxy.addons.arrivals import Tunnel
from lava_proxy.http1.bridge import Bridge, release
from lava_proxy.addons.edge import Edge
from lava_proxy.addons.exchanges import Exchange
from lava_proxy.addons.guard import guarded, reply
from lava_proxy.addons.heads import apply, read_head
from lava_proxy.http1.answers import Answer, fault, refused_answer
from lava_proxy.http1.direction import misdirected
from lava_proxy.http1.fields import PROXY_HEADERS, changed
from lava_proxy.http1.names import host_name, read_credentials
from lava_proxy.services.exchange import Ending, Forward, Refused

_IDENTITY_PREFIX = b"x-lava-"


class Admission:
    """Requests to AI hosts go through the line, with their whole body; plain ones to other hosts pass as streams."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._bridge = Bridge()
        self._waiting: dict[str, asyncio.Future[None]] = {}

    def requestheaders(self, flow: HTTPFlow) -> Awaitable[None] | None:
        if flow.response is not None or flow.error is not None:
            return None  # answered already, or refused by mitmproxy as malformed or too large
        return guarded(flow, self._begin, self._undo)

    def request(self, flow: HTTPFlow) -> Awaitable[None] | None:
        if flow.response is not None or flow.error is not None or flow.request.stream:
            return None
        return guarded(flow, self._admit, self._undo)

    def client_disconnected(self, client: Client) -> None:
        """Nobody waits any more: `_decide` gives the opening up."""
        waiter = self._waiting.pop(client.id, None)
        if waiter is not None:
            release(waiter)

    def _begin(self, flow: HTTPFlow) -> Awaitable[None] | None:
        edge, request = self._edge, flow.request
        if edge.control.is_stopping():
            reply(flow, fault(503, code="stopping", message="The proxy is stopping; try again later.", closes=True))
            return None
        tunnel = edge.arrivals.tunnel(flow.client_conn)
        if tunnel is None and not edge.is_ai_host(request.host, request.port):
            return self._pass_on(flow)
        elsewhere = _misdirected(flow, tunnel)
        if elsewhere is not None:
            reply(flow, elsewhere)
        return None

    async def _pass_on(self, flow: HTTPFlow) -> None:
        """A plain request to another host: streamed both ways, without what is meant for us."""
        request = flow.request
        credentials = read_credentials(request.headers.get("proxy-authorization"))
        admission = self._edge.line.admit_tunnel(host_name(request.host), request.port, credentials)
        if not admission.done():
            await self._bridge.waiter(admission)
        refused = admission.result()
        if refused is not None:
            reply(flow, refused_answer(refused))
            return
        ours = {name.lower() for name, _ in request.headers.fields if name.lower().startswith(_IDENTITY_PREFIX)}
        request.headers.fields = changed(request.headers.fields, PROXY_HEADERS | ours, {})
        request.host = request.host  # sets the Host header: the target alone says where it goes
        request.stream = True

    def _admit(self, flow: HTTPFlow) -> Awaitable[None] | None:
        head = read_head(flow, self._edge.arrivals.tunnel(flow.client_conn))
        opening = self._edge.line.open(head, flow.request.raw_content or b"")
        if not opening.done():
            return self._wait(flow, opening)
        self._decide(flow, opening)
        return None

    async def _wait(self, flow: HTTPFlow, opening: Future[Forward | Refused]) -> None:
        waiter = self._waiting[flow.client_conn.id] = self._bridge.waiter(opening)
        try:
            await waiter
        except asyncio.CancelledError:
            self._edge.line.abandon(opening)
            raise
        finally:
            self._waiting.pop(flow.client_conn.id, None)
        if opening.done():
            self._decide(flow, opening)
        else:
            self._edge.line.abandon(opening)
            reply(flow, fault(503, code="client_gone", message="The client did not wait."))

    def _decide(self, flow: HTTPFlow, opening: Future[Forward | Refused]) -> None:
        outcome = opening.result()
        if isinstance(outcome, Refused):
            reply(flow, refused_answer(outcome))
            return
        self._edge.exchanges.add(Exchange(flow=flow, call=outcome.call, response_headers=outcome.response_headers, may_shorten=outcome.may_shorten))
        apply(outcome, flow)

    def _undo(self, flow: HTTPFlow) -> None:
        self._edge.exchanges.close(flow, Ending.NOT_SENT)


def _misdirected(flow: HTTPFlow, tunnel: Tunnel | None) -> Answer | None:
    host, host_header = host_name(flow.request.host), flow.request.host_header
    server_name = flow.client_conn.sni if tunnel is not None and flow.request.scheme == "https" else None
    if tunnel is None or tunnel.is_intercepted or (server_name and host_name(server_name) != host):
        return misdirected(host, server_name=server_name, host_header=host_header)
    message = f"The tunnel leads to {host}, and no server is named inside it. Connect to the host by its own name."
    return fault(403, code="tunnel_refused", message=message)
