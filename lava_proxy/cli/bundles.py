"""`lava bundles`: credit that subscribers of a plan can buy beside it."""

from typing import TYPE_CHECKING, Annotated

import typer

from lava_proxy.cli.billing import Preview, Quote, asked, show_effects
from lava_proxy.cli.groups import noun
from lava_proxy.cli.options import Customer, Home, IdempotencyKey, Json
from lava_proxy.cli.output import money
from lava_proxy.cli.session import by, open_house, output

if TYPE_CHECKING:
    from lava_proxy.core.billing import Bundle
    from lava_proxy.wiring import House

app = noun("Credit that subscribers of a plan can buy beside it.")

PlanOfBundle = Annotated[str, typer.Argument(metavar="PLAN", help="A plan, by name or sc_….", show_default=False)]
BundleArgument = Annotated[str, typer.Argument(metavar="BUNDLE", help="A bundle, by cb_….", show_default=False)]


@app.command("create")
def create(
    plan: PlanOfBundle,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name for it.", show_default=False)],
    cost: Annotated[str, typer.Argument(metavar="COST", help="What is paid, in dollars.", show_default=False)],
    credit: Annotated[
        str | None, typer.Option("--credit", metavar="AMOUNT", help="The credit it gives.", show_default="the cost")
    ] = None,
    idempotency_key: IdempotencyKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Sell a bundle with a plan.

    \b
    lava bundles create Pro "Ten more" 10.00
    lava bundles create Pro "Big one" 80 --credit 100
    """
    with open_house(home) as house:
        from lava_proxy.core.money import parse_amount
        from lava_proxy.core.plans import parse_price
        from lava_proxy.services.plans import BundleTerms

        cost_nanos = parse_price(cost, field="cost", allow_zero=False)
        credit_nanos = cost_nanos if credit is None else parse_amount(credit, field="credit", allow_zero=False)
        terms = BundleTerms(plan=plan, name=name, cost_nanos=cost_nanos, credit_nanos=credit_nanos)
        _show(house, house.plans.create_bundle(terms, by=by(idempotency_key)).value, json)


@app.command("list")
def list_(
    plan: Annotated[
        str | None, typer.Option("--plan", metavar="PLAN", help="Only of this plan.", show_default=False)
    ] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """List the bundles that are sold.

    \b
    lava bundles list --plan Pro
    """
    with open_house(home) as house:
        from lava_proxy.services.billing_documents import bundle_document

        found = house.plans.bundles(plan)
        out = output(house, json)
        if json:
            out.page([bundle_document(bundle) for bundle in found], None)
            return
        rows = [
            (bundle.bundle_id, bundle.name, bundle.plan_id, money(bundle.cost_nanos), money(bundle.credit_nanos))
            for bundle in found
        ]
        out.table(("bundle_id", "name", "plan_id", "cost", "credit"), rows, empty="No bundle is sold.")


@app.command("archive")
def archive(bundle: BundleArgument, idempotency_key: IdempotencyKey = None, home: Home = None, json: Json = False) -> None:
    """Sell a bundle no more; what was bought stays.

    \b
    lava bundles archive cb_01JZ…
    """
    with open_house(home) as house:
        _show(house, house.plans.archive_bundle(bundle, by=by(idempotency_key)).value, json)


@app.command("buy")
def buy(
    customer: Customer,
    bundle: BundleArgument,
    preview: Preview = False,
    quote: Quote = None,
    idempotency_key: IdempotencyKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Buy a bundle for a customer; its credit comes with its payment.

    \b
    lava bundles buy acme cb_01JZ… --preview
    """
    with open_house(home) as house:
        answer = house.subscriptions.buy(customer, bundle, asked=asked(preview, quote, idempotency_key))
        show_effects(house, answer.value, preview=preview, json=json)


def _show(house: "House", bundle: "Bundle", json: bool) -> None:
    from lava_proxy.services.billing_documents import bundle_document

    out = output(house, json)
    if json:
        out.document(bundle_document(bundle))
        return
    out.facts(
        (
            ("bundle_id", bundle.bundle_id),
            ("name", bundle.name),
            ("plan_id", bundle.plan_id),
            ("cost", money(bundle.cost_nanos)),
            ("credit", money(bundle.credit_nanos)),
            ("status", bundle.status.value),
        )
    )
