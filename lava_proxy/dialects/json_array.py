"""JSON values that arrive in pieces: each is given as soon as it is whole.

Gemini streams one array; Ollama and others send one object after the other (a line each, or spread over several).

One look at every byte: the scanner remembers whether it stands in a string and how deep it is, so an element of many
chunks is not scanned again from its beginning.
"""

import re

_OUTSIDE_STRING = re.compile(rb'["{}\[\]]')
_IN_STRING = re.compile(rb'["\\]')


class ArrayCutter:
    """Collects the bytes of one JSON array and gives back its elements that are objects. Larger than ``limit``: dropped.

    ``depth`` 0: there is no array around them; then what stands between the objects is passed over.
    """

    def __init__(self, *, limit: int, depth: int = 1) -> None:
        self._limit = limit
        self._outer = depth
        self._element = bytearray()
        self._depth = 0
        self._is_in_string = False
        self._is_escaped = False
        self._is_oversized = False
        self.has_dropped = False
        self.is_closed = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The elements that are whole now, in order."""
        elements: list[bytes] = []
        start = 0
        position = 0
        while not self.is_closed and (position := self._next_mark(chunk, position)) >= 0:
            mark = chunk[position : position + 1]
            position += 1
            if self._is_in_string or mark == b'"':
                self._is_in_string = not self._is_in_string
            elif mark in b"{[":
                self._depth += 1
                if self._depth == self._outer + 1:
                    start = position - 1
            else:
                self._depth -= 1
                if self._depth == self._outer:
                    self._keep(chunk[start:position])
                    elements += self._take()
                self.is_closed = self._depth < self._outer
        if self._depth > self._outer:
            self._keep(chunk[start:])
        return elements

    @property
    def is_between(self) -> bool:
        """Whether no object has begun that is not whole."""
        return self._depth <= self._outer and not self._is_in_string

    def _next_mark(self, chunk: bytes, position: int) -> int:
        """Where the next bracket or quote stands that means something; -1 where none does."""
        while position < len(chunk):
            if self._is_escaped:
                self._is_escaped = False
                position += 1
                continue
            found = (_IN_STRING if self._is_in_string else _OUTSIDE_STRING).search(chunk, position)
            if found is None:
                return -1
            position = found.start()
            if chunk[position] != 0x5C:
                return position
            self._is_escaped = True
            position += 1
        return -1

    def _keep(self, piece: bytes) -> None:
        if self._is_oversized:
            return
        self._element += piece
        if len(self._element) > self._limit:
            self._is_oversized = self.has_dropped = True
            self._element.clear()

    def _take(self) -> list[bytes]:
        element = bytes(self._element)
        is_whole = not self._is_oversized and element.startswith(b"{")
        self._element.clear()
        self._is_oversized = False
        return [element] if is_whole else []
