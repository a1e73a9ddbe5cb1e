"""The reader that all wire formats share: client's bytes on the one side, a decoded and framed copy on the other.

Feeding costs next to nothing: a chunk is put on a pile, and the pile is decoded, cut and looked through when it has
``_BLOCK_BYTES`` or when somebody asks for the reading. So a stream of small deltas is searched a block at a time, and
at most one block, one unfinished event and a few found events are in memory.
"""

from collections.abc import Callable

from msgspec.structs import replace

from lava_proxy.core.usage import NO_USAGE, Reading
from lava_proxy.dialects.decoding import decoder_for
from lava_proxy.dialects.framing import LARGEST_BODY_BYTES, Body, Interpreter, Shape
from lava_proxy.dialects.taking_out import UsageEventTaker

_BLOCK_BYTES = 64 << 10
_USUAL = Shape()


def as_read(reading: Reading) -> Reading:
    """For wires where the body says everything."""
    return reading


class AnswerReader:
    """Reads one answer with an interpreter of its wire format (see ``base.Reader``)."""

    def __init__(
        self,
        interpreter: Interpreter,
        *,
        content_encoding: str,
        take_out_usage: bool,
        reads_ends_from: int = LARGEST_BODY_BYTES,
        shape: Shape = _USUAL,
        is_media: bool = False,
        completed: Callable[[Reading], Reading] = as_read,
    ) -> None:
        """``completed`` adds what headers and request tell to a reading."""
        self._interpreter = interpreter
        self._decoder = decoder_for(content_encoding)
        self._body = Body(reads_ends_from=reads_ends_from, shape=shape, is_media=is_media)
        self._completed = completed
        self._taker = UsageEventTaker() if take_out_usage and _is_identity(content_encoding) else None
        self._pile: list[bytes] = []
        self._pile_size = 0
        self._is_over = False
        self._last_reading: Reading | None = None

    def feed(self, chunk: bytes) -> bytes:
        """Take ``chunk`` as it came; give what goes on to the client."""
        if chunk and not self._is_over:
            self._pile.append(chunk)
            self._pile_size += len(chunk)
            if self._pile_size >= _BLOCK_BYTES:
                self._digest()
        return chunk if self._taker is None else self._taker.feed(chunk)

    def finish(self) -> bytes:
        """The client's bytes that are still held back, once no more will come."""
        self._is_over = True
        return b"" if self._taker is None else self._taker.finish()

    def reading(self) -> Reading:
        """What was found so far."""
        if self._last_reading is not None:
            return self._last_reading
        self._digest()
        if self._decoder.has_failed:
            return self._completed(Reading(usage=NO_USAGE, flags=("decode_failed",)))
        if not self._is_over:
            return self._read_with(self._interpreter.copy())
        self._last_reading = self._read_with(self._interpreter)
        return self._last_reading

    def _read_with(self, interpreter: Interpreter) -> Reading:
        """The reading when the body ends here: ``interpreter`` is given what is still held back."""
        self._body.finish(interpreter)
        found = self._completed(interpreter.reading())
        flags = tuple(self._body.flags(is_over=self._is_over))
        return replace(found, flags=(*flags, *found.flags)) if flags else found

    def _digest(self) -> None:
        if not self._pile:
            return
        block = b"".join(self._pile)
        self._pile.clear()
        self._pile_size = 0
        for piece in self._decoder.decode(block):
            self._body.feed(piece, self._interpreter)


def _is_identity(content_encoding: str) -> bool:
    return content_encoding.strip().lower() in ("", "identity")
