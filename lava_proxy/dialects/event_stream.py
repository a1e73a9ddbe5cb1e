"""AWS' binary event stream: cutting bytes into events, in any chunks.

An event is: its length (4 bytes, big-endian), the length of its headers (4), a CRC-32 of these eight bytes, headers,
payload, a CRC-32 of everything before it. A header is a name (length 1 byte), a type (1) and a value; only values of
type 7 (text, length 2 bytes) matter here. (AWS, "Event stream encoding", read November 2026.)

botocore's parser raises on damage and keeps no limit; this one stops reading and says so.
"""

import zlib
from collections.abc import Iterator

from msgspec import Struct

_PRELUDE = 12
_OVERHEAD = 16
_TEXT = 7
_FIXED_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of a value by type: true, false, byte, short, int, long, timestamp, uuid."""
_COUNTED = (6, _TEXT)
"""Types whose value follows its length: bytes and text."""


class Frame(Struct, frozen=True, kw_only=True):
    """One event. ``name``: its event or exception type."""

    name: str
    payload: bytes


class FrameCutter:
    """Collects bytes and gives back whole events. After a damaged one nothing more is read; above ``limit``: skipped."""

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._held = bytearray()
        self._skip = 0
        self.has_dropped = False
        self.is_broken = False

    @property
    def has_rest(self) -> bool:
        """Whether an event has begun that is not whole."""
        return bool(self._held) or self._skip > 0

    def feed(self, chunk: bytes) -> list[Frame]:
        """The events that are whole now, in order."""
        frames: list[Frame] = []
        held = self._held
        held += chunk
        position = 0
        while not self.is_broken:
            if self._skip:
                passed = min(self._skip, len(held) - position)
                self._skip -= passed
                position += passed
            if len(held) - position < _PRELUDE:
                break
            size = self._size_at(position)
            if size is None or len(held) - position < size:
                if self._skip:
                    continue
                break
            frames += self._frame(bytes(held[position : position + size]))
            position += size
        if self.is_broken:
            held.clear()
        else:
            del held[:position]
        return frames

    def _size_at(self, position: int) -> int | None:
        """The size of the event that begins here; ``None`` where it is damaged or too large to be kept."""
        prelude = bytes(self._held[position : position + _PRELUDE])
        size, headers = int.from_bytes(prelude[:4]), int.from_bytes(prelude[4:8])
        if zlib.crc32(prelude[:8]) != int.from_bytes(prelude[8:]) or headers + _OVERHEAD > size:
            self.is_broken = True
            return None
        if size > self._limit:
            self.has_dropped, self._skip = True, size
            return None
        return size

    def _frame(self, event: bytes) -> Iterator[Frame]:
        if zlib.crc32(event[:-4]) != int.from_bytes(event[-4:]):
            self.is_broken = True
            return
        end = _PRELUDE + int.from_bytes(event[4:8])
        texts = dict(_texts(event[_PRELUDE:end]))
        name = texts.get(":event-type") or texts.get(":exception-type") or texts.get(":error-code") or ""
        yield Frame(name=name, payload=event[end:-4])


def _texts(headers: bytes) -> Iterator[tuple[str, str]]:
    position = 0
    while position < len(headers):
        name_end = position + 1 + headers[position]
        name = headers[position + 1 : name_end].decode("utf-8", "replace")
        kind = headers[name_end] if name_end < len(headers) else -1
        start = name_end + 1
        if kind in _FIXED_SIZES:
            position = start + _FIXED_SIZES[kind]
        elif kind in _COUNTED:
            position = start + 2 + int.from_bytes(headers[start : start + 2])
            if kind == _TEXT:
                yield name, headers[start + 2 : position].decode("utf-8", "replace")
        else:
            return
