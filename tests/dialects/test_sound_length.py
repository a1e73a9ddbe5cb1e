"""How long a sound lasts, by its own headers; files are built by hand here."""

import struct
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lava_proxy.dialects.request_form import form_fields, upload_of
from lava_proxy.dialects.sound_length import seconds_of_sound


def wav(*, seconds: int, rate: int = 8000, shown: int | None = None) -> bytes:
    size = seconds * rate * 2
    form = struct.pack("<HHIIHH", 1, 1, rate, rate * 2, 2, 16)
    head = b"RIFF" + struct.pack("<I", 36 + size) + b"WAVE" + b"fmt " + struct.pack("<I", 16) + form
    return head + b"data" + struct.pack("<I", size if shown is None else shown) + bytes(size)


def flac(*, samples: int, rate: int) -> bytes:
    packed = rate << 44 | 1 << 41 | 15 << 36 | samples
    return b"fLaC\x00\x00\x00\x22" + bytes(10) + packed.to_bytes(8) + bytes(16)


def ogg(*, position: int, head: bytes) -> bytes:
    first = b"OggS\x00\x02" + bytes(8) + bytes(14) + head
    return first + b"OggS\x00\x04" + position.to_bytes(8, "little") + bytes(14)


def mp4(*, length: int, scale: int) -> bytes:
    header = bytes(12) + struct.pack(">II", scale, length) + bytes(80)
    movie = struct.pack(">I", 8 + len(header)) + b"mvhd" + header
    return b"\0\0\0\x10ftypM4A \0\0\0\0" + struct.pack(">I", 8 + len(movie)) + b"moov" + movie


def mp3(*, frames: int | None, body_bytes: int) -> bytes:
    """MPEG 1, layer III, 128 kbit/s, 44.1 kHz; with a count of its frames, or without."""
    head = b"\xff\xfb\x90\x00"
    tag = bytes(32) + b"Xing" + (1).to_bytes(4) + frames.to_bytes(4) if frames is not None else b""
    return b"ID3\x04\x00\x00\x00\x00\x00\x05" + bytes(5) + (head + tag).ljust(body_bytes, b"\0")


def webm(*, milliseconds: float) -> bytes:
    return (
        b"\x1a\x45\xdf\xa3"
        + bytes(20)
        + b"\x2a\xd7\xb1\x83\x0f\x42\x40"
        + b"\x44\x89\x88"
        + struct.pack(">d", milliseconds)
    )


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        pytest.param(wav(seconds=3), "3", id="wav"),
        pytest.param(wav(seconds=3, shown=0xFFFFFFFF), "3", id="wav that was streamed"),
        pytest.param(flac(samples=88_200, rate=44_100), "2", id="flac"),
        pytest.param(
            ogg(position=48_312 + 24_000, head=b"OpusHead\x01\x01" + (312).to_bytes(2, "little")), "1.5", id="opus"
        ),
        pytest.param(
            ogg(position=22_050, head=b"\x01vorbis" + bytes(5) + (44_100).to_bytes(4, "little")), "0.5", id="vorbis"
        ),
        pytest.param(mp4(length=7_200, scale=1_000), "7.2", id="m4a"),
        pytest.param(mp3(frames=100, body_bytes=900), "2.613", id="mp3 with its frames counted"),
        pytest.param(mp3(frames=None, body_bytes=16_000), "1", id="mp3 of constant bit rate"),
        pytest.param(webm(milliseconds=2_500), "2.5", id="webm"),
    ],
)
def test_the_length_is_read_from_the_headers(body: bytes, seconds: str) -> None:
    assert seconds_of_sound(body) == Decimal(seconds)


@pytest.mark.parametrize(
    "body", [b"", b"RIFF", b"no sound", b"fLaC", b"OggS", b"\0\0\0\x10ftyp", b"\x1a\x45\xdf\xa3", b"ID3"]
)
def test_what_cannot_be_told_is_not_guessed(body: bytes) -> None:
    assert seconds_of_sound(body) is None


@given(
    start=st.sampled_from(
        [b"RIFF\0\0\0\0WAVE", b"fLaC", b"OggS", b"\0\0\0\x10ftyp", b"\x1a\x45\xdf\xa3", b"ID3", b"\xff\xfb"]
    ),
    rest=st.binary(max_size=300),
)
def test_no_file_raises_or_lasts_less_than_nothing(start: bytes, rest: bytes) -> None:
    found = seconds_of_sound(start + rest)
    assert found is None or found > 0


def test_a_forms_fields_are_read_as_if_they_were_json() -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="n"\r\n\r\n2\r\n'
        b'--b\r\nContent-Disposition: form-data; name="stream"\r\n\r\ntrue\r\n'
        b'--b\r\nContent-Disposition: form-data; name="image[]"; filename="a.png"\r\n\r\n\x89PNG\r\n--b--\r\n'
    )
    assert form_fields(body) == {"n": 2, "stream": True, "image": {"filename": "a.png", "bytes": 4, "seconds": None}}


@given(body=st.binary(max_size=400))
def test_no_form_raises(body: bytes) -> None:
    form_fields(b'--b\r\nContent-Disposition: form-data; name="a"\r\n' + body)
    assert form_fields(body) is None or b"form-data" in body.lower()
    upload_of(body)
