"""Heads of requests, from mitmproxy's bytes to the line's text and back."""

from functools import lru_cache

from mitmproxy.http import Headers as Fields
from mitmproxy.http import HTTPFlow
from mitmproxy.net.http import url

from lava_proxy.addons.arrivals import Tunnel, host_name, read_credentials
from lava_proxy.services.exchange import Forward, Head, Headers, Via

RawFields = tuple[tuple[bytes, bytes], ...]

PROXY_HEADERS = frozenset({b"proxy-authorization", b"proxy-connection"})
"""Meant for us alone, whatever the line says."""


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
    """Header fields as text; the odd value that is not UTF-8 is read as Latin-1, so that no two become one."""
    return tuple((name.lower().decode("latin-1"), _text(value)) for name, value in fields.fields)


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


def changed(fields: RawFields, drop: frozenset[bytes], setting: dict[bytes, bytes]) -> RawFields:
    """The fields without those to drop; those to set in the place of the first of their name, else at the end."""
    kept: list[tuple[bytes, bytes]] = []
    left = dict(setting)
    for name, value in fields:
        key = name.lower()
        if key in left:
            kept.append((name, left.pop(key)))
        elif key not in drop and key not in setting:
            kept.append((name, value))
    return (*kept, *left.items())


@lru_cache(maxsize=1024)
def named_host(authority: str) -> str:
    """The host in a Host header.

    Raises:
        ValueError: it is no host.
    """
    name, _ = url.parse_authority(authority, check=True)
    return host_name(name)


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
