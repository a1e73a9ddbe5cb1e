"""`lava coverage`: how well calls were measured."""

from typing import Annotated

import typer

from lava_proxy.cli.options import CustomerOption, Home, Json, Since, TimeZone, Until
from lava_proxy.cli.output import say
from lava_proxy.cli.reading import Wanted, read_filter, read_range
from lava_proxy.cli.session import open_house, output


def coverage(
    customer_id: CustomerOption = None,
    provider: Annotated[
        str | None, typer.Option("--provider", metavar="PROVIDER", help="Of this provider.", show_default=False)
    ] = None,
    since: Since = "30d",
    until: Until = None,
    tz: TimeZone = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Tell how many calls became exact, and why the others are estimated, unpriced or unknown; of each a sample.

    Calls that their provider refused cost nothing and are not counted.

    \b
    lava coverage
    lava coverage --since 7d --provider openai
    """
    with open_house(home) as house:
        from lava_proxy.core.coverage import Grade
        from lava_proxy.services.coverage import coverage as look
        from lava_proxy.services.coverage import coverage_document, percent

        between = read_range(house, since, until, tz)
        found = look(house.ledger, read_filter(house, Wanted(customer=customer_id, provider=provider), between))
        out = output(house, json)
        if json:
            out.document(coverage_document(found))
            return
        if not found.total:
            say("There are no calls in that time.")
            return
        out.table(("grade", "calls", "share"), [(g.value, found.counts[g], percent(found, g)) for g in Grade])
        if found.lines:
            print()
            rows = [(line.grade.value, line.reason, line.provider, line.requests, line.sample) for line in found.lines]
            out.table(("grade", "reason", "provider", "calls", "sample"), rows)
