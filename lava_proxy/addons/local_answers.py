"""What the port answers itself: health, readiness, the certificate, and the host that proves interception."""

from mitmproxy.http import HTTPFlow

from lava_proxy.addons.edge import Edge
from lava_proxy.addons.guard import guarded, reply
from lava_proxy.addons.heads import read_head
from lava_proxy.addons.layers import PORT_HOST
from lava_proxy.core.names import PROVE_HOST
from lava_proxy.http1.answers import Answer, fault, json_answer, plain_answer
from lava_proxy.http1.names import host_name


class LocalAnswers:
    """Nothing that it answers is metered, or goes anywhere."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    def requestheaders(self, flow: HTTPFlow) -> None:
        guarded(flow, self._answer, lambda _: None)

    def _answer(self, flow: HTTPFlow) -> None:
        host = host_name(flow.request.host)
        if host == PORT_HOST:
            reply(flow, self._port_answer(flow.request.method, flow.request.path.partition("?")[0]))
        elif host == PROVE_HOST:
            reply(flow, self._proof(flow))

    def _port_answer(self, method: str, path: str) -> Answer:
        if method not in ("GET", "HEAD"):
            return _nothing_here(path)
        if path == "/healthz":
            return json_answer(200, {"status": "ok"})
        if path == "/readyz":
            return self._readiness()
        if path == "/ca.pem":
            return plain_answer(200, self._edge.control.ca_pem(), "application/x-pem-file")
        return _nothing_here(path)

    def _readiness(self) -> Answer:
        reason = "stopping" if self._edge.control.is_stopping() else self._edge.control.unready()
        if reason:
            return json_answer(503, {"status": "unready", "reason": reason})
        return json_answer(200, {"status": "ready"})

    def _proof(self, flow: HTTPFlow) -> Answer:
        head = read_head(flow, self._edge.arrivals.tunnel(flow.client_conn))
        user = head.credentials.user if head.credentials else ""
        return json_answer(200, {"ok": True, "via": str(head.via), "scheme": head.scheme, "user": user})


def _nothing_here(path: str) -> Answer:
    message = f"There is nothing at {path} here. This port is a proxy: set HTTPS_PROXY to it, as `lava env` prints it."
    return fault(404, code="not_found", message=message)
