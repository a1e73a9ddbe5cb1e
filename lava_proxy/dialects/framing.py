"""How an answer's bytes are framed: JSON in one document or many, an array in pieces, events of one kind or another.

The bytes decide, not the content type: providers send events as ``application/json``, documents after blank lines, and
JSON errors as ``text/event-stream``. ``{`` begins a document (or the first of several, see ``Shape``), ``[`` an array,
a zero AWS' binary events, anything else is read as server-sent events; but audio and pictures are not looked into.
"""

from collections.abc import Iterator
from typing import Protocol, Self

from msgspec import Struct

from lava_proxy.core.usage import Reading
from lava_proxy.dialects.event_stream import FrameCutter
from lava_proxy.dialects.json_array import ArrayCutter
from lava_proxy.dialects.json_text import BYTE_ORDER_MARK, JsonObject, parse_object
from lava_proxy.dialects.sse import EventCutter

LARGEST_BODY_BYTES = 32 << 20
"""The most that is kept of one document, event or array element."""

_TAIL_BYTES = 256 << 10
_HEAD_BYTES = 16 << 10


class Interpreter(Protocol):
    """What a wire format makes of an answer's pieces; it holds what was found so far."""

    def events(self, events: list[bytes]) -> None:
        """The next whole server-sent events, raw."""

    def element(self, element: JsonObject) -> None:
        """The next element of a streamed array."""

    def array_end(self) -> None:
        """The streamed array was closed."""

    def document(self, document: JsonObject) -> None:
        """The whole answer."""

    def fragment(self, text: bytes) -> None:
        """What there is of an answer that is not (yet) whole JSON: only its text can be counted."""

    def reading(self) -> Reading: ...

    def copy(self) -> Self: ...


class Shape(Struct, frozen=True, kw_only=True):
    """What a wire's bodies may be beside documents, arrays and server-sent events."""

    has_objects: bool = False
    """Several JSON objects may follow each other."""
    has_frames: bool = False
    """AWS' binary events."""
    has_media: bool = False
    """Audio or pictures, where the content type says so: nothing in them is read."""


class Framing(Protocol):
    """Cuts a body into an interpreter's pieces."""

    def feed(self, chunk: bytes, interpreter: Interpreter, /) -> None: ...

    def finish(self, interpreter: Interpreter) -> None:
        """Give ``interpreter`` (a copy) what is still held back."""

    def flags(self, *, is_over: bool) -> Iterator[str]: ...


class Body:
    """A framing chosen by the first bytes that are not white space."""

    def __init__(self, *, reads_ends_from: int, shape: Shape, is_media: bool) -> None:
        self._reads_ends_from = reads_ends_from
        self._shape = shape
        self._is_media = is_media
        self._start = b""
        self._framing: Framing | None = None

    def feed(self, chunk: bytes, interpreter: Interpreter) -> None:
        if self._framing is None:
            chunk = self._choose(chunk)
        if self._framing is not None:
            self._framing.feed(chunk, interpreter)

    def finish(self, interpreter: Interpreter) -> None:
        if self._framing is not None:
            self._framing.finish(interpreter)

    def flags(self, *, is_over: bool) -> Iterator[str]:
        if self._framing is not None:
            yield from self._framing.flags(is_over=is_over)

    def _choose(self, chunk: bytes) -> bytes:
        if self._is_media:
            self._framing = Opaque()
            return chunk
        if self._shape.has_frames and not self._start and chunk.startswith(b"\0"):
            self._framing = Frames()
            return chunk
        start = (self._start + chunk).lstrip().removeprefix(BYTE_ORDER_MARK).lstrip()
        if not start or (len(start) < 3 and BYTE_ORDER_MARK.startswith(start)):
            self._start = start
            return b""
        if start[0] == 0x7B and self._shape.has_objects:
            self._framing = Objects()
        elif start[0] == 0x7B:
            self._framing = Document(reads_ends_from=self._reads_ends_from)
        elif start[0] == 0x5B:
            self._framing = Array()
        else:
            self._framing = Events()
        return start


class Events:
    """Server-sent events."""

    def __init__(self) -> None:
        self._cutter = EventCutter(limit=LARGEST_BODY_BYTES)
        self._has_data = False

    def feed(self, chunk: bytes, interpreter: Interpreter) -> None:
        events = self._cutter.feed(chunk)
        if events:
            self._has_data = self._has_data or any(b"data:" in event for event in events)
            interpreter.events(events)

    def finish(self, interpreter: Interpreter) -> None:
        if rest := self._cutter.rest():
            interpreter.events([rest])

    def flags(self, *, is_over: bool) -> Iterator[str]:
        if self._cutter.has_dropped:
            yield "body_too_large"
        if is_over and not self._has_data and b"data:" not in self._cutter.rest():
            yield "malformed_body"


class Array:
    """A JSON array whose elements come one after the other."""

    def __init__(self) -> None:
        self._cutter = ArrayCutter(limit=LARGEST_BODY_BYTES)
        self._is_malformed = False

    def feed(self, chunk: bytes, interpreter: Interpreter) -> None:
        was_closed = self._cutter.is_closed
        for element in self._cutter.feed(chunk):
            if (found := parse_object(element)) is not None:
                interpreter.element(found)
            else:
                self._is_malformed = True
        if self._cutter.is_closed and not was_closed:
            interpreter.array_end()

    def finish(self, interpreter: Interpreter) -> None:
        """An unfinished element is no answer."""

    def flags(self, *, is_over: bool) -> Iterator[str]:
        if self._cutter.has_dropped:
            yield "body_too_large"
        if self._is_malformed or (is_over and not self._cutter.is_closed):
            yield "malformed_body"


class Objects:
    """JSON objects that follow each other: one a line, or as they come."""

    def __init__(self) -> None:
        self._cutter = ArrayCutter(limit=LARGEST_BODY_BYTES, depth=0)
        self._is_malformed = False

    def feed(self, chunk: bytes, interpreter: Interpreter, /) -> None:
        for element in self._cutter.feed(chunk):
            if (found := parse_object(element)) is not None:
                interpreter.element(found)
            else:
                self._is_malformed = True

    def finish(self, interpreter: Interpreter) -> None:
        """An unfinished object is no answer."""

    def flags(self, *, is_over: bool) -> Iterator[str]:
        if self._cutter.has_dropped:
            yield "body_too_large"
        if self._is_malformed or (is_over and not self._cutter.is_between):
            yield "malformed_body"


class Frames:
    """AWS' binary event stream. An event is given as an object with its type as the only key."""

    def __init__(self) -> None:
        self._cutter = FrameCutter(limit=LARGEST_BODY_BYTES)

    def feed(self, chunk: bytes, interpreter: Interpreter, /) -> None:
        for frame in self._cutter.feed(chunk):
            interpreter.element({frame.name: parse_object(frame.payload) or {}})

    def finish(self, interpreter: Interpreter) -> None:
        """Half an event is none."""

    def flags(self, *, is_over: bool) -> Iterator[str]:
        if self._cutter.has_dropped:
            yield "body_too_large"
        if self._cutter.is_damaged or (is_over and self._cutter.has_rest):
            yield "malformed_body"


class Opaque:
    """Bytes that nobody reads."""

    def feed(self, chunk: bytes, interpreter: Interpreter, /) -> None: ...

    def finish(self, interpreter: Interpreter) -> None:
        """There is nothing to give."""

    def flags(self, *, is_over: bool) -> Iterator[str]:  # noqa: ARG002  they are as good as any
        return iter(())


class Document:
    """One JSON document, kept whole up to a limit; above it only its end is kept, where usage most often stands.

    ``reads_ends_from``: a document from this size on is not parsed as a whole if its ends suffice (embeddings are
    megabytes of numbers between a model's name and 50 bytes of usage).
    """

    def __init__(self, *, reads_ends_from: int) -> None:
        self._reads_ends_from = reads_ends_from
        self._parts: list[bytes] = []
        self._size = 0
        self._head = b""
        self._found: tuple[int, JsonObject | None] = (0, None)

    def feed(self, chunk: bytes, _interpreter: Interpreter, /) -> None:
        if len(self._head) < _HEAD_BYTES:
            self._head += chunk[: _HEAD_BYTES - len(self._head)]
        self._parts.append(chunk)
        self._size += len(chunk)
        if self._size > LARGEST_BODY_BYTES and sum(map(len, self._parts)) > 8 * _TAIL_BYTES:
            self._parts = [self._tail()]

    def finish(self, interpreter: Interpreter) -> None:
        document = self._parsed()
        if document is not None:
            interpreter.document(document)
        elif self._size <= LARGEST_BODY_BYTES:
            interpreter.fragment(b"".join(self._parts))

    def flags(self, *, is_over: bool) -> Iterator[str]:
        if self._size > LARGEST_BODY_BYTES:
            yield "body_too_large"
        elif is_over and self._parsed() is None:
            yield "malformed_body"

    def _parsed(self) -> JsonObject | None:
        if self._found[0] != self._size:
            self._found = (self._size, self._parse())
        return self._found[1]

    def _parse(self) -> JsonObject | None:
        if self._size >= self._reads_ends_from or self._size > LARGEST_BODY_BYTES:
            ends = ends_of(self._head, self._tail())
            if ends is not None or self._size > LARGEST_BODY_BYTES:
                return ends
        return parse_object(b"".join(self._parts))

    def _tail(self) -> bytes:
        return b"".join(self._parts)[-_TAIL_BYTES:]


def ends_of(head: bytes, tail: bytes) -> JsonObject | None:
    """The first and last members of a large root object, from its first and last bytes; ``None`` if no usage is there.

    Exact, not a guess: the members before ``"data"`` must, closed by a brace, be a JSON object, and what begins with a
    key and runs to the end must, opened by a brace, be one too; only members of the root can be.
    """
    first = parse_object(head.partition(b'"data"')[0].rstrip().removesuffix(b",") + b"}") or {}
    for key in (b'"model"', b'"usage"'):
        start = tail.rfind(key)
        last = parse_object(b"{" + tail[start:]) if start >= 0 else None
        if last is not None and "usage" in last:
            return {**first, **last}
    return first if "usage" in first else None
