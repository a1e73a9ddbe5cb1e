"""Heads of requests, from mitmproxy's bytes to the line's text and back."""

from mitmproxy.http import Headers as Fields
from mitmproxy.http import HTTPFlow

from lava_proxy.addons.arrivals import Tunnel
from lava_proxy.http1.fields import PROXY_HEADERS, as_text, changed
from lava_proxy.http1.names import host_name, read_credentials
from lava_proxy.services.exchange import Forward, Head, Headers, Via


def read_head(flow: HTTPFlow, tunnel: Tunnel | None) -> Head:
    """What the line needs to know of a request. The path is as it goes out; the headers are as they came in."""
    request = flow.request
    credentials = tunnel.credentials if tunnel else read_credentials(request.headers.get("proxy-authorization"))
    return Head(
        via=Via.CONNECT if tunnel else Via.ABSOLUTE,
        method=request.method,
        scheme=request.scheme,
        host=host_name(request.host),
        port=request.port,
        path=request.path,
        headers=read_fields(request.headers),
        credentials=credentials,
        host_header=request.host_header,
        server_name=flow.client_conn.sni if tunnel else None,
    )


def read_fields(fields: Fields) -> Headers:
    return as_text(fields.fields)


def apply(forward: Forward, flow: HTTPFlow) -> None:
    """Make the request what the line wants it to be."""
    request = flow.request
    drop = PROXY_HEADERS.union(name.encode() for name in forward.drop_headers)
    setting = {name.encode(): value.encode() for name, value in forward.set_headers}
    if forward.body is not None:
        request.raw_content = forward.body
        if "content-length" in request.headers or "transfer-encoding" not in request.headers:
            setting[b"content-length"] = str(len(forward.body)).encode()
    request.headers.fields = changed(request.headers.fields, drop, setting)
