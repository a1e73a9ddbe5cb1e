"""`lava audit`: who changed what."""

from typing import Annotated

import typer

from lava_proxy.cli.groups import noun
from lava_proxy.cli.options import Home, Json, Limit
from lava_proxy.cli.output import when
from lava_proxy.cli.session import open_house, output, zone_of

app = noun("Who changed what, and when.")


@app.callback()
def nouns() -> None:
    """Keeps `list` a verb of its own, as long as it is the only one."""


@app.command("list")
def list_(
    subject: Annotated[
        str | None,
        typer.Option("--subject", metavar="ID", help="Only of this thing, such as con_… or sub_….", show_default=False),
    ] = None,
    action: Annotated[
        str | None,
        typer.Option("--action", metavar="WORD", help="Only actions that begin so, such as plan.", show_default=False),
    ] = None,
    limit: Limit = 50,
    home: Home = None,
    json: Json = False,
) -> None:
    """List the changes of the control plane, newest first.

    \b
    lava audit list
    lava audit list --action subscription --limit 10
    """
    with open_house(home) as house:
        from lava_proxy.services.audit import entries
        from lava_proxy.services.billing_documents import audit_document

        found = entries(house.ledger, subject=subject, action=action, limit=limit)
        out = output(house, json)
        if json:
            out.page([audit_document(entry) for entry in found], None)
            return
        zone = zone_of(None, house.settings)
        rows = [
            (when(entry.at_us, zone), entry.actor, entry.action, entry.subject, entry.before, entry.after)
            for entry in found
        ]
        out.table(("at", "actor", "action", "subject", "before", "after"), rows, empty="Nothing was changed.")
