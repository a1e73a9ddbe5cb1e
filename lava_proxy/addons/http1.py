"""mitmproxy's HTTP/1 connections with a short way for heads that are plainly well-formed.

Stock mitmproxy checks the type of every field of every message and converts every header name on every lookup: a fifth of
the time of a call. Here a head with nothing unusual in it is read directly; any other is left, untouched, to mitmproxy,
which knows all the cases and words all the complaints. What the headers say is validated by mitmproxy either way.
"""

import time
from functools import lru_cache
from typing import Any

from h11._receivebuffer import ReceiveBuffer
from mitmproxy.http import Headers, Request, RequestData, Response, ResponseData
from mitmproxy.net.http.http1 import expected_http_body_size
from mitmproxy.proxy import events, layer
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import RequestHeaders, ResponseHeaders
from mitmproxy.proxy.layers.http._http1 import Http1Client, Http1Server, make_body_reader

_HEAD_END = b"\r\n\r\n"
_HTTP11 = b"HTTP/1.1"
_INTERIM = frozenset({100, 102, 103})

Fields = tuple[tuple[bytes, bytes], ...]


class QuickHeaders(Headers):
    """``Headers`` that remember their names in lower case for as long as the fields are the same."""

    _names: tuple[bytes, ...] = ()
    _names_of: Fields | None = None

    def get_all(self, name: str | bytes) -> list[str]:
        key = _lower(name)
        if key not in self._lower_names():
            return []
        found = [value for field, value in zip(self._names, self.fields, strict=True) if field == key]
        return [value.decode("utf-8", "surrogateescape") for _, value in found]

    def __getitem__(self, key: str | bytes) -> str:
        values = self.get_all(key)
        if not values:
            raise KeyError(key)
        return ", ".join(values)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str | bytes) and _lower(key) in self._lower_names()

    def get(self, key: str | bytes, default: Any = None) -> Any:
        values = self.get_all(key)
        return ", ".join(values) if values else default

    def _lower_names(self) -> tuple[bytes, ...]:
        if self._names_of is not self.fields:
            self._names = tuple(name.lower() for name, _ in self.fields)
            self._names_of = self.fields
        return self._names


@lru_cache(maxsize=1024)
def _lower(name: str | bytes) -> bytes:
    return (name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name).lower()


class QuickHttp1Server(Http1Server):
    """The client's side of a connection."""

    def read_headers(self, event: events.ConnectionEvent) -> layer.CommandGenerator[None]:
        found = read_request(self.buf) if isinstance(event, events.DataReceived) else None
        if found is None:
            yield from super().read_headers(event)
            return
        self.request, body_size = found
        yield ReceiveHttp(RequestHeaders(self.stream_id, self.request, body_size == 0))
        self.body_reader = make_body_reader(body_size)
        self.state = self.read_body
        yield from self.state(event)


class QuickHttp1Client(Http1Client):
    """The provider's side of a connection."""

    def read_headers(self, event: events.ConnectionEvent) -> layer.CommandGenerator[None]:
        """Interim answers are skipped; stock mitmproxy takes the first of them for the answer itself."""
        request = self.request if isinstance(event, events.DataReceived) else None
        found = read_response(self.buf, request) if request else None
        while request and found and found[0].status_code in _INTERIM:
            found = read_response(self.buf, request)
        if found is None:
            yield from super().read_headers(event)
            return
        assert self.stream_id is not None
        self.response, body_size = found
        yield ReceiveHttp(ResponseHeaders(self.stream_id, self.response, body_size == 0))
        self.body_reader = make_body_reader(body_size)
        self.state = self.read_body
        yield from self.state(event)


def read_request(buffer: ReceiveBuffer) -> tuple[Request, int | None] | None:
    """A request in origin form and the size of its body; ``None``, with nothing taken, where the head is not all there or unusual."""
    head = _peek(buffer)
    if head is None:
        return None
    first_line, fields, size = head
    words = first_line.split()
    if len(words) != 3 or b" ".join(words) != first_line or words[2] != _HTTP11 or not words[1].startswith(b"/"):
        return None
    request = Request.__new__(Request)
    request.data = RequestData.__new__(RequestData)
    vars(request.data).update(_common(fields))
    vars(request.data).update(host="", port=0, method=words[0], scheme=b"", authority=b"", path=words[1])
    try:
        body_size = expected_http_body_size(request)
    except ValueError:
        return None
    buffer.maybe_extract_at_most(size)
    return request, body_size


def read_response(buffer: ReceiveBuffer, request: Request) -> tuple[Response, int | None] | None:
    """The answer to ``request`` and the size of its body; ``None`` as above."""
    head = _peek(buffer)
    if head is None:
        return None
    first_line, fields, size = head
    words = first_line.split(b" ", 2)
    if len(words) != 3 or words[0] != _HTTP11 or len(words[1]) != 3 or not words[1].isdigit():
        return None
    if not words[2] or words[2] != words[2].strip():
        return None
    response = Response.__new__(Response)
    response.data = ResponseData.__new__(ResponseData)
    vars(response.data).update(_common(fields))
    vars(response.data).update(status_code=int(words[1]), reason=words[2])
    try:
        body_size = expected_http_body_size(request, response)
    except ValueError:
        return None
    buffer.maybe_extract_at_most(size)
    return response, body_size


def _common(fields: Fields) -> dict[str, object]:
    headers = QuickHeaders.__new__(QuickHeaders)
    headers.fields = fields
    return {
        "http_version": _HTTP11,
        "headers": headers,
        "content": None,
        "trailers": None,
        "timestamp_start": time.time(),  # noqa: TID251 mitmproxy's own field; nothing of ours reads it
        "timestamp_end": None,
    }


def _peek(buffer: ReceiveBuffer) -> tuple[bytes, Fields, int] | None:
    """First line, header fields, and how many bytes they take.

    Only CRLF ends a line here, and no line is continued: about anything else, parsers differ.
    """
    received = bytes(buffer)
    end = received.find(_HEAD_END)
    if end <= 0:
        return None
    head = received[:end]
    lines = head.split(b"\r\n")
    if not head.count(b"\n") == head.count(b"\r") == len(lines) - 1:
        return None
    fields: list[tuple[bytes, bytes]] = []
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not name or not colon or name[0] in b" \t":
            return None
        fields.append((name, value.strip()))
    return lines[0], tuple(fields), end + len(_HEAD_END)
