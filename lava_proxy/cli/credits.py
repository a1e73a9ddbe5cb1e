"""`lava credits`: give credit, see what is left and where it went."""

from typing import TYPE_CHECKING, Annotated

import typer

from lava_proxy.cli.adjusting import adjust
from lava_proxy.cli.groups import noun
from lava_proxy.cli.options import Customer, Home, IdempotencyKey, Json, Since, TimeZone, Until, Yes
from lava_proxy.cli.output import money, when
from lava_proxy.cli.session import by, confirm, open_house, output, zone_of

if TYPE_CHECKING:
    from lava_proxy.core import entities
    from lava_proxy.wiring import House

app = noun("Credit: give it, see what is left and where it went. One credit is one dollar of spending.")

CustomerArgument = Annotated[
    str,
    typer.Argument(
        metavar="CUSTOMER", envvar="LAVA_CUSTOMER", help="A customer, by con_… or reference id.", show_default=False
    ),
]


@app.command("grant")
def grant(
    customer: Customer,
    amount: Annotated[str, typer.Argument(metavar="AMOUNT", help="Dollars, such as 5.00.", show_default=False)],
    promo: Annotated[bool, typer.Option("--promo", help="It is a gift to win a customer, and booked as such.")] = False,
    paid: Annotated[str, typer.Option("--paid", metavar="AMOUNT", help="What was paid for it, in dollars.")] = "0",
    expires_at: Annotated[
        str | None,
        typer.Option(
            "--expires-at", metavar="WHEN", help="Good until then: 30d, a date, or RFC 3339.", show_default=False
        ),
    ] = None,
    priority: Annotated[
        int, typer.Option("--priority", metavar="N", min=0, max=1000, help="Lower ones are drawn first.")
    ] = 50,
    meter_slug: Annotated[
        list[str] | None,
        typer.Option(
            "--meter-slug",
            "--meter",
            metavar="METER",
            help="Only calls on this meter may draw on it; repeatable.",
            show_default=False,
        ),
    ] = None,
    note: Annotated[
        str,
        typer.Option("--note", metavar="TEXT", help="What it is for; it stands on the statement.", show_default=False),
    ] = "",
    idempotency_key: IdempotencyKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Give a customer credit. What they owe is paid from it first.

    \b
    lava credits grant acme 5.00
    lava credits grant acme 10 --promo --expires-at 30d --note "welcome"
    lava credits grant acme 100 --paid 80 --idempotency-key invoice-1042
    """
    with open_house(home) as house:
        from lava_proxy.core.entities import GrantSource
        from lava_proxy.core.instants import parse_expiry
        from lava_proxy.core.money import parse_amount
        from lava_proxy.services.credits import GrantTerms

        zone = zone_of(None, house.settings)
        terms = GrantTerms(
            customer=customer,
            amount_nanos=parse_amount(amount, allow_zero=False),
            source=GrantSource.PROMO if promo else GrantSource.MANUAL,
            paid_nanos=parse_amount(paid, field="paid"),
            expires_us=parse_expiry(expires_at, now_us=house.clock.now_us(), zone=zone) if expires_at else None,
            priority=priority,
            meters=tuple(meter_slug or ()),
            note=note,
        )
        _show_grant(house, house.credits.grant(terms, by=by(idempotency_key)).value, json)


app.command("adjust")(adjust)


@app.command("void")
def void(
    grant_id: Annotated[str, typer.Argument(metavar="GRANT", help="A grant, by grt_….", show_default=False)],
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; it stands on the statement.", show_default=False)
    ] = "",
    yes: Yes = False,
    idempotency_key: IdempotencyKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Take back what is left of a grant. What calls in flight hold of it is still theirs to spend.

    \b
    lava credits void grt_01JZ… --reason "granted twice" --yes
    """
    with open_house(home) as house:
        if not yes:
            confirm(f"Take back {money(house.credits.get(grant_id).free_nanos)} of {grant_id}?")
        _show_grant(house, house.credits.void(grant_id, by=by(idempotency_key), reason=reason).value, json)


@app.command("balance")
def balance(customer: CustomerArgument, home: Home = None, json: Json = False) -> None:
    """Tell what a customer has: available, held by calls in flight, owed, and grant by grant.

    \b
    lava credits balance acme
    """
    with open_house(home) as house:
        from lava_proxy.services.documents import balance_document

        found = house.credits.balance(customer)
        out = output(house, json)
        if json:
            out.document(balance_document(found))
            return
        out.facts(
            (
                ("customer", found.customer.reference_id or found.customer.customer_id),
                ("available", money(found.available_nanos)),
                ("held", money(found.held_nanos)),
                ("debt", money(found.debt_nanos)),
                ("spent", money(found.spent_nanos)),
                ("lapsed", money(found.lapsed_nanos)),
                ("granted", money(found.granted_nanos)),
            )
        )
        if found.grants:
            print()
            _draw_grants(house, found.grants, json)


@app.command("statement")
def statement(
    customer: CustomerArgument,
    since: Since = None,
    until: Until = None,
    tz: TimeZone = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """List every change of a customer's credit, from the journal, oldest first.

    \b
    lava credits statement acme --since 30d
    lava credits statement acme --since 2026-01-01 --until 2026-01-31 --tz Europe/Berlin
    """
    with open_house(home) as house:
        from lava_proxy.cli.reading import read_range
        from lava_proxy.services.documents import statement_document

        between = read_range(house, since, until, tz)
        found = house.credits.statement(customer, since_us=between.since_us, until_us=between.until_us)
        out = output(house, json)
        if json:
            out.document(statement_document(found))
            return
        rows: list[tuple[str, str | None, str, str, str]] = [
            (
                when(line.at_us, between.zone),
                line.kind,
                money(line.amount_nanos),
                money(line.balance_nanos),
                line.request_id or line.note,
            )
            for line in found.lines
        ]
        if found.opening_nanos:
            rows.insert(0, ("", "opening", "", money(found.opening_nanos), ""))
        out.table(("at", "kind", "amount", "balance", "for"), rows, empty="Nothing happened in this time.")


def _show_grant(house: "House", grant: "entities.Grant", json: bool) -> None:
    from lava_proxy.services.documents import grant_document

    out = output(house, json)
    if json:
        out.document(grant_document(grant))
        return
    standing = house.credits.balance(grant.customer_id)
    debt_paid = grant.spent_nanos if grant.created_us and not grant.held_nanos else 0
    out.facts(
        (
            ("grant_id", grant.grant_id),
            ("customer", standing.customer.reference_id or standing.customer.customer_id),
            ("amount", money(grant.amount_nanos)),
            ("source", grant.source.value),
            ("status", grant.status.value),
            ("expires_at", when(grant.expires_us, zone_of(None, house.settings))),
            *((("paid off debt", money(debt_paid)),) if debt_paid else ()),
            ("now available", money(standing.available_nanos)),
        )
    )


def _draw_grants(house: "House", grants: "tuple[entities.Grant, ...]", json: bool) -> None:
    zone = zone_of(None, house.settings)
    rows = [
        (
            grant.grant_id,
            grant.source.value,
            money(grant.amount_nanos),
            money(grant.free_nanos),
            money(grant.held_nanos),
            money(grant.spent_nanos),
            when(grant.expires_us, zone),
            grant.status.value,
            grant.note,
        )
        for grant in grants
    ]
    columns = ("grant_id", "source", "amount", "free", "held", "spent", "expires_at", "status", "note")
    output(house, json).table(columns, rows)
