"""When cycles begin and end, and what a part of one is worth: whole intervals from an anchor, in UTC, in whole numbers.

A month that has no such day ends on its last one; the anchor keeps its own day, so that 31 January is followed by
28 February and then by 31 March.
"""

from calendar import monthrange

from lava_proxy.core.billing import Interval
from lava_proxy.core.instants import SECOND_US, from_datetime, to_datetime
from lava_proxy.core.money import NANOS_PER_DOLLAR

DAY_US = 86_400 * SECOND_US
CENT_NANOS = NANOS_PER_DOLLAR // 100
PERCENT_NANOS = 1_000_000_000
WHOLE_NANOS = 100 * PERCENT_NANOS
"""All of something, in nano-percent."""

_DAYS = {Interval.DAY: 1, Interval.WEEK: 7}
_MONTHS = {Interval.MONTH: 1, Interval.YEAR: 12}


def boundary(anchor_us: int, interval: Interval, count: int) -> int:
    """The instant ``count`` intervals after the anchor.

    >>> from lava_proxy.core.instants import format_instant
    >>> format_instant(boundary(1769871600_000_000, Interval.MONTH, 1))  # from 2026-01-31T15:00
    '2026-02-28T15:00:00.000000Z'
    """
    if interval in _DAYS:
        return anchor_us + count * _DAYS[interval] * DAY_US
    anchor = to_datetime(anchor_us)
    years, month = divmod(anchor.month - 1 + count * _MONTHS[interval], 12)
    year = anchor.year + years
    day = min(anchor.day, monthrange(year, month + 1)[1])
    return from_datetime(anchor.replace(year=year, month=month + 1, day=day))


def prorate_cents(amount_nanos: int, part_us: int, whole_us: int) -> int:
    """The part of a price, to the cent, a half up: what is due.

    >>> prorate_cents(10_000_000_000, 1, 3)
    3330000000
    """
    assert 0 <= part_us <= whole_us and whole_us > 0, (part_us, whole_us)
    cents = (2 * amount_nanos * part_us + whole_us * CENT_NANOS) // (2 * whole_us * CENT_NANOS)
    return cents * CENT_NANOS


def prorate_nanos(amount_nanos: int, part_us: int, whole_us: int) -> int:
    """The part of an amount of credit, down to the nano."""
    assert 0 <= part_us <= whole_us and whole_us > 0, (part_us, whole_us)
    return amount_nanos * part_us // whole_us


def refundable_nanos(paid_nanos: int, *, unused_nanos: int, granted_nanos: int, left_us: int, whole_us: int) -> int:
    """What is paid back of a payment, down to the cent: the unused part of its credit or of its time, the lesser one."""
    by_time = paid_nanos * left_us // whole_us
    by_credit = paid_nanos * unused_nanos // granted_nanos if granted_nanos else by_time
    return min(by_time, by_credit) // CENT_NANOS * CENT_NANOS


def discounted(amount_nanos: int, discount_nanos: int) -> int:
    """A price less a percentage, to the cent, a half up.

    >>> discounted(20_000_000_000, 25 * PERCENT_NANOS)
    15000000000
    """
    return prorate_cents(amount_nanos, WHOLE_NANOS - discount_nanos, WHOLE_NANOS)


def marked_up_cents(amount_nanos: int, markup_nanos: int) -> int:
    """An amount with a percentage on top, to the cent, a half up."""
    numerator, denominator = amount_nanos * (WHOLE_NANOS + markup_nanos), WHOLE_NANOS * CENT_NANOS
    return (2 * numerator + denominator) // (2 * denominator) * CENT_NANOS


def before_markup(amount_nanos: int, markup_nanos: int) -> int:
    """The most that comes to no more than ``amount_nanos`` with a percentage on top."""
    return amount_nanos * WHOLE_NANOS // (WHOLE_NANOS + markup_nanos)
