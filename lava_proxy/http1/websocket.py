"""WebSocket frames as they pass: only far enough to see a conversation's proper end."""

_CLOSE = 8
_HEAD_BYTES = 2
_MASK_BYTES = 4
_LENGTH_BYTES = {126: 2, 127: 8}


class Frames:
    """One direction of a conversation (RFC 6455, section 5.2)."""

    def __init__(self) -> None:
        self.has_close = False
        """Whether a close frame has passed."""
        self._head = b""
        self._to_skip = 0

    def feed(self, data: bytes) -> None:
        position = 0
        while position < len(data) and not self.has_close:
            if self._to_skip:
                step = min(self._to_skip, len(data) - position)
                self._to_skip -= step
                position += step
                continue
            self._head += data[position : position + 1]
            position += 1
            self._read_head()

    def _read_head(self) -> None:
        if len(self._head) < _HEAD_BYTES:
            return
        length = self._head[1] & 0x7F
        size = _LENGTH_BYTES.get(length, 0)
        if len(self._head) < _HEAD_BYTES + size:
            return
        if size:
            length = int.from_bytes(self._head[_HEAD_BYTES:])
        self.has_close = self._head[0] & 0x0F == _CLOSE
        self._to_skip = length + (_MASK_BYTES if self._head[1] & 0x80 else 0)
        self._head = b""
