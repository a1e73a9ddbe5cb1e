"""Cycles: anchored, in UTC, clamped at the end of short months; and parts of them in whole numbers."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lava_proxy.core.billing import Interval
from lava_proxy.core.cycles import (
    CENT_NANOS,
    DAY_US,
    WHOLE_NANOS,
    before_markup,
    boundary,
    discounted,
    marked_up_cents,
    prorate_cents,
    prorate_nanos,
    refundable_nanos,
)
from lava_proxy.core.instants import from_datetime, to_datetime

DOLLAR = 1_000_000_000
anchors = st.integers(min_value=631_152_000_000_000, max_value=3_786_912_000_000_000)
"""From 1990 to 2090."""
amounts = st.integers(min_value=0, max_value=10**6 * DOLLAR)


def at(text: str) -> int:
    return from_datetime(datetime.fromisoformat(text).replace(tzinfo=UTC))


@pytest.mark.parametrize(
    ("anchor", "interval", "ends"),
    [
        ("2026-01-31T15:00", Interval.MONTH, ["2026-02-28T15:00", "2026-03-31T15:00", "2026-04-30T15:00"]),
        ("2028-01-31", Interval.MONTH, ["2028-02-29", "2028-03-31", "2028-04-30", "2028-05-31"]),
        ("2026-12-15", Interval.MONTH, ["2027-01-15", "2027-02-15"]),
        ("2028-02-29", Interval.YEAR, ["2029-02-28", "2030-02-28", "2031-02-28", "2032-02-29"]),
        ("2026-03-28T01:30", Interval.DAY, ["2026-03-29T01:30", "2026-03-30T01:30"]),
        ("2026-12-28", Interval.WEEK, ["2027-01-04", "2027-01-11"]),
    ],
)
def test_cycles_end_on_the_anchors_day_or_on_the_months_last(anchor: str, interval: Interval, ends: list[str]) -> None:
    assert [boundary(at(anchor), interval, n) for n in range(1, len(ends) + 1)] == [at(end) for end in ends]


@given(anchors, st.sampled_from(Interval), st.integers(min_value=0, max_value=3660))
def test_cycles_follow_each_other_without_a_gap_and_keep_the_time_of_day(
    anchor: int, interval: Interval, n: int
) -> None:
    start, end = boundary(anchor, interval, n), boundary(anchor, interval, n + 1)
    shortest, longest = {"day": (1, 1), "week": (7, 7), "month": (28, 31), "year": (365, 366)}[interval]
    assert shortest * DAY_US <= end - start <= longest * DAY_US
    assert to_datetime(start).time() == to_datetime(anchor).time()


@given(anchors)
def test_ten_years_of_months_come_out_where_ten_years_do(anchor: int) -> None:
    assert boundary(anchor, Interval.MONTH, 120) == boundary(anchor, Interval.YEAR, 10)
    assert boundary(anchor, Interval.DAY, 3650) == from_datetime(to_datetime(anchor) + timedelta(days=3650))


@given(anchors, st.integers(min_value=0, max_value=120))
def test_a_clamped_month_ends_on_its_last_day(anchor: int, n: int) -> None:
    end, wanted = to_datetime(boundary(anchor, Interval.MONTH, n)), to_datetime(anchor).day
    assert end.day == wanted or (end.day < wanted and (end + timedelta(days=1)).day == 1)


@given(amounts, st.integers(1, 10**14), st.data())
def test_the_parts_of_a_price_are_whole_cents_and_off_by_half_a_cent_at_most(
    amount: int, whole: int, data: st.DataObject
) -> None:
    part = data.draw(st.integers(0, whole))
    due = prorate_cents(amount, part, whole)
    assert due % CENT_NANOS == 0
    assert abs(due * whole - amount * part) * 2 <= CENT_NANOS * whole
    assert 0 <= prorate_nanos(amount, part, whole) + prorate_nanos(amount, whole - part, whole) <= amount


@given(amounts, st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 100), st.integers(1, 100))
def test_never_more_is_paid_back_than_was_paid(paid: int, unused: int, spent: int, left: int, whole: int) -> None:
    back = refundable_nanos(
        paid, unused_nanos=unused, granted_nanos=unused + spent, left_us=min(left, whole), whole_us=whole
    )
    assert 0 <= back <= paid and back % CENT_NANOS == 0


def test_half_of_the_credit_used_in_the_first_quarter_pays_half_back() -> None:
    back = refundable_nanos(
        20 * DOLLAR, unused_nanos=10 * DOLLAR, granted_nanos=20 * DOLLAR, left_us=3 * DAY_US, whole_us=4 * DAY_US
    )
    assert back == 10 * DOLLAR


@given(st.integers(0, 10**8).map(lambda cents: cents * CENT_NANOS), st.integers(0, 500 * 10**9))
def test_overage_up_to_its_limit_never_comes_to_more_than_the_cap(cap: int, markup: int) -> None:
    limit = before_markup(cap, markup)
    assert marked_up_cents(limit, markup) <= cap
    assert before_markup(cap, 0) == cap


@given(st.integers(0, 10**8).map(lambda cents: cents * CENT_NANOS))
def test_no_discount_is_the_price_and_all_of_it_is_nothing(price: int) -> None:
    assert discounted(price, 0) == price
    assert discounted(price, WHOLE_NANOS) == 0
