"""Heads, read the short way and mitmproxy's: the same, or left to mitmproxy."""

import pytest
from h11._receivebuffer import ReceiveBuffer
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy.http import Headers
from mitmproxy.net.http import http1

from lava_proxy.addons.http1 import QuickHeaders, read_request, read_response
from lava_proxy.http1.fields import changed
from lava_proxy.http1.names import named_host

TOKEN = st.text("abcXYZ-_09", min_size=1, max_size=8)
VALUE = st.text("abc XYZ:;,/=é\t", max_size=12)
ODD = st.sampled_from(["\r", "\n", "\x00", " ", ":", "\r\n", "\t x", "\n\n"])


def buffer(text: bytes) -> ReceiveBuffer:
    made = ReceiveBuffer()
    made += text
    return made


def stock_lines(text: bytes) -> tuple[list[bytes], bytes]:
    """The lines that stock mitmproxy works on, and what it leaves."""
    theirs = buffer(text)
    taken = theirs.maybe_extract_lines()
    assert taken
    return [bytes(line) for line in taken], bytes(theirs)


@given(TOKEN, TOKEN, st.lists(st.tuples(TOKEN, VALUE), max_size=8), st.lists(ODD, max_size=2), st.data())
def test_a_request_is_read_as_mitmproxy_reads_it_or_left_to_it(
    method: str, path: str, fields: list[tuple[str, str]], odd: list[str], data: st.DataObject
) -> None:
    text = f"{method} /{path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields)
    for piece in odd:
        place = data.draw(st.integers(0, len(text)))
        text = text[:place] + piece + text[place:]
    whole = text.encode() + b"\r\nBODY"
    found = read_request(received := buffer(whole))

    if found is None:
        assert bytes(received) == whole
        return
    request, size = found
    lines, rest = stock_lines(whole)
    theirs = http1.read_request_head(lines)
    assert request.headers.fields == theirs.headers.fields
    assert (request.method, request.path, request.http_version) == (theirs.method, theirs.path, theirs.http_version)
    assert (request.host, request.port, request.scheme, request.authority) == ("", 0, "", "")
    assert size == http1.expected_http_body_size(theirs)
    assert bytes(received) == rest


@given(st.integers(0, 999), TOKEN, st.lists(st.tuples(TOKEN, VALUE), max_size=8), st.lists(ODD, max_size=2), st.data())
def test_an_answer_is_read_as_mitmproxy_reads_it_or_left_to_it(
    status: int, reason: str, fields: list[tuple[str, str]], odd: list[str], data: st.DataObject
) -> None:
    text = f"HTTP/1.1 {status:03} {reason}\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields)
    for piece in odd:
        place = data.draw(st.integers(0, len(text)))
        text = text[:place] + piece + text[place:]
    whole = text.encode() + b"\r\nBODY"
    request = http1.read_request_head([b"GET / HTTP/1.1"])
    found = read_response(received := buffer(whole), request)

    if found is None:
        assert bytes(received) == whole
        return
    response, size = found
    lines, rest = stock_lines(whole)
    theirs = http1.read_response_head(lines)
    assert response.headers.fields == theirs.headers.fields
    assert (response.status_code, response.reason) == (theirs.status_code, theirs.reason)
    assert size == http1.expected_http_body_size(request, theirs)
    assert bytes(received) == rest


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\nhost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\n\n",
        b"GET / HTTP/1.1\r\na: b\r\n continued\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET http://x/ HTTP/1.1\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET /\tHTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\ncontent-length: x\r\n\r\n",
        b"\r\nGET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nunfinished: ",
    ],
)
def test_an_unusual_head_is_left_to_mitmproxy_untouched(head: bytes) -> None:
    received = buffer(head)

    assert read_request(received) is None
    assert bytes(received) == head


@given(st.lists(st.tuples(TOKEN, VALUE), max_size=6), TOKEN)
def test_quick_headers_answer_as_mitmproxys_do(fields: list[tuple[str, str]], name: str) -> None:
    raw = tuple((key.encode(), value.encode()) for key, value in fields)
    quick = QuickHeaders.__new__(QuickHeaders)
    quick.fields = raw
    theirs = Headers(raw)
    keys: list[str | bytes] = [name, name.upper(), name.encode(), *(key for key, _ in fields)]
    for key in keys:
        assert quick.get(key) == theirs.get(key)
        assert (key in quick) == (key in theirs)
        assert quick.get_all(key) == theirs.get_all(key)
    assert bytes(quick) == bytes(theirs)
    quick["New"] = "1"
    assert quick["new"] == "1"


def test_a_header_is_set_in_its_place_and_dropped_wherever_it_stands() -> None:
    fields = (
        (b"A", b"1"),
        (b"Accept-Encoding", b"gzip"),
        (b"x-lava-a", b"2"),
        (b"B", b"3"),
        (b"accept-encoding", b"br"),
    )
    setting = {b"accept-encoding": b"identity", b"new": b"4"}

    assert changed(fields, frozenset({b"x-lava-a"}), setting) == (
        (b"A", b"1"),
        (b"Accept-Encoding", b"identity"),
        (b"B", b"3"),
        (b"new", b"4"),
    )


@pytest.mark.parametrize(
    ("authority", "host"),
    [("A.example", "a.example"), ("a.example.:443", "a.example"), ("[::1]:80", "::1"), ("127.0.0.1", "127.0.0.1")],
)
def test_a_host_header_names_one_host(authority: str, host: str) -> None:
    assert named_host(authority) == host


@pytest.mark.parametrize("authority", ["", "a, b", "a b", "a/b", "a:x", "a@b"])
def test_what_is_no_host_is_no_host(authority: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        named_host(authority)
