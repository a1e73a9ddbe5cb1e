"""CONNECT: who calls, and where to. What AI hosts refuse is said inside TLS, where the client's SDK can read it."""

from collections.abc import Awaitable

from mitmproxy.http import HTTPFlow

from lava_proxy.addons.arrivals import Tunnel
from lava_proxy.http1.bridge import Bridge
from lava_proxy.addons.edge import Edge
from lava_proxy.addons.guard import guarded, reply
from lava_proxy.http1.answers import fault, refused_answer
from lava_proxy.http1.names import host_name, read_credentials
from lava_proxy.services.exchange import Refused

_UNAUTHORIZED, _PROXY_AUTHENTICATION_REQUIRED = 401, 407


class Identity:
    """Remembers a tunnel's credentials for all that comes through it; they never leave."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._bridge = Bridge()

    def http_connect(self, flow: HTTPFlow) -> Awaitable[None] | None:
        return guarded(flow, self._connect, lambda _: None)

    def _connect(self, flow: HTTPFlow) -> Awaitable[None] | None:
        request = flow.request
        request.data.host = host_name(request.host)
        if self._edge.control.is_stopping():
            reply(flow, fault(503, code="stopping", message="The proxy is stopping.", closes=True))
            return None
        credentials = read_credentials(request.headers.get("proxy-authorization"))
        is_intercepted = self._edge.is_intercepted(request.host, request.port)
        tunnel = Tunnel(host=request.host, port=request.port, credentials=credentials, is_intercepted=is_intercepted)
        if is_intercepted:
            self._edge.arrivals.remember(flow.client_conn, tunnel)
            return None
        return self._ask(flow, tunnel)

    async def _ask(self, flow: HTTPFlow, tunnel: Tunnel) -> None:
        admission = self._edge.line.admit_tunnel(tunnel.host, tunnel.port, tunnel.credentials)
        if not admission.done():
            await self._bridge.waiter(admission)
        refused = admission.result()
        if refused is None:
            self._edge.arrivals.remember(flow.client_conn, tunnel)
        else:
            reply(flow, refused_answer(_for_a_proxy(refused)))


def _for_a_proxy(refused: Refused) -> Refused:
    """A client shows its proxy credentials when a proxy asks for them, with 407."""
    if refused.status not in (_UNAUTHORIZED, _PROXY_AUTHENTICATION_REQUIRED):
        return refused
    headers = tuple(field for field in refused.headers if field[0] not in ("www-authenticate", "proxy-authenticate"))
    return Refused(
        code=refused.code,
        status=_PROXY_AUTHENTICATION_REQUIRED,
        headers=(*headers, ("proxy-authenticate", 'Basic realm="Lava Proxy"')),
        body=refused.body,
    )
