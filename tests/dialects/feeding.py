"""Feeding answers to readers: whole, byte by byte, cut anywhere."""

import json
import zlib
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
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


def exchange(
    dialect: str,
    answer: bytes | object,
    *,
    request: bytes | object = b"{}",
    op: str = "chat",
    path_model: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reading:
    """The reading of a whole exchange, whatever the chunks; bodies that are no bytes are written as JSON."""
    facts = DIALECTS[dialect].read_request(op, as_bytes(request), path_model=path_model)
    readings = []
    for size in (1 << 30, 1, 7):
        reader = DIALECTS[dialect].reader(
            op,
            content_type=(headers or {}).get("content-type", ""),
            content_encoding="",
            facts=facts,
            take_out_usage=False,
            headers=headers or {},
        )
        for piece in pieces(as_bytes(answer), size):
            assert reader.feed(piece) is piece
        assert reader.finish() == b""
        readings.append(reader.reading())
    assert readings[1:] == readings[:-1]
    return readings[0]


def as_bytes(body: bytes | object) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def lines(*objects: object) -> bytes:
    """NDJSON."""
    return b"".join(json.dumps(item).encode() + b"\n" for item in objects)


def frame(name: str, payload: object, *, kind: str = "event") -> bytes:
    """One event of AWS' binary stream."""
    named = {f":{kind}-type": name, ":content-type": "application/json", ":message-type": kind}
    head = b"".join(
        bytes([len(key)]) + key.encode() + b"\x07" + len(value).to_bytes(2) + value.encode()
        for key, value in named.items()
    )
    body = as_bytes(payload)
    prelude = (len(head) + len(body) + 16).to_bytes(4) + len(head).to_bytes(4)
    event = prelude + zlib.crc32(prelude).to_bytes(4) + head + body
    return event + zlib.crc32(event).to_bytes(4)


def chunk_frame(inner: object) -> bytes:
    """One event of invoke-with-response-stream."""
    return frame("chunk", {"bytes": b64encode(as_bytes(inner)).decode(), "p": "abc"})
