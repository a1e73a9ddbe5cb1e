"""How long a sound file lasts, from its own bytes: for providers that charge by the second and do not tell.

Read are WAV, FLAC, Ogg (Vorbis, Opus), MP3, MP4/M4A and WebM, as far as their headers tell; MP3 without a header of its
own is taken for constant bit rate. What cannot be told is ``None``, never a guess. Sources: RFC 3533 (Ogg), RFC 9639
(FLAC), ISO/IEC 14496-12 (MP4), RFC 9559 (Matroska), the Multimedia Programming Interface 1.0 (WAV).
"""

import struct
from collections.abc import Callable, Iterator
from decimal import ROUND_CEILING, Decimal

_LONGEST_SECONDS = 48 * 3600
_SCANNED = 64 << 10
_MP3_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_MP3_KBITS = {
    (3, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (3, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (3, 3): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (2, 3): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
}
_MP3_KBITS_LOW = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


def seconds_of_sound(body: bytes, name: str = "") -> Decimal | None:
    """The length of the sound in ``body``, to the millisecond, rounded up; ``name`` does not matter if the bytes speak."""
    del name
    try:
        seconds = _reader_for(body)(body)
        if seconds is None or not 0 < seconds <= _LONGEST_SECONDS:
            return None
    except (struct.error, IndexError, ValueError, ArithmeticError):
        return None
    return (seconds * 1000).to_integral_value(ROUND_CEILING) / 1000


def _reader_for(body: bytes) -> Callable[[bytes], Decimal | None]:
    if body.startswith(b"RIFF") and body[8:12] == b"WAVE":
        return _wav
    if body.startswith(b"fLaC"):
        return _flac
    if body.startswith(b"OggS"):
        return _ogg
    if body[4:8] == b"ftyp":
        return _mp4
    if body.startswith(b"\x1a\x45\xdf\xa3"):
        return _webm
    if body.startswith((b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2", b"\xff\xfa", b"\xff\xe3")):
        return _mp3
    return _nothing


def _nothing(_: bytes) -> Decimal | None:
    return None


def _ratio(count: int, per_second: int) -> Decimal:
    return Decimal(count) / Decimal(per_second)


def _wav(body: bytes) -> Decimal | None:
    """Bytes of samples by bytes a second. Who streams does not know the size and writes one that is larger than the file."""
    position, byte_rate = 12, 0
    while position + 8 <= len(body):
        kind, size = body[position : position + 4], int.from_bytes(body[position + 4 : position + 8], "little")
        if kind == b"fmt ":
            (byte_rate,) = struct.unpack_from("<I", body, position + 16)
        if kind == b"data":
            return _ratio(min(size, len(body) - position - 8), byte_rate)
        position += 8 + size + (size & 1)
    return None


def _flac(body: bytes) -> Decimal | None:
    packed = int.from_bytes(body[18:26])
    rate, samples = packed >> 44, packed & ((1 << 36) - 1)
    return _ratio(samples, rate)


def _ogg(body: bytes) -> Decimal | None:
    """The last page's position, by the codec's rate; Opus always counts 48,000 a second."""
    last = body.rfind(b"OggS")
    position = int.from_bytes(body[last + 6 : last + 14], "little", signed=True)
    head = body[:_SCANNED]
    if (opus := head.find(b"OpusHead")) >= 0:
        before = int.from_bytes(head[opus + 10 : opus + 12], "little")
        return _ratio(position - before, 48_000)
    vorbis = head.find(b"\x01vorbis")
    if vorbis < 0:
        return None
    return _ratio(position, int.from_bytes(head[vorbis + 12 : vorbis + 16], "little"))


def _mp4(body: bytes) -> Decimal | None:
    movie = next((box for kind, box in _boxes(body) if kind == b"moov"), None)
    header = next((box for kind, box in _boxes(movie or b"") if kind == b"mvhd"), None)
    if header is None:
        return None
    if header[0] == 1:
        scale, length = struct.unpack_from(">IQ", header, 20)
    else:
        scale, length = struct.unpack_from(">II", header, 12)
    return _ratio(length, scale)


def _boxes(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 0
    while position + 8 <= len(body):
        size, kind = int.from_bytes(body[position : position + 4]), body[position + 4 : position + 8]
        head = 8
        if size == 1:
            size, head = int.from_bytes(body[position + 8 : position + 16]), 16
        size = size or len(body) - position
        if size < head:
            return
        yield kind, body[position + head : position + size]
        position += size


def _webm(body: bytes) -> Decimal | None:
    """Segment information: a duration in units of a time scale, by default milliseconds."""
    head = body[:_SCANNED]
    found = head.find(b"\x44\x89")
    if found < 0:
        return None
    size = head[found + 2] & 0x7F
    (duration,) = struct.unpack_from(">d" if size == 8 else ">f", head, found + 3)
    scale_at = head.find(b"\x2a\xd7\xb1")
    scale = 1_000_000
    if scale_at >= 0:
        scale = int.from_bytes(head[scale_at + 4 : scale_at + 4 + (head[scale_at + 3] & 0x7F)])
    return Decimal(str(duration)) * scale / 10**9


def _mp3(body: bytes) -> Decimal | None:
    start = 0
    if body.startswith(b"ID3"):
        size = 0
        for byte in body[6:10]:
            size = size << 7 | byte & 0x7F
        start = 10 + size
    for at in range(start, min(start + _SCANNED, len(body) - 4)):
        if body[at] == 0xFF and body[at + 1] & 0xE0 == 0xE0 and (found := _mp3_frame(body, at)) is not None:
            return found
    return None


def _mp3_frame(body: bytes, at: int) -> Decimal | None:
    """The whole file's length by its first frame: from its own count of frames, else from its bit rate."""
    version, layer = body[at + 1] >> 3 & 3, 4 - (body[at + 1] >> 1 & 3)
    step, rate_index = body[at + 2] >> 4, body[at + 2] >> 2 & 3
    if version == 1 or layer == 4 or step in (0, 15) or rate_index == 3:
        return None
    rate = _MP3_RATES[version][rate_index]
    samples = 384 if layer == 1 else 1152 if layer == 2 or version == 3 else 576
    first = body[at : at + 200]
    for mark, skip in ((b"Xing", 8), (b"Info", 8), (b"VBRI", 14)):
        place = first.find(mark)
        if place >= 0 and (mark == b"VBRI" or first[place + 7] & 1):
            return _ratio(int.from_bytes(first[place + skip : place + skip + 4]) * samples, rate)
    kbits = _kbits(version, layer)[step - 1]
    return _ratio((len(body) - at) * 8, kbits * 1000)


def _kbits(version: int, layer: int) -> tuple[int, ...]:
    if version == 3:
        return _MP3_KBITS[3, 4 - layer]
    return _MP3_KBITS[2, 3] if layer == 1 else _MP3_KBITS_LOW
