"""Server-sent events: cutting a byte stream into events, whatever its line ends (LF, CRLF, CR) and chunks.

An event ends with an empty line. Bytes are kept as they came; an event's lines are looked at only where somebody wants
its JSON. (WHATWG HTML, "Server-sent events", §9.2.5 and §9.2.6.)
"""

import re
from collections.abc import Iterator

from lava_proxy.dialects.json_text import JsonObject, parse_object

_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r|\n\r\n")
_OVERLAP = 3
"""The longest event end, less one byte: it may begin in the bytes that came before."""


class EventCutter:
    """Collects bytes and gives back whole events. An event larger than ``limit`` bytes is dropped.

    >>> cutter = EventCutter(limit=1000)
    >>> cutter.feed(b"data: 1\\n\\ndata: 2")
    [b'data: 1']
    >>> cutter.rest()
    b'data: 2'
    """

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._last = b""
        self._is_oversized = False
        self.has_dropped = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events that are whole now, in order, without the empty lines between them."""
        end = _last_event_end(self._last + chunk) - len(self._last)
        if end <= 0:
            self._keep(chunk)
            return []
        whole = b"".join(self._parts) + chunk[:end]
        was_oversized = self._is_oversized
        self._parts, self._size, self._last, self._is_oversized = [], 0, b"", False
        self._keep(chunk[end:])
        return self._cut(whole, was_oversized)

    def rest(self) -> bytes:
        """The bytes after the last whole event."""
        return b"" if self._is_oversized else b"".join(self._parts)

    def _keep(self, chunk: bytes) -> None:
        if not self._parts:
            chunk = chunk.lstrip(b"\r\n")  # more of the empty lines between events
        if not chunk:
            return
        self._parts.append(chunk)
        self._size += len(chunk)
        self._last = (self._last + chunk)[-_OVERLAP:]
        if self._size > self._limit + _OVERLAP:
            self._is_oversized = self.has_dropped = True
            self._parts, self._size = [self._last], len(self._last)

    def _cut(self, whole: bytes, was_oversized: bool) -> list[bytes]:
        pieces = whole.split(b"\n\n") if b"\r" not in whole else _EVENT_END.split(whole)
        if was_oversized:
            pieces = pieces[1:]
        if len(whole) > self._limit and any(len(piece) > self._limit for piece in pieces):
            self.has_dropped = True
            pieces = [piece for piece in pieces if len(piece) <= self._limit]
        return [piece for piece in pieces if piece]


def payload_of(event: bytes) -> bytes:
    """What the ``data:`` lines of ``event`` say, joined by line feeds."""
    if b"\n" not in event and b"\r" not in event:
        return _value(event) if event.startswith(b"data:") else b""
    return b"\n".join(_data_lines(event))


def objects_of(event: bytes) -> Iterator[JsonObject]:
    """The JSON objects of ``event``: one, or one for each line where a server forgot the empty lines between events."""
    whole = parse_object(payload_of(event))
    if whole is not None:
        yield whole
        return
    lines = _data_lines(event)
    if len(lines) > 1:
        for line in lines:
            if (found := parse_object(line)) is not None:
                yield found


def _data_lines(event: bytes) -> list[bytes]:
    return [_value(line) for line in event.splitlines() if line.startswith(b"data:")]


def _value(line: bytes) -> bytes:
    return line[6:] if line[5:6] == b" " else line[5:]


def _last_event_end(window: bytes) -> int:
    """Where the last whole event in ``window`` ends; 0 where none does."""
    found = window.rfind(b"\n\n")
    end = found + 2 if found >= 0 else 0
    if b"\r" in window:
        for mark in (b"\r\n\r\n", b"\r\r", b"\n\r\n"):
            if (found := window.rfind(mark)) >= 0:
                end = max(end, found + len(mark))
    return end
