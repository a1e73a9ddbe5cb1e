"""Where a cycle begins: of a customer's counters and allowances, and of budgets' periods. All in UTC."""

from datetime import UTC, datetime, time, timedelta
from functools import lru_cache

from lava_proxy.core.billing import Terms
from lava_proxy.core.entities import Counter, CounterReset, MeterVersion
from lava_proxy.core.ids import CustomerId
from lava_proxy.core.instants import format_instant, from_datetime, to_datetime
from lava_proxy.core.ports import Rows

FREE = "free:"
"""Before the cycle of a counter of free units."""
DAY_US = 86_400 * 1_000_000
PERIODS = ("day", "week", "month", "total")


def cycle_start_us(rows: Rows, customer_id: CustomerId | None, at_us: int) -> int:
    """The first instant of the customer's billing cycle; without a plan, of the calendar month."""
    terms = rows.get(Terms, customer_id) if customer_id else None
    if terms is not None and terms.subscription_id is not None and 0 < terms.counted_from_us <= at_us:
        return terms.counted_from_us
    return period_start_us("month", at_us)


def period_start_us(period: str, at_us: int) -> int:
    """The first instant of the day, the week (from Monday) or the month; 0 for ``total``, which has no end.

    >>> format_instant(period_start_us("week", 1_790_000_000_000_000))
    '2026-09-21T00:00:00.000000Z'
    """
    return 0 if period == "total" else _start_of(period, at_us // DAY_US)


@lru_cache(maxsize=256)
def _start_of(period: str, day_number: int) -> int:
    """The same by the day, counted from the epoch: calls of one day share it."""
    day = to_datetime(day_number * DAY_US).date()
    if period == "week":
        day -= timedelta(days=day.weekday())
    elif period == "month":
        day = day.replace(day=1)
    return from_datetime(datetime.combine(day, time(), tzinfo=UTC))


def period_end_us(period: str, start_us: int) -> int | None:
    """The first instant after a period that begins at ``start_us``; ``None`` where it has no end."""
    if period == "total":
        return None
    days = {"day": 1, "week": 7, "month": 31}[period]
    start = to_datetime(start_us)
    end = start + timedelta(days=days)
    return from_datetime(end.replace(day=1) if period == "month" else end)


def cycle_key(version: MeterVersion, rows: Rows, customer_id: CustomerId | None, at_us: int) -> str:
    """The cycle of a call on this meter; ``""`` where it counts nothing by cycle."""
    options = version.options
    if version.reset is CounterReset.NEVER and (options is None or not options.allowance):
        return ""
    return _key_of(cycle_start_us(rows, customer_id, at_us))


_key_of = lru_cache(maxsize=256)(format_instant)


def counter_cycle(version: MeterVersion, cycle: str) -> str:
    """The cycle in the key of the counter of the meter's tiers."""
    return cycle if version.reset is CounterReset.CYCLE else ""


def load_allowance(rows: Rows, version: MeterVersion, customer_id: CustomerId | None, cycle: str) -> Counter | None:
    """The free units that a customer has used of this cycle; ``None`` where the meter gives none."""
    if version.options is None or not version.options.allowance or not cycle:
        return None
    found = rows.get(Counter, customer_id or "", version.meter_id, FREE + cycle)
    return found or Counter(customer_id=customer_id or "", meter_id=version.meter_id, cycle=FREE + cycle)
