"""`lava reprice`: recorded calls brought to today's prices and readings."""

from typing import TYPE_CHECKING, Annotated

import typer

from lava_proxy.cli.options import CustomerOption, Home, Json, TimeZone, Until
from lava_proxy.cli.output import money, say
from lava_proxy.cli.reading import Wanted, read_filter, read_range
from lava_proxy.cli.session import by, open_house, output

if TYPE_CHECKING:
    from lava_proxy.services.repricing import RepricedLine

_COLUMNS = ("provider", "model", "requests", "cost before", "cost", "charge before", "charge")


def reprice(
    since: Annotated[
        str, typer.Option("--since", metavar="WHEN", help="From then on: 90d, a date, or RFC 3339.", show_default=False)
    ],
    until: Until = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="MODEL", help="Of this model.", show_default=False)
    ] = None,
    provider: Annotated[
        str | None, typer.Option("--provider", metavar="PROVIDER", help="Of this provider.", show_default=False)
    ] = None,
    customer_id: CustomerOption = None,
    reread: Annotated[
        bool, typer.Option("--reread", help="Read usage objects again that the present reader has read.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "--preview", help="Tell what would be posted, and write nothing.")
    ] = False,
    tz: TimeZone = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Correct recorded calls whose price, or the reading of whose usage, was wrong when they were made.

    Every call is priced at the instant of its hold by today's book and your overrides. The difference is posted; nothing
    posted before changes. Credit goes back to the grants that paid, or is drawn as any charge is. Doing it again does
    nothing. Calls whose cost their provider reported, and calls charged at their hold, stay as they are.

    \b
    lava reprice --since 30d --dry-run
    lava reprice --since 2026-01-01 --until 2026-01-31 --model gpt-4o-mini
    """
    with open_house(home) as house:
        from lava_proxy.services.price_again import REASONS, PriceAgain
        from lava_proxy.services.repricing import repriced_document

        wanted = Wanted(customer=customer_id, provider=provider, model=model)
        which = read_filter(house, wanted, read_range(house, since, until, tz))
        pricing = PriceAgain(
            providers=house.providers,
            prices=house.prices,
            dialects=house.dialects,
            settings=house.settings,
            reread_all=reread,
        )
        done = house.repricing.run(which, pricing, by=by(None), preview=dry_run)
        out = output(house, json)
        if json:
            out.document(repriced_document(done, is_preview=dry_run))
            return
        rows = [(line.provider, line.model, *_figures(line)) for line in done.lines]
        if rows:
            out.table(_COLUMNS, [*rows, ("total", "", *_figures(done.total))])
        say(f"Of {done.looked_at} calls {done.total.requests} come to other figures and {done.unchanged} to the same.")
        for reason, count in sorted(done.left.items()):
            say(f"{count} are left as they are: {REASONS[reason]}.")
        if done.total.charge_kept:
            say(f"Of {done.total.charge_kept} the charge stays: how it came about cannot be told from its breakdown.")
        if dry_run:
            say("A preview: nothing was written.")


def _figures(line: "RepricedLine") -> tuple[str | int, ...]:
    nanos = (line.cost_before_nanos, line.cost_nanos, line.charge_before_nanos, line.charge_nanos)
    return (line.requests, *(money(each) for each in nanos))
