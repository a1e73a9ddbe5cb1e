"""The most that a request on a meter with options can be charged: for its quote, in whole numbers, since every call asks."""

from fractions import Fraction

from msgspec import Struct

from lava_proxy.core.entities import Counter, RateType, Tier
from lava_proxy.core.option_terms import SCALE, Terms
from lava_proxy.core.rating import BASE_UNITS, MICROS, dearest_rate_nanos, exact_charge


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


def ceiling_with_options(
    terms: Terms, counter: Counter, limits: Limits, *, cost: Fraction | None, reserved_micros: int
) -> Fraction:
    """The most that a request within these limits can be charged, exact, with these free units set aside for it."""
    dearest = dearest_rate_nanos(terms.version, counter.count_micros)
    inside, beside = _dearest_scaled(terms, limits, dearest)
    in_family = Fraction(inside, SCALE)
    if terms.version.rate_type is RateType.PERCENTAGE:
        in_family = exact_charge(terms.version, Tier(start=0, rate_nanos=dearest), 0, 0, cost or _NOTHING)
    units = limits.units_micros
    if units and reserved_micros:
        in_family *= Fraction(max(0, units - reserved_micros), units)
    total = in_family + Fraction(beside, SCALE) if beside else in_family
    if total >= terms.options.minimum_nanos or (not total and reserved_micros >= units and reserved_micros > 0):
        return total
    return Fraction(terms.options.minimum_nanos)


def _quantities(limits: Limits) -> tuple[int, ...]:
    tokens, given = limits.tokens_micros, limits.input_tokens_micros
    return (
        tokens if given is None else given,
        tokens if given is None else tokens - given,
        limits.characters_micros,
        limits.seconds_micros,
        MICROS,
        limits.images_micros,
        limits.searches_micros,
        limits.pages_micros,
    )


def _dearest_scaled(terms: Terms, limits: Limits, dearest_nanos: int) -> tuple[int, int]:
    """The ceilings of what the meter's own unit adds up, and of everything beside it, times ``SCALE``."""
    version, micros = terms.version, _quantities(limits)
    general = 0
    if version.rate_type is RateType.FIXED:
        general = dearest_nanos * SCALE // (BASE_UNITS[version.tier_unit] * MICROS)
    inside = beside = 0
    for place, most, has_general, is_family in terms.groups:
        if is_family:
            inside += (max(most, general) if has_general else most) * micros[place]
        else:
            beside += most * micros[place]
    return inside, beside


_NOTHING = Fraction(0)
