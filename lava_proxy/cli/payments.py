"""`lava payments`: money that is due, that came, and that went back."""

from typing import TYPE_CHECKING, Annotated

import typer

from lava_proxy.cli.billing import Preview, Quote, asked, show_effects
from lava_proxy.cli.groups import noun
from lava_proxy.cli.options import CustomerOption, Home, IdempotencyKey, Json
from lava_proxy.cli.output import money, when
from lava_proxy.cli.session import by, open_house, output, zone_of

if TYPE_CHECKING:
    from lava_proxy.core.billing import Payment
    from lava_proxy.wiring import House

app = noun("Money that is due, that came, and that went back.")

PaymentArgument = Annotated[str, typer.Argument(metavar="PAYMENT", help="A payment, by pay_….", show_default=False)]


@app.command("list")
def list_(
    status: Annotated[
        str | None,
        typer.Option("--status", metavar="STATUS", help="open, or one status such as paid.", show_default=False),
    ] = None,
    customer: CustomerOption = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """List payments, oldest first.

    \b
    lava payments list --status open
    lava payments list --customer acme --json
    """
    with open_house(home) as house:
        from lava_proxy.services.billing_documents import payment_document
        from lava_proxy.services.payments import PaymentFilter

        found = house.payments.list(PaymentFilter(customer=customer, status=status))
        out = output(house, json)
        if json:
            out.page([payment_document(payment) for payment in found], None)
            return
        from lava_proxy.cli.naming import Names

        names, zone = Names(house), zone_of(None, house.settings)
        rows = [
            (
                when(payment.created_us, zone),
                names.customer(payment.customer_id),
                payment.purpose.value,
                money(payment.amount_nanos),
                payment.status.value,
                payment.payment_id,
                payment.reason,
            )
            for payment in found
        ]
        columns = ("created_at", "customer", "purpose", "amount", "status", "payment_id", "reason")
        out.table(columns, rows, empty="There are no such payments.")


@app.command("show")
def show(payment: PaymentArgument, home: Home = None, json: Json = False) -> None:
    """Show one payment.

    \b
    lava payments show pay_01JZ…
    """
    with open_house(home) as house:
        _show(house, house.payments.get(payment), json)


@app.command("mark-paid")
def mark_paid(
    payment: PaymentArgument,
    reference: Annotated[
        str | None,
        typer.Option("--reference", metavar="TEXT", help="The bank's own name for it; unique.", show_default=False),
    ] = None,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="It stands in the books.", show_default=False)] = "",
    preview: Preview = False,
    idempotency_key: IdempotencyKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Note that the money of a payment came, or that a refund went out. What it bought is given at once.

    \b
    lava payments mark-paid pay_01JZ… --preview
    lava payments mark-paid pay_01JZ… --reference "bank 4711"
    """
    with open_house(home) as house:
        if preview:
            show_effects(house, house.payments.preview_paid(payment, by=by(None)), preview=True, json=json)
            return
        paid = house.payments.mark_paid(payment, by=by(idempotency_key), reference=reference, reason=note).value
        _show(house, paid, json)


@app.command("void")
def void(
    payment: PaymentArgument,
    idempotency_key: IdempotencyKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Drop a payment that nobody wants any more: of a bundle, a top-up, an upgrade or a minimum.

    \b
    lava payments void pay_01JZ…
    """
    with open_house(home) as house:
        _show(house, house.payments.void(payment, by=by(idempotency_key)).value, json)


@app.command("refund")
def refund(
    payment: PaymentArgument,
    preview: Preview = False,
    quote: Quote = None,
    idempotency_key: IdempotencyKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Pay back what is unused of the credit that a payment bought, and take that credit back.

    \b
    lava payments refund pay_01JZ… --preview
    """
    with open_house(home) as house:
        answer = house.subscriptions.refund(payment, asked=asked(preview, quote, idempotency_key))
        show_effects(house, answer.value, preview=preview, json=json)


def _show(house: "House", payment: "Payment", json: bool) -> None:
    from lava_proxy.cli.naming import Names
    from lava_proxy.services.billing_documents import payment_document

    out = output(house, json)
    if json:
        out.document(payment_document(payment))
        return
    zone = zone_of(None, house.settings)
    out.facts(
        (
            ("payment_id", payment.payment_id),
            ("customer", Names(house).customer(payment.customer_id)),
            ("purpose", payment.purpose.value),
            ("amount", money(payment.amount_nanos)),
            ("status", payment.status.value),
            ("buys credit", money(payment.credit_nanos)),
            ("grant_id", payment.grant_id),
            ("gateway", payment.gateway),
            ("reference", payment.reference),
            ("attempts", payment.attempts),
            ("next_attempt_at", when(payment.due_us, zone)),
            ("created_at", when(payment.created_us, zone)),
            ("paid_at", when(payment.paid_us, zone)),
            ("refunded", money(payment.refunded_nanos)),
            ("reason", payment.reason),
        )
    )
