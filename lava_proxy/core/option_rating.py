"""What a meter with options charges: rates of parts, volume tiers, an allowance, a minimum, other rates for a model.

Usage is taken apart into parts that do not overlap. A part with a rate of its own is charged at it, and is then in no
total any more; what has none is added up in the meter's own unit and goes through its tiers, which count it alone.

The allowance is counted in the meter's own unit too, over every part of that unit. The share of a request's units that
is free is free in each of its parts. Free units are set aside at the hold, so that nobody else takes them meanwhile:
a customer without credit can use what is free, and a quote is never below the charge.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from fractions import Fraction
from functools import lru_cache

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.entities import Counter, MeterVersion, RateType, Tier, TierUnit
from lava_proxy.core.meter_options import NO_OPTIONS, MeterOptions, ModelRate, TierMode
from lava_proxy.core.parts import Quantity, split
from lava_proxy.core.pricing import PARENTS, SAME_THING, UNITS
from lava_proxy.core.rating import (
    MICROS,
    Charge,
    Line,
    dearest_rate_nanos,
    exact_charge,
    round_lines,
    start_micros,
    tier_index,
    tier_lines,
    units_micros_of,
)
from lava_proxy.core.usage import Usage

INPUT_UNITS = tuple(unit for unit in UNITS if unit.endswith("_tokens") and not unit.startswith(("output", "reason")))
OUTPUT_UNITS = ("output_tokens", "reasoning_tokens", "output_audio_tokens", "output_image_tokens")
FAMILIES: Mapping[TierUnit, tuple[str, ...]] = {
    TierUnit.TOKENS_1M: (*INPUT_UNITS, *OUTPUT_UNITS),
    TierUnit.CHARACTERS_1M: ("input_characters", "output_characters"),
    TierUnit.MINUTES: ("input_seconds", "output_seconds"),
    TierUnit.REQUESTS: ("requests",),
    TierUnit.CUSTOM: (),
}
"""The units of usage that a meter's own unit adds up."""
PART_MINIMUM, PART_FREE = "minimum", "free"


class Terms(Struct, frozen=True, kw_only=True):
    """A version as it stands for one model: its tiers, and nanos per unit of what has a rate of its own."""

    version: MeterVersion
    options: MeterOptions
    own_rates: Mapping[str, Fraction]
    own_nanos: Mapping[str, int]
    family: tuple[str, ...]
    allowance_micros: int


class Limits(Struct, frozen=True, kw_only=True):
    """The most that a request can consume, in millionths of each unit; ``None`` where parts are not told apart."""

    units_micros: int
    """Of the meter's own unit, all parts together."""
    input_tokens_micros: int | None
    tokens_micros: int
    characters_micros: int
    seconds_micros: int
    images_micros: int
    searches_micros: int
    pages_micros: int


class Consumed(Struct, frozen=True, kw_only=True):
    """What a request consumed. ``units_micros`` is given where no usage tells it: text as we counted it, or a report."""

    usage: Usage
    units_micros: int | None = None
    cost: Fraction | None = None


class Rated(Struct, frozen=True, kw_only=True):
    charge: Charge
    is_unit_reported: bool
    """False where nothing that the meter charges by was reported."""


@lru_cache(maxsize=1024)
def terms_of(version: MeterVersion, model: str | None) -> Terms:
    """The version compiled for a model; kept, since a version never changes."""
    options = version.options or NO_OPTIONS
    override = _override(options, model)
    if override is not None and override.rate_nanos is not None:
        version = replace(version, tiers=(Tier(start=0, rate_nanos=override.rate_nanos),))
    rates = {rate.unit: rate.rate_nanos for rate in (*options.units, *(override.units if override else ()))}
    own = {unit: nanos for unit in UNITS if (nanos := _own_rate(unit, rates)) is not None}
    return Terms(
        version=version,
        options=options,
        own_rates={unit: Fraction(nanos, per_of(unit)) for unit, nanos in own.items()},
        own_nanos=own,
        family=FAMILIES[version.tier_unit],
        allowance_micros=start_micros(version.tier_unit, options.allowance),
    )


def charge_usage(
    terms: Terms, counter: Counter, allowance: Counter | None, consumed: Consumed, *, reserved_micros: int = 0
) -> Rated:
    """Charge what a request consumed, and move the counters on. ``reserved_micros``: free units that its hold set aside."""
    own, general, is_reported = _taken_apart(terms, consumed)
    in_family = sum((Fraction(own[unit]) for unit in own if unit in terms.family), Fraction(0)) * MICROS
    total = general + -(-in_family.numerator // in_family.denominator)
    free = _free_micros(terms, allowance, total, reserved_micros)
    billable = general - (-(-general * free // total) if total else 0)
    share = Fraction(total - free, total) if total else Fraction(1)
    lines = _general_lines(terms, counter, billable, general or not own, consumed.cost or Fraction(0))
    lines += _own_lines(terms, own, share)
    is_free = free >= total and (free > 0 or reserved_micros > 0)
    exact = sum((line.exact for line in lines), Fraction(0))
    if exact < terms.options.minimum_nanos and not (is_free and not exact):
        lines.append(Line(0, terms.options.minimum_nanos, 0, terms.options.minimum_nanos - exact, PART_MINIMUM))
    if free:
        lines.insert(0, Line(0, 0, free, Fraction(0), PART_FREE))
    nanos, carry, breakdown = round_lines(lines, counter.charge_carry)
    # Free units that other parts used are counted as free, and nowhere else: counters and breakdowns stay equal.
    charge = Charge(
        nanos=nanos,
        breakdown=breakdown,
        counter=replace(counter, count_micros=counter.count_micros + billable, charge_carry=carry),
        allowance=_allowance_after(allowance, free, reserved_micros),
    )
    return Rated(charge=charge, is_unit_reported=is_reported)


def reservable_micros(terms: Terms, allowance: Counter | None, units_micros: int) -> int:
    """Free units that a call of at most ``units_micros`` can have set aside for it."""
    if allowance is None or not terms.allowance_micros:
        return 0
    left = terms.allowance_micros - allowance.count_micros - allowance.held_micros
    return max(0, min(units_micros, left))


def ceiling_with_options(
    terms: Terms, counter: Counter, limits: Limits, *, cost: Fraction | None, reserved_micros: int
) -> Fraction:
    """The most that a request within these limits can be charged, exact, with these free units set aside for it."""
    dearest = dearest_rate_nanos(terms.version, counter.count_micros)
    in_family, beside = _dearest_parts(terms, limits, dearest)
    if terms.version.rate_type is RateType.PERCENTAGE:
        in_family = exact_charge(terms.version, Tier(start=0, rate_nanos=dearest), 0, 0, cost or Fraction(0))
    units = limits.units_micros
    if units and reserved_micros:
        in_family *= Fraction(max(0, units - reserved_micros), units)
    total = in_family + beside
    is_free = reserved_micros >= units and reserved_micros > 0
    return total if is_free and not total else max(total, Fraction(terms.options.minimum_nanos))


def per_of(unit: str) -> int:
    """How many units a rate is for."""
    return 1_000_000 if unit.endswith(("_tokens", "_characters")) else 1


def _override(options: MeterOptions, model: str | None) -> ModelRate | None:
    if model is None:
        return None
    return next((rates for rates in options.models if fnmatchcase(model, rates.model)), None)


def _own_rate(unit: str, rates: Mapping[str, int]) -> int | None:
    """Its own, else the dearest of its nearest parents' that have one; ``None``: it goes with the meter's own unit."""
    if unit in rates:
        return rates[unit]
    parents = [nanos for parent in PARENTS.get(unit, ()) if (nanos := _own_rate(parent, rates)) is not None]
    return max(parents) if parents else None


def _taken_apart(terms: Terms, consumed: Consumed) -> tuple[dict[str, Quantity], int, bool]:
    """Quantities with a rate of their own; millionths of the meter's own unit; whether anything was reported."""
    version, usage = terms.version, consumed.usage
    if not terms.own_rates:
        found = (
            consumed.units_micros if consumed.units_micros is not None else units_micros_of(version.tier_unit, usage)
        )
        return {}, found or 0, found is not None
    quantities: dict[str, Quantity] = {**split(usage).quantities, "requests": 1}
    for unit, same in SAME_THING.items():
        if unit in terms.own_rates and quantities.get(unit):
            quantities.pop(same, None)  # two measures of one thing: the one with a rate of its own carries it
    own = {unit: quantities[unit] for unit in quantities if unit in terms.own_rates}
    general = _micros(
        sum(Fraction(quantities[unit]) for unit in terms.family if unit in quantities and unit not in own)
    )
    is_reported = units_micros_of(version.tier_unit, usage) is not None
    if not is_reported and consumed.units_micros is not None and not set(own) & set(terms.family):
        general, is_reported = consumed.units_micros, True
    return own, general, is_reported or bool(own)


def _micros(units: Fraction | int) -> int:
    whole = Fraction(units) * MICROS
    return -(-whole.numerator // whole.denominator)


def _free_micros(terms: Terms, allowance: Counter | None, total: int, reserved_micros: int) -> int:
    """What was set aside, at least; and what nobody else has set aside, as far as the allowance goes."""
    if allowance is None or not terms.allowance_micros:
        return 0
    others = allowance.held_micros - reserved_micros
    left = terms.allowance_micros - allowance.count_micros - others
    return min(total, max(reserved_micros, left, 0))


def _allowance_after(allowance: Counter | None, free: int, reserved_micros: int) -> Counter | None:
    if allowance is None or not (free or reserved_micros):
        return None
    return replace(
        allowance,
        count_micros=allowance.count_micros + free,
        held_micros=allowance.held_micros - reserved_micros,
    )


def _general_lines(terms: Terms, counter: Counter, units: int, is_wanted: bool | int, cost: Fraction) -> list[Line]:
    version = terms.version
    if not units and (not is_wanted or terms.allowance_micros):
        return []
    if terms.options.tier_mode is TierMode.GRADUATED:
        return tier_lines(version, counter.count_micros, units, cost=cost)
    tier = version.tiers[tier_index(version, counter.count_micros + max(units - 1, 0))]
    return [Line(tier.start, tier.rate_nanos, units, exact_charge(version, tier, units, units, cost))]


def _own_lines(terms: Terms, own: Mapping[str, Quantity], share: Fraction) -> list[Line]:
    lines = []
    for unit, quantity in own.items():
        billed = Fraction(quantity) * (share if unit in terms.family else 1)
        lines.append(Line(0, terms.own_nanos[unit], _micros(billed), billed * terms.own_rates[unit], unit))
    return lines


def _dearest_parts(terms: Terms, limits: Limits, dearest_nanos: int) -> tuple[Fraction, Fraction]:
    """The ceilings of what the meter's own unit adds up, and of everything beside it."""
    unit, rates = terms.version.tier_unit, terms.own_rates
    base = exact_charge(terms.version, Tier(start=0, rate_nanos=dearest_nanos), MICROS, MICROS, Fraction(0))

    def most(units: tuple[str, ...], micros: int, family: TierUnit) -> tuple[Fraction, Fraction]:
        general = base if unit is family else Fraction(0)
        rate = max(rates.get(name, general) for name in units)
        return (rate * micros / MICROS, Fraction(0)) if unit is family else (Fraction(0), rate * micros / MICROS)

    tokens, given = limits.tokens_micros, limits.input_tokens_micros
    parts = [
        most(INPUT_UNITS, tokens if given is None else given, TierUnit.TOKENS_1M),
        most(OUTPUT_UNITS, tokens if given is None else tokens - given, TierUnit.TOKENS_1M),
        most(FAMILIES[TierUnit.CHARACTERS_1M], limits.characters_micros, TierUnit.CHARACTERS_1M),
        most(FAMILIES[TierUnit.MINUTES], limits.seconds_micros, TierUnit.MINUTES),
        most(("requests",), MICROS, TierUnit.REQUESTS),
        most(("images",), limits.images_micros, TierUnit.CUSTOM),
        most(("searches",), limits.searches_micros, TierUnit.CUSTOM),
        most(("pages",), limits.pages_micros, TierUnit.CUSTOM),
    ]
    return sum((inside for inside, _ in parts), Fraction(0)), sum((beside for _, beside in parts), Fraction(0))
