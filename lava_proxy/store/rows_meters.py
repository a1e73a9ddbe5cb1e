"""Rows of our pricing: meters, their versions, and how far each customer has come on them."""

from fractions import Fraction

from lava_proxy.core.entities import Counter, CounterReset, Meter, MeterStatus, MeterVersion, RateType, Tier, TierUnit
from lava_proxy.store.table import Cells, Lookup, Row, Table, from_json, to_json


def _encode_meter(row: Meter) -> Row:
    return (
        row.meter_id,
        row.slug,
        row.name,
        row.rate_type.value,
        row.tier_unit.value,
        row.version,
        row.status.value,
        row.created_us,
    )


def _decode_meter(cells: Cells) -> Meter:
    meter_id, slug, name, rate_type, tier_unit, version, status, created_us = cells
    return Meter(
        meter_id=meter_id,
        slug=slug,
        name=name,
        rate_type=RateType(rate_type),
        tier_unit=TierUnit(tier_unit),
        version=version,
        status=MeterStatus(status),
        created_us=created_us,
    )


METERS = Table(
    kind=Meter,
    name="meters",
    key=("meter_id",),
    key_of=lambda row: (row.meter_id,),
    columns=("meter_id", "slug", "name", "rate_type", "tier_unit", "version", "status", "created_us"),
    encode=_encode_meter,
    decode=_decode_meter,
    lookups={"slug": Lookup(value=lambda row: row.slug), "status": Lookup(value=lambda row: row.status.value)},
    unique={"slug": lambda row: row.slug if row.status is MeterStatus.ACTIVE else None},
)


def _encode_version(row: MeterVersion) -> Row:
    return (
        row.meter_id,
        row.version,
        row.rate_type.value,
        row.tier_unit.value,
        to_json([[tier.start, tier.rate_nanos] for tier in row.tiers]),
        row.reset.value,
        row.created_us,
    )


def _decode_version(cells: Cells) -> MeterVersion:
    meter_id, version, rate_type, tier_unit, tiers, reset, created_us = cells
    return MeterVersion(
        meter_id=meter_id,
        version=version,
        rate_type=RateType(rate_type),
        tier_unit=TierUnit(tier_unit),
        tiers=tuple(Tier(start=start, rate_nanos=rate_nanos) for start, rate_nanos in from_json(tiers)),
        reset=CounterReset(reset),
        created_us=created_us,
    )


METER_VERSIONS = Table(
    kind=MeterVersion,
    name="meter_versions",
    key=("meter_id", "version"),
    key_of=lambda row: (row.meter_id, row.version),
    columns=("meter_id", "version", "rate_type", "tier_unit", "tiers", "reset", "created_us"),
    encode=_encode_version,
    decode=_decode_version,
    lookups={"meter_id": Lookup(value=lambda row: row.meter_id)},
)


def _encode_fraction(value: Fraction) -> str:
    return f"{value.numerator}/{value.denominator}"


def _decode_fraction(text: str) -> Fraction:
    if text == "0/1":
        return _NOTHING
    numerator, _, denominator = text.partition("/")
    return Fraction(int(numerator), int(denominator))


_NOTHING = Fraction(0)


def _encode_counter(row: Counter) -> Row:
    return (
        row.customer_id,
        row.meter_id,
        row.cycle,
        row.count_micros,
        _encode_fraction(row.charge_carry),
        _encode_fraction(row.cost_carry),
    )


def _decode_counter(cells: Cells) -> Counter:
    customer_id, meter_id, cycle, count_micros, charge_carry, cost_carry = cells
    return Counter(
        customer_id=customer_id,
        meter_id=meter_id,
        cycle=cycle,
        count_micros=count_micros,
        charge_carry=_decode_fraction(charge_carry),
        cost_carry=_decode_fraction(cost_carry),
    )


COUNTERS = Table(
    kind=Counter,
    name="tier_counters",
    key=("customer_id", "meter_id", "cycle"),
    key_of=lambda row: (row.customer_id, row.meter_id, row.cycle),
    columns=("customer_id", "meter_id", "cycle", "count_micros", "charge_carry", "cost_carry"),
    encode=_encode_counter,
    decode=_decode_counter,
    lookups={"customer_id": Lookup(value=lambda row: row.customer_id)},
    is_sound=lambda row: row.count_micros >= 0,
)
