"""`lava credits adjust` and `lava requests dispute`: corrections by hand."""

from typing import TYPE_CHECKING, Annotated

import typer

from lava_proxy.cli.options import Customer, Home, IdempotencyKey, Json, Preview
from lava_proxy.cli.output import money, say
from lava_proxy.cli.session import by, open_house, output
from lava_proxy.core.errors import InvalidInput

if TYPE_CHECKING:
    from lava_proxy.core.adjustment import Adjustment
    from lava_proxy.wiring import House

Reason = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why; it stands in the journal.", show_default=False)
]


def adjust(
    customer: Customer,
    add: Annotated[
        str | None, typer.Option("--add", metavar="AMOUNT", help="Dollars to give.", show_default=False)
    ] = None,
    take: Annotated[
        str | None, typer.Option("--take", metavar="AMOUNT", help="Dollars of free credit to take.", show_default=False)
    ] = None,
    reason: Reason = "",
    preview: Preview = False,
    idempotency_key: IdempotencyKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Correct a customer's credit, with a reason. What they owe is paid from it first; what calls hold is not taken.

    \b
    lava credits adjust acme --add 5.00 --reason "outage on Monday"
    lava credits adjust acme --take 2.50 --reason "granted too much" --preview
    """
    with open_house(home) as house:
        from lava_proxy.core.money import parse_amount

        if (add is None) == (take is None):
            raise InvalidInput("add: give one of --add and --take", field="add")
        nanos = parse_amount(add, field="add", allow_zero=False) if add is not None else 0
        nanos -= parse_amount(take, field="take", allow_zero=False) if take is not None else 0
        done = house.adjustments.adjust(customer, nanos, reason=reason, by=by(idempotency_key), preview=preview)
        _show(house, done.value, preview=preview, json=json)


def dispute(
    request: Annotated[
        str, typer.Argument(metavar="REQUEST", help="A request, by req_… or the caller's own id.", show_default=False)
    ],
    amount: Annotated[
        str | None,
        typer.Option("--amount", metavar="AMOUNT", help="Dollars; else all that was charged.", show_default=False),
    ] = None,
    reason: Reason = "",
    preview: Preview = False,
    idempotency_key: IdempotencyKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Give back what a request was charged, as credit, with a reason; once a request. Its record stays as it is.

    \b
    lava requests dispute req_01JZ… --reason "the answer was empty" --preview
    lava requests dispute req_01JZ… --amount 0.10 --reason "half of it was of use"
    """
    with open_house(home) as house:
        from lava_proxy.core.money import parse_amount

        nanos = parse_amount(amount, allow_zero=False) if amount is not None else None
        done = house.adjustments.dispute(request, nanos, reason=reason, by=by(idempotency_key), preview=preview)
        _show(house, done.value, preview=preview, json=json)


def _show(house: "House", done: "Adjustment", *, preview: bool, json: bool) -> None:
    from lava_proxy.services.adjustments import adjustment_document

    out = output(house, json)
    if json:
        out.document(adjustment_document(done, is_preview=preview))
        return
    customer = house.customers.get(done.customer_id)
    out.facts(
        (
            ("customer", customer.reference_id or customer.customer_id),
            ("due now", money(0)),
            ("credit gained", money(max(done.amount_nanos, 0))),
            ("credit lost", money(max(-done.amount_nanos, 0))),
            ("of it for debt", money(done.debt_paid_nanos)),
            ("available before", money(done.available_before_nanos)),
            ("available after", money(done.available_after_nanos)),
            *(() if preview else (("transaction", done.transaction_id),)),
            *((("grant_id", done.grant_id),) if done.grant_id and not preview else ()),
            ("reason", done.reason),
        )
    )
    if preview:
        say("A preview: nothing was written.")
