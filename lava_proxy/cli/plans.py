"""`lava plans`: recurring prices with included credit."""

from typing import TYPE_CHECKING, Annotated

import typer

from lava_proxy.cli.billing import PlanArgument, Preview
from lava_proxy.cli.groups import noun
from lava_proxy.cli.options import Home, IdempotencyKey, Json, Yes
from lava_proxy.cli.output import money, say
from lava_proxy.cli.session import by, confirm, open_house, output
from lava_proxy.core.billing import AfterGrace, Interval, Rollover

if TYPE_CHECKING:
    from lava_proxy.services.plans import PlanChanges
    from lava_proxy.wiring import House

app = noun("Recurring prices with included credit. Price and interval never change; the rest may.")

Included = Annotated[
    str | None,
    typer.Option("--included", metavar="AMOUNT", help="Credit of each cycle.", show_default="the price"),
]
RolloverOption = Annotated[
    Rollover | None, typer.Option("--rollover", help="Unused cycle credit is carried over: none or full.", show_default="none")
]
RolloverCap = Annotated[
    str | None,
    typer.Option("--rollover-cap", metavar="AMOUNT", help="Carry at most this; `none`: all.", show_default="none"),
]
BundleRollover = Annotated[
    Rollover | None, typer.Option("--bundle-rollover", help="The same for bundles.", show_default="full")
]
BundleRolloverCap = Annotated[
    str | None,
    typer.Option("--bundle-rollover-cap", metavar="AMOUNT", help="The same for bundles.", show_default="none"),
]
MeterSlugs = Annotated[
    list[str] | None,
    typer.Option(
        "--meter",
        metavar="METER",
        help="Only this meter draws on the plan's credit; repeatable; `none`: all.",
        show_default=False,
    ),
]
TrialDays = Annotated[int | None, typer.Option("--trial-days", metavar="N", help="Free days first.", show_default="0")]
OverageCap = Annotated[
    str | None,
    typer.Option(
        "--overage-cap",
        metavar="AMOUNT",
        help="The most that is collected beyond the credit of a cycle, markup included; 0: no overage.",
        show_default="0",
    ),
]
OverageMarkup = Annotated[
    str | None, typer.Option("--overage-markup", metavar="PERCENT", help="On top of overage.", show_default="0")
]
OverageCollect = Annotated[
    str | None,
    typer.Option(
        "--overage-collect",
        metavar="AMOUNT",
        help="Collect it when so much is unbilled; `none`: at the cycle's end.",
        show_default="none",
    ),
]
GraceDays = Annotated[
    int | None, typer.Option("--grace-days", metavar="N", help="Days to pay a renewal.", show_default="3")
]
AfterGraceOption = Annotated[
    AfterGrace | None,
    typer.Option("--after-grace", help="Then calls are blocked, or the free plan goes on.", show_default="block"),
]


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name for it.", show_default=False)],
    amount: Annotated[
        str, typer.Argument(metavar="AMOUNT", help="Dollars for a cycle, such as 25.00; 0: free.", show_default=False)
    ],
    interval: Annotated[Interval, typer.Option("--interval", help="How long a cycle is.")] = Interval.MONTH,
    included: Included = None,
    rollover: RolloverOption = None,
    rollover_cap: RolloverCap = None,
    bundle_rollover: BundleRollover = None,
    bundle_rollover_cap: BundleRolloverCap = None,
    meter: MeterSlugs = None,
    trial_days: TrialDays = None,
    overage_cap: OverageCap = None,
    overage_markup: OverageMarkup = None,
    overage_collect: OverageCollect = None,
    grace_days: GraceDays = None,
    after_grace: AfterGraceOption = None,
    currency: Annotated[str, typer.Option("--currency", metavar="CODE", help="Of the amounts.")] = "usd",
    idempotency_key: IdempotencyKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Make a plan. Its price and interval never change: for others, make another and migrate.

    \b
    lava plans create Pro 25.00 --included 20 --rollover full
    lava plans create Team 100 --interval year --overage-cap 50 --overage-markup 20
    lava plans create Trial 10 --trial-days 14 --meter default
    """
    with open_house(home) as house:
        from lava_proxy.core.plans import check_currency, parse_price
        from lava_proxy.services.plans import PlanTerms

        check_currency(currency)
        more = _changes(
            included=included,
            rollover=rollover,
            rollover_cap=rollover_cap,
            bundle_rollover=bundle_rollover,
            bundle_rollover_cap=bundle_rollover_cap,
            meter=meter,
            trial_days=trial_days,
            overage_cap=overage_cap,
            overage_markup=overage_markup,
            overage_collect=overage_collect,
            grace_days=grace_days,
            after_grace=after_grace,
        )
        terms = PlanTerms(name=name, amount_nanos=parse_price(amount, field="amount"), interval=interval, more=more)
        _show(house, house.plans.create(terms, by=by(idempotency_key)).value.plan_id, json)


@app.command("list")
def list_(
    archived: Annotated[
        bool, typer.Option("--include-archived", help="Those too that are offered no more.", show_default=False)
    ] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """List the plans.

    \b
    lava plans list
    """
    with open_house(home) as house:
        from lava_proxy.services.billing_documents import plan_document

        found = house.plans.all(include_archived=archived)
        out = output(house, json)
        if json:
            out.page([plan_document(one) for one in found], None)
            return
        rows = [
            (
                one.plan.name,
                one.plan.plan_id,
                money(one.plan.amount_nanos),
                one.plan.interval.value,
                money(one.plan.included_nanos),
                one.plan.rollover.value,
                money(one.plan.overage_cap_nanos),
                len(one.bundles),
                one.plan.status.value,
            )
            for one in found
        ]
        columns = ("name", "plan_id", "amount", "interval", "included", "rollover", "overage_cap", "bundles", "status")
        out.table(columns, rows)


@app.command("show")
def show(plan: PlanArgument, home: Home = None, json: Json = False) -> None:
    """Show one plan with its bundles.

    \b
    lava plans show Pro
    """
    with open_house(home) as house:
        _show(house, plan, json)


@app.command("update")
def update(
    plan: PlanArgument,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Another name.", show_default=False)] = None,
    included: Included = None,
    rollover: RolloverOption = None,
    rollover_cap: RolloverCap = None,
    bundle_rollover: BundleRollover = None,
    bundle_rollover_cap: BundleRolloverCap = None,
    meter: MeterSlugs = None,
    top_up_bundle: Annotated[
        str | None,
        typer.Option(
            "--top-up-bundle",
            metavar="BUNDLE",
            help="What new subscriptions buy by themselves when their credit runs out; `none`: nothing.",
            show_default=False,
        ),
    ] = None,
    trial_days: TrialDays = None,
    overage_cap: OverageCap = None,
    overage_markup: OverageMarkup = None,
    overage_collect: OverageCollect = None,
    grace_days: GraceDays = None,
    after_grace: AfterGraceOption = None,
    idempotency_key: IdempotencyKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Change a plan; subscribers get it with their next cycle. What is not named is kept.

    \b
    lava plans update Pro --included 30
    lava plans update Free --included 1
    lava plans update Pro --overage-cap 20 --overage-collect none
    """
    with open_house(home) as house:
        changes = _changes(
            name=name,
            included=included,
            rollover=rollover,
            rollover_cap=rollover_cap,
            bundle_rollover=bundle_rollover,
            bundle_rollover_cap=bundle_rollover_cap,
            meter=meter,
            top_up_bundle=top_up_bundle,
            trial_days=trial_days,
            overage_cap=overage_cap,
            overage_markup=overage_markup,
            overage_collect=overage_collect,
            grace_days=grace_days,
            after_grace=after_grace,
        )
        _show(house, house.plans.update(plan, changes, by=by(idempotency_key)).value.plan_id, json)


@app.command("archive")
def archive(
    plan: PlanArgument,
    undo: Annotated[bool, typer.Option("--undo", help="Offer it again.", show_default=False)] = False,
    idempotency_key: IdempotencyKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Offer a plan no more; who is on it stays.

    \b
    lava plans archive Pro
    """
    with open_house(home) as house:
        _show(house, house.plans.archive(plan, by=by(idempotency_key), undo=undo).value.plan_id, json)


@app.command("migrate")
def migrate(
    plan: PlanArgument,
    target: Annotated[str, typer.Argument(metavar="TARGET", help="The plan to go to.", show_default=False)],
    preview: Preview = False,
    yes: Yes = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Take all subscribers of a plan to another with their next cycle. Nothing is due before.

    \b
    lava plans migrate Pro "Pro 2027" --preview
    lava plans migrate Pro "Pro 2027" --yes
    """
    with open_house(home) as house:
        old, new = house.plans.get(plan).plan, house.plans.get(target).plan
        count = sum(not one.is_cancelling for one in house.plans.subscribers(old.plan_id))
        if not preview:
            if not yes:
                confirm(f"Take {count} subscribers from {old.name} to {new.name} with their next cycle?")
            count = house.plans.migrate(plan, target, by=by(None))
        out = output(house, json)
        if json:
            out.document({"preview": preview, "subscriptions": count, "from": old.plan_id, "to": new.plan_id})
            return
        out.facts((("subscriptions", count), ("from", old.name), ("to", new.name)))
        if preview:
            say("Nothing was done.")


def _changes(
    *,
    name: str | None = None,
    included: str | None,
    rollover: Rollover | None,
    rollover_cap: str | None,
    bundle_rollover: Rollover | None,
    bundle_rollover_cap: str | None,
    meter: list[str] | None,
    top_up_bundle: str | None = None,
    trial_days: int | None,
    overage_cap: str | None,
    overage_markup: str | None,
    overage_collect: str | None,
    grace_days: int | None,
    after_grace: AfterGrace | None,
) -> "PlanChanges":
    """What was typed, read; what was not typed stays unset."""
    from lava_proxy.core.money import parse_amount
    from lava_proxy.core.plans import parse_price
    from lava_proxy.services.plans import PlanChanges

    given: dict[str, object] = {
        "name": name,
        "rollover": rollover,
        "bundle_rollover": bundle_rollover,
        "trial_days": trial_days,
        "grace_days": grace_days,
        "after_grace": after_grace,
        "included_nanos": None if included is None else parse_amount(included, field="included"),
        "overage_cap_nanos": None if overage_cap is None else parse_price(overage_cap, field="overage_cap"),
        "overage_markup_nanos": None if overage_markup is None else parse_amount(overage_markup, field="overage_markup"),
        "meters": None if meter is None else () if meter == ["none"] else tuple(meter),
    }
    found = {field: value for field, value in given.items() if value is not None}
    for field, text in (
        ("rollover_cap", rollover_cap),
        ("bundle_rollover_cap", bundle_rollover_cap),
        ("overage_collect", overage_collect),
    ):
        if text is not None:
            found[f"{field}_nanos"] = None if text == "none" else parse_amount(text, field=field)
    if top_up_bundle is not None:
        found["top_up_bundle"] = None if top_up_bundle == "none" else top_up_bundle
    return PlanChanges(**found)  # type: ignore[arg-type]


def _show(house: "House", plan: str, json: bool) -> None:
    from lava_proxy.services.billing_documents import plan_document
    from lava_proxy.services.documents import rate_text

    found = house.plans.get(plan)
    out = output(house, json)
    if json:
        out.document(plan_document(found))
        return
    row = found.plan
    out.facts(
        (
            ("plan_id", row.plan_id),
            ("name", row.name),
            ("amount", money(row.amount_nanos)),
            ("interval", row.interval.value),
            ("included", money(row.included_nanos)),
            ("rollover", row.rollover.value),
            ("rollover_cap", money(row.rollover_cap_nanos)),
            ("bundle_rollover", row.bundle_rollover.value),
            ("bundle_rollover_cap", money(row.bundle_rollover_cap_nanos)),
            ("meters", " ".join(row.meter_ids) or "all"),
            ("trial_days", row.trial_days),
            ("overage_cap", money(row.overage_cap_nanos)),
            ("overage_markup", f"{rate_text(row.overage_markup_nanos)} %"),
            ("overage_collect", money(row.overage_collect_nanos)),
            ("top_up_bundle", row.top_up_bundle_id),
            ("grace_days", row.grace_days),
            ("after_grace", row.after_grace.value),
            ("status", row.status.value),
            *(
                (f"bundle {bundle.bundle_id}", f"{bundle.name}: {money(bundle.cost_nanos)} for {money(bundle.credit_nanos)}")
                for bundle in found.bundles
            ),
        )
    )
