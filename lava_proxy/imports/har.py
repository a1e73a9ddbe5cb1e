"""HAR files (HTTP Archive 1.2), as browsers and proxies write them.

The file is one JSON document, and may be large: its entries are cut out of the array one by one as it is read. Bodies
are decoded already, binary ones are base64.
"""

import hashlib
from base64 import b64decode
from collections.abc import Iterator
from datetime import datetime
from typing import BinaryIO

import msgspec

from lava_proxy.core.recorded import Headers, Recorded, Unreadable
from lava_proxy.dialects.json_array import ArrayCutter

_CHUNK = 1 << 18
_ENTRY_BYTES_MAX = 256 << 20
_HEAD_BYTES_MAX = 16 << 20
"""What stands before the entries: the pages. More than this is no HAR."""


class _Header(msgspec.Struct):
    name: str
    value: str = ""


class _PostData(msgspec.Struct):
    text: str = ""
    encoding: str = ""


class _Request(msgspec.Struct):
    method: str
    url: str
    headers: list[_Header] = []
    postData: _PostData | None = None  # noqa: N815 HAR's own name


class _Content(msgspec.Struct):
    text: str = ""
    encoding: str = ""


class _Response(msgspec.Struct):
    status: int
    headers: list[_Header] = []
    content: _Content = msgspec.field(default_factory=_Content)


class _Entry(msgspec.Struct):
    request: _Request
    response: _Response
    startedDateTime: str = ""  # noqa: N815 HAR's own name


_DECODER = msgspec.json.Decoder(_Entry, strict=False)


def read_har(stream: BinaryIO) -> Iterator[Recorded | Unreadable]:
    """The entries of a HAR file."""
    start = _to_entries(stream)
    if start is None:
        yield Unreadable(line=1, why='is no HAR: it has no "entries"')
        return
    cutter = ArrayCutter(limit=_ENTRY_BYTES_MAX)
    number, chunk = 0, start
    while chunk and not cutter.is_closed:
        for text in cutter.feed(chunk):
            number += 1
            yield _read(number, text)
        chunk = stream.read(_CHUNK)
    if not cutter.is_closed:
        yield Unreadable(line=number + 1, why="the file ends in the middle of its entries")
    if cutter.has_dropped:
        yield Unreadable(line=number, why="an entry is longer than 256 MiB and was left out")


def _to_entries(stream: BinaryIO) -> bytes | None:
    """The bytes from the entries' opening bracket on, as far as they were read."""
    head = b""
    while len(head) < _HEAD_BYTES_MAX and (chunk := stream.read(_CHUNK)):
        head += chunk
        found = head.find(b'"entries"')
        bracket = head.find(b"[", found) if found >= 0 else -1
        if bracket >= 0 and head[found + 9 : bracket].strip() == b":":
            return head[bracket:]
    return None


def _read(number: int, text: bytes) -> Recorded | Unreadable:
    try:
        entry = _DECODER.decode(text)
        request, response = entry.request, entry.response
        post = request.postData or _PostData()
        return Recorded(
            recording_id=hashlib.sha256(text).hexdigest()[:32],
            line=number,
            method=request.method.upper(),
            url=request.url,
            request_headers=_headers(request.headers),
            request_body=_body(post.text, post.encoding),
            status=response.status,
            response_headers=_headers(response.headers),
            response_body=_body(response.content.text, response.content.encoding),
            at_us=_instant(entry.startedDateTime),
        )
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError) as error:
        return Unreadable(line=number, why=str(error) or "is no entry")


def _body(text: str, encoding: str) -> bytes:
    return b64decode(text) if encoding == "base64" else text.encode("utf-8", "surrogatepass")


def _headers(given: list[_Header]) -> Headers:
    return tuple((header.name.lower(), header.value) for header in given)


def _instant(text: str) -> int | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if at.tzinfo is None else round(at.timestamp() * 1_000_000)
