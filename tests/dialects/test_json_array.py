"""Cutting a JSON array that arrives in pieces."""

import json

from hypothesis import given
from hypothesis import strategies as st

from lava_proxy.dialects.json_array import ArrayCutter
from tests.dialects.feeding import cut_at, pieces

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='a"\\[]{},é', max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='k"\\{', max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


def cut(chunks: list[bytes], *, limit: int = 10_000) -> tuple[list[bytes], bool, bool]:
    cutter = ArrayCutter(limit=limit)
    elements = [element for chunk in chunks for element in cutter.feed(chunk)]
    return elements, cutter.is_closed, cutter.has_dropped


@given(
    values=st.lists(VALUES, max_size=5), indent=st.none() | st.just(1), cuts=st.lists(st.integers(0, 3000), max_size=9)
)
def test_every_object_of_the_array_comes_out_whole(values: list[object], indent: int | None, cuts: list[int]) -> None:
    body = json.dumps(values, indent=indent).encode()
    elements, is_closed, has_dropped = cut(cut_at(body, cuts))
    assert [json.loads(element) for element in elements] == [value for value in values if isinstance(value, dict)]
    assert is_closed
    assert not has_dropped


def test_an_element_comes_out_with_its_last_byte() -> None:
    cutter = ArrayCutter(limit=100)
    assert cutter.feed(b'[{"a": "}"') == []
    assert cutter.feed(b"}") == [b'{"a": "}"}']
    assert not cutter.is_closed


def test_what_follows_the_array_is_ignored() -> None:
    assert cut([b'[{"a":1}] [{"b":2}]']) == ([b'{"a":1}'], True, False)


def test_an_element_above_the_limit_is_dropped_and_the_next_one_is_read() -> None:
    body = b'[{"a":"' + b"x" * 500 + b'"},{"b":1}]'
    for size in (1, 7, len(body)):
        assert cut(list(pieces(body, size)), limit=100) == ([b'{"b":1}'], True, True)


@given(body=st.text(alphabet='[]{}",:\\a', max_size=60).map(str.encode), cuts=st.lists(st.integers(0, 60), max_size=9))
def test_any_bytes_give_the_same_elements_however_they_are_cut(body: bytes, cuts: list[int]) -> None:
    assert cut(cut_at(body, cuts)) == cut([body])
