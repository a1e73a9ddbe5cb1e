"""A meter's options as people write them, and what may not stand together."""

import re
from itertools import pairwise
from string import ascii_lowercase, digits

from lava_proxy.core.entities import CounterReset, RateType, Tier, TierUnit
from lava_proxy.core.errors import InvalidInput
from lava_proxy.core.meter_options import Aggregation, MeterOptions, ModelRate, TierMode, UnitRate
from lava_proxy.core.money import parse_amount
from lava_proxy.core.option_terms import FAMILIES
from lava_proxy.core.pricing import UNITS
from lava_proxy.core.tiers import read_rate

RATES_MAX = 100
MODEL_CHARACTERS_MAX = 255
_UNIT = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)
_COUNT = re.compile(r"(?P<count>\d{1,15})(?P<scale>[kKmMbB]?)", re.ASCII)
_SCALES = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}
_TAKEN = frozenset({*UNITS, *(unit.value for unit in TierUnit), "free", "minimum"})


def read_unit_rates(given: tuple[str, ...]) -> tuple[UnitRate, ...]:
    """Rates of ``UNIT:RATE`` texts, such as ``output_tokens:15``.

    Raises:
        InvalidInput: no such unit, the same one twice, or no rate.
    """
    rates: list[UnitRate] = []
    for text in given:
        unit, sign, number = text.partition(":")
        if not sign:
            raise InvalidInput(f"unit_rates: {text!r} is not UNIT:RATE, such as output_tokens:15", field="unit_rates")
        if unit.strip() not in UNITS:
            raise InvalidInput(
                f"unit_rates: {unit.strip()!r} is no unit; choose of {', '.join(UNITS)}", field="unit_rates"
            )
        rates.append(UnitRate(unit=unit.strip(), rate_nanos=read_rate(number, field="unit_rates")))
    _check_count("unit_rates", len(rates))
    for one, other in pairwise(sorted(rates, key=lambda rate: rate.unit)):
        if one.unit == other.unit:
            raise InvalidInput(f"unit_rates: {one.unit} comes twice", field="unit_rates")
    return tuple(rates)


def read_model_rates(given: tuple[str, ...]) -> tuple[ModelRate, ...]:
    """Rates of ``MODEL=RATE`` and ``MODEL=UNIT:RATE`` texts; several of one model are put together.

    Raises:
        InvalidInput
    """
    found: dict[str, tuple[int | None, list[str]]] = {}
    for text in given:
        model, sign, rate = (part.strip() for part in text.rpartition("="))
        if not sign or not 0 < len(model) <= MODEL_CHARACTERS_MAX:
            raise InvalidInput(
                f"model_rates: {text!r} is not MODEL=RATE or MODEL=UNIT:RATE, such as gpt-4o*=10", field="model_rates"
            )
        general, units = found.get(model, (None, []))
        if ":" in rate:
            units = [*units, rate]
        elif general is not None:
            raise InvalidInput(f"model_rates: {model} has two rates", field="model_rates")
        else:
            general = read_rate(rate, field="model_rates")
        found[model] = (general, units)
    _check_count("model_rates", len(found))
    return tuple(
        ModelRate(model=model, rate_nanos=general, units=read_unit_rates(tuple(units)))
        for model, (general, units) in found.items()
    )


def read_minimum(text: str) -> int:
    """
    Raises:
        InvalidAmount
    """
    return parse_amount(text, field="minimum_charge")


def read_allowance(text: str) -> int:
    """A whole number of units, such as ``1M``.

    Raises:
        InvalidInput
    """
    found = _COUNT.fullmatch(text.strip().replace("_", ""))
    if found is None:
        raise InvalidInput(
            f"allowance: {text!r} is no number of units; write a whole number such as 1000000 or 1M", field="allowance"
        )
    return int(found["count"]) * _SCALES[found["scale"].lower()]


def read_unit(text: str) -> str:
    """The name of a unit of the merchant's own.

    Raises:
        InvalidInput: its form, or the name means something already.
    """
    if not _UNIT.fullmatch(text) or set(text) - set(ascii_lowercase + digits + "_"):
        raise InvalidInput(
            f"unit: {text!r} may have lower-case letters, digits and _ only, and begins with a letter", field="unit"
        )
    if text in _TAKEN:
        raise InvalidInput(f"unit: {text!r} means something already; calls report it by themselves", field="unit")
    return text


def check_options(
    *,
    rate_type: RateType,
    tier_unit: TierUnit,
    tiers: tuple[Tier, ...] | None,
    reset: CounterReset,
    options: MeterOptions,
) -> tuple[Tier, ...]:
    """The tiers of a meter with these options, where they may stand together.

    ``tiers`` may be ``None`` where every part of the meter's unit has a rate of its own.

    Raises:
        InvalidInput: names the field and the rule.
    """
    _check_custom(tier_unit, reset, options)
    if rate_type is RateType.PERCENTAGE:
        _check_percentage(options)
    if tiers is None:
        _check_all_have_rates(tier_unit, options.units)
        tiers = (Tier(start=0, rate_nanos=0),)
    elif tier_unit is TierUnit.REQUESTS and any(rate.unit == "requests" for rate in options.units):
        raise InvalidInput("unit_rates: requests are what the meter charges already", field="unit_rates")
    if options.tier_mode is TierMode.VOLUME:
        for lower, upper in pairwise(tiers):
            if upper.rate_nanos > lower.rate_nanos:
                raise InvalidInput(
                    "tiers: rates of volume tiers must not rise, or splitting a call would make it cheaper",
                    field="tiers",
                )
    return tiers


def plain_or(options: MeterOptions) -> MeterOptions | None:
    """``None`` where nothing is set: such a meter is rated by the short way."""
    return None if options == MeterOptions() else options


def _check_custom(tier_unit: TierUnit, reset: CounterReset, options: MeterOptions) -> None:
    if (tier_unit is TierUnit.CUSTOM) != bool(options.unit):
        raise InvalidInput("unit: a meter of the type custom names its unit, and no other does", field="unit")
    if tier_unit is not TierUnit.CUSTOM:
        if options.aggregation is not Aggregation.SUM:
            raise InvalidInput("aggregation: only a meter with a unit of your own has one", field="aggregation")
        return
    if options.units or options.models:
        raise InvalidInput("unit_rates: a unit that is reported has no parts and no models", field="unit_rates")
    if options.aggregation is not Aggregation.SUM and reset is not CounterReset.CYCLE:
        raise InvalidInput(f"reset: {options.aggregation.value} is counted per cycle; say --reset cycle", field="reset")


def _check_percentage(options: MeterOptions) -> None:
    if options.unit:
        raise InvalidInput("rate_type: a unit that is reported has no cost; its meter is fixed", field="rate_type")
    if options.units or any(rates.units for rates in options.models):
        raise InvalidInput("unit_rates: only a fixed meter has them", field="unit_rates")
    if options.allowance:
        raise InvalidInput("allowance: only a fixed meter has one", field="allowance")


def are_all_rated(tier_unit: TierUnit, units: tuple[UnitRate, ...]) -> bool:
    """Whether no part of the meter's unit is left without a rate of its own."""
    own = {rate.unit for rate in units}
    return bool(own) and set(_must_have_rates(tier_unit)) <= own


def _must_have_rates(tier_unit: TierUnit) -> tuple[str, ...]:
    """The units that all others of the family fall back on."""
    return ("input_tokens", "output_tokens") if tier_unit is TierUnit.TOKENS_1M else FAMILIES[tier_unit]


def _check_all_have_rates(tier_unit: TierUnit, units: tuple[UnitRate, ...]) -> None:
    if not are_all_rated(tier_unit, units):
        own = {rate.unit for rate in units}
        missing = [unit for unit in _must_have_rates(tier_unit) if unit not in own]
        told = f"no rate is given for {', '.join(missing)}" if own and missing else "no rate is given"
        raise InvalidInput(f"rate: say what is charged, with --rate or --tier: {told}; 0 makes it free", field="rate")


def _check_count(field: str, count: int) -> None:
    if count > RATES_MAX:
        raise InvalidInput(f"{field}: give at most {RATES_MAX} of them, not {count}", field=field)
