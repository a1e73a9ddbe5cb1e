"""Requests as clients send them: the same in any chunks, and nothing that two readers could read differently."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lava_proxy.http1.requests import HEAD_BYTES_MAX, Request, RequestReader

LIMIT = 1000
WEBSOCKET = b"GET /v1/realtime HTTP/1.1\r\nhost: h\r\nconnection: Upgrade\r\nupgrade: WebSocket\r\nsec-websocket-version: 13\r\n\r\n"


def read(*chunks: bytes) -> RequestReader:
    reader = RequestReader(LIMIT)
    for chunk in chunks:
        reader.feed(chunk)
    return reader


def status_of(reader: RequestReader) -> int | None:
    return reader.fault.status if reader.fault else None


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A request's bytes and its body."""
    body = draw(st.binary(max_size=60))
    more = draw(st.lists(st.sampled_from([b"x-a: 1\r\n", b"X-A:  2 \r\n", b"accept: */*\r\n"]), max_size=3))
    if draw(st.booleans()):
        head = b"POST /a?b=c HTTP/1.1\r\nhost: h\r\n%btransfer-encoding: chunked\r\n\r\n" % b"".join(more)
        cut = draw(st.integers(0, len(body)))
        parts = [part for part in (body[:cut], body[cut:]) if part]
        return head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n", body
    head = b"POST /a?b=c HTTP/1.1\r\nhost: h\r\n%bContent-Length: %d\r\n\r\n" % (b"".join(more), len(body))
    return head + body, body


@given(st.lists(requests(), min_size=1, max_size=3), st.data())
def test_requests_are_the_same_in_any_chunks(sent: list[tuple[bytes, bytes]], data: st.DataObject) -> None:
    whole = b"".join(text for text, _ in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    found, at_once = list(read(*(piece for piece in pieces if piece)).ready), list(read(whole).ready)

    assert found == at_once
    assert [request.body for request in found] == [body for _, body in sent]


def test_a_request_is_as_it_came() -> None:
    (found,) = read(
        b"POST /v1/x?y=%20z HTTP/1.1\r\nHost: h\r\nX-Two: a\r\nx-two:  b \r\ncontent-length: 2\r\n\r\n{}"
    ).ready

    assert found == Request(
        method=b"POST",
        target=b"/v1/x?y=%20z",
        fields=((b"Host", b"h"), (b"X-Two", b"a"), (b"x-two", b"b"), (b"content-length", b"2")),
        body=b"{}",
        is_http11=True,
        keeps_open=True,
        is_chunked=False,
        wants_websocket=False,
    )


@pytest.mark.parametrize(
    ("text", "keeps_open", "is_http11"),
    [
        (b"GET / HTTP/1.1\r\nhost: h\r\n\r\n", True, True),
        (b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n", False, True),
        (b"GET / HTTP/1.0\r\nhost: h\r\n\r\n", False, False),
        (b"GET / HTTP/1.0\r\nhost: h\r\nconnection: keep-alive\r\n\r\n", True, False),
    ],
)
def test_how_long_a_client_stays_is_read_from_its_request(text: bytes, keeps_open: bool, is_http11: bool) -> None:
    (found,) = read(text).ready
    assert (found.keeps_open, found.is_http11) == (keeps_open, is_http11)


@pytest.mark.parametrize(
    "text",
    [
        b"\x00\x01\x02 raw\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nabcde",
        b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: +4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length : 4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nhost: h\r\nx: a\r\n folded\r\n\r\n",
        b"POST / HTTP/1.1\nhost: h\n\n",
        b"POST / HTTP/1.1\r\nhost: h\r\nx: a\x00b\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/9.9\r\nhost: h\r\n\r\n",
    ],
)
def test_what_two_readers_could_read_differently_is_refused(text: bytes) -> None:
    reader = read(text)
    assert (status_of(reader), list(reader.ready)) == (400, [])


def test_a_coding_that_is_not_understood_is_refused() -> None:
    text = b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"
    assert (status_of(read(text)), list(read(text).ready)) == (501, [])


@pytest.mark.parametrize(
    "chunks",
    [
        [b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n" % (LIMIT + 1)],
        [b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n", *[b"c8\r\n%b\r\n" % bytes(200)] * 6],
    ],
)
def test_a_body_above_the_limit_is_refused_and_not_kept(chunks: list[bytes]) -> None:
    reader = read(*chunks)
    assert (status_of(reader), list(reader.ready)) == (413, [])


def test_a_head_without_end_is_refused() -> None:
    reader = read(b"GET / HTTP/1.1\r\nhost: h\r\n", *[b"x-%05d: %b\r\n" % (n, b"v" * 1000) for n in range(300)])
    assert status_of(reader) == 431
    assert HEAD_BYTES_MAX < 300 * 1000


def test_a_client_that_waits_for_100_is_noticed() -> None:
    head = b"POST / HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
    reader = read(head)
    assert (reader.awaits_continue, reader.is_amid) == (True, True)
    reader.feed(b"{}")
    assert (reader.awaits_continue, reader.is_amid, len(reader.ready)) == (False, False, 1)


def test_after_a_request_for_a_websocket_nothing_is_read_until_it_is_answered() -> None:
    reader = read(WEBSOCKET + b"\x81\x00", b"\x82")
    (found,) = reader.ready
    assert found.wants_websocket
    assert reader.release() == b"\x81\x00\x82"

    again = read(WEBSOCKET, b"GET /next HTTP/1.1\r\nhost: h\r\n\r\n")
    assert len(again.ready) == 1
    again.resume()
    assert [request.target for request in again.ready] == [b"/v1/realtime", b"/next"]


@pytest.mark.parametrize(
    "text",
    [
        b"POST / HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\ncontent-length: 5\r\n\r\nhello",
        b"GET / HTTP/1.1\r\nhost: h\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: other\r\ncontent-length: 5\r\n\r\nhello",
    ],
)
def test_an_upgrade_to_what_nobody_reads_is_refused(text: bytes) -> None:
    """What would follow is not metered; and where there is a body, it would be taken for what follows."""
    reader = read(text)
    assert (status_of(reader), list(reader.ready)) == (400, [])


def test_an_upgrade_that_is_only_mentioned_is_not_passed_on() -> None:
    (found,) = read(
        b"POST / HTTP/1.1\r\nhost: h\r\nupgrade: h2c\r\nhttp2-settings: x\r\ncontent-length: 1\r\n\r\n1"
    ).ready
    assert found.fields == ((b"host", b"h"), (b"content-length", b"1"))
    assert (found.body, found.wants_websocket) == (b"1", False)


@given(st.lists(st.binary(max_size=40) | st.sampled_from([WEBSOCKET, b"POST / HTTP/1.1\r\n", b"\r\n\r\n"]), max_size=8))
def test_any_bytes_end_in_requests_or_a_fault(chunks: list[bytes]) -> None:
    reader = read(*chunks)
    reader.resume()
    assert status_of(reader) in (None, 400, 413, 431, 501)


def test_trailers_without_end_are_refused() -> None:
    head = b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
    many = read(head, *[b"x-%05d: %b\r\n" % (n, b"v" * 1000) for n in range(300)])
    one = read(head, b"x: ", *[b"v" * 1000] * 300)

    assert (status_of(many), status_of(one)) == (431, 431)


def test_what_follows_a_request_for_an_upgrade_is_kept_up_to_a_limit() -> None:
    reader = read(WEBSOCKET, b"x" * HEAD_BYTES_MAX)
    assert not reader.is_full
    reader.feed(b"x")
    assert reader.is_full


def test_a_request_behind_a_large_one_in_the_same_bytes_is_no_large_head() -> None:
    reader = RequestReader(4 * HEAD_BYTES_MAX)
    head = b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"
    size = 2 * HEAD_BYTES_MAX
    reader.feed(head + b"%x\r\n" % size + bytes(size))
    reader.feed(b"\r\n0\r\n\r\n" + head + b"1\r\na\r\n")
    reader.feed(b"0\r\n\r\n")

    assert reader.fault is None
    assert [len(request.body) for request in reader.ready] == [size, 1]
