"""Reports: what was used, what it cost and was charged, and for revenue what became of the credit that was sold.

A request belongs to the instant of its hold, with its cost and its charge; everything else to the instant of its entry in
the journal. So the lines of a report add up to the accounts of the ledger, to the nano-dollar: ``revenue``, ``cost``,
``breakage``, and what is left in all grants, which is the deferred credit.
"""

from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.errors import InvalidInput
from lava_proxy.core.instants import format_instant
from lava_proxy.core.ports import Books, Clock, Ledger, RequestFilter
from lava_proxy.services.documents import Document, Json
from lava_proxy.services.exports import Column, Export, Line
from lava_proxy.services.report_cells import (
    CREDIT_COLUMNS,
    USAGE_COLUMNS,
    credit_cells,
    credit_gained,
    document_of,
    no_usage,
    sum_flows,
    sum_usage,
    usage_cells,
)

PERIODS = ("hour", "day", "week", "month")


class ReportKind(StrEnum):
    REVENUE = "revenue"
    MARGIN = "margin"
    CUSTOMERS = "customers"
    MODELS = "models"
    METERS = "meters"
    PROVIDERS = "providers"


GROUPS = {
    ReportKind.CUSTOMERS: "customer",
    ReportKind.MODELS: "model",
    ReportKind.METERS: "meter",
    ReportKind.PROVIDERS: "provider",
}
"""What each line is about; those of the others are periods."""
DEFAULT_PERIODS = {ReportKind.REVENUE: "month", ReportKind.MARGIN: "day"}


class Report(Struct, frozen=True, kw_only=True):
    """A table with its sums; amounts are nano-dollars. The first columns, as many as ``by``, tell what a line is about."""

    kind: ReportKind
    by: tuple[str, ...]
    time_zone: str
    which: RequestFilter
    columns: tuple[Column, ...]
    rows: tuple[Line, ...]
    total: Line
    """The sums alone, without what a line is about."""

    @property
    def has_credit(self) -> bool:
        """Whether it tells of credit and money, and not of requests alone."""
        return self.columns[-1] == CREDIT_COLUMNS[-1]

    def export(self) -> Export:
        """The lines without their sums."""
        return Export(columns=self.columns, rows=iter(self.rows))


class Reports:
    def __init__(self, *, ledger: Ledger, clock: Clock) -> None:
        self._ledger, self._clock = ledger, clock

    def report(
        self, kind: ReportKind, which: RequestFilter, *, by: str | None = None, time_zone: str = "UTC"
    ) -> Report:
        """One report over the requests of ``which``, its days those of ``time_zone``. ``by``: cut into such periods.

        Revenue of a part of the requests (a filter by more than the customer) tells of requests alone: credit is sold to
        customers, not to models or meters.

        Raises:
            InvalidInput: there is no such period.
        """
        if by is not None and by not in PERIODS:
            raise InvalidInput(f"by: {by!r} is no period; choose of {', '.join(PERIODS)}", field="by")
        period = by or DEFAULT_PERIODS.get(kind)
        asked = _Asked(kind=kind, which=which, period=period, time_zone=time_zone, now_us=self._clock.now_us())
        with self._ledger.books().snapshot() as books:
            if kind is ReportKind.REVENUE and _is_of_customers(which):
                return _revenue(books, asked)
            return _usage(books, asked)


def report_document(report: Report) -> Document:
    """Amounts are texts, as everywhere in JSON of ours."""
    since_us, until_us = report.which.since_us, report.which.until_us
    sums = report.columns[len(report.by) :]
    items: list[Json] = [document_of(report.columns, row) for row in report.rows]
    return {
        "report": report.kind.value,
        "by": list(report.by),
        "time_zone": report.time_zone,
        "since": None if since_us is None else format_instant(since_us),
        "until": None if until_us is None else format_instant(until_us),
        "items": items,
        "totals": document_of(sums, report.total),
    }


class _Asked(Struct, frozen=True, kw_only=True):
    kind: ReportKind
    which: RequestFilter
    period: str | None
    time_zone: str
    now_us: int


def _report(
    asked: _Asked, by: tuple[str, ...], columns: tuple[Column, ...], *, rows: list[Line], total: Line
) -> Report:
    names = tuple(Column(name) for name in by)
    return Report(
        kind=asked.kind,
        by=by,
        time_zone=asked.time_zone,
        which=asked.which,
        columns=(*names, *columns),
        rows=tuple(rows),
        total=total,
    )


def _is_of_customers(which: RequestFilter) -> bool:
    plain = RequestFilter(customer_id=which.customer_id, since_us=which.since_us, until_us=which.until_us)
    return which == plain


def _usage(books: Books, asked: _Asked) -> Report:
    """Periods in their order; within one, what was charged most comes first."""
    groups = (asked.period, GROUPS.get(asked.kind))
    by = tuple(group for group in groups if group is not None)
    lines = books.usage(asked.which, by=by, time_zone=asked.time_zone)
    if asked.kind in GROUPS:
        first = int(asked.period is not None)
        lines = tuple(sorted(lines, key=lambda line: (line.group[:first], -line.charge_nanos, line.group)))
    return _report(
        asked,
        by,
        USAGE_COLUMNS,
        rows=[(*line.group, *usage_cells(line)) for line in lines],
        total=usage_cells(sum_usage(lines)),
    )


def _revenue(books: Books, asked: _Asked) -> Report:
    """Period by period, with the credit that is left at the end of each."""
    which, period = asked.which, asked.period
    assert period is not None, asked
    past, *flows = books.flows(
        which.customer_id,
        by=period,
        now_us=asked.now_us,
        since_us=which.since_us,
        until_us=which.until_us,
        time_zone=asked.time_zone,
    )
    deferred = 0
    if which.since_us is not None:
        before = books.usage(replace(which, since_us=None, until_us=which.since_us), by=())
        deferred = sum(credit_gained(past, line) for line in before)
    used = {line.group[0]: line for line in books.usage(which, by=(period,), time_zone=asked.time_zone)}
    assert used.keys() <= {flow.period for flow in flows}, (asked, used.keys())
    rows: list[Line] = []
    for flow in flows:
        line = used.get(flow.period) or no_usage((flow.period,))
        deferred += credit_gained(flow, line)
        rows.append((flow.period, *usage_cells(line), *credit_cells(flow, line, deferred)))
    all_used = sum_usage(used.values())
    total = (*usage_cells(all_used), *credit_cells(sum_flows(flows), all_used, deferred))
    return _report(asked, (period,), (*USAGE_COLUMNS, *CREDIT_COLUMNS), rows=rows, total=total)
