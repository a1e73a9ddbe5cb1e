"""`lava subscriptions`: customers on plans."""

from typing import TYPE_CHECKING, Annotated

import typer

from lava_proxy.cli.billing import Preview, Quote, asked, show_effects
from lava_proxy.cli.groups import noun
from lava_proxy.cli.options import Customer, CustomerOption, Home, IdempotencyKey, Json
from lava_proxy.cli.output import money, when
from lava_proxy.cli.session import open_house, output, zone_of

if TYPE_CHECKING:
    from lava_proxy.core.subscriptions import OwnTerms
    from lava_proxy.services.subscriptions import Standing
    from lava_proxy.wiring import House

app = noun("Customers on plans. Every change can be looked at first, with --preview.")

Price = Annotated[
    str | None,
    typer.Option("--price", metavar="AMOUNT", help="This customer's own price of a cycle.", show_default=False),
]
Discount = Annotated[
    str | None, typer.Option("--discount", metavar="PERCENT", help="Off the price.", show_default=False)
]
Minimum = Annotated[
    str | None,
    typer.Option(
        "--minimum",
        metavar="AMOUNT",
        help="What the customer has promised to spend in a cycle; what is missing is due at its end.",
        show_default=False,
    ),
]


@app.command("start")
def start(
    customer: Customer,
    plan: Annotated[str, typer.Option("--plan", metavar="PLAN", help="A plan, by name or sc_….")] = "Free",
    price: Price = None,
    discount: Discount = None,
    minimum: Minimum = None,
    no_trial: Annotated[bool, typer.Option("--no-trial", help="Without the plan's trial.", show_default=False)] = False,
    preview: Preview = False,
    quote: Quote = None,
    idempotency_key: IdempotencyKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Put a customer on a plan. A cycle that costs something begins when it is paid.

    \b
    lava subscriptions start acme --plan Pro --preview
    lava subscriptions start acme --plan Pro --discount 10
    lava subscriptions start acme
    """
    with open_house(home) as house:
        own = _own(price, discount, minimum)
        how = asked(preview, quote, idempotency_key)
        answer = house.subscriptions.start(customer, plan, own, asked=how, with_trial=not no_trial)
        show_effects(house, answer.value, preview=preview, json=json)


@app.command("list")
def list_(
    status: Annotated[
        str, typer.Option("--status", metavar="STATUS", help="live, all, or one state such as past_due.")
    ] = "live",
    customer: CustomerOption = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """List subscriptions.

    \b
    lava subscriptions list
    lava subscriptions list --status past_due
    """
    with open_house(home) as house:
        from lava_proxy.services.billing_documents import subscription_document

        found = house.subscriptions.all(status=status, customer=customer)
        out = output(house, json)
        if json:
            out.page([subscription_document(one) for one in found], None)
            return
        zone = zone_of(None, house.settings)
        rows = [
            (
                one.customer.reference_id or one.customer.customer_id,
                one.plan.name,
                one.subscription.status.value,
                one.subscription.cycle,
                when(one.subscription.cycle_end_us, zone),
                _pending(one),
                one.subscription.subscription_id,
            )
            for one in found
        ]
        columns = ("customer", "plan", "state", "cycle", "cycle_end_at", "pending", "subscription_id")
        out.table(columns, rows, empty="There are no subscriptions.")


@app.command("show")
def show(
    subscription: Annotated[
        str, typer.Argument(metavar="CUSTOMER", help="A customer, or a subscription by sub_….", show_default=False)
    ],
    home: Home = None,
    json: Json = False,
) -> None:
    """Show one subscription: its cycle, its credit, its overage, what is due and what is pending.

    \b
    lava subscriptions show acme
    """
    with open_house(home) as house:
        found = house.subscriptions.get(subscription)
        if json:
            from lava_proxy.services.billing_documents import subscription_document

            output(house, json).document(subscription_document(found))
            return
        _tell(house, found)


@app.command("change")
def change(
    customer: Customer,
    plan: Annotated[
        str | None, typer.Option("--plan", metavar="PLAN", help="Another plan, by name or sc_….", show_default=False)
    ] = None,
    price: Price = None,
    discount: Discount = None,
    minimum: Minimum = None,
    preview: Preview = False,
    quote: Quote = None,
    idempotency_key: IdempotencyKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Take a subscription to another plan: a dearer one at once, prorated; a cheaper one with the next cycle.

    Or give it a price, a discount and a minimum of its own from the next cycle on; what is not named of the three ends.

    \b
    lava subscriptions change acme --plan Team --preview
    lava subscriptions change acme --discount 20
    """
    from lava_proxy.core.errors import InvalidInput

    is_own = any(text is not None for text in (price, discount, minimum))
    if (plan is None) != is_own:
        raise InvalidInput("plan: name either a plan, or a price, discount or minimum", field="plan")
    with open_house(home) as house:
        how = asked(preview, quote, idempotency_key)
        if plan is not None:
            answer = house.subscriptions.change(customer, plan, asked=how)
        else:
            answer = house.subscriptions.set_own(customer, _own(price, discount, minimum), asked=how)
        show_effects(house, answer.value, preview=preview, json=json)


@app.command("cancel")
def cancel(
    customer: Customer,
    now: Annotated[
        bool, typer.Option("--now", help="At once, with what is unused paid back.", show_default=False)
    ] = False,
    preview: Preview = False,
    quote: Quote = None,
    idempotency_key: IdempotencyKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """End a subscription with its cycle (`resume` revokes it), or now.

    \b
    lava subscriptions cancel acme
    lava subscriptions cancel acme --now --preview
    """
    with open_house(home) as house:
        answer = house.subscriptions.cancel(customer, now=now, asked=asked(preview, quote, idempotency_key))
        show_effects(house, answer.value, preview=preview, json=json)


@app.command("pause")
def pause(
    customer: Customer,
    preview: Preview = False,
    quote: Quote = None,
    idempotency_key: IdempotencyKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Stop the clock of a subscription: its calls are blocked, the rest of its cycle is kept.

    \b
    lava subscriptions pause acme
    """
    with open_house(home) as house:
        answer = house.subscriptions.pause(customer, asked=asked(preview, quote, idempotency_key))
        show_effects(house, answer.value, preview=preview, json=json)


@app.command("resume")
def resume(
    customer: Customer,
    preview: Preview = False,
    quote: Quote = None,
    idempotency_key: IdempotencyKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Let a paused subscription run on; else revoke what is pending; else ask again for a payment that failed.

    \b
    lava subscriptions resume acme
    """
    with open_house(home) as house:
        answer = house.subscriptions.resume(customer, asked=asked(preview, quote, idempotency_key))
        show_effects(house, answer.value, preview=preview, json=json)


def _own(price: str | None, discount: str | None, minimum: str | None) -> "OwnTerms":
    from lava_proxy.core.money import parse_amount
    from lava_proxy.core.plans import parse_price
    from lava_proxy.core.subscriptions import OwnTerms

    return OwnTerms(
        own_amount_nanos=None if price is None else parse_price(price, field="price"),
        discount_nanos=0 if discount is None else parse_amount(discount, field="discount"),
        minimum_nanos=0 if minimum is None else parse_price(minimum, field="minimum"),
    )


def _pending(one: "Standing") -> str:
    if one.subscription.is_cancelling:
        return "cancellation"
    return f"to {one.pending_plan.name}" if one.pending_plan else ""


def _tell(house: "House", one: "Standing") -> None:
    from lava_proxy.core.entities import GrantSource

    row, terms, zone = one.subscription, one.terms, zone_of(None, house.settings)
    output(house, False).facts(
        (
            ("subscription_id", row.subscription_id),
            ("customer", one.customer.reference_id or one.customer.customer_id),
            ("plan", one.plan.name),
            ("state", row.status.value),
            ("cycle", row.cycle),
            ("cycle_start_at", when(row.cycle_start_us, zone)),
            ("cycle_end_at", when(row.cycle_end_us, zone)),
            ("pending", _pending(one)),
            ("cycle credit", money(one.credit_nanos(GrantSource.CYCLE))),
            ("bundle credit", money(one.credit_nanos(GrantSource.BUNDLE, GrantSource.TOP_UP))),
            ("overage used", money(terms.overage_used_nanos if terms else None)),
            ("overage limit", money(terms.overage_limit_nanos if terms else None)),
            ("grace_until", when(row.grace_until_us, zone)),
            ("blocked", "yes" if row.is_blocked else "no"),
            *((f"payment {p.payment_id}", f"{p.purpose.value}: {money(p.amount_nanos)}, {p.status.value}") for p in one.payments),
        )
    )
