"""AWS' binary event stream: cutting bytes into events, in any chunks.

An event is: its length (4 bytes, big-endian), the length of its headers (4), a CRC-32 of these eight bytes, headers,
payload, a CRC-32 of everything before it. A header is a name (length 1 byte), a type (1) and a value; only values of
type 7 (text, length 2 bytes) matter here. (AWS, "Event stream encoding", read November 2026.)

botocore's parser raises on damage and keeps no limit. This one passes over a damaged event, goes on where the next
sound one begins, and says so.
"""

import zlib
from collections.abc import Iterator

from msgspec import Struct

_PRELUDE = 12
_OVERHEAD = 16
_TEXT = 7
_SEARCHED_MAX = 256 << 10
"""The most damaged bytes that are looked through for the next event."""
_FIXED_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of a value by type: true, false, byte, short, int, long, timestamp, uuid."""
_COUNTED = (6, _TEXT)
"""Types whose value follows its length: bytes and text."""


class Frame(Struct, frozen=True, kw_only=True):
    """One event. ``name``: its event or exception type."""

    name: str
    payload: bytes


class FrameCutter:
    """Collects bytes and gives back whole events. Damaged ones and those above ``limit`` are passed over."""

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._held = bytearray()
        self._skip = 0
        self._searched = 0
        self.has_dropped = False
        self.is_damaged = False

    @property
    def has_rest(self) -> bool:
        """Whether an event has begun that is not whole."""
        return bool(self._held) or self._skip > 0

    def feed(self, chunk: bytes) -> list[Frame]:
        """The events that are whole now, in order."""
        if self._searched > _SEARCHED_MAX:
            return []
        held = self._held
        held += chunk
        frames: list[Frame] = []
        position = 0
        while (position := self._skipped(position)) + _PRELUDE <= len(held):
            size = self._size_at(position)
            if size is None:
                position = self._next_start(position)
            elif size > self._limit:
                self.has_dropped, self._skip = True, size
            elif position + size > len(held):
                break
            else:
                frames += self._frame(bytes(held[position : position + size]))
                position += size
        del held[:position]
        return frames

    def _skipped(self, position: int) -> int:
        passed = min(self._skip, len(self._held) - position)
        self._skip -= passed
        return position + passed

    def _size_at(self, position: int) -> int | None:
        """The size of the event that begins here; ``None`` where none can."""
        prelude = bytes(self._held[position : position + _PRELUDE])
        size, headers = int.from_bytes(prelude[:4]), int.from_bytes(prelude[4:8])
        is_sound = headers + _OVERHEAD <= size and zlib.crc32(prelude[:8]) == int.from_bytes(prelude[8:])
        return size if is_sound else None

    def _next_start(self, position: int) -> int:
        """Where another event may begin after a damaged one: its first byte is 0. Given up after a while."""
        self.is_damaged = True
        found = self._held.find(b"\0", position + 1)
        after = found if found >= 0 else len(self._held)
        self._searched += after - position
        return after if self._searched <= _SEARCHED_MAX else len(self._held)

    def _frame(self, event: bytes) -> Iterator[Frame]:
        if zlib.crc32(event[:-4]) != int.from_bytes(event[-4:]):
            self.is_damaged = True
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
