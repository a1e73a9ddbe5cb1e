"""The usage event that we asked for does not reach the client; everything else does, byte for byte."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lava_proxy.dialects import DIALECTS
from lava_proxy.dialects.taking_out import UsageEventTaker
from tests.dialects.feeding import DONE, FACTS, cut_at, event, pieces, read_in
from tests.dialects.samples import (
    ANSWERS,
    CHAT_DOCUMENT,
    CHAT_STREAM,
    CHAT_STREAM_WITHOUT_ITS_USAGE_EVENT,
    OPENAI_USAGE,
    chat_chunk,
    usage_chunk,
)

USAGE = event(usage_chunk(**OPENAI_USAGE))


def taken_out(body: bytes) -> bytes:
    """What goes on of ``body``, the same for all chunks tried."""
    whole = read_in([body], "openai_chat", take_out=True)[1]
    for size in (1, 2, 3, 50):
        assert read_in(pieces(body, size), "openai_chat", take_out=True)[1] == whole
    return whole


def test_exactly_the_usage_event_is_taken_out() -> None:
    assert taken_out(CHAT_STREAM) == CHAT_STREAM_WITHOUT_ITS_USAGE_EVENT
    assert len(CHAT_STREAM) - len(taken_out(CHAT_STREAM)) == len(USAGE)


def test_the_reading_is_the_same_with_and_without_taking_out() -> None:
    assert read_in([CHAT_STREAM], "openai_chat", take_out=True)[0] == read_in([CHAT_STREAM], "openai_chat")[0]


@pytest.mark.parametrize("end", [b"\r\n", b"\r"])
def test_other_line_ends_stay_as_they_are(end: bytes) -> None:
    body = CHAT_STREAM.replace(b"\n", end)
    assert taken_out(body) == CHAT_STREAM_WITHOUT_ITS_USAGE_EVENT.replace(b"\n", end)


def test_an_event_with_usage_and_choices_stays() -> None:
    body = event(chat_chunk("x", usage=OPENAI_USAGE)) + DONE
    assert taken_out(body) == body


def test_the_null_usage_of_the_other_events_stays() -> None:
    assert b'"usage":null' in taken_out(CHAT_STREAM)


def test_an_empty_list_of_choices_without_usage_stays() -> None:
    body = event({"model": "", "choices": [], "prompt_filter_results": []}) + event(chat_chunk(choices=[], usage=None))
    assert taken_out(body + USAGE) == body


def test_comments_and_other_events_stay() -> None:
    assert taken_out(b": PING\n\n" + USAGE + b": PING\n\n" + DONE) == b": PING\n\n: PING\n\n" + DONE


def test_a_usage_event_without_its_empty_line_at_the_end_is_taken_out() -> None:
    assert taken_out(event(chat_chunk("x")) + USAGE.rstrip()) == event(chat_chunk("x"))


def test_what_is_incomplete_at_the_end_is_given_back() -> None:
    body = event(chat_chunk("x")) + b'data: {"choices": [], "usa'
    assert taken_out(body) == body


def test_a_document_goes_through_at_once() -> None:
    reader = UsageEventTaker()
    assert reader.feed(b"\n") == b""
    assert reader.feed(CHAT_DOCUMENT[:9]) == b"\n" + CHAT_DOCUMENT[:9]
    assert reader.feed(CHAT_DOCUMENT[9:]) == CHAT_DOCUMENT[9:]
    assert reader.finish() == b""


def test_a_whole_event_is_not_held_back() -> None:
    reader = UsageEventTaker()
    for _ in range(3):
        chunk = event(chat_chunk("x"))
        assert reader.feed(chunk) is chunk
    assert reader.feed(b"data: {") == b""
    assert reader.feed(b'"choices":[{}]}\n\ndata') == b'data: {"choices":[{}]}\n\n'


def test_a_text_that_quotes_a_usage_event_stays() -> None:
    body = event(chat_chunk('{"choices":[],"usage":{"prompt_tokens":1}}'))
    assert taken_out(body) == body


def test_an_event_too_large_to_be_ours_is_not_held_back_for_ever() -> None:
    large = event(chat_chunk("x" * 3_000_000))
    reader = UsageEventTaker()
    given = [reader.feed(chunk) for chunk in pieces(large + USAGE + DONE, 65_536)]
    assert max(map(len, given)) < 2_200_000
    assert b"".join(given) + reader.finish() == large + DONE


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_without_taking_out_the_client_gets_the_very_same_objects(dialect: str) -> None:
    reader = DIALECTS[dialect].reader(
        "chat", content_type="text/event-stream", content_encoding="", facts=FACTS, take_out_usage=False
    )
    for body in ANSWERS[dialect]:
        for chunk in pieces(body, 40):
            assert reader.feed(chunk) is chunk
    assert reader.finish() == b""


def test_an_encoded_stream_is_left_alone() -> None:
    assert read_in([CHAT_STREAM], "openai_chat", encoding="gzip", take_out=True)[1] == CHAT_STREAM


@given(
    cuts=st.lists(st.integers(min_value=0, max_value=5000), max_size=12), end=st.sampled_from([b"\n", b"\r\n", b"\r"])
)
@settings(max_examples=150)
def test_what_goes_on_does_not_depend_on_the_chunks(cuts: list[int], end: bytes) -> None:
    body = (CHAT_STREAM + USAGE + CHAT_STREAM).replace(b"\n", end)
    expected = (CHAT_STREAM_WITHOUT_ITS_USAGE_EVENT * 2).replace(b"\n", end)
    assert read_in(cut_at(body, cuts), "openai_chat", take_out=True)[1] == expected


@given(
    body=st.text(alphabet='{}[]":,\r\n dataoiceshusg0', max_size=200), cuts=st.lists(st.integers(0, 200), max_size=9)
)
@settings(max_examples=200)
def test_bytes_that_are_no_usage_event_are_never_lost(body: str, cuts: list[int]) -> None:
    given = body.encode()
    assert read_in(cut_at(given, cuts), "openai_chat", take_out=True)[1] == given
