"""What a meter may be given beyond Lava's terms: the options of `lava meters create` and `update`, read and shown."""

from typing import TYPE_CHECKING, Annotated

import typer

from lava_proxy.core.meter_options import Aggregation, TierMode

if TYPE_CHECKING:
    from lava_proxy.core.entities import MeterVersion
    from lava_proxy.core.meter_options import ModelRate, UnitRate

UnitRates = Annotated[
    list[str] | None,
    typer.Option(
        "--unit-rate",
        metavar="UNIT:RATE",
        help="A rate of its own for a part of the usage, such as output_tokens:15; repeatable.",
        show_default=False,
    ),
]
ModelRates = Annotated[
    list[str] | None,
    typer.Option(
        "--model-rate",
        metavar="MODEL=RATE",
        help="Another rate for models of this name (* for any characters), or MODEL=UNIT:RATE; repeatable.",
        show_default=False,
    ),
]
MinimumCharge = Annotated[
    str | None,
    typer.Option("--minimum-charge", metavar="AMOUNT", help="The least for a request, in dollars.", show_default=False),
]
Allowance = Annotated[
    str | None,
    typer.Option(
        "--allowance", metavar="UNITS", help="So many units are free in each cycle: 1000000 or 1M.", show_default=False
    ),
]
Mode = Annotated[
    TierMode | None,
    typer.Option(
        "--tier-mode",
        help="graduated: each unit at its tier. volume: a request at the tier that the count reaches with it.",
        show_default="graduated",
    ),
]
OwnUnit = Annotated[
    str | None,
    typer.Option(
        "--unit",
        metavar="NAME",
        help="A unit of your own, such as gb_hours, reported with `lava usage record`.",
        show_default=False,
    ),
]
AggregationOption = Annotated[
    Aggregation, typer.Option("--aggregation", help="How reports of your own unit add up; max and unique per cycle.")
]


def unit_rates(given: list[str] | None) -> "tuple[UnitRate, ...] | None":
    """``None`` where nothing was given; one empty text takes them all away."""
    from lava_proxy.core.meter_text import read_unit_rates

    return None if given is None else read_unit_rates(tuple(text for text in given if text))


def model_rates(given: list[str] | None) -> "tuple[ModelRate, ...] | None":
    """The same for models."""
    from lava_proxy.core.meter_text import read_model_rates

    return None if given is None else read_model_rates(tuple(text for text in given if text))


def minimum(given: str | None) -> int | None:
    from lava_proxy.core.meter_text import read_minimum

    return None if given is None else read_minimum(given)


def allowance(given: str | None) -> int | None:
    from lava_proxy.core.meter_text import read_allowance

    return None if given is None else read_allowance(given)


def option_facts(version: "MeterVersion") -> list[tuple[str, str | int | None]]:
    """The lines of `lava meters show` about them."""
    from lava_proxy.cli.output import money
    from lava_proxy.services.documents import rate_text

    facts: list[tuple[str, str | int | None]] = [("reset", version.reset.value)]
    options = version.options
    if options is None:
        return facts
    if options.tier_mode is not TierMode.GRADUATED:
        facts.append(("tier_mode", options.tier_mode.value))
    if options.unit:
        facts += [("unit", options.unit), ("aggregation", options.aggregation.value)]
    facts += [(rate.unit, _rate_of(rate)) for rate in options.units]
    for rates in options.models:
        general = [] if rates.rate_nanos is None else [rate_text(rates.rate_nanos)]
        own = [f"{rate.unit} {_rate_of(rate)}" for rate in rates.units]
        facts.append((f"model {rates.model}", ", ".join([*general, *own])))
    if options.minimum_nanos:
        facts.append(("minimum_charge", money(options.minimum_nanos)))
    if options.allowance:
        facts.append(("allowance", f"{options.allowance:,} units free per cycle"))
    return facts


def _rate_of(rate: "UnitRate") -> str:
    from lava_proxy.core.option_terms import per_of
    from lava_proxy.services.documents import rate_text

    return f"${rate_text(rate.rate_nanos)} per {per_of(rate.unit):,}"
