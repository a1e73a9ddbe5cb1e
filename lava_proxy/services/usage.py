"""Usage: sums over finished requests, by day, customer, meter, model or provider."""

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from msgspec import Struct

from lava_proxy.core.errors import InvalidInput
from lava_proxy.core.instants import format_instant, from_datetime
from lava_proxy.core.money import format_amount
from lava_proxy.core.ports import Ledger, RequestFilter, UsageLine
from lava_proxy.core.rollups import FIGURES
from lava_proxy.services.documents import Document, Json
from lava_proxy.services.exports import Column, ColumnKind, Export
from lava_proxy.services.report_cells import USAGE_COLUMNS, usage_cells

GROUPS = ("hour", "day", "week", "month", "customer", "meter", "model", "provider")


class UsageReport(Struct, frozen=True, kw_only=True):
    by: tuple[str, ...]
    time_zone: str
    lines: tuple[UsageLine, ...]
    total: UsageLine


class UsageReports:
    def __init__(self, *, ledger: Ledger) -> None:
        self._ledger = ledger

    def report(self, which: RequestFilter, *, by: tuple[str, ...] = ("day",), time_zone: str = "UTC") -> UsageReport:
        """Sums of each group, and of all. Days are those of ``time_zone``.

        Raises:
            InvalidInput: there is no such group.
        """
        for group in by:
            if group not in GROUPS:
                raise InvalidInput(f"by: {group!r} is no group; choose of {', '.join(GROUPS)}", field="by")
        books = self._ledger.books()
        lines = books.usage(which, by=by, time_zone=time_zone)
        total = books.usage(which, by=(), time_zone=time_zone) if by else lines
        return UsageReport(by=by, time_zone=time_zone, lines=lines, total=total[0] if total else _NOTHING)


def usage_document(report: UsageReport) -> Document:
    """Lava's usage object; groups other than days stand under their names, and more sums beside Lava's."""
    items: list[Json] = [_item(report, line) for line in report.lines] if report.by else []
    return {"items": items, "totals": _sums(report.total), "by": list(report.by), "time_zone": report.time_zone}


def usage_export(report: UsageReport) -> Export:
    """The lines, without the total, as `lava report` has them."""
    columns = (*(Column(name) for name in report.by), *USAGE_COLUMNS, Column("uncovered", ColumnKind.AMOUNT))
    return Export(
        columns=columns,
        rows=((*line.group, *usage_cells(line), line.uncovered_nanos) for line in report.lines),
    )


def _item(report: UsageReport, line: UsageLine) -> Document:
    groups: Document = {}
    for name, value in zip(report.by, line.group, strict=True):
        if name == "day":
            groups |= _day(value, report.time_zone)
        else:
            groups[name] = value
    return {**groups, **_sums(line)}


def _day(text: str, time_zone: str) -> Document:
    zone = ZoneInfo(time_zone)
    day = date.fromisoformat(text)
    start_us = from_datetime(datetime.combine(day, time(), tzinfo=zone))
    end_us = from_datetime(datetime.combine(day + timedelta(days=1), time(), tzinfo=zone)) - 1
    return {"date": text, "start": format_instant(start_us), "end": format_instant(end_us)}


def _sums(line: UsageLine) -> Document:
    return {
        "total_requests": line.requests,
        "total_usage_tokens": line.input_tokens + line.output_tokens,
        "total_cost": format_amount(line.cost_nanos),
        "total_charge": format_amount(line.charge_nanos),
        "total_margin": format_amount(line.charge_nanos - line.cost_nanos),
        "input_tokens": line.input_tokens,
        "output_tokens": line.output_tokens,
        "cached_input_tokens": line.cached_input_tokens,
        "cache_write_tokens": line.cache_write_tokens,
        "reasoning_tokens": line.reasoning_tokens,
        "total_uncovered": format_amount(line.uncovered_nanos),
        "errors": line.errors,
        "unpriced": line.unpriced,
        "estimated": line.estimated,
    }


_NOTHING = UsageLine(
    group=(),
    **dict.fromkeys(FIGURES, 0),
)
