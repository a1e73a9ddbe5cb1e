"""`lava usage`: sums over requests, and reports of usage that no request tells."""

from typing import TYPE_CHECKING, Annotated

import typer

from lava_proxy.cli.export_writers import Format, write
from lava_proxy.cli.groups import NounGroup
from lava_proxy.cli.naming import Names
from lava_proxy.cli.options import Csv, CustomerOption, Home, IdempotencyKey, Json, MetadataPairs, MeterOption, Since, TimeZone, Until
from lava_proxy.cli.output import money
from lava_proxy.cli.reading import Wanted, check_formats, read_filter, read_pairs, read_range
from lava_proxy.cli.session import by, open_house, output
from lava_proxy.core.errors import InvalidInput

if TYPE_CHECKING:
    from lava_proxy.core.ports import UsageLine

app = typer.Typer(
    cls=NounGroup,
    rich_markup_mode=None,
    add_completion=False,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
)

SUMS = ("requests", "errors", "input_tokens", "output_tokens", "cost", "charge", "margin", "unpriced", "estimated")


@app.callback()
def usage(
    context: typer.Context,
    group_by: Annotated[
        list[str] | None,
        typer.Option(
            "--by",
            metavar="GROUP",
            help="hour, day, week or month; customer, meter, model, provider; repeatable.",
            show_default="day",
        ),
    ] = None,
    customer_id: CustomerOption = None,
    meter_slug: MeterOption = None,
    run_id: Annotated[
        str | None, typer.Option("--run-id", metavar="RUN", help="Of this `lava run`.", show_default=False)
    ] = None,
    provider: Annotated[
        str | None, typer.Option("--provider", metavar="PROVIDER", help="Of this provider.", show_default=False)
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="MODEL", help="Of this model.", show_default=False)
    ] = None,
    metadata: MetadataPairs = None,
    since: Since = "30d",
    until: Until = None,
    tz: TimeZone = None,
    csv: Csv = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Sum up finished requests of the last 30 days, or of another time; or report usage of a unit of your own.

    \b
    lava usage
    lava usage --by customer --by model --since 7d
    lava usage --by week --since 84d --csv > weeks.csv
    lava usage --customer acme --since 2026-01-01 --until 2026-01-31 --tz Europe/Berlin --json
    """
    if context.invoked_subcommand is not None:
        return
    with open_house(home) as house:
        from lava_proxy.services.usage import usage_document, usage_export

        check_formats(json=json, csv=csv)
        between = read_range(house, since, until, tz)
        wanted = Wanted(
            customer=customer_id, meter=meter_slug, run=run_id, provider=provider, model=model, metadata=metadata
        )
        groups = tuple(part.strip() for text in group_by or ["day"] for part in text.split(","))
        report = house.usage.report(read_filter(house, wanted, between), by=groups, time_zone=between.zone_name)
        out = output(house, json)
        if json:
            out.document(usage_document(report))
            return
        if csv:
            write(usage_export(report), Format.CSV, None)
            return
        names = Names(house)
        rows = [
            (*(names.group(kind, value) for kind, value in zip(groups, line.group, strict=True)), *_sums(line))
            for line in report.lines
        ]
        total = ("total", *("" for _ in groups[1:]), *_sums(report.total))
        out.table((*groups, *SUMS), [*rows, total])


@app.command("record")
def record(
    customer_id: CustomerOption = None,
    meter_slug: MeterOption = None,
    quantity: Annotated[
        str | None,
        typer.Option("--quantity", metavar="UNITS", help="How many units, with at most 6 decimals.", show_default=False),
    ] = None,
    value: Annotated[
        str | None,
        typer.Option(
            "--value", metavar="TEXT", help="For a meter of different values: which one.", show_default=False
        ),
    ] = None,
    metadata: MetadataPairs = None,
    idempotency_key: IdempotencyKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Report usage of a meter with a unit of your own; it is charged at once, beyond the credit as debt.

    \b
    lava usage record --customer acme --meter storage --quantity 12.5 --idempotency-key 2026-11-28T06
    lava usage record --customer acme --meter seats --value user-17
    """
    with open_house(home) as house:
        from lava_proxy.services.request_documents import request_document
        from lava_proxy.services.usage_records import UsageReported, read_quantity

        if customer_id is None or meter_slug is None:
            field = "customer_id" if customer_id is None else "meter_slug"
            raise InvalidInput(f"{field}: say whose usage it is, and on which meter", field=field)
        report = UsageReported(
            customer=customer_id,
            meter=meter_slug,
            quantity_micros=read_quantity(quantity) if quantity is not None else None,
            value=value,
            metadata=read_pairs(metadata) if metadata else (),
        )
        call = house.requests.get(house.usage_records.record(report, by=by(idempotency_key)).value)
        out = output(house, json)
        if json:
            out.document(request_document(call))
            return
        assert call.record is not None
        out.facts(
            (
                ("request_id", call.record.request_id),
                ("customer", customer_id),
                ("meter", meter_slug),
                ("charge", money(call.record.charge_nanos)),
                *((("uncovered", money(call.record.uncovered_nanos)),) if call.record.uncovered_nanos else ()),
            )
        )


def _sums(line: "UsageLine") -> tuple[str | int, ...]:
    return (
        line.requests,
        line.errors,
        line.input_tokens,
        line.output_tokens,
        money(line.cost_nanos),
        money(line.charge_nanos),
        money(line.charge_nanos - line.cost_nanos),
        line.unpriced,
        line.estimated,
    )
