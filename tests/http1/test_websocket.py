"""Frames as they pass: a close frame is seen wherever the bytes are cut, and nothing else is taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lava_proxy.http1.websocket import Frames


def frame(opcode: int, payload: bytes, *, masked: bool) -> bytes:
    mask = b"\x80" if masked else b"\x00"
    size = len(payload)
    if size < 126:
        head = bytes([mask[0] | size])
    elif size < 65536:
        head = bytes([mask[0] | 126]) + size.to_bytes(2)
    else:
        head = bytes([mask[0] | 127]) + size.to_bytes(8)
    return bytes([0x80 | opcode]) + head + (b"\x08\x88\x08\x88" if masked else b"") + payload


FRAMES = st.tuples(st.sampled_from([0, 1, 2, 9, 10]), st.sampled_from([0, 1, 125, 126, 300, 65536]), st.booleans())


@given(st.lists(FRAMES, max_size=4), st.booleans(), st.data())
def test_a_close_frame_is_seen_in_any_chunks(
    before: list[tuple[int, int, bool]], closes: bool, data: st.DataObject
) -> None:
    text = b"".join(frame(opcode, b"\x88" * size, masked=masked) for opcode, size, masked in before)
    text += frame(8, b"\x03\xe8", masked=True) if closes else b""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    frames = Frames()
    for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True):
        frames.feed(text[a:b])

    assert frames.has_close == closes


@pytest.mark.parametrize("size", [0, 200])
def test_half_a_frame_is_no_close_frame(size: int) -> None:
    frames = Frames()
    frames.feed(frame(2, b"\x88" * 300, masked=False)[:size])
    assert not frames.has_close
