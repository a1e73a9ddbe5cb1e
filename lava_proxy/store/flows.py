"""Flows by period, whichever the backend: periods without a gap, and each moved amount in its own.

A backend tells what was moved in grains of time: as fine as asked for, or finer. A quarter of an hour is enough where
all periods begin on one, as they do in every time zone that is in use.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable
from operator import add
from zoneinfo import ZoneInfo

from msgspec import Struct

from lava_proxy.core.errors import InvalidInput
from lava_proxy.core.flows import FLOWS, NO_FLOWS, FlowLine, Flows, flows_of
from lava_proxy.core.rollups import BUCKET_US, bucket_of
from lava_proxy.store.periods import PERIODS, Period, periods_between


class Moved(Struct, frozen=True):
    """An amount; ``at_us`` of ``None`` is before the range."""

    at_us: int | None
    is_call: bool
    source: str
    destination: str
    amount_nanos: int


class FlowRange(Struct, frozen=True, kw_only=True):
    """Which time, and how it is cut."""

    since_us: int | None
    until_us: int | None
    now_us: int
    by: str
    time_zone: ZoneInfo

    def __post_init__(self) -> None:
        if self.by not in PERIODS:
            raise InvalidInput(f"by: {self.by!r} is no period; choose of {', '.join(PERIODS)}", field="by")


def flow_lines(
    which: FlowRange, moved: Callable[[int], Iterable[Moved]], requests_us: tuple[int, int] | None
) -> tuple[FlowLine, ...]:
    """See ``core.ports.Books.flows``. ``requests_us``: the quarters of an hour of the first and the last request."""
    found = list(moved(BUCKET_US))
    periods = _periods(which, found, requests_us)
    starts = [period.start_us for period in periods]
    if any(start_us % BUCKET_US for start_us in starts[1:]):
        found = list(moved(1))
    sums: list[Flows] = [NO_FLOWS] * (len(periods) + 1)
    for row in found:
        place = 0 if row.at_us is None else max(bisect_right(starts, row.at_us), 1)
        flows = flows_of(row.source, row.destination, row.amount_nanos, is_call=row.is_call)
        sums[place] = tuple(map(add, sums[place], flows))
    names = ["", *(period.name for period in periods)]
    return tuple(_line(name, flows) for name, flows in zip(names, sums, strict=True))


def _periods(which: FlowRange, found: list[Moved], requests_us: tuple[int, int] | None) -> list[Period]:
    """From the first of the range in which anything happened, to its end, to now, or to the last thing."""
    instants = [bucket_of(row.at_us) for row in found if row.at_us is not None]
    has_past = len(instants) < len(found)
    if requests_us is not None and (which.until_us is None or requests_us[0] < which.until_us):
        instants += [requests_us[0], requests_us[1] + BUCKET_US - 1]
        has_past |= which.since_us is not None and requests_us[0] < bucket_of(which.since_us)
    if which.since_us is not None:
        instants = [max(instant, which.since_us) for instant in instants]
        instants += [which.since_us] if has_past else []
    if not instants:
        return []
    last_us = max(which.now_us, *instants)
    if which.until_us is not None:
        last_us = min(last_us, which.until_us - 1)
    first_us = min(instants)
    return periods_between(which.by, first_us, last_us, which.time_zone) if first_us <= last_us else []


def _line(name: str, flows: Flows) -> FlowLine:
    return FlowLine(period=name, **dict(zip(FLOWS, flows, strict=True)))
