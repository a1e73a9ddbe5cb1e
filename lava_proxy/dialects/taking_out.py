"""Taking the usage event that we asked for out of the client's bytes again.

OpenAI's wire sends usage in one more event, whose ``choices`` is an empty list; a client that did not ask for it may
stumble over it. Such an event is removed, with its empty line. Everything else goes on byte for byte: an event with
usage *and* choices, the ``"usage": null`` that the option adds to the other events, comments, Azure's first event (empty
choices, no usage), the closing ``[DONE]``.

What goes on is a function of the bytes, whatever the chunks. Only the incomplete event at the end is held back; and a
lone CR after an event, which may be half of a CRLF.
"""

import re

from lava_proxy.dialects.json_text import as_object, parse_object
from lava_proxy.dialects.sse import payload_of

_EVENT_END = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
_EMPTY_CHOICES = re.compile(rb'"choices"\s*+:\s*+\[\s*+\]')
_LARGEST_HELD_BYTES = 1 << 20
"""No usage event is larger: from here on an unfinished event is let through."""

_OVERLAP = 3
_CARRIAGE_RETURN = 0x0D


class UsageEventTaker:
    """Passes a body on, less its usage events. Does not touch a body that begins as a JSON document."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._is_started = False
        self._is_document = False
        self._is_letting_through = False

    def feed(self, chunk: bytes) -> bytes:
        """What goes on to the client now. The chunk itself, where nothing has to be held back or removed."""
        if not self._is_started:
            self._start(chunk)
        if self._is_document:
            return self._released() + chunk if self._held else chunk
        is_whole = not self._held and not self._is_letting_through and chunk.endswith(b"\n\n")
        if is_whole and _EMPTY_CHOICES.search(chunk) is None:
            return chunk
        return self._cut(chunk)

    def finish(self) -> bytes:
        """What was held back, unless it is the usage event without its empty line."""
        rest = self._released()
        return b"" if not self._is_letting_through and is_usage_event(rest) else rest

    def _released(self) -> bytes:
        held = bytes(self._held)
        self._held.clear()
        return held

    def _start(self, chunk: bytes) -> None:
        first = chunk.lstrip()[:1]
        self._is_started = first != b""
        self._is_document = first in (b"{", b"[")

    def _cut(self, chunk: bytes) -> bytes:
        held = self._held
        search_from = max(len(held) - _OVERLAP, 0)
        held += chunk
        going: list[bytes] = []
        start = 0
        for match in _EVENT_END.finditer(held, search_from):
            end = match.end()
            if end == len(held) and held[-1] == _CARRIAGE_RETURN:
                break
            event = bytes(held[start:end])
            if self._is_letting_through or not is_usage_event(event):
                going.append(event)
            self._is_letting_through = False
            start = end
        del held[:start]
        if len(held) > _LARGEST_HELD_BYTES:
            self._let_through(going)
        return b"".join(going)

    def _let_through(self, going: list[bytes]) -> None:
        """Pass on an event that is too large to be ours, but for its last bytes, where its end may begin."""
        self._is_letting_through = True
        going.append(bytes(self._held[:-_OVERLAP]))
        del self._held[:-_OVERLAP]


def is_usage_event(event: bytes) -> bool:
    """Whether ``event`` carries usage and nothing else: an empty list of choices, and a usage that is not null."""
    if b'"usage"' not in event or len(event) > _LARGEST_HELD_BYTES or _EMPTY_CHOICES.search(event) is None:
        return False
    payload = as_object(parse_object(payload_of(event.strip())))
    return payload.get("choices") == [] and isinstance(payload.get("usage"), dict)
