"""Recordings in JSON lines: one exchange a line.

Read are ``id``, ``method``, ``url``, ``request_headers``, ``request_body``, ``request_body_b64``, ``status``,
``response_headers``, ``response_body``, ``response_body_b64``; other fields are passed over. Bodies are decoded
already: a content-encoding header that remained is not believed.
"""

import hashlib
from base64 import b64decode
from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from lava_proxy.core.recorded import Headers, Recorded, Unreadable

LINE_BYTES_MAX = 256 << 20
_GOT_AWAY = "is longer than 256 MiB"


class _Line(msgspec.Struct, kw_only=True):
    url: str
    id: str | int | None = None
    method: str = "POST"
    request_headers: dict[str, str | None] | list[tuple[str, str]] | None = None
    request_body: str | None = None
    request_body_b64: bool = False
    status: int = 200
    response_headers: dict[str, str | None] | list[tuple[str, str]] | None = None
    response_body: str | None = None
    response_body_b64: bool = False


_DECODER = msgspec.json.Decoder(_Line, strict=False)


def read_lines(stream: BinaryIO) -> Iterator[Recorded | Unreadable]:
    """The exchanges of a file of lines; empty lines are none."""
    number = 0
    while text := stream.readline(LINE_BYTES_MAX):
        number += 1
        if len(text) == LINE_BYTES_MAX and not text.endswith(b"\n"):
            _skip_line(stream)
            yield Unreadable(line=number, why=_GOT_AWAY)
        elif text.strip():
            yield _read(number, text)


def _skip_line(stream: BinaryIO) -> None:
    while (rest := stream.readline(1 << 20)) and not rest.endswith(b"\n"):
        pass


def _read(number: int, text: bytes) -> Recorded | Unreadable:
    try:
        line = _DECODER.decode(text.removeprefix(b"\xef\xbb\xbf") if number == 1 else text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Unreadable(line=number, why=str(error) or "is no JSON")
    own_id = hashlib.sha256(text).hexdigest()[:32] if line.id in (None, "") else str(line.id)
    try:
        return Recorded(
            recording_id=own_id,
            line=number,
            method=line.method.upper(),
            url=line.url,
            request_headers=_headers(line.request_headers),
            request_body=_body(line.request_body, line.request_body_b64),
            status=line.status,
            response_headers=_headers(line.response_headers),
            response_body=_body(line.response_body, line.response_body_b64),
        )
    except ValueError as error:
        return Unreadable(line=number, why=f"a body is no base64: {error}", recording_id=own_id)


def _body(text: str | None, is_base64: bool) -> bytes:
    if text is None:
        return b""
    return b64decode(text) if is_base64 else text.encode("utf-8", "surrogatepass")


def _headers(given: dict[str, str | None] | list[tuple[str, str]] | None) -> Headers:
    pairs = given.items() if isinstance(given, dict) else given or ()
    return tuple((name.lower(), value) for name, value in pairs if value is not None)
