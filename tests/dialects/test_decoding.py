"""Content encodings are undone as the bytes come in."""

import gzip
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from lava_proxy.core.usage import NO_USAGE
from lava_proxy.dialects.decoding import decoder_for
from tests.dialects.feeding import cut_at, pieces, read, read_in
from tests.dialects.samples import CHAT_STREAM, MESSAGES_STREAM


def raw_deflate(body: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(body) + compressor.flush()


ENCODINGS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("", bytes),
    ("identity", bytes),
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("GZIP", lambda body: gzip.compress(body[:9]) + gzip.compress(body[9:])),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("br", brotli.compress),
    ("zstd", zstandard.ZstdCompressor().compress),
    ("gzip, br", lambda body: brotli.compress(gzip.compress(body))),
    ("gzip", bytes),
]
IDS = ["none", "identity", "gzip", "x-gzip", "members", "zlib", "raw deflate", "br", "zstd", "two", "announced only"]


def decode(chunks: list[bytes], encoding: str) -> tuple[bytes, bool]:
    decoder = decoder_for(encoding)
    return b"".join(piece for chunk in chunks for piece in decoder.decode(chunk)), decoder.has_failed


@pytest.mark.parametrize(("encoding", "encode"), ENCODINGS, ids=IDS)
def test_an_encoded_answer_reads_as_the_plain_one(encoding: str, encode: Callable[[bytes], bytes]) -> None:
    assert read(encode(CHAT_STREAM), "openai_chat", encoding=encoding) == read(CHAT_STREAM, "openai_chat")


@pytest.mark.parametrize(("encoding", "encode"), ENCODINGS, ids=IDS)
@given(
    body=st.binary(min_size=2, max_size=300).map(lambda body: b"{" + body),
    cuts=st.lists(st.integers(0, 400), max_size=9),
)
def test_what_is_decoded_does_not_depend_on_the_chunks(
    encoding: str, encode: Callable[[bytes], bytes], body: bytes, cuts: list[int]
) -> None:
    assert decode(cut_at(encode(body), cuts), encoding) == (body, False)


def begun_gzip(body: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=31)
    return compressor.compress(body) + compressor.flush(zlib.Z_SYNC_FLUSH)


def begun_brotli(body: bytes) -> bytes:
    compressor = brotli.Compressor()
    return bytes(compressor.process(body) + compressor.flush())


def begun_zstd(body: bytes) -> bytes:
    compressor = zstandard.ZstdCompressor().compressobj()
    return compressor.compress(body) + compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)


@pytest.mark.parametrize(("encoding", "begin"), [("gzip", begun_gzip), ("br", begun_brotli), ("zstd", begun_zstd)])
def test_an_event_is_read_as_soon_as_the_server_flushed_it(encoding: str, begin: Callable[[bytes], bytes]) -> None:
    first = MESSAGES_STREAM.split(b"\n\n")[0] + b"\n\n"
    reading, _ = read_in([begin(first)], "anthropic_messages", encoding=encoding, is_over=False)
    assert reading.usage.input_tokens == 1320


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "compress", "gzip, rot13"])
def test_what_cannot_be_decoded_is_flagged_and_goes_on_to_the_client(encoding: str) -> None:
    body = b"\x00\x01\x02 no such thing" * 20
    reading, client = read_in(list(pieces(body, 10)), "openai_chat", encoding=encoding)
    assert reading.flags == ("decode_failed",)
    assert reading.usage == NO_USAGE
    assert client == body


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_what_follows_the_encoded_body_is_ignored(encoding: str) -> None:
    encode = dict(ENCODINGS)[encoding] if encoding == "zstd" else gzip.compress
    assert read(encode(CHAT_STREAM) + b"junk", "openai_chat", encoding=encoding).usage.input_tokens == 120


@pytest.mark.parametrize(("encoding", "encode"), [("gzip", gzip.compress), ("br", brotli.compress)])
def test_a_small_body_that_unpacks_to_a_huge_one_comes_in_bounded_pieces(
    encoding: str, encode: Callable[[bytes], bytes]
) -> None:
    decoder = decoder_for(encoding)
    sizes = [len(piece) for piece in decoder.decode(encode(b"\0" * 30_000_000))]
    assert sum(sizes) == 30_000_000
    assert max(sizes) < 4_000_000
