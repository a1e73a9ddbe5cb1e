"""What a request is charged: its meter applied to usage or cost.

Rating is exact: rates are integers, amounts in between are fractions, and the one rounding to whole nanos carries its
remainder per customer and meter, so that the sum over many small calls is the exact sum.

Tiers are graduated: the units that fall between two starts are charged at that tier's rate, counted over all requests
of this customer on this meter. A percentage meter splits the cost in proportion to the units in each tier.
"""

from fractions import Fraction
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.entities import BreakdownLine, Counter, MeterVersion, RateType, Tier, TierUnit
from lava_proxy.core.money import round_half_up
from lava_proxy.core.usage import Usage

MICROS = 1_000_000
PERCENT_NANOS = 100 * 1_000_000_000
"""100 %, in the nano-percent of a percentage meter's rates."""

BASE_UNITS = {
    TierUnit.TOKENS_1M: 1_000_000,
    TierUnit.CHARACTERS_1M: 1_000_000,
    TierUnit.MINUTES: 60,
    TierUnit.REQUESTS: 1,
    TierUnit.CUSTOM: 1,
}
"""Base units (tokens, characters, seconds, requests) in one unit that a fixed rate is for."""
_START_UNITS = {
    TierUnit.TOKENS_1M: 1,
    TierUnit.CHARACTERS_1M: 1,
    TierUnit.MINUTES: 60,
    TierUnit.REQUESTS: 1,
    TierUnit.CUSTOM: 1,
}
"""Base units in one step of a tier's ``start``."""


class Charge(Struct, frozen=True, kw_only=True):
    """A rated request. The breakdown's lines add up to ``nanos``; ``counter`` is the state after it."""

    nanos: int
    breakdown: tuple[BreakdownLine, ...]
    counter: Counter
    allowance: Counter | None = None
    """The state of the allowance after it, where the meter has one."""


class Line(NamedTuple):
    """A line of a breakdown before it is rounded."""

    tier_start: int
    rate_nanos: int
    units_micros: int
    exact: Fraction
    part: str = ""


def units_micros_of(unit: TierUnit, usage: Usage) -> int | None:
    """Millionths of the base unit that ``usage`` holds; ``None`` where it does not tell.

    >>> units_micros_of(TierUnit.TOKENS_1M, Usage(input_tokens=3, output_tokens=2))
    5000000
    """
    if unit is TierUnit.REQUESTS:
        return MICROS
    if unit is TierUnit.TOKENS_1M:
        if usage.input_tokens is None and usage.output_tokens is None:
            return None
        return usage.total_tokens() * MICROS
    if unit is TierUnit.CHARACTERS_1M:
        if usage.input_characters is None and usage.output_characters is None:
            return None
        return ((usage.input_characters or 0) + (usage.output_characters or 0)) * MICROS
    if (usage.input_seconds is None and usage.output_seconds is None) or unit is TierUnit.CUSTOM:
        return None
    seconds = Fraction(usage.input_seconds or 0) + Fraction(usage.output_seconds or 0)
    return round_half_up(seconds * MICROS)


def rate(version: MeterVersion, counter: Counter, *, units_micros: int, cost: Fraction | None) -> Charge:
    """Charge ``units_micros`` on this meter, and move the counter on.

    ``cost`` is the exact cost in nanos; only a percentage meter needs it, and takes ``None`` for 0: whether an unknown
    cost may be charged at nothing is the caller's policy, not arithmetic.
    """
    tier = _only_tier(version, counter.count_micros, units_micros)
    if tier is not None:
        nanos, carry, breakdown = _at_one_rate(version, tier, counter.charge_carry, units_micros, cost or _NOTHING)
    else:
        lines = tier_lines(version, counter.count_micros, units_micros, cost=cost or _NOTHING)
        nanos, carry, breakdown = round_lines(lines, counter.charge_carry)
    after = replace(counter, count_micros=counter.count_micros + units_micros, charge_carry=carry)
    return Charge(nanos=nanos, breakdown=breakdown, counter=after)


def tier_lines(version: MeterVersion, count_micros: int, units_micros: int, *, cost: Fraction) -> list[Line]:
    """What the units that follow ``count_micros`` are charged in each graduated tier."""
    return [
        Line(tier.start, tier.rate_nanos, units, exact_charge(version, tier, units, units_micros, cost))
        for tier, units in _split(version, count_micros, units_micros)
    ]


def round_lines(lines: list[Line], carry: Fraction) -> tuple[int, Fraction, tuple[BreakdownLine, ...]]:
    """Whole nanos of the lines together with what was carried, the remainder to carry on, and the breakdown."""
    running, charged, breakdown = carry, 0, []
    for tier_start, rate_nanos, units, exact, part in lines:
        running += exact
        line_nanos = round_half_up(running) - charged
        charged += line_nanos
        breakdown.append(
            BreakdownLine(
                tier_start=tier_start, rate_nanos=rate_nanos, units_micros=units, charge_nanos=line_nanos, part=part
            )
        )
    return charged, running - charged, tuple(breakdown)


def charge_ceiling(version: MeterVersion, counter: Counter, *, units_micros: int, cost: Fraction | None) -> Fraction:
    """The most that this many units and this cost can be charged, exact: at the dearest tier from here on.

    Other calls in flight may move the counter on before this one settles, so every later tier counts as reachable.
    """
    dearest = dearest_rate_nanos(version, counter.count_micros)
    if version.rate_type is RateType.PERCENTAGE:
        return (cost or _NOTHING) * (PERCENT_NANOS + dearest) / PERCENT_NANOS
    return Fraction(units_micros * dearest, MICROS * BASE_UNITS[version.tier_unit])


def dearest_rate_nanos(version: MeterVersion, count_micros: int) -> int:
    """The highest rate of the tiers from this count on."""
    tiers = version.tiers
    if len(tiers) == 1:
        return tiers[0].rate_nanos
    return max(tier.rate_nanos for tier in tiers[tier_index(version, count_micros) :])


def exact_charge(version: MeterVersion, tier: Tier, units: int, units_total: int, cost: Fraction) -> Fraction:
    """What ``units`` of ``units_total`` are charged in this tier; of a percentage meter, their share of the cost."""
    if version.rate_type is RateType.FIXED:
        return Fraction(units * tier.rate_nanos, MICROS * BASE_UNITS[version.tier_unit])
    if units != units_total:
        cost = cost * Fraction(units, units_total)
    return cost * (PERCENT_NANOS + tier.rate_nanos) / PERCENT_NANOS


def _only_tier(version: MeterVersion, count_micros: int, units_micros: int) -> Tier | None:
    """The tier that takes all of these units; ``None`` where they cross a boundary."""
    tiers = version.tiers
    if len(tiers) == 1:
        return tiers[0]
    index = tier_index(version, count_micros)
    is_last = index + 1 == len(tiers)
    return tiers[index] if is_last or count_micros + units_micros <= _start_micros(version, index + 1) else None


def _at_one_rate(
    version: MeterVersion, tier: Tier, carry: Fraction, units: int, cost: Fraction
) -> tuple[int, Fraction, tuple[BreakdownLine, ...]]:
    """The same as ``round_lines`` of ``tier_lines``, by a short way: nearly every request falls into one tier."""
    running = exact_charge(version, tier, units, units, cost)
    if carry:
        running += carry
    nanos = round_half_up(running)
    line = BreakdownLine(tier_start=tier.start, rate_nanos=tier.rate_nanos, units_micros=units, charge_nanos=nanos)
    return nanos, running - nanos, (line,)


def _split(version: MeterVersion, count_micros: int, units_micros: int) -> list[tuple[Tier, int]]:
    """The units by tier, in order; at least one part, which is the present tier with 0 units where there are none."""
    parts: list[tuple[Tier, int]] = []
    index = tier_index(version, count_micros)
    position, left = count_micros, units_micros
    while left > 0:
        end = _start_micros(version, index + 1) if index + 1 < len(version.tiers) else position + left
        here = min(left, end - position)
        parts.append((version.tiers[index], here))
        position, left, index = position + here, left - here, index + 1
    return parts or [(version.tiers[index], 0)]


def tier_index(version: MeterVersion, count_micros: int) -> int:
    """Which tier the unit after ``count_micros`` falls into."""
    index = 0
    while index + 1 < len(version.tiers) and _start_micros(version, index + 1) <= count_micros:
        index += 1
    return index


def _start_micros(version: MeterVersion, index: int) -> int:
    return start_micros(version.tier_unit, version.tiers[index].start)


def start_micros(unit: TierUnit, start: int) -> int:
    """A tier's start, or an allowance, in millionths of the base unit."""
    return start * _START_UNITS[unit] * MICROS


_NOTHING = Fraction(0)
