"""What the commands of billing share: options, and how the effects of a change are told."""

from typing import TYPE_CHECKING, Annotated

import typer

from lava_proxy.cli.output import money, say, when
from lava_proxy.cli.session import output, zone_of

if TYPE_CHECKING:
    from lava_proxy.services.billing import Effects
    from lava_proxy.services.subscriptions import Asked
    from lava_proxy.wiring import House

Preview = Annotated[
    bool, typer.Option("--preview", help="Only tell what would happen, and how to get exactly that.", show_default=False)
]
Quote = Annotated[
    str | None,
    typer.Option(
        "--quote",
        metavar="QUOTE",
        help="Do exactly what a --preview told, or nothing; good for an hour.",
        show_default=False,
    ),
]
PlanArgument = Annotated[str, typer.Argument(metavar="PLAN", help="A plan, by name or sc_….", show_default=False)]
PlanOption = Annotated[
    str, typer.Option("--plan", metavar="PLAN", help="A plan, by name or sc_….", show_default=False)
]


def asked(preview: bool, quote: str | None, idempotency_key: str | None) -> "Asked":
    """How the change is wanted."""
    from lava_proxy.cli.session import by
    from lava_proxy.services.subscriptions import Asked

    return Asked(by=by(idempotency_key), preview=preview, quote=quote)


def show_effects(house: "House", effects: "Effects", *, preview: bool, json: bool) -> None:
    """Due now, credit gained and lost, the next renewal; of a preview the quote too."""
    out = output(house, json)
    if json:
        from lava_proxy.services.billing_documents import effects_document

        out.document(effects_document(effects, is_preview=preview))
        return
    zone, subscription = zone_of(None, house.settings), effects.subscription
    out.facts(
        (
            *((("subscription_id", subscription.subscription_id),) if subscription and not preview else ()),
            *((("state", subscription.status.value),) if subscription else ()),
            ("due now", money(effects.due_nanos)),
            ("credit gained", money(effects.credit_gained_nanos)),
            ("credit to come", money(effects.credit_to_come_nanos)),
            ("credit lost", money(effects.credit_lost_nanos)),
            ("next renewal", when(effects.next_renewal_us, zone)),
            ("next amount", money(effects.next_amount_nanos)),
            *((("quote", effects.quote),) if preview else ()),
        )
    )
    if preview:
        say("Nothing was done. The same command with --quote does exactly this.")
    for payment in () if preview else effects.due_now:
        say(f"{payment.purpose.value}: {money(payment.amount_nanos)} by {payment.payment_id}")
