"""Instants are integer UTC microseconds; here they become text for people and programs, and come back from it.

A bound of a range is written as ``30d`` (that long ago), ``today``, ``yesterday``, a date, or RFC 3339. A date is a whole
day in the reader's time zone: as ``--since`` it counts from its first instant, as ``--until`` to its last.
"""

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from lava_proxy.core.errors import InvalidInput

SECOND_US = 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_SPANS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_SPAN = re.compile(r"(?P<count>\d{1,6})(?P<unit>[smhdw])", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def to_datetime(instant_us: int, zone: tzinfo = UTC) -> datetime:
    return (EPOCH + timedelta(microseconds=instant_us)).astimezone(zone)


def from_datetime(moment: datetime) -> int:
    """Microseconds of an aware moment, exactly."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def format_instant(instant_us: int) -> str:
    """RFC 3339 in UTC, to the microsecond.

    >>> format_instant(0)
    '1970-01-01T00:00:00.000000Z'
    """
    return to_datetime(instant_us).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_span(text: str, *, field: str) -> int:
    """Microseconds of ``90s``, ``15m``, ``12h``, ``30d`` or ``2w``.

    Raises:
        InvalidInput: anything else.
    """
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        raise InvalidInput(f"{field}: {text!r} is not a span of time; write 90s, 15m, 12h, 30d or 2w", field=field)
    return int(found["count"]) * _SPANS[found["unit"]] * SECOND_US


def parse_since(text: str, *, now_us: int, zone: tzinfo, field: str = "since") -> int:
    """The first instant of a range.

    Raises:
        InvalidInput: the text is no such bound.
    """
    return _parse_bound(text, now_us, zone, field, days_on=0)


def parse_until(text: str, *, now_us: int, zone: tzinfo, field: str = "until") -> int:
    """The first instant after a range: a date is counted to its end.

    Raises:
        InvalidInput: the text is no such bound.
    """
    return _parse_bound(text, now_us, zone, field, days_on=1)


def parse_expiry(text: str, *, now_us: int, zone: tzinfo, field: str = "expires_at") -> int:
    """An instant to come: a span from now, a date (to its end), or RFC 3339.

    Raises:
        InvalidInput: the text is none of these, or the instant has passed.
    """
    instant_us = (
        now_us + parse_span(text, field=field)
        if _SPAN.fullmatch(text.strip())
        else parse_until(text, now_us=now_us, zone=zone, field=field)
    )
    if instant_us <= now_us:
        raise InvalidInput(f"{field}: {text!r} has passed already", field=field)
    return instant_us


def parse_at(text: str, *, now_us: int, zone: tzinfo, field: str = "at") -> int:
    """An instant: a span from now on, a date (its beginning), or RFC 3339.

    Raises:
        InvalidInput: the text is none of these, or no such day exists.
    """
    if _SPAN.fullmatch(text.strip()):
        return now_us + parse_span(text, field=field)
    return _parse_bound(text, now_us, zone, field, days_on=0)


def _parse_bound(text: str, now_us: int, zone: tzinfo, field: str, *, days_on: int) -> int:
    text = text.strip()
    if _SPAN.fullmatch(text):
        return now_us - parse_span(text, field=field)
    today = to_datetime(now_us, zone).date()
    try:
        if text in ("today", "yesterday"):
            return _midnight(today - timedelta(days=text == "yesterday") + timedelta(days=days_on), zone)
        if _DATE.fullmatch(text):
            return _midnight(date.fromisoformat(text) + timedelta(days=days_on), zone)
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(
            f"{field}: {text!r} is not an instant; write 30d, 12h, today, 2026-01-31 or 2026-01-31T09:30:00Z",
            field=field,
        ) from error
    return from_datetime(moment if moment.tzinfo else moment.replace(tzinfo=zone))


def _midnight(day: date, zone: tzinfo) -> int:
    return from_datetime(datetime.combine(day, time(), tzinfo=zone))
