"""What a meter with options charges: rates of parts, volume tiers, an allowance, a minimum, other rates for a model.

Usage is taken apart into parts that do not overlap. A part with a rate of its own is charged at it, and is then in no
total any more; what has none is added up in the meter's own unit and goes through its tiers, which count it alone.

The allowance is counted in the meter's own unit too, over every part of that unit. The share of a request's units that
is free is free in each of its parts. Free units are set aside at the hold, so that nobody else takes them meanwhile:
a customer without credit can use what is free, and a quote is never below the charge.
"""

from collections.abc import Mapping
from fractions import Fraction

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.entities import Counter
from lava_proxy.core.meter_options import TierMode
from lava_proxy.core.option_terms import Terms
from lava_proxy.core.parts import Quantity, split
from lava_proxy.core.rating import (
    MICROS,
    Charge,
    Line,
    exact_charge,
    round_lines,
    tier_index,
    tier_lines,
    units_micros_of,
)
from lava_proxy.core.usage import Usage

PART_MINIMUM, PART_FREE = "minimum", "free"


class Consumed(Struct, frozen=True, kw_only=True):
    """What a request consumed. ``units_micros`` is given where no usage tells it: text as we counted it, or a report."""

    usage: Usage
    units_micros: int | None = None
    cost: Fraction | None = None


class Rated(Struct, frozen=True, kw_only=True):
    charge: Charge
    is_unit_reported: bool
    """False where nothing that the meter charges by was reported."""


def charge_usage(
    terms: Terms, counter: Counter, allowance: Counter | None, consumed: Consumed, *, reserved_micros: int = 0
) -> Rated:
    """Charge what a request consumed, and move the counters on. ``reserved_micros``: free units that its hold set aside."""
    own, general, is_reported = _taken_apart(terms, consumed)
    total = general
    if own and terms.allowance_micros:
        total += _micros(sum(quantity for unit, quantity in own.items() if unit in terms.family))
    free = _free_micros(terms, allowance, total, reserved_micros)
    billable = general + (-general * free // total if free else 0)
    lines = _general_lines(terms, counter, billable, general or not own, consumed.cost or _NOTHING)
    if own:
        lines += _own_lines(terms, own, Fraction(total - free, total) if free else None)
    if terms.options.minimum_nanos:
        is_free = free >= total and (free > 0 or reserved_micros > 0)
        lines += _minimum_line(terms.options.minimum_nanos, lines, is_free=is_free)
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


def _taken_apart(terms: Terms, consumed: Consumed) -> tuple[dict[str, Quantity], int, bool]:
    """Quantities with a rate of their own; millionths of the meter's own unit; whether anything was reported."""
    version, usage = terms.version, consumed.usage
    if not terms.own:
        found = (
            consumed.units_micros if consumed.units_micros is not None else units_micros_of(version.tier_unit, usage)
        )
        return {}, found or 0, found is not None
    quantities: dict[str, Quantity] = {**split(usage).quantities, "requests": 1}
    for unit, same in terms.same_things:
        if quantities.get(unit):
            quantities.pop(same, None)  # two measures of one thing: the one with a rate of its own carries it
    own = {unit: quantity for unit, quantity in quantities.items() if unit in terms.own}
    general = _micros(
        sum(quantity for unit, quantity in quantities.items() if unit in terms.family and unit not in own)
    )
    is_reported = units_micros_of(version.tier_unit, usage) is not None
    if not is_reported and consumed.units_micros is not None and terms.family.isdisjoint(own):
        general, is_reported = consumed.units_micros, True
    return own, general, is_reported or len(own) > ("requests" in own)


def _micros(units: Quantity | Fraction) -> int:
    """Millionths, a part of one counted whole."""
    if isinstance(units, int):
        return units * MICROS
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


def _own_lines(terms: Terms, own: Mapping[str, Quantity], share: Fraction | None) -> list[Line]:
    """``share`` is what of the meter's own unit is to be paid; ``None``: all."""
    lines = []
    for unit, quantity in own.items():
        nanos, per = terms.own[unit]
        if isinstance(quantity, int) and (share is None or unit not in terms.family):
            lines.append(Line(0, nanos, quantity * MICROS, Fraction(quantity * nanos, per), unit))
            continue
        billed = Fraction(quantity) * (share if share is not None and unit in terms.family else 1)
        lines.append(Line(0, nanos, _micros(billed), billed * nanos / per, unit))
    return lines


def _minimum_line(minimum_nanos: int, lines: list[Line], *, is_free: bool) -> list[Line]:
    exact = sum((line.exact for line in lines), _NOTHING)
    if exact >= minimum_nanos or (is_free and not exact):
        return []
    return [Line(0, minimum_nanos, 0, minimum_nanos - exact, PART_MINIMUM)]


_NOTHING = Fraction(0)
