"""Reading JSON that strangers wrote."""

import json
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from lava_proxy.dialects.json_text import (
    amount_of,
    count_of,
    figures_text,
    name_of,
    overlay,
    parse,
    parse_object,
    read_patiently,
)

PIECES = [
    b"{",
    b"}",
    b"[",
    b"]",
    b'"a"',
    b":",
    b",",
    b"1",
    b"-0",
    b"2.50",
    b"1e400",
    b"true",
    b"null",
    b"NaN",
    b" ",
    b"\xff",
    b'"\\ud800"',
    b'"\xc3\xa9"',
    b"\xef\xbb\xbf",
    b"9" * 30,
]


def test_anything_that_is_no_json_is_none() -> None:
    for text in (b"", b"{", b"nope", b'{"a":}', b"\xff\xfe", b"[" * 200_000, b'{"a":' * 200_000, b"1" * 5000):
        assert parse_object(text) is None


def test_bad_utf8_and_control_characters_do_not_hide_the_figures() -> None:
    assert parse_object(b'{"text":"\xff\x01\n","n":1}') == {"text": "�\x01\n", "n": 1}


def test_fractions_are_exact_and_constants_are_nothing() -> None:
    assert parse(b"[0.1, 1e-7, NaN, -Infinity, 1e999999999]")[:4] == [Decimal("0.1"), Decimal("1e-7"), None, None]  # type: ignore[index]


def test_counts_are_whole_and_not_negative() -> None:
    values: list[object] = [0, 7, Decimal("7.0"), Decimal("7.2"), -1, True, "7", None, 10**16, Decimal("1e99"), [], 1.5]
    assert [count_of(value) for value in values] == [0, 7, 7, 8, None, None, None, None, None, None, None, None]


def test_amounts_may_have_fractions() -> None:
    values: list[object] = [3, Decimal("0.0042"), Decimal(-1), False, "1", Decimal("1e99"), Decimal("0e-50"), 10**40]
    assert [amount_of(value) for value in values] == [3, Decimal("0.0042"), None, None, None, None, 0, None]


def test_names_are_short_and_can_be_encoded() -> None:
    assert name_of("gpt-4o") == "gpt-4o"
    assert name_of("") is None
    assert name_of(5) is None
    assert name_of("\ud800x") == "?x"
    assert len(name_of("x" * 500) or "") == 200


def test_an_overlay_covers_field_by_field_and_a_null_covers_nothing() -> None:
    below = {"a": 1, "b": {"c": 2, "d": 3}, "e": 4}
    assert overlay(below, {"a": None, "b": {"c": 5}, "e": 0, "f": None}) == {
        "a": 1,
        "b": {"c": 5, "d": 3},
        "e": 0,
        "f": None,
    }


def test_figures_are_kept_and_texts_dropped() -> None:
    usage = parse_object(
        b'{"n":1,"cost":1.5E-7,"tier":"standard","list":[{"m":2}],"said":"a b","k k":1,"t":true,"z":null}'
    )
    assert figures_text(usage or {}) == '{"n":1,"cost":0.00000015,"tier":"standard","list":[{"m":2}],"t":true,"z":null}'


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
)


@given(usage=st.dictionaries(st.text(max_size=5), VALUES, max_size=6))
def test_figures_are_always_json_of_bounded_size(usage: dict[str, object]) -> None:
    text = figures_text(usage)
    assert isinstance(json.loads(text), dict)
    assert len(text) < 100_000


def test_deep_or_wide_figures_are_cut() -> None:
    deep: dict[str, object] = {"n": 1}
    for _ in range(5000):
        deep = {"a": deep}
    assert figures_text(deep).count("{") <= 8
    assert len(figures_text({f"k{n}": n for n in range(10_000)})) < 10_000


@given(st.binary(max_size=60) | st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join))
def test_the_quick_reader_reads_as_the_patient_one(text: bytes) -> None:
    """Values and their types: ``1`` and ``1.0`` are not the same figure."""
    assert repr(parse(text)) == repr(read_patiently(text))
