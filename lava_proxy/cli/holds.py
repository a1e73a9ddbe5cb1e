"""`lava holds`: credit set aside for calls in flight."""

from typing import TYPE_CHECKING, Annotated

import typer

from lava_proxy.cli.groups import noun
from lava_proxy.cli.naming import Names
from lava_proxy.cli.options import Cursor, CustomerOption, Home, IdempotencyKey, Json, Limit, Yes
from lava_proxy.cli.output import money, when
from lava_proxy.cli.session import by, confirm, open_house, output, zone_of

if TYPE_CHECKING:
    from lava_proxy.core import entities
    from lava_proxy.wiring import House

app = noun("Credit set aside for calls in flight.")


@app.command("list")
def list_holds(
    customer_id: CustomerOption = None,
    include_all: Annotated[bool, typer.Option("--all", help="Resolved ones too.")] = False,
    limit: Limit = 50,
    cursor: Cursor = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """List open holds.

    \b
    lava holds list
    lava holds list --customer acme --all
    """
    with open_house(home) as house:
        from lava_proxy.services.documents import hold_document

        page = house.holds.page(customer=customer_id, open_only=not include_all, cursor=cursor, limit=limit)
        out = output(house, json)
        if json:
            out.page([hold_document(hold) for hold in page.items], page.next_cursor)
            return
        zone, names = zone_of(None, house.settings), Names(house)
        rows = [
            (
                hold.hold_id,
                names.customer(hold.customer_id),
                hold.request.model,
                hold.state.value,
                money(hold.amount_nanos),
                when(hold.created_us, zone),
                hold.request_id,
            )
            for hold in page.items
        ]
        columns = ("hold_id", "customer", "model", "state", "amount", "created_at", "request_id")
        out.table(columns, rows, empty="Nothing is held.")
        out.more(page.next_cursor)


@app.command("void")
def void(
    hold: Annotated[
        str, typer.Argument(metavar="HOLD", help="A hold, by hld_…, or by its request's req_….", show_default=False)
    ],
    force: Annotated[
        bool,
        typer.Option("--force", help="Also while its call is in flight; what the call consumes is then never charged."),
    ] = False,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; it stands in the journal.", show_default=False)
    ] = "",
    yes: Yes = False,
    idempotency_key: IdempotencyKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Give a hold's credit back. Of a call whose process died, which was charged at its hold, the charge.

    \b
    lava holds void hld_01JZ… --reason "the provider never got it" --yes
    lava holds void hld_01JZ… --force --reason "stuck for hours" --yes
    """
    with open_house(home) as house:
        if not yes:
            found = house.holds.get(hold)
            confirm(f"Give back {money(found.amount_nanos)} of {found.hold_id} ({found.state.value})?")
        answer = house.holds.void(hold, by=by(idempotency_key), reason=reason, force=force)
        _show(house, answer.value, json)


@app.command("show")
def show(
    hold: Annotated[
        str, typer.Argument(metavar="HOLD", help="A hold, by hld_…, or by its request's req_….", show_default=False)
    ],
    home: Home = None,
    json: Json = False,
) -> None:
    """Show a hold.

    \b
    lava holds show hld_01JZ…
    """
    with open_house(home) as house:
        _show(house, house.holds.get(hold), json)


def _show(house: "House", hold: "entities.Hold", json: bool) -> None:
    from lava_proxy.services.documents import hold_document

    out = output(house, json)
    if json:
        out.document(hold_document(hold))
        return
    zone = zone_of(None, house.settings)
    out.facts(
        (
            ("hold_id", hold.hold_id),
            ("request_id", hold.request_id),
            ("customer_id", hold.customer_id),
            ("state", hold.state.value),
            ("amount", money(hold.amount_nanos)),
            ("model", hold.request.model),
            ("created_at", when(hold.created_us, zone)),
            ("resolved_at", when(hold.resolved_us, zone)),
        )
    )
