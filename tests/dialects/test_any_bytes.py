"""Whatever comes over the wire: no reader raises, no client's byte is lost, and the chunks make no difference."""

import gzip
import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lava_proxy.dialects import DIALECTS
from tests.dialects.feeding import FACTS, cut_at, pieces, read_in
from tests.dialects.samples import ANSWERS

CASES = [(dialect, number) for dialect in sorted(ANSWERS) for number in range(len(ANSWERS[dialect]))]
CUTS = st.lists(st.integers(min_value=0, max_value=4000), max_size=12)


@pytest.mark.parametrize(("dialect", "number"), CASES)
@given(cuts=CUTS)
@settings(max_examples=40)
def test_the_reading_does_not_depend_on_the_chunks(dialect: str, number: int, cuts: list[int]) -> None:
    body = ANSWERS[dialect][number]
    assert read_in(cut_at(body, cuts), dialect) == read_in([body], dialect)


@pytest.mark.parametrize(("dialect", "number"), CASES)
@given(end=st.integers(min_value=0, max_value=4000), cuts=CUTS)
@settings(max_examples=40)
def test_the_reading_of_any_beginning_does_not_depend_on_the_chunks(
    dialect: str, number: int, end: int, cuts: list[int]
) -> None:
    body = ANSWERS[dialect][number][:end]
    assert read_in(cut_at(body, cuts), dialect, is_over=False) == read_in([body], dialect, is_over=False)


@pytest.mark.parametrize(("dialect", "number"), CASES)
def test_asking_for_the_reading_in_between_changes_nothing(dialect: str, number: int) -> None:
    body = ANSWERS[dialect][number]
    reader = DIALECTS[dialect].reader("chat", content_type="", content_encoding="", facts=FACTS, take_out_usage=True)
    for chunk in pieces(body, 5):
        reader.feed(chunk)
        assert reader.reading() == reader.reading()
    reader.finish()
    assert reader.reading() == read_in([body], dialect)[0]


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
@pytest.mark.parametrize("encoding", ["", "gzip", "br", "zstd", "deflate"])
@given(body=st.binary(max_size=200))
@settings(max_examples=40)
def test_random_bytes_never_raise(dialect: str, encoding: str, body: bytes) -> None:
    whole = read_in([body], dialect, encoding=encoding, take_out=True)
    assert whole[1] == body
    assert read_in(pieces(body, 3), dialect, encoding=encoding, take_out=True) == whole


@pytest.mark.parametrize(("dialect", "number"), CASES)
def test_damaged_answers_never_raise(dialect: str, number: int, full_length: bool) -> None:
    generator = random.Random(number)
    whole = ANSWERS[dialect][number]
    for _ in range(2000 if full_length else 150):
        body = bytearray(whole)
        for _ in range(generator.randint(1, 12)):
            if not body:
                break
            place = generator.randrange(len(body))
            if generator.random() < 0.5:
                body[place] = generator.randrange(256)
            else:
                del body[place : place + generator.randint(1, 20)]
        damaged = bytes(body)
        once = read_in([damaged], dialect)
        assert read_in(pieces(damaged, generator.randint(1, 90)), dialect) == once
        read_in([damaged], dialect, take_out=True)
        read_in([gzip.compress(damaged)[: generator.randint(0, 400)]], dialect, encoding="gzip")


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
@given(lines=st.lists(st.sampled_from([b"data: ", b"{", b"}", b"[", b"]", b'"usage":', b'"type":"message_delta"', b"null",
                                       b'"usageMetadata":', b"1", b",", b'"choices":[]', b"\n", b"\n\n", b"\r", b'"error":',
                                       b'"response":', b'"type":"response.completed"', b'"output":', b'"candidates":', b'"'])
                      , max_size=60))  # fmt: skip
@settings(max_examples=120)
def test_shapes_that_nobody_sends_never_raise(dialect: str, lines: list[bytes]) -> None:
    body = b"".join(lines)
    assert read_in(lines, dialect) == read_in([body], dialect)


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_json_of_the_wrong_types_never_raises(dialect: str) -> None:
    names = ("usage", "usageMetadata", "choices", "candidates", "message", "response", "output", "content", "error",
             "model", "id", "type", "data", "service_tier", "x_groq", "promptFeedback", "tool_usage")  # fmt: skip
    values = ("null", "1", "-1.5", '"x"', "[]", "[1]", "{}", '{"usage":1}', "[[]]", '[{"usage":[]}]', "true")
    for name in names:
        for value in values:
            document = b'{"%s":%s}' % (name.encode(), value.encode())
            for body in (document, b"data: " + document + b"\n\n", b"[" + document + b"]"):
                reading, client = read_in([body], dialect, take_out=True)
                assert reading.usage.total_tokens() == 0
                assert client == body


def test_memory_stays_bounded_on_an_endless_stream() -> None:
    reader = DIALECTS["openai_chat"].reader(
        "chat", content_type="", content_encoding="", facts=FACTS, take_out_usage=True
    )
    tracemalloc.start()
    for number in range(20_000):
        chunk = b'data: {"n":%d,"choices":[{"delta":{"content":"%s"}}]}\n\n' % (number, b"x" * 1000)
        assert reader.feed(chunk) is chunk
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20
    assert reader.reading().output_text_characters == 20_000_000


def test_an_endless_event_is_dropped_and_what_follows_is_read() -> None:
    reader = DIALECTS["openai_chat"].reader(
        "chat", content_type="", content_encoding="", facts=FACTS, take_out_usage=False
    )
    reader.feed(b"data: ")
    for _ in range(40):
        reader.feed(b"x" * (1 << 20))
    reader.feed(b'\n\ndata: {"model":"m","choices":[],"usage":{"prompt_tokens":3}}\n\n')
    reading = reader.reading()
    assert reading.usage.input_tokens == 3
    assert "body_too_large" in reading.flags
