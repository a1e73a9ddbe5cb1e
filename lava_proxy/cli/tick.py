"""`lava tick`: what time makes due, done now."""

from typing import Annotated

import typer

from lava_proxy.cli.options import Home, Json
from lava_proxy.cli.output import say, when
from lava_proxy.cli.session import open_house, output, zone_of


def tick(
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="WHEN",
            help="As if it were then: a date, RFC 3339, or a span from now such as 30d. On a live home with --dry-run only.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what is due.", show_default=False)] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Renew, collect, and top up what is due. `lava up` does so by itself; doing it again does nothing more.

    \b
    lava tick
    lava tick --dry-run
    lava tick --at 2026-03-01
    """
    with open_house(home) as house:
        from lava_proxy.core.entities import Mode
        from lava_proxy.core.errors import InvalidInput
        from lava_proxy.core.instants import parse_at
        from lava_proxy.services.billing_documents import due_document, ticked_document

        zone = zone_of(None, house.settings)
        now_us = house.clock.now_us()
        at_us = now_us if at is None else parse_at(at, now_us=now_us, zone=zone)
        if at is not None and house.mode is Mode.LIVE and not dry_run:
            raise InvalidInput("at: on a live home it needs --dry-run", field="at")
        out = output(house, json)
        if dry_run:
            due = house.ticking.due(now_us=at_us)
            if json:
                out.page([due_document(one) for one in due], None)
                return
            rows = [(when(one.at_us, zone), one.kind, one.subject, one.customer_id) for one in due]
            out.table(("due_at", "kind", "subject", "customer_id"), rows, empty="Nothing is due.")
            return
        done = house.ticking.tick(now_us=at_us, all_rules=True)
        if json:
            out.document(ticked_document(done))
            return
        out.facts(
            (
                ("renewals", done.renewals),
                ("payments", done.payments),
                ("top_ups", done.top_ups),
                ("failures", done.failures),
            )
        )
        if done.failures:
            say("Some could not be done; the log tells why, and they come again.")
