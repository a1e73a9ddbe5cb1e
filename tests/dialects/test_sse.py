"""Cutting bytes into server-sent events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lava_proxy.dialects.sse import EventCutter, objects_of, payload_of
from tests.dialects.feeding import cut_at, pieces


def cut(chunks: list[bytes], *, limit: int = 1000) -> tuple[list[bytes], bytes, bool]:
    """The events, stripped of line ends around them, the rest, and whether any was dropped."""
    cutter = EventCutter(limit=limit)
    events = [event for chunk in chunks for event in cutter.feed(chunk)]
    return [event.strip() for event in events if event.strip()], cutter.rest().strip(), cutter.has_dropped


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_an_event_ends_with_an_empty_line_of_any_kind(end: bytes) -> None:
    body = b"data: 1" + end + end + b"event: e" + end + b"data: 2" + end + end + b"data: 3"
    assert cut([body]) == ([b"data: 1", b"event: e" + end + b"data: 2"], b"data: 3", False)
    assert cut(list(pieces(body, 1))) == cut([body])


def test_several_empty_lines_are_one() -> None:
    assert cut([b"\n\n\ndata: 1\n\n\n\n\ndata: 2\n\n\n"])[0] == [b"data: 1", b"data: 2"]


def test_an_event_above_the_limit_is_dropped_and_the_next_one_is_read() -> None:
    body = b"data: 1\n\n" + b"data: " + b"x" * 2000 + b"\n\ndata: 2\n\ndata: 3\n\n"
    expected = ([b"data: 1", b"data: 2", b"data: 3"], b"", True)
    for size in (1, 2, 3, 100, 1999, len(body)):
        assert cut(list(pieces(body, size))) == expected


def test_many_small_events_in_one_chunk_are_no_large_event() -> None:
    assert cut([b"data: 1\n\n" * 5000])[2] is False


@given(
    body=st.text(alphabet="ab:\r\n", max_size=120).map(str.encode),
    cuts=st.lists(st.integers(min_value=0, max_value=120), max_size=10),
    limit=st.integers(min_value=1, max_value=40),
)
def test_events_do_not_depend_on_the_chunks(body: bytes, cuts: list[int], limit: int) -> None:
    assert cut(cut_at(body, cuts), limit=limit) == cut([body], limit=limit)


def test_a_payload_is_what_the_data_lines_say() -> None:
    assert payload_of(b"data: {}") == b"{}"
    assert payload_of(b"data:{}") == b"{}"
    assert payload_of(b"data:  {}") == b" {}"
    assert payload_of(b"event: x\ndata: {\ndata: }\nid: 3") == b"{\n}"
    assert payload_of(b"event: x\r\ndata: 1\r\n") == b"1"
    assert payload_of(b": a comment") == b""
    assert payload_of(b"") == b""


def test_the_objects_of_an_event() -> None:
    assert list(objects_of(b'data: {"a":\ndata: 1}')) == [{"a": 1}]
    assert list(objects_of(b'data: {"a": 1}\ndata: {"b": 2}')) == [{"a": 1}, {"b": 2}]
    assert list(objects_of(b"data: [DONE]")) == []
    assert list(objects_of(b'event: x\n: {"a": 1}')) == []
