"""Instants, ranges, addresses and metadata, as people write them."""

from datetime import UTC
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lava_proxy.core.addresses import is_loopback, parse_connect_to, url_host
from lava_proxy.core.errors import InvalidInput
from lava_proxy.core.instants import (
    format_instant,
    from_datetime,
    parse_expiry,
    parse_since,
    parse_span,
    parse_until,
    to_datetime,
)
from lava_proxy.core.metadata import read_metadata

NOW = from_datetime(to_datetime(0).replace(year=2026, month=3, day=29, hour=12))
BERLIN = ZoneInfo("Europe/Berlin")
HOUR_US = 3600 * 1_000_000


@given(st.integers(min_value=0, max_value=4_000_000_000_000_000))
def test_an_instant_comes_back_from_its_text_to_the_microsecond(at_us: int) -> None:
    assert parse_since(format_instant(at_us), now_us=NOW, zone=UTC) == at_us


@pytest.mark.parametrize(
    ("text", "since", "until"),
    [
        ("2h", "2026-03-29T10:00:00.000000Z", "2026-03-29T10:00:00.000000Z"),
        ("30d", "2026-02-27T12:00:00.000000Z", "2026-02-27T12:00:00.000000Z"),
        ("today", "2026-03-28T23:00:00.000000Z", "2026-03-29T22:00:00.000000Z"),
        ("yesterday", "2026-03-27T23:00:00.000000Z", "2026-03-28T23:00:00.000000Z"),
        ("2026-03-29", "2026-03-28T23:00:00.000000Z", "2026-03-29T22:00:00.000000Z"),
        ("2026-03-29T09:30:00", "2026-03-29T07:30:00.000000Z", "2026-03-29T07:30:00.000000Z"),
        ("2026-03-29T09:30:00Z", "2026-03-29T09:30:00.000000Z", "2026-03-29T09:30:00.000000Z"),
        ("2026-03-29T09:30:00+05:30", "2026-03-29T04:00:00.000000Z", "2026-03-29T04:00:00.000000Z"),
    ],
)
def test_a_bound_is_read_in_the_readers_zone_and_a_date_is_a_whole_day(text: str, since: str, until: str) -> None:
    """29 March 2026 has 23 hours in Berlin."""
    assert format_instant(parse_since(text, now_us=NOW, zone=BERLIN)) == since
    assert format_instant(parse_until(text, now_us=NOW, zone=BERLIN)) == until


@pytest.mark.parametrize("text", ["", "soon", "30", "d", "2026-13-01", "2026-02-30", "9999999d", "-1d", "99999-01-01"])
def test_what_is_no_instant_is_refused_with_examples(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"since: .*write"):
        parse_since(text, now_us=NOW, zone=UTC)


def test_an_expiry_lies_in_the_future() -> None:
    assert parse_expiry("2h", now_us=NOW, zone=UTC) == NOW + 2 * HOUR_US
    assert parse_expiry("2026-03-29", now_us=NOW, zone=UTC) == NOW + 12 * HOUR_US
    with pytest.raises(InvalidInput, match="passed"):
        parse_expiry("2026-03-28", now_us=NOW, zone=UTC)
    with pytest.raises(InvalidInput, match="span"):
        parse_span("1 hour", field="grace")


def test_rules_of_connect_to_are_read_as_curl_reads_them() -> None:
    rule = parse_connect_to("API.openai.com:443:127.0.0.1:9443")
    assert rule.matches("api.openai.com", 443)
    assert not rule.matches("api.openai.com", 80)
    assert not rule.matches("evil.example", 443)
    anywhere = parse_connect_to("::[::1]:9443")
    assert anywhere.matches("anything", 1) and anywhere.to_host == "::1"
    for wrong in ("", "a:b", "a:1:b", "a:1:b:99999", "a:1:b:2:3"):
        with pytest.raises(ValueError, match=r"HOST|65535"):
            parse_connect_to(wrong)


def test_only_loopback_is_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost", "LOCALHOST")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.com", "localhost.example.com", "")))
    assert (url_host("::1"), url_host("127.0.0.1")) == ("[::1]", "127.0.0.1")


def test_metadata_is_kept_sorted_as_text() -> None:
    assert read_metadata({"b": 1, "a": "x", "c": True}) == (("a", "x"), ("b", "1"), ("c", "true"))


@pytest.mark.parametrize(
    "pairs",
    [{"a b": "x"}, {"": "x"}, {"a": ""}, {"a": "x" * 256}, {"a": None}, {"a": {}}, {f"k{n}": 1 for n in range(101)}],
)
def test_metadata_that_cannot_be_kept_is_refused(pairs: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match="metadata"):
        read_metadata(pairs)
