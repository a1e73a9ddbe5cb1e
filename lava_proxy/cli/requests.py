"""`lava requests`: calls, in flight and finished."""

import time
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from lava_proxy.cli.adjusting import dispute
from lava_proxy.cli.groups import noun
from lava_proxy.cli.naming import Names
from lava_proxy.cli.options import (
    Cursor,
    CustomerOption,
    Home,
    Json,
    Limit,
    MetadataPairs,
    MeterOption,
    Since,
    TimeZone,
    Until,
)
from lava_proxy.cli.output import Cell, Output, money, when
from lava_proxy.cli.reading import Range, Wanted, read_filter, read_range
from lava_proxy.cli.session import open_house, output, zone_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo

    from lava_proxy.core.entities import RequestRecord
    from lava_proxy.services.requests import Call
    from lava_proxy.wiring import House

app = noun("Calls, in flight and finished.")

POLL_SECONDS = 0.3
COLUMNS = ("created_at", "request_id", "customer", "model", "status", "tokens", "cost", "charge", "margin", "flags")

Run = Annotated[str | None, typer.Option("--run-id", metavar="RUN", help="Of this `lava run`.", show_default=False)]
Provider = Annotated[
    str | None, typer.Option("--provider", metavar="PROVIDER", help="Of this provider.", show_default=False)
]
Model = Annotated[str | None, typer.Option("--model", metavar="MODEL", help="Of this model.", show_default=False)]
Status = Annotated[
    str | None, typer.Option("--status", metavar="STATUS", help="pending, completed or error.", show_default=False)
]
Flag = Annotated[
    str | None,
    typer.Option("--flag", metavar="FLAG", help="With this flag, such as unpriced or estimated.", show_default=False),
]


@app.command("list")
def list_requests(
    customer_id: CustomerOption = None,
    meter_slug: MeterOption = None,
    run_id: Run = None,
    provider: Provider = None,
    model: Model = None,
    status: Status = None,
    flag: Flag = None,
    metadata: MetadataPairs = None,
    since: Since = None,
    until: Until = None,
    tz: TimeZone = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """List requests, newest first; those in flight on top.

    \b
    lava requests list --customer acme --since 12h
    lava requests list --flag unpriced --since 30d
    lava requests list --metadata feature=chat --json
    """
    with open_house(home) as house:
        from lava_proxy.services.request_documents import request_document

        between = read_range(house, since, until, tz)
        wanted = _wanted(customer_id, meter_slug, run_id, provider, model, status, flag, metadata)
        page = house.requests.page(read_filter(house, wanted, between), cursor=cursor, limit=limit)
        out = output(house, json)
        if json:
            out.page([request_document(call) for call in page.items], page.next_cursor)
            return
        names = Names(house)
        rows = [_row(call, between.zone, names) for call in page.items]
        out.table(COLUMNS, rows, empty="No requests.")
        out.more(page.next_cursor)


@app.command("show")
def show(
    request: Annotated[
        str, typer.Argument(metavar="REQUEST", help="A request, by req_… or the caller's own id.", show_default=False)
    ],
    home: Home = None,
    json: Json = False,
) -> None:
    """Show a request: usage by unit, cost, charge by tier, and why.

    \b
    lava requests show req_01JZ…
    """
    with open_house(home) as house:
        from lava_proxy.services.request_documents import request_document

        call = house.requests.get(request)
        out = output(house, json)
        if json:
            out.document(request_document(call))
            return
        _show_facts(house, call, out)


app.command("dispute")(dispute)


@app.command("tail")
def tail(
    customer_id: CustomerOption = None,
    meter_slug: MeterOption = None,
    run_id: Run = None,
    provider: Provider = None,
    model: Model = None,
    metadata: MetadataPairs = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="End after so many.", show_default=False)
    ] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Follow requests as they end, until Ctrl-C. With --json one document a line.

    \b
    lava requests tail
    lava requests tail --customer acme --json | jq .charge.amount
    """
    with open_house(home) as house:
        from lava_proxy.services.request_documents import request_document

        nothing = Range(since_us=None, until_us=None, zone=zone_of(None, house.settings), zone_name="")
        wanted = _wanted(customer_id, meter_slug, run_id, provider, model, None, None, metadata)
        which = read_filter(house, wanted, nothing)
        out, names = output(house, json), Names(house)
        if not json:
            print("\t".join(COLUMNS), flush=True)
        ended = house.requests.follow(which, pause=lambda: time.sleep(POLL_SECONDS))
        for call in islice(ended, limit):
            if json:
                out.line(request_document(call))
            else:
                print("\t".join(str(cell) for cell in _row(call, nothing.zone, names)), flush=True)


def _wanted(
    customer: str | None,
    meter: str | None,
    run: str | None,
    provider: str | None,
    model: str | None,
    status: str | None,
    flag: str | None,
    metadata: list[str] | None,
) -> Wanted:
    return Wanted(
        customer=customer,
        meter=meter,
        run=run,
        provider=provider,
        model=model,
        status=status,
        flag=flag,
        metadata=metadata,
    )


def _row(call: "Call", zone: "tzinfo", names: Names) -> tuple[str | int | None, ...]:
    record, hold = call.record, call.hold
    if record is None:
        assert hold is not None
        model = hold.request.model
        return (
            when(hold.created_us, zone),
            hold.request_id,
            names.customer(hold.customer_id),
            model,
            "pending",
            "",
            "",
            f"≤ {money(hold.amount_nanos)}",
            "",
            "",
        )
    margin = None if record.cost_nanos is None else record.charge_nanos - record.cost_nanos
    return (
        when(record.created_us, zone),
        record.request_id,
        names.customer(record.customer_id),
        record.model,
        record.status.value,
        record.usage.total_tokens(),
        money(record.cost_nanos),
        money(record.charge_nanos),
        money(margin),
        ",".join(record.flags),
    )


def _show_facts(house: "House", call: "Call", out: Output) -> None:
    zone = zone_of(None, house.settings)
    names = Names(house)
    row = dict(zip(COLUMNS, _row(call, zone, names), strict=True))
    record = call.record
    head = record.request if record is not None else call.hold.request if call.hold is not None else None
    assert head is not None
    facts: list[tuple[str, Cell]] = [
        *((name, row[name]) for name in ("request_id", "status", "customer", "model")),
        ("provider", head.provider),
        ("endpoint", f"{head.method} {head.url}"),
        ("metadata", " ".join(f"{key}={value}" for key, value in head.metadata)),
        ("created_at", row["created_at"]),
    ]
    if record is not None:
        facts += _outcome(record, names, row, zone)
    elif call.hold is not None:
        facts.append(("held", money(call.hold.amount_nanos)))
    out.facts(facts)


def _outcome(
    record: "RequestRecord", names: Names, row: "Mapping[str, Cell]", zone: "tzinfo"
) -> list[tuple[str, Cell]]:
    from lava_proxy.services.documents import rate_text, usage_units

    lines = [
        (line.part or f"from {line.tier_start:,}", f"{money(line.charge_nanos)} at {rate_text(line.rate_nanos)}")
        for line in record.breakdown
    ]
    return [
        *((unit, str(count)) for unit, count in usage_units(record.usage).items()),
        ("quote", money(record.quote_nanos)),
        ("cost", money(record.cost_nanos)),
        *((("by subscription, list price", money(record.list_nanos)),) if record.cost_basis != "metered" else ()),
        ("price", " ".join(part for part in (record.price_source, record.price_date) if part)),
        ("charge", money(record.charge_nanos)),
        *lines,
        ("margin", row["margin"]),
        ("uncovered", money(record.uncovered_nanos) if record.uncovered_nanos else None),
        ("meter", f"{names.meter(record.meter_id)} version {record.meter_version} ({record.meter_rule})"),
        ("flags", row["flags"]),
        ("http_status", record.http_status),
        ("run_id", record.run_id),
        ("settled_at", when(record.settled_us, zone)),
    ]
