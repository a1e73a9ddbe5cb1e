"""Feeding answers to readers: whole, byte by byte, cut anywhere."""

import json
from collections.abc import Iterable, Iterator
from itertools import pairwise

from lava_proxy.core.usage import Reading, RequestFacts
from lava_proxy.dialects import DIALECTS

FACTS = RequestFacts(model="asked-for", is_stream=True, input_text_characters=30, input_text_bytes=30)


def read_in(
    chunks: Iterable[bytes], dialect: str, *, encoding: str = "", take_out: bool = False, is_over: bool = True
) -> tuple[Reading, bytes]:
    """The reading of an answer that came in ``chunks``, and what the client got."""
    reader = DIALECTS[dialect].reader(
        "chat", content_type="", content_encoding=encoding, facts=FACTS, take_out_usage=take_out
    )
    client = [reader.feed(chunk) for chunk in chunks]
    if is_over:
        client.append(reader.finish())
    return reader.reading(), b"".join(client)


def read(body: bytes, dialect: str, *, encoding: str = "", take_out: bool = False) -> Reading:
    """The reading of ``body``, after it was found to be the same whole, byte by byte and in pieces of 7 and 61 bytes."""
    whole, client = read_in([body], dialect, encoding=encoding, take_out=take_out)
    for size in (1, 7, 61):
        assert read_in(pieces(body, size), dialect, encoding=encoding, take_out=take_out) == (whole, client)
    return whole


def pieces(body: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


def cut_at(body: bytes, cuts: Iterable[int]) -> list[bytes]:
    """``body`` cut at the positions ``cuts`` (taken modulo its length)."""
    places = sorted({cut % (len(body) + 1) for cut in cuts} | {0, len(body)})
    return [body[start:end] for start, end in pairwise(places)]


def event(data: object, *, name: str = "", end: bytes = b"\n") -> bytes:
    """One server-sent event with ``data`` as JSON."""
    head = b"event: " + name.encode() + end if name else b""
    return head + b"data: " + json.dumps(data, separators=(",", ":")).encode() + end + end


DONE = b"data: [DONE]\n\n"
