"""Days of a time zone as instants: a day may have 23 or 25 hours, or begin at 1 o'clock."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Struct

from lava_proxy.core.errors import InvalidInput

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Day(Struct, frozen=True, kw_only=True):
    """A day: from ``start_us`` (inclusive) to ``end_us`` (exclusive), UTC microseconds."""

    name: str
    """The ISO date."""
    start_us: int
    end_us: int


def zone(name: str) -> ZoneInfo:
    """The time zone of an IANA name.

    Raises:
        InvalidInput: there is none of this name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        message = f"{name!r} is not a time zone; write an IANA name such as Europe/Vienna or UTC"
        raise InvalidInput(message, field="time_zone") from error


def days_between(first_us: int, last_us: int, time_zone: ZoneInfo) -> list[Day]:
    """The days that hold the instants from ``first_us`` to ``last_us``, in order; a day that was skipped is left out."""
    day, last = date_of(first_us, time_zone), date_of(last_us, time_zone)
    days = []
    start_us = _start_us(day, time_zone)
    while day <= last:
        following = day + timedelta(days=1)
        end_us = _start_us(following, time_zone)
        if end_us > start_us:
            days.append(Day(name=day.isoformat(), start_us=start_us, end_us=end_us))
        day, start_us = following, end_us
    return days


def date_of(instant_us: int, time_zone: ZoneInfo) -> date:
    """The local date at an instant."""
    return (_EPOCH + timedelta(microseconds=instant_us)).astimezone(time_zone).date()


def _start_us(day: date, time_zone: ZoneInfo) -> int:
    """The first instant of a day. Where midnight does not exist, the offset before the gap gives the gap's own instant."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=time_zone)
    return (midnight.astimezone(UTC) - _EPOCH) // _MICROSECOND
