"""Hours of the week at which another price holds. All in UTC, in steps of a quarter of an hour."""

from datetime import UTC, date, datetime, timedelta

from msgspec import Struct

SLOT_MINUTES = 15
SLOT_US = SLOT_MINUTES * 60 * 1_000_000
"""Prices change at the edges of slots of this length, never inside one: a slot has one price."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant_of(slot: int) -> datetime:
    """The beginning of a slot, counted from 1970."""
    return _EPOCH + timedelta(minutes=slot * SLOT_MINUTES)


def slot_of(instant: datetime) -> int:
    """The slot in which ``instant`` lies.

    Raises:
        ValueError: it has no time zone, or is not the beginning of a slot.
    """
    if instant.tzinfo is None:
        raise ValueError(f"{instant} has no time zone: write it in UTC, with a Z")
    slot, rest = divmod(instant - _EPOCH, timedelta(minutes=SLOT_MINUTES))
    if rest:
        raise ValueError(f"{instant} is not at a quarter of an hour")
    return slot


def minutes_of(text: str) -> tuple[int, int]:
    """First and last minute of the day (the last is not in it) of ``"01:00-04:00"``; it may run over midnight.

    Raises:
        ValueError: not so written, or not at quarters of an hour.
    """
    begin, _, end = text.partition("-")
    return _minute(begin), _minute(end)


def _minute(text: str) -> int:
    hours, _, minutes = text.partition(":")
    if not (len(text) == 5 and hours.isdigit() and minutes.isdigit() and int(hours) < 24 and int(minutes) < 60):
        raise ValueError(f"{text!r} is not a time such as 01:00")
    if int(minutes) % SLOT_MINUTES:
        raise ValueError(f"{text!r} is not at a quarter of an hour")
    return int(hours) * 60 + int(minutes)


class Holidays(Struct, frozen=True, kw_only=True):
    """Days on which a weekday counts as none, known up to ``through``."""

    days: frozenset[date]
    through: date


class Window(Struct, frozen=True, kw_only=True):
    """When another price holds."""

    hours: tuple[tuple[int, int], ...]
    weekdays_only: bool = False
    holidays: Holidays | None = None

    def holds(self, instant: datetime) -> bool:
        minute = instant.hour * 60 + instant.minute
        if not any(_within(minute, begin, end) for begin, end in self.hours):
            return False
        if self.weekdays_only and instant.weekday() >= 5:
            return False
        return self.holidays is None or instant.date() not in self.holidays.days

    def is_guess(self, instant: datetime) -> bool:
        """Whether it holds only as far as anybody knows: the year's holidays were not known when this was written."""
        return self.holidays is not None and instant.date() > self.holidays.through and self.holds(instant)


def _within(minute: int, begin: int, end: int) -> bool:
    return begin <= minute < end if begin < end else minute >= begin or minute < end
