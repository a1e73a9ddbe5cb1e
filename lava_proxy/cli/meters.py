"""`lava meters`: what customers are charged."""

from typing import TYPE_CHECKING, Annotated

import typer

from lava_proxy.cli.groups import noun
from lava_proxy.cli.meter_options import (
    AggregationOption,
    Allowance,
    MinimumCharge,
    Mode,
    ModelRates,
    OwnUnit,
    UnitRates,
    minimum,
    model_rates,
    option_facts,
    unit_rates,
)
from lava_proxy.cli.meter_options import allowance as read_allowance
from lava_proxy.cli.options import Home, IdempotencyKey, Json, Yes
from lava_proxy.cli.output import say, when
from lava_proxy.cli.session import by, confirm, open_house, output, zone_of
from lava_proxy.cli.simulation import simulate
from lava_proxy.core.entities import CounterReset, RateType, TierUnit
from lava_proxy.core.errors import InvalidInput
from lava_proxy.core.meter_options import Aggregation, MeterOptions, TierMode

if TYPE_CHECKING:
    from lava_proxy.core.entities import MeterVersion, Tier
    from lava_proxy.services.meters import PricedMeter
    from lava_proxy.wiring import House

app = noun("What customers are charged. A change holds for calls from then on; what was charged stays.")

app.command("simulate")(simulate)

MeterArgument = Annotated[str, typer.Argument(metavar="METER", help="A meter, by slug or prd_….", show_default=False)]
Rate = Annotated[
    str | None,
    typer.Option(
        "--rate",
        metavar="RATE",
        help="The one rate: dollars for a unit, or percent on top of the cost.",
        show_default=False,
    ),
]
Tiers = Annotated[
    list[str] | None,
    typer.Option(
        "--tier",
        metavar="START:RATE",
        help="From START units on, this rate; repeatable, the first at 0.",
        show_default=False,
    ),
]


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name for it.", show_default=False)],
    rate_type: Annotated[
        RateType, typer.Option("--rate-type", help="fixed: dollars for a unit. percentage: on top of the cost.")
    ] = RateType.PERCENTAGE,
    tier_type: Annotated[
        TierUnit | None,
        typer.Option(
            "--tier-type", help="What is counted; of a fixed meter also what the rate is for.", show_default="tokens_1m"
        ),
    ] = None,
    rate: Rate = None,
    tier: Tiers = None,
    tier_mode: Mode = None,
    unit_rate: UnitRates = None,
    model_rate: ModelRates = None,
    minimum_charge: MinimumCharge = None,
    allowance: Allowance = None,
    reset: Annotated[
        CounterReset, typer.Option("--reset", help="When the count that tiers go by begins anew.")
    ] = CounterReset.NEVER,
    unit: OwnUnit = None,
    aggregation: AggregationOption = Aggregation.SUM,
    meter_slug: Annotated[
        str | None,
        typer.Option(
            "--meter-slug",
            metavar="SLUG",
            help="A short name for commands and headers; else made from NAME.",
            show_default=False,
        ),
    ] = None,
    default: Annotated[
        bool, typer.Option("--default", help="Make it the meter of calls for which nothing else chose one.")
    ] = False,
    idempotency_key: IdempotencyKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Make a meter, and tell what it means by an example.

    \b
    lava meters create Premium --rate 20
        a call that costs $1.00 is charged $1.20
    lava meters create Tokens --rate-type fixed --rate 5.00
        1,000,000 tokens are charged $5.00
    lava meters create Volume --rate-type fixed --tier 0:5 --tier 1M:3 --tier 10M:1
    lava meters create "Per call" --rate-type fixed --tier-type requests --rate 0.10
    lava meters create Parts --rate-type fixed --unit-rate input_tokens:3 --unit-rate output_tokens:15
    lava meters create Storage --rate-type fixed --unit gb_hours --rate 0.0002 --reset cycle
    """
    with open_house(home) as house:
        from lava_proxy.core.meter_text import read_unit
        from lava_proxy.services.meters import MeterTerms

        if unit is not None and tier_type not in (None, TierUnit.CUSTOM):
            raise InvalidInput("unit: give --unit or --tier-type, not both", field="unit")
        terms = MeterTerms(
            name=name,
            slug=meter_slug,
            rate_type=rate_type,
            tier_unit=TierUnit.CUSTOM if unit is not None else tier_type or TierUnit.TOKENS_1M,
            tiers=_tiers(rate, tier),
            reset=reset,
            options=MeterOptions(
                tier_mode=tier_mode or TierMode.GRADUATED,
                units=unit_rates(unit_rate) or (),
                models=model_rates(model_rate) or (),
                minimum_nanos=minimum(minimum_charge) or 0,
                allowance=read_allowance(allowance) or 0,
                unit=read_unit(unit) if unit is not None else "",
                aggregation=aggregation,
            ),
            is_default=default,
        )
        _show(house, house.meters.create(terms, by=by(idempotency_key)).value, json)


@app.command("list")
def list_meters(
    archived: Annotated[bool, typer.Option("--archived", help="Archived ones too.")] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """List meters.

    \b
    lava meters list
    """
    with open_house(home) as house:
        from lava_proxy.core.tiers import example
        from lava_proxy.services.documents import meter_document

        found = house.meters.all(include_archived=archived)
        out = output(house, json)
        if json:
            out.page([meter_document(priced) for priced in found], None)
            return
        rows = [
            (
                priced.meter.slug,
                priced.meter.name,
                priced.version.rate_type.value,
                example(priced.version),
                len(priced.version.tiers),
                "default" if priced.is_default else priced.meter.status.value,
            )
            for priced in found
        ]
        out.table(("meter_slug", "name", "rate_type", "first tier", "tiers", "status"), rows)


@app.command("show")
def show(
    meter: MeterArgument,
    history: Annotated[bool, typer.Option("--history", help="Everything it ever charged.")] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Show a meter and its tiers.

    \b
    lava meters show premium
    lava meters show premium --history
    """
    with open_house(home) as house:
        _show(house, house.meters.get(meter), json, house.meters.versions(meter) if history else ())


@app.command("update")
def update(
    meter: MeterArgument,
    name: Annotated[
        str | None, typer.Option("--name", metavar="TEXT", help="Another name.", show_default=False)
    ] = None,
    rate: Rate = None,
    tier: Tiers = None,
    tier_mode: Mode = None,
    unit_rate: UnitRates = None,
    model_rate: ModelRates = None,
    minimum_charge: MinimumCharge = None,
    allowance: Allowance = None,
    default: Annotated[
        bool, typer.Option("--default", help="Make it the meter of calls for which nothing else chose one.")
    ] = False,
    idempotency_key: IdempotencyKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Change a meter from now on. Rate type, tier type and reset stay: make another meter for that.

    Rates given for units or models take the place of all there were; one empty text takes them away.

    \b
    lava meters update default --rate 20
    lava meters update premium --tier 0:20 --tier 10M:15
    lava meters update premium --minimum-charge 0.001 --model-rate ''
    """
    with open_house(home) as house:
        from lava_proxy.services.meters import MeterChanges

        changes = MeterChanges(
            name=name,
            tiers=_tiers(rate, tier),
            tier_mode=tier_mode,
            units=unit_rates(unit_rate),
            models=model_rates(model_rate),
            minimum_nanos=minimum(minimum_charge),
            allowance=read_allowance(allowance),
            is_default=default or None,
        )
        _show(house, house.meters.update(meter, changes, by=by(idempotency_key)).value, json)


@app.command("archive")
def archive(
    meter: MeterArgument,
    yes: Yes = False,
    idempotency_key: IdempotencyKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """No new calls on a meter; what it charged stays. Refused while it is the default or a customer's own.

    \b
    lava meters archive premium --yes
    """
    with open_house(home) as house:
        if not yes:
            confirm(f"Archive the meter {house.meters.get(meter).meter.slug} for good?")
        _show(house, house.meters.archive(meter, by=by(idempotency_key)).value, json)


def _tiers(rate: str | None, tier: list[str] | None) -> "tuple[Tier, ...] | None":
    from lava_proxy.core.tiers import read_tiers

    if rate is not None and tier:
        raise InvalidInput("rate: give --rate or --tier, not both", field="rate")
    if rate is not None:
        return read_tiers((("0", rate),))
    if not tier:
        return None
    pairs = [text.partition(":") for text in tier]
    for start, sign, _ in pairs:
        if not sign:
            raise InvalidInput(f"tier: {start!r} is not START:RATE, such as 0:5.00", field="tiers")
    return read_tiers(tuple((start, rate_text) for start, _, rate_text in pairs))


def _show(house: "House", priced: "PricedMeter", json: bool, history: "tuple[MeterVersion, ...]" = ()) -> None:
    from lava_proxy.core.tiers import example
    from lava_proxy.services.documents import meter_document, version_document

    out = output(house, json)
    if json:
        versions = {"versions": [version_document(version) for version in history]} if history else {}
        out.document({**meter_document(priced), **versions})
        return
    meter, version = priced.meter, priced.version
    zone = zone_of(None, house.settings)
    out.facts(
        (
            ("meter_id", meter.meter_id),
            ("meter_slug", meter.slug),
            ("name", meter.name),
            ("rate_type", version.rate_type.value),
            ("tier_type", version.tier_unit.value),
            ("version", version.version),
            ("status", "the default" if priced.is_default else meter.status.value),
            ("created_at", when(meter.created_us, zone)),
            *((f"from {tier.start:,}", _rate(version, tier)) for tier in version.tiers),
            *option_facts(version),
            *((f"version {old.version}", _history(old, when(old.created_us, zone))) for old in history),
        )
    )
    say(f"For example, {example(version)}.")


def _rate(version: "MeterVersion", tier: "Tier") -> str:
    from lava_proxy.services.documents import rate_text

    text = rate_text(tier.rate_nanos)
    if version.rate_type is RateType.PERCENTAGE:
        return f"{text} % on top of the cost"
    thing = {
        TierUnit.TOKENS_1M: "1,000,000 tokens",
        TierUnit.CHARACTERS_1M: "1,000,000 characters",
        TierUnit.MINUTES: "minute",
        TierUnit.REQUESTS: "request",
        TierUnit.CUSTOM: version.options.unit if version.options is not None else "",
    }[version.tier_unit]
    return f"${text} per {thing}"


def _history(version: "MeterVersion", since: str) -> str:
    from lava_proxy.services.documents import rate_text

    return f"since {since}: " + ", ".join(f"{tier.start:,}: {rate_text(tier.rate_nanos)}" for tier in version.tiers)
