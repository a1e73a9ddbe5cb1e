"""Requests as a client sends them, each whole: head and body."""

from collections import deque

import httptools
from msgspec import Struct

from lava_proxy.http1.answers import Answer, fault
from lava_proxy.http1.fields import RawFields

HEAD_BYTES_MAX = 256 * 1024
_WEBSOCKET = b"websocket"
_UPGRADE_FIELDS = frozenset({b"upgrade", b"http2-settings"})


class Request(Struct, frozen=True, kw_only=True):
    """One request. ``fields`` are as they came, but for an upgrade to what nobody here reads, which is not asked for."""

    method: bytes
    target: bytes
    fields: RawFields
    body: bytes
    is_http11: bool
    keeps_open: bool
    """Whether the client means to send another on this connection."""
    is_chunked: bool
    wants_websocket: bool

    @property
    def is_head(self) -> bool:
        return self.method == b"HEAD"


class RequestReader:
    """Turns the bytes of one client connection into requests.

    After a request for an upgrade nothing more is read until the answer says how it goes on: ``resume`` or ``release``.
    The methods ``on_…`` are the parser's (llhttp's) way to tell.
    """

    def __init__(self, body_size_limit: int) -> None:
        self.ready: deque[Request] = deque()
        self.fault: Answer | None = None
        """What to answer to what cannot be read; after it, nothing is."""
        self.awaits_continue = False
        """Whether the client waits for 100 before it sends the body."""
        self._limit = body_size_limit
        self._parser = httptools.HttpRequestParser(self)
        self._held: bytes | None = None
        self._upgrade: bytes | None = None
        self._number = 0
        """Of the request that is being read."""
        self._begin()

    @property
    def is_full(self) -> bool:
        """Whether enough has come after a request for an upgrade that is not answered yet."""
        return self._held is not None and len(self._held) > HEAD_BYTES_MAX

    @property
    def is_amid(self) -> bool:
        """Whether a request has begun and has not ended."""
        return self._is_begun

    def feed(self, data: bytes) -> None:
        if self._held is not None:
            self._held += data
            return
        if self.fault is not None:
            return
        counted, number = self._size, self._number
        if not self._has_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._held = data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            self._refuse(400, code="invalid_request", message=f"This is no HTTP/1.1 request: {error}.")
        if self._has_head and self._is_chunked and self._is_begun and number == self._number:
            self._head_bytes += max(len(data) - (self._size - counted), 0)  # sizes of chunks, and trailers
        if self._head_bytes > HEAD_BYTES_MAX + self._size:
            self._refuse(431, code="headers_too_large", message="The request's head is too large.")

    def resume(self) -> None:
        """No upgrade came about: what followed is read as requests."""
        if self._held is None:
            return
        held, self._held = self._held, None
        self._parser = httptools.HttpRequestParser(self)
        self.feed(held)

    def release(self) -> bytes:
        """The upgrade came about: what followed it, unread."""
        held, self._held = self._held, b""
        return held or b""

    def on_message_begin(self) -> None:
        self._begin()
        self._number += 1
        self._is_begun = True

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._has_head:
            return  # a trailer
        value = value.rstrip(b" \t")
        self._fields.append((name, value))
        key = name.lower()
        if key == b"content-length":
            self._length = int(value)
            self._check_size(self._length)
        elif key == b"transfer-encoding":
            self._is_chunked = True
            if value.lower() != b"chunked":
                self._refuse(501, code="invalid_request", message="No transfer coding but chunked is understood.")
        elif key == b"expect":
            self.awaits_continue = value.lower() == b"100-continue"
        elif key == b"upgrade":
            self._upgrade = value.lower()

    def on_headers_complete(self) -> None:
        self._has_head = True
        if self._parser.should_upgrade() and not self._asks_for_websocket():
            # The parser takes what follows for another protocol's, the body with it.
            self._refuse(400, code="invalid_request", message="No upgrade is understood but a GET for a WebSocket.")

    def on_body(self, part: bytes) -> None:
        self._size += len(part)
        self._check_size(self._size)
        if self.fault is None:
            self._body.append(part)

    def on_message_complete(self) -> None:
        self._is_begun = self.awaits_continue = False
        if self.fault is not None:
            return
        fields, upgrade = tuple(self._fields), self._upgrade
        if upgrade is not None and upgrade != _WEBSOCKET:
            fields = tuple(field for field in fields if field[0].lower() not in _UPGRADE_FIELDS)
        body = self._body
        self.ready.append(
            Request(
                method=self._parser.get_method(),
                target=self._target,
                fields=fields,
                body=body[0] if len(body) == 1 else b"".join(body),
                is_http11=self._parser.get_http_version() == "1.1",
                keeps_open=self._parser.should_keep_alive(),
                is_chunked=self._is_chunked,
                wants_websocket=self._parser.should_upgrade(),
            )
        )

    def _begin(self) -> None:
        self._target = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._size = self._head_bytes = self._length = 0
        self._has_head = self._is_begun = self._is_chunked = False
        self._upgrade = None

    def _asks_for_websocket(self) -> bool:
        has_body = self._is_chunked or self._length > 0
        return self._upgrade == _WEBSOCKET and not has_body and self._parser.get_method() == b"GET"

    def _check_size(self, size: int) -> None:
        if size > self._limit and self.fault is None:
            self._body.clear()
            message = f"The request's body is larger than {self._limit} bytes, the limit of this proxy."
            self._refuse(413, code="request_too_large", message=message)

    def _refuse(self, status: int, *, code: str, message: str) -> None:
        self.fault = self.fault or fault(status, code=code, message=message, closes=True)
