"""`lava export`: everything, to take elsewhere."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lava_proxy.cli.export_writers import Format, write
from lava_proxy.cli.groups import noun
from lava_proxy.cli.options import CustomerOption, Home, Json, MetadataPairs, MeterOption, Since, TimeZone, Until
from lava_proxy.cli.output import say
from lava_proxy.cli.reading import Wanted, read_filter, read_range
from lava_proxy.cli.session import open_house

if TYPE_CHECKING:
    from lava_proxy.services.exports import Export

app = noun("Requests, postings and statements as CSV, JSON lines or Parquet; any number, in little memory.")

FormatOption = Annotated[Format, typer.Option("--format", help="csv, jsonl, or parquet (an extra to install).")]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="FILE", help="Into this file; else standard output.", show_default=False),
]


@app.command("requests")
def requests(
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
    status: Annotated[
        str | None, typer.Option("--status", metavar="STATUS", help="completed or error.", show_default=False)
    ] = None,
    flag: Annotated[
        str | None, typer.Option("--flag", metavar="FLAG", help="With this flag, such as unpriced.", show_default=False)
    ] = None,
    metadata: MetadataPairs = None,
    since: Since = None,
    until: Until = None,
    tz: TimeZone = None,
    format: FormatOption = Format.CSV,
    out: Out = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Export finished requests, oldest first: usage by unit, cost, charge, margin, metadata. --json is --format jsonl.

    \b
    lava export requests --since 2026-01-01 --until 2026-01-31 --out january.csv
    lava export requests --customer acme --format jsonl | jq .charge
    lava export requests --format parquet --out all.parquet
    """
    with open_house(home) as house:
        wanted = Wanted(
            customer=customer_id,
            meter=meter_slug,
            run=run_id,
            provider=provider,
            model=model,
            status=status,
            flag=flag,
            metadata=metadata,
        )
        _finish(house.exports.requests(read_filter(house, wanted, read_range(house, since, until, tz))), format, out, json)


@app.command("postings")
def postings(
    customer_id: CustomerOption = None,
    account: Annotated[
        str | None,
        typer.Option(
            "--account",
            metavar="ACCOUNT",
            help="From or to this account, or those under it: revenue, provider, grant:grt_….",
            show_default=False,
        ),
    ] = None,
    since: Since = None,
    until: Until = None,
    tz: TimeZone = None,
    format: FormatOption = Format.CSV,
    out: Out = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Export the journal, a row for each posting, in its order. --json is --format jsonl.

    \b
    lava export postings --out journal.csv
    lava export postings --account revenue --since 30d
    """
    with open_house(home) as house:
        from lava_proxy.services.exports import PostingFilter

        between = read_range(house, since, until, tz)
        which = PostingFilter(
            customer_id=house.customers.get(customer_id).customer_id if customer_id else None,
            account=account,
            since_us=between.since_us,
            until_us=between.until_us,
        )
        _finish(house.exports.postings(which), format, out, json)


@app.command("statements")
def statements(
    customer_id: CustomerOption = None,
    since: Since = None,
    until: Until = None,
    tz: TimeZone = None,
    format: FormatOption = Format.CSV,
    out: Out = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Export every change of customers' credit, customer by customer, with the balance after it. --json is --format jsonl.

    \b
    lava export statements --since 2026-01-01 --until 2026-01-31 --out january.csv
    lava export statements --customer acme
    """
    with open_house(home) as house:
        between = read_range(house, since, until, tz)
        found = house.customers.get(customer_id).customer_id if customer_id else None
        export = house.exports.statements(found, since_us=between.since_us, until_us=between.until_us)
        _finish(export, format, out, json)


def _finish(export: "Export", format: Format, out: Path | None, json: bool) -> None:
    count = write(export, Format.JSONL if json else format, out)
    if out is not None:
        say(f"{count} rows in {out}")
