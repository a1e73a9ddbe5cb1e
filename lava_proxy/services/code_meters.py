"""Meters in a file: ``[meters.premium]`` with the terms of `lava meters create`, written as its options are."""

from collections.abc import Mapping

from msgspec.structs import replace

from lava_proxy.core.entities import CounterReset, RateType, Tier, TierUnit
from lava_proxy.core.errors import InvalidInput
from lava_proxy.core.meter_options import NO_OPTIONS, Aggregation, MeterOptions, ModelRate, TierMode, UnitRate
from lava_proxy.core.meter_text import (
    are_all_rated,
    check_options,
    read_allowance,
    read_minimum,
    read_model_rates,
    read_unit,
    read_unit_rates,
)
from lava_proxy.core.tiers import check_name, check_slug, read_tiers
from lava_proxy.services.as_code import (
    Named,
    Spec,
    Value,
    check_fields,
    read_choice,
    read_flag,
    read_text,
    read_texts,
)
from lava_proxy.services.documents import rate_text
from lava_proxy.services.idempotency import By
from lava_proxy.services.meters import MeterChanges, Meters, MeterTerms, PricedMeter

_FIELDS = (
    *("name", "rate_type", "tier_type", "unit", "aggregation", "reset", "rate", "tiers", "tier_mode"),
    *("unit_rates", "model_rates", "minimum_charge", "allowance", "default"),
)
_FREE = (Tier(start=0, rate_nanos=0),)


class MeterKind:
    """See ``as_code.CodeKind``. Removing one archives it."""

    table = "meters"
    fixed = frozenset({"rate_type", "tier_type", "unit", "aggregation", "reset"})
    kept = frozenset({"default"})

    def __init__(self, meters: Meters) -> None:
        self._meters = meters

    def read(self, name: str, given: Mapping[str, object]) -> Spec:
        """See ``as_code.CodeKind``."""
        check_slug(name)
        check_fields(given, _FIELDS)
        tier_type = TierUnit.CUSTOM if "unit" in given else TierUnit.TOKENS_1M
        terms = MeterTerms(
            name=read_text(given, "name", default=name),
            slug=name,
            rate_type=RateType(read_choice(given, "rate_type", RateType, default=RateType.PERCENTAGE.value)),
            tier_unit=TierUnit(read_choice(given, "tier_type", TierUnit, default=tier_type.value)),
            tiers=_tiers(given),
            reset=CounterReset(read_choice(given, "reset", CounterReset, default=CounterReset.NEVER.value)),
            options=_options(given),
            is_default=read_flag(given, "default"),
        )
        check_name(terms.name)
        return _spec(_checked(terms))

    def check_all(self, specs: Mapping[str, Spec], named: Named) -> None:
        """See ``as_code.CodeKind``."""
        del named
        defaults = [name for name, spec in specs.items() if spec.get("default")]
        if len(defaults) > 1:
            raise InvalidInput(f"default: only one meter can be it, not {' and '.join(defaults)}", field="default")

    def present(self) -> Mapping[str, Spec]:
        """See ``as_code.CodeKind``."""
        return {priced.meter.slug: _spec(_terms_of(priced)) for priced in self._meters.all()}

    def create(self, name: str, spec: Spec, by: By) -> None:
        """See ``as_code.CodeKind``."""
        self._meters.create(_terms(name, spec), by=by)

    def update(self, name: str, spec: Spec, by: By) -> None:
        """See ``as_code.CodeKind``."""
        terms = _terms(name, spec)
        changes = MeterChanges(
            name=terms.name,
            tiers=terms.tiers,
            tier_mode=terms.options.tier_mode,
            units=terms.options.units,
            models=terms.options.models,
            minimum_nanos=terms.options.minimum_nanos,
            allowance=terms.options.allowance,
            is_default=terms.is_default or None,
        )
        self._meters.update(name, changes, by=by)

    def remove(self, name: str, by: By) -> None:
        """See ``as_code.CodeKind``."""
        self._meters.archive(name, by=by)


def _terms_of(priced: PricedMeter) -> MeterTerms:
    version = priced.version
    return MeterTerms(
        name=priced.meter.name,
        slug=priced.meter.slug,
        rate_type=version.rate_type,
        tier_unit=version.tier_unit,
        tiers=version.tiers,
        reset=version.reset,
        options=version.options or NO_OPTIONS,
        is_default=priced.is_default,
    )


def _terms(name: str, spec: Spec) -> MeterTerms:
    """The terms of a spec, which were checked when it was read."""
    return MeterTerms(
        name=str(spec["name"]),
        slug=name,
        rate_type=RateType(str(spec["rate_type"])),
        tier_unit=TierUnit(str(spec["tier_type"])),
        tiers=read_tiers(_pairs(spec["tiers"])) if "tiers" in spec else _FREE,
        reset=CounterReset(str(spec.get("reset", CounterReset.NEVER))),
        options=_options(spec),
        is_default=bool(spec.get("default")),
    )


def _checked(terms: MeterTerms) -> MeterTerms:
    """The same with its tiers, where all of it may stand together."""
    tiers = check_options(
        rate_type=terms.rate_type,
        tier_unit=terms.tier_unit,
        tiers=terms.tiers,
        reset=terms.reset,
        options=terms.options,
    )
    return replace(terms, tiers=tiers)


def _options(given: Mapping[str, object]) -> MeterOptions:
    return MeterOptions(
        tier_mode=TierMode(read_choice(given, "tier_mode", TierMode, default=TierMode.GRADUATED.value)),
        units=read_unit_rates(read_texts(given, "unit_rates", such_as='["input_tokens:3", "output_tokens:15"]')),
        models=read_model_rates(read_texts(given, "model_rates", such_as='["gpt-4o*=10"]')),
        minimum_nanos=read_minimum(read_text(given, "minimum_charge")) if "minimum_charge" in given else 0,
        allowance=read_allowance(read_text(given, "allowance")) if "allowance" in given else 0,
        unit=read_unit(read_text(given, "unit")) if "unit" in given else "",
        aggregation=Aggregation(read_choice(given, "aggregation", Aggregation, default=Aggregation.SUM.value)),
    )


def _spec(terms: MeterTerms) -> Spec:
    """One way to write each thing; what has its default is left out."""
    options, tiers = terms.options, terms.tiers or _FREE
    is_silent = tiers == _FREE and are_all_rated(terms.tier_unit, options.units)
    optional: dict[str, tuple[Value, bool]] = {
        "unit": (options.unit, bool(options.unit)),
        "aggregation": (options.aggregation.value, options.aggregation is not Aggregation.SUM),
        "reset": (terms.reset.value, terms.reset is not CounterReset.NEVER),
        "tiers": ([f"{tier.start}:{rate_text(tier.rate_nanos)}" for tier in tiers], not is_silent),
        "tier_mode": (options.tier_mode.value, options.tier_mode is not TierMode.GRADUATED),
        "unit_rates": (_unit_texts(options.units), bool(options.units)),
        "model_rates": (_model_texts(options.models), bool(options.models)),
        "minimum_charge": (rate_text(options.minimum_nanos), bool(options.minimum_nanos)),
        "allowance": (str(options.allowance), bool(options.allowance)),
        "default": (True, terms.is_default),
    }
    return {
        "name": terms.name,
        "rate_type": terms.rate_type.value,
        "tier_type": terms.tier_unit.value,
        **{field: value for field, (value, is_told) in optional.items() if is_told},
    }


def _unit_texts(rates: tuple[UnitRate, ...]) -> list[str]:
    """Their order means nothing."""
    return sorted(f"{rate.unit}:{rate_text(rate.rate_nanos)}" for rate in rates)


def _model_texts(models: tuple[ModelRate, ...]) -> list[str]:
    """In their order: the first pattern that fits counts."""
    texts: list[str] = []
    for rates in models:
        general = [] if rates.rate_nanos is None else [rate_text(rates.rate_nanos)]
        texts += [f"{rates.model}={text}" for text in (*general, *_unit_texts(rates.units))]
    return texts


def _tiers(given: Mapping[str, object]) -> tuple[Tier, ...] | None:
    """``None``: every part of the unit has a rate of its own."""
    if ("rate" in given and "tiers" in given) or not {"rate", "tiers", "unit_rates"} & set(given):
        raise InvalidInput("rate: give one of rate and tiers", field="rate")
    if "rate" in given:
        return read_tiers((("0", read_text(given, "rate")),))
    return read_tiers(_pairs(given["tiers"])) if "tiers" in given else None


def _pairs(tiers: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(tiers, list) or not all(isinstance(tier, str) and ":" in tier for tier in tiers):
        raise InvalidInput('tiers: write a list of "START:RATE", such as ["0:5.00", "1M:3.00"]', field="tiers")
    pairs = [tier.partition(":") for tier in tiers]
    return tuple((start, rate) for start, _, rate in pairs)
