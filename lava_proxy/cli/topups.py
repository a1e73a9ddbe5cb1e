"""`lava topups`: credit that buys itself when it runs low."""

from typing import TYPE_CHECKING, Annotated

import typer

from lava_proxy.cli.billing import asked
from lava_proxy.cli.groups import noun
from lava_proxy.cli.options import Customer, Home, IdempotencyKey, Json
from lava_proxy.cli.output import money, when
from lava_proxy.cli.session import open_house, output, zone_of

if TYPE_CHECKING:
    from lava_proxy.wiring import House

app = noun("Credit that buys itself when it runs low.")


@app.command("set")
def set_(
    customer: Customer,
    below: Annotated[
        str, typer.Option("--below", metavar="AMOUNT", help="Buy when less than this is available.", show_default=False)
    ],
    bundle: Annotated[
        str | None,
        typer.Option("--bundle", metavar="BUNDLE", help="What to buy: a bundle of the customer's plan.", show_default=False),
    ] = None,
    amount: Annotated[
        str | None,
        typer.Option("--amount", metavar="AMOUNT", help="Or this much credit, for as much money.", show_default=False),
    ] = None,
    month_cap: Annotated[
        str | None,
        typer.Option("--month-cap", metavar="AMOUNT", help="Pay at most this in a month (UTC).", show_default=False),
    ] = None,
    cooldown: Annotated[
        str, typer.Option("--cooldown", metavar="SPAN", help="Between two top-ups, paid or not.")
    ] = "15m",
    of_subscription: Annotated[
        bool,
        typer.Option("--of-subscription", help="A rule of the subscription, which ends with it.", show_default=False),
    ] = False,
    idempotency_key: IdempotencyKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Buy credit for a customer by itself. One top-up is open at a time.

    \b
    lava topups set acme --below 5 --amount 20 --month-cap 100
    lava topups set acme --below 2 --bundle cb_01JZ… --cooldown 1h
    """
    with open_house(home) as house:
        from lava_proxy.core.instants import parse_span
        from lava_proxy.core.money import parse_amount
        from lava_proxy.core.plans import parse_price
        from lava_proxy.services.subscriptions import TopUpTerms

        terms = TopUpTerms(
            below_nanos=parse_amount(below, field="below", allow_zero=False),
            bundle=bundle,
            amount_nanos=None if amount is None else parse_price(amount, field="amount", allow_zero=False),
            month_cap_nanos=None if month_cap is None else parse_amount(month_cap, field="month_cap", allow_zero=False),
            cooldown_us=parse_span(cooldown, field="cooldown"),
            of_subscription=of_subscription,
        )
        house.subscriptions.set_top_up(customer, terms, asked=asked(False, None, idempotency_key))
        _show(house, customer, json)


@app.command("show")
def show(customer: Customer, home: Home = None, json: Json = False) -> None:
    """Show a customer's rules; a subscription's own goes first.

    \b
    lava topups show acme
    """
    with open_house(home) as house:
        _show(house, customer, json)


@app.command("off")
def off(customer: Customer, idempotency_key: IdempotencyKey = None, home: Home = None, json: Json = False) -> None:
    """Switch all rules of a customer off; a top-up that is open goes on.

    \b
    lava topups off acme
    """
    with open_house(home) as house:
        house.subscriptions.stop_top_ups(customer, asked=asked(False, None, idempotency_key))
        _show(house, customer, json)


def _show(house: "House", customer: str, json: bool) -> None:
    from lava_proxy.services.billing_documents import top_up_document

    rules = house.subscriptions.top_ups(customer)
    out = output(house, json)
    if json:
        out.page([top_up_document(rule) for rule in rules], None)
        return
    zone = zone_of(None, house.settings)
    rows = [
        (
            rule.subject,
            "on" if rule.is_on else "off",
            money(rule.below_nanos),
            rule.bundle_id or money(rule.amount_nanos),
            money(rule.month_cap_nanos),
            f"{rule.cooldown_us // 1_000_000}s",
            when(rule.last_us, zone),
            rule.reason,
        )
        for rule in rules
    ]
    columns = ("of", "state", "below", "buys", "month_cap", "cooldown", "last_at", "reason")
    out.table(columns, rows, empty="No rule buys credit for this customer.")
