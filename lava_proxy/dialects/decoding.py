"""Undoing an answer's content encoding for the reader's copy, as the bytes come in. The client's bytes are never touched.

What a decoder gives is a function of the bytes it was fed, whatever the chunks; once something cannot be decoded,
``has_failed`` is true and nothing more comes out. Output comes in pieces of bounded size, so that a small body that
unpacks to a huge one costs time, not memory.
"""

import zlib
from collections.abc import Iterator
from typing import Protocol

import brotli
import zstandard

_PIECE = 1 << 20
_ZSTD_SLICE = 1 << 10
"""zstd knows no output limit per call: its input is fed in slices this small instead (a block unpacks to ≤ 128 KiB)."""

_GZIP_MAGIC = b"\x1f\x8b"
_TEXT_STARTS = b"{[ \t\r\nde:"


class Decoder(Protocol):
    """Undoes one content encoding."""

    @property
    def has_failed(self) -> bool: ...

    def decode(self, chunk: bytes, /) -> Iterator[bytes]: ...


def decoder_for(content_encoding: str) -> Decoder:
    """The decoder for a Content-Encoding header; several encodings are undone last first."""
    names = [name.strip().lower() for name in content_encoding.split(",")]
    names = [name for name in names if name not in ("", "identity", "none", "utf-8")]
    decoders = [_decoder_named(name) for name in reversed(names)]
    if not decoders:
        return Plain()
    return decoders[0] if len(decoders) == 1 else Chained(decoders)


def _decoder_named(name: str) -> Decoder:
    if name in ("gzip", "x-gzip", "deflate"):
        return Zlib(name.removeprefix("x-"))
    if name == "br":
        return Brotli()
    if name in ("zstd", "zst"):
        return Zstandard()
    return Unknown()


class Plain:
    """No encoding."""

    has_failed = False

    def decode(self, chunk: bytes, /) -> Iterator[bytes]:
        yield chunk


class Unknown:
    """An encoding that we cannot read."""

    has_failed = True

    def decode(self, _chunk: bytes, /) -> Iterator[bytes]:
        return iter(())


class Zlib:
    """gzip, and deflate with or without zlib's header: the first two bytes tell.

    Some servers announce gzip and send plain text: what does not begin as gzip but as text is passed as it is.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._start = b""
        self._chosen: Decoder | None = None

    @property
    def has_failed(self) -> bool:
        return self._chosen is not None and self._chosen.has_failed

    def decode(self, chunk: bytes, /) -> Iterator[bytes]:
        if self._chosen is None:
            chunk = self._start = self._start + chunk
            if len(chunk) < 2:
                return iter(())
            self._chosen = _zlib_decoder(self._name, chunk)
        return self._chosen.decode(chunk)


def _zlib_decoder(name: str, start: bytes) -> Decoder:
    if start.startswith(_GZIP_MAGIC):
        return Inflate(31)
    if name == "deflate":
        has_header = start[0] & 0x0F == 8 and int.from_bytes(start[:2]) % 31 == 0
        return Inflate(15 if has_header else -15)
    return Plain() if start[0] in _TEXT_STARTS else Unknown()


class Inflate:
    """zlib's formats by window bits: 31 is gzip, of which several members may follow each other."""

    def __init__(self, window_bits: int) -> None:
        self.has_failed = False
        self._window_bits = window_bits
        self._inflater = zlib.decompressobj(window_bits)
        self._after = b""

    def decode(self, chunk: bytes, /) -> Iterator[bytes]:
        while chunk and not self.has_failed:
            if self._inflater.eof and not self._begins_member(chunk):
                return
            chunk, self._after = self._after + chunk, b""
            yield from self._inflate(chunk)
            chunk = self._inflater.unused_data

    def _begins_member(self, chunk: bytes) -> bool:
        """Whether another gzip member follows; what else follows is ignored."""
        after = self._after + chunk
        if len(after) < 2 or not after.startswith(_GZIP_MAGIC) or self._window_bits != 31:
            self._after = after[:2]
            return False
        self._inflater = zlib.decompressobj(self._window_bits)
        return True

    def _inflate(self, chunk: bytes) -> Iterator[bytes]:
        inflater = self._inflater
        try:
            is_full = False
            while (chunk or is_full) and not inflater.eof:
                piece = inflater.decompress(chunk, _PIECE)
                yield piece
                chunk, is_full = inflater.unconsumed_tail, len(piece) == _PIECE
        except zlib.error:
            self.has_failed = True


class Brotli:
    """br. Bytes after its end are an error to the library, wherever the chunks are cut."""

    def __init__(self) -> None:
        self.has_failed = False
        self._decompressor = brotli.Decompressor()

    def decode(self, chunk: bytes, /) -> Iterator[bytes]:
        if self._decompressor.is_finished():
            self.has_failed = self.has_failed or chunk != b""
        if self.has_failed:
            return
        try:
            piece = self._decompressor.process(chunk, output_buffer_limit=_PIECE)
            while piece:
                yield piece
                if self._decompressor.is_finished():
                    return
                piece = self._decompressor.process(b"", output_buffer_limit=_PIECE)
        except brotli.error:
            self.has_failed = True


class Zstandard:
    """zstd, one frame; what follows it is ignored."""

    def __init__(self) -> None:
        self.has_failed = False
        self._decompressor = zstandard.ZstdDecompressor().decompressobj()

    def decode(self, chunk: bytes, /) -> Iterator[bytes]:
        try:
            for start in range(0, len(chunk), _ZSTD_SLICE):
                if self.has_failed or self._decompressor.eof:
                    return
                yield self._decompressor.decompress(chunk[start : start + _ZSTD_SLICE])
        except zstandard.ZstdError:
            self.has_failed = True


class Chained:
    """Several encodings, one inside the other; the outermost first."""

    def __init__(self, decoders: list[Decoder]) -> None:
        self._decoders = decoders

    @property
    def has_failed(self) -> bool:
        return any(decoder.has_failed for decoder in self._decoders)

    def decode(self, chunk: bytes, /) -> Iterator[bytes]:
        yield from self._through(iter((chunk,)), 0)

    def _through(self, chunks: Iterator[bytes], level: int) -> Iterator[bytes]:
        if level == len(self._decoders):
            yield from chunks
            return
        for chunk in chunks:
            yield from self._through(self._decoders[level].decode(chunk), level + 1)
