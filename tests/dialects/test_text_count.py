"""Counting text without parsing it."""

import json

from hypothesis import given
from hypothesis import strategies as st

from lava_proxy.dialects.text_count import TextCounter, text_pattern, texts_in

PATTERN = text_pattern(("content", "text"))


def counted(literals: list[bytes]) -> tuple[int, int]:
    counter = TextCounter()
    counter.add_literals(literals)
    return counter.characters, counter.utf8_bytes


@given(texts=st.lists(st.text(max_size=12), max_size=6), is_ascii=st.booleans())
def test_literals_count_as_the_texts_that_were_written(texts: list[str], is_ascii: bool) -> None:
    written = " ".join(json.dumps({"content": text, "other": "x"}, ensure_ascii=is_ascii) for text in texts)
    found = PATTERN.findall(written.encode("utf-8", "surrogatepass"))
    assert counted(found) == (sum(map(len, texts)), sum(len(text.encode()) for text in texts))


@given(
    literals=st.lists(
        st.sampled_from([b"a", b"\\ud83d", b"\\ude00", b"\\q", b"\xff", b"\\n", b"\\u12", b"\n"]), max_size=8
    )
)
def test_a_literal_counts_the_same_beside_any_other(literals: list[bytes]) -> None:
    alone = [counted([literal]) for literal in literals]
    assert counted(literals) == (sum(one for one, _ in alone), sum(two for _, two in alone))


def test_only_the_named_keys_are_found() -> None:
    assert PATTERN.findall(b'{"content" : "a\\"b", "context": "no", "text":"", "t":{"text":\n"c"}}') == [
        b'a\\"b',
        b"",
        b"c",
    ]


def test_texts_of_a_parsed_value() -> None:
    value = {"text": "a", "x": [{"text": "b", "skip": {"text": "no"}}], "args": {"q": 1}, "other": "no"}
    assert list(texts_in(value, ("text", "args"), skip=("skip",))) == ["a", "b", '{"q": 1}']


def test_a_value_of_any_depth_can_be_walked() -> None:
    deep: object = "x"
    for _ in range(100_000):
        deep = [deep]
    assert list(texts_in(deep, ("text",))) == []
