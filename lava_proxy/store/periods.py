"""Hours, days, weeks and months of a time zone as instants: a day may have 23 or 25 hours, or begin at 1 o'clock."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Struct

from lava_proxy.core.errors import InvalidInput

PERIODS = ("hour", "day", "week", "month")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_HOUR_US = 3_600_000_000


class Period(Struct, frozen=True, kw_only=True):
    """From ``start_us`` (inclusive) to ``end_us`` (exclusive), UTC microseconds."""

    name: str
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


def periods_between(kind: str, first_us: int, last_us: int, time_zone: ZoneInfo) -> list[Period]:
    """The periods that hold the instants from ``first_us`` to ``last_us``, in order; a day that was skipped is left out."""
    if kind == "hour":
        return _hours_between(first_us, last_us, time_zone)
    day, last = _first_day(kind, date_of(first_us, time_zone)), date_of(last_us, time_zone)
    periods = []
    start_us = _start_us(day, time_zone)
    while day <= last:
        following = _following(kind, day)
        end_us = _start_us(following, time_zone)
        if end_us > start_us:
            periods.append(Period(name=_name(kind, day), start_us=start_us, end_us=end_us))
        day, start_us = following, end_us
    return periods


def period_of(kind: str, instant_us: int, time_zone: ZoneInfo) -> str:
    """The name of the period in which an instant lies."""
    (found,) = periods_between(kind, instant_us, instant_us, time_zone)
    return found.name


def date_of(instant_us: int, time_zone: ZoneInfo) -> date:
    """The local date at an instant."""
    return _local(instant_us, time_zone).date()


def _hours_between(first_us: int, last_us: int, time_zone: ZoneInfo) -> list[Period]:
    """Hours of the local clock. One that is there twice, when the clocks go back, is two: their offsets tell them apart."""
    periods = []
    start_us = _hour_start_us(first_us, time_zone)
    while start_us <= last_us:
        end_us = _hour_start_us(start_us + _HOUR_US, time_zone)
        if end_us <= start_us:
            end_us = start_us + _HOUR_US
        name = _local(start_us, time_zone).isoformat(timespec="minutes")
        periods.append(Period(name=name, start_us=start_us, end_us=end_us))
        start_us = end_us
    return periods


def _hour_start_us(instant_us: int, time_zone: ZoneInfo) -> int:
    local = _local(instant_us, time_zone)
    into = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
    return instant_us - into // _MICROSECOND


def _first_day(kind: str, day: date) -> date:
    if kind == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if kind == "month" else day


def _following(kind: str, day: date) -> date:
    if kind == "month":
        return date(day.year + day.month // 12, day.month % 12 + 1, 1)
    return day + timedelta(days=7 if kind == "week" else 1)


def _name(kind: str, day: date) -> str:
    if kind == "week":
        year, week, _ = day.isocalendar()
        return f"{year}-W{week:02}"
    return day.isoformat()[:7] if kind == "month" else day.isoformat()


def _local(instant_us: int, time_zone: ZoneInfo) -> datetime:
    return (_EPOCH + timedelta(microseconds=instant_us)).astimezone(time_zone)


def _start_us(day: date, time_zone: ZoneInfo) -> int:
    """The first instant of a day. Where midnight does not exist, the offset before the gap gives the gap's own instant."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=time_zone)
    return (midnight.astimezone(UTC) - _EPOCH) // _MICROSECOND
