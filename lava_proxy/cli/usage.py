"""`lava usage`: sums over requests."""

from typing import TYPE_CHECKING, Annotated

import typer

from lava_proxy.cli.naming import Names
from lava_proxy.cli.options import CustomerOption, Home, Json, MetadataPairs, MeterOption, Since, TimeZone, Until
from lava_proxy.cli.output import money
from lava_proxy.cli.reading import Wanted, read_filter, read_range
from lava_proxy.cli.session import open_house, output

if TYPE_CHECKING:
    from lava_proxy.core.ports import UsageLine

SUMS = ("requests", "errors", "input_tokens", "output_tokens", "cost", "charge", "margin", "unpriced", "estimated")


def usage(
    group_by: Annotated[
        list[str] | None,
        typer.Option(
            "--by", metavar="GROUP", help="day, customer, meter, model or provider; repeatable.", show_default="day"
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
    home: Home = None,
    json: Json = False,
) -> None:
    """Sum up finished requests of the last 30 days, or of another time.

    \b
    lava usage
    lava usage --by customer --by model --since 7d
    lava usage --customer acme --since 2026-01-01 --until 2026-01-31 --tz Europe/Berlin --json
    """
    with open_house(home) as house:
        from lava_proxy.services.usage import usage_document

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
        names = Names(house)
        rows = [
            (*(names.group(kind, value) for kind, value in zip(groups, line.group, strict=True)), *_sums(line))
            for line in report.lines
        ]
        total = ("total", *("" for _ in groups[1:]), *_sums(report.total))
        out.table((*groups, *SUMS), [*rows, total])


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
