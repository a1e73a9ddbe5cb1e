"""Which hour of the week is it?"""

from datetime import UTC, date, datetime

import pytest

from lava_proxy.prices.windows import Holidays, Window, instant_of, minutes_of, slot_of

DAY_OFF = Holidays(days=frozenset({date(2026, 10, 1)}), through=date(2026, 12, 31))


def window(*hours: str, weekdays_only: bool = False, holidays: Holidays | None = None) -> Window:
    return Window(hours=tuple(minutes_of(text) for text in hours), weekdays_only=weekdays_only, holidays=holidays)


@pytest.mark.parametrize(
    ("hour", "minute", "holds"),
    [(0, 45, False), (1, 0, True), (3, 45, True), (4, 0, False), (6, 0, True), (9, 45, True), (10, 0, False)],
)
def test_a_window_begins_with_its_first_minute_and_ends_before_its_last(hour: int, minute: int, holds: bool) -> None:
    assert window("01:00-04:00", "06:00-10:00").holds(datetime(2026, 11, 20, hour, minute, tzinfo=UTC)) is holds


@pytest.mark.parametrize(
    ("hour", "minute", "holds"), [(16, 15, False), (16, 30, True), (23, 45, True), (0, 15, True), (0, 30, False)]
)
def test_a_window_may_run_over_midnight(hour: int, minute: int, holds: bool) -> None:
    assert window("16:30-00:30").holds(datetime(2025, 6, 1, hour, minute, tzinfo=UTC)) is holds


@pytest.mark.parametrize(("day", "holds"), [(16, True), (20, True), (21, False), (22, False), (23, True)])
def test_a_window_of_weekdays_is_shut_on_saturday_and_sunday(day: int, holds: bool) -> None:
    assert window("01:00-04:00", weekdays_only=True).holds(datetime(2026, 11, day, 2, tzinfo=UTC)) is holds


def test_a_window_is_shut_on_holidays_and_says_when_they_are_not_known() -> None:
    shut = window("01:00-04:00", weekdays_only=True, holidays=DAY_OFF)

    assert not shut.holds(datetime(2026, 10, 1, 2, tzinfo=UTC))
    assert shut.holds(datetime(2026, 10, 8, 2, tzinfo=UTC))
    assert not shut.is_guess(datetime(2026, 10, 8, 2, tzinfo=UTC))
    assert shut.is_guess(datetime(2027, 10, 1, 2, tzinfo=UTC))
    assert not shut.is_guess(datetime(2027, 10, 1, 5, tzinfo=UTC))


def test_a_slot_is_a_quarter_of_an_hour() -> None:
    instant = datetime(2026, 9, 10, 4, 15, tzinfo=UTC)

    assert instant_of(slot_of(instant)) == instant
    assert slot_of(datetime(1970, 1, 1, 1, tzinfo=UTC)) == 4
    for wrong in (datetime(2026, 9, 10, 4, 10, tzinfo=UTC), datetime(2026, 9, 10, 4)):  # noqa: DTZ001 — that is the point
        with pytest.raises(ValueError, match=r"quarter|time zone"):
            slot_of(wrong)


@pytest.mark.parametrize("text", ["1:00-4:00", "01:00", "25:00-26:00", "01:10-02:00", "aa:bb-cc:dd", ""])
def test_hours_that_cannot_be_meant_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        minutes_of(text)
