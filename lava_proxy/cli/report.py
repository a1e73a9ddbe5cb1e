"""`lava report`: revenue, margin, and who and what they come from."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from lava_proxy.cli.bars import bars
from lava_proxy.cli.export_writers import Format, write
from lava_proxy.cli.naming import Names
from lava_proxy.cli.options import Csv, CustomerOption, Home, Json, MetadataPairs, MeterOption, Since, TimeZone, Until
from lava_proxy.cli.output import Output, money
from lava_proxy.cli.reading import Wanted, check_formats, read_filter, read_range
from lava_proxy.cli.session import open_house, output
from lava_proxy.core.errors import InvalidInput
from lava_proxy.core.money import NANOS_PER_DOLLAR, format_amount

if TYPE_CHECKING:
    from lava_proxy.services.exports import Cell, Line
    from lava_proxy.services.reports import Report, ReportKind

KINDS = ("revenue", "margin", "customers", "models", "meters", "providers")
SINCE = {"hour": "24h", "day": "30d", "week": "84d", "month": None, None: "30d"}
"""How far back a report goes that does not say so itself; by the month: from the beginning."""

_USAGE = ("requests", "input_tokens", "output_tokens", "cost", "charge", "margin", "margin_percent")
_CREDIT = (
    "requests",
    "cost",
    "revenue",
    "margin",
    "credit_sold",
    "credit_used",
    "breakage",
    "overage",
    "refunds",
    "deferred_credit",
)
_HEADS = {
    "margin_percent": "margin %",
    "input_tokens": "input",
    "output_tokens": "output",
    "credit_sold": "sold",
    "credit_used": "used",
    "deferred_credit": "deferred",
}
"""What stands over a column on a terminal, where it is not the column's name."""


def report(
    what: Annotated[str, typer.Argument(metavar="WHAT", help=f"{', '.join(KINDS[:-1])} or {KINDS[-1]}.")],
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            metavar="PERIOD",
            help="Cut into hours, days, weeks or months: hour, day, week or month.",
            show_default="revenue: month; margin: day",
        ),
    ] = None,
    customer_id: CustomerOption = None,
    meter_slug: MeterOption = None,
    provider: Annotated[
        str | None, typer.Option("--provider", metavar="PROVIDER", help="Of this provider.", show_default=False)
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="MODEL", help="Of this model.", show_default=False)
    ] = None,
    metadata: MetadataPairs = None,
    since: Since = None,
    until: Until = None,
    tz: TimeZone = None,
    csv: Csv = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Report revenue and deferred credit, margin, or what customers, models, meters and providers bring and cost.

    Without --since: 24 hours by the hour, 30 days by the day or undivided, 12 weeks by the week, everything by the month.

    \b
    lava report revenue
    lava report margin --by week --tz Europe/Berlin
    lava report customers --since 2026-01-01 --until 2026-01-31 --csv > january.csv
    lava report models --by month --metadata team=search --json
    """
    with open_house(home) as house:
        from lava_proxy.services.reports import DEFAULT_PERIODS, Report, report_document

        check_formats(json=json, csv=csv)
        kind = _kind(what)
        period = by or DEFAULT_PERIODS.get(kind)
        between = read_range(house, since or SINCE.get(period), until, tz)
        wanted = Wanted(customer=customer_id, meter=meter_slug, provider=provider, model=model, metadata=metadata)
        which = read_filter(house, wanted, between)
        found: Report = house.reports.report(kind, which, by=by, time_zone=between.zone_name)
        out = output(house, json)
        if json:
            out.document(report_document(found))
        elif csv:
            write(found.export(), Format.CSV, None)
        else:
            _table(out, found, Names(house))


def _kind(what: str) -> "ReportKind":
    from lava_proxy.services.reports import ReportKind

    if what not in KINDS:
        raise InvalidInput(f"what: there is no report {what!r}; choose of {', '.join(KINDS)}", field="what")
    return ReportKind(what)


def _table(out: Output, report: "Report", names: Names) -> None:
    """On a terminal some columns, rounded, with bars; into a pipe all of them, exact."""
    columns = [column.name for column in report.columns]
    groups = len(report.by)
    total: Line = ("total", *("" for _ in report.by[1:]), *report.total)
    lines = [(*_named(report, line, names), *line[groups:]) for line in report.rows] + [total]
    if not sys.stdout.isatty():
        out.table(columns, [[_exact(report, place, cell) for place, cell in enumerate(line)] for line in lines])
        return
    sums = _CREDIT if report.has_credit else _USAGE
    places = [*range(groups), *(columns.index(name) for name in sums)]
    figure = columns.index("revenue" if report.has_credit else "margin" if report.kind == "margin" else "charge")
    drawn = [*bars([int(line[figure] or 0) for line in report.rows]), ""]
    heads = [_HEADS.get(columns[place], columns[place]) for place in places]
    rows = [[*(_rounded(report, place, line[place]) for place in places), bar] for line, bar in zip(lines, drawn, strict=True)]
    out.table([*heads, columns[figure]], rows)


def _named(report: "Report", line: "Line", names: Names) -> "Line":
    return tuple(names.group(kind, str(value)) for kind, value in zip(report.by, line, strict=False))


def _exact(report: "Report", place: int, cell: "Cell") -> "str | int | None":
    return money(int(cell)) if _is_amount(report, place) and cell is not None else cell


def _rounded(report: "Report", place: int, cell: "Cell") -> "str | int | None":
    """Dollars to the cent, and what is less than a dollar to a hundredth of one; counts with commas."""
    if _is_amount(report, place) and cell is not None:
        nanos = int(cell)
        text = format_amount(abs(nanos), decimals=2 if abs(nanos) >= NANOS_PER_DOLLAR or not nanos else 4)
        return f"{'-' if nanos < 0 and text.strip('0.') else ''}${text}"
    return f"{cell:,}" if isinstance(cell, int) else cell


def _is_amount(report: "Report", place: int) -> bool:
    return report.columns[place].kind.value == "amount"
