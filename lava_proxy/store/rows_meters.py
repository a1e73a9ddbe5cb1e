"""Rows of our pricing: meters, their versions, and how far each customer has come on them."""

from fractions import Fraction

import msgspec

from lava_proxy.core.entities import (
    Counter,
    CounterReset,
    Meter,
    MeterStatus,
    MeterVersion,
    RateType,
    Tier,
    TierUnit,
    UniqueValue,
)
from lava_proxy.core.meter_options import MeterOptions
from lava_proxy.store.table import Cells, Lookup, Row, Table, from_json, to_json

_write = msgspec.json.encode
_read_options = msgspec.json.Decoder(MeterOptions).decode


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
        "" if row.options is None else _write(row.options).decode(),
    )


def _decode_version(cells: Cells) -> MeterVersion:
    meter_id, version, rate_type, tier_unit, tiers, reset, created_us, options = cells
    return MeterVersion(
        meter_id=meter_id,
        version=version,
        rate_type=RateType(rate_type),
        tier_unit=TierUnit(tier_unit),
        tiers=tuple(Tier(start=start, rate_nanos=rate_nanos) for start, rate_nanos in from_json(tiers)),
        reset=CounterReset(reset),
        options=_read_options(options) if options else None,
        created_us=created_us,
    )


METER_VERSIONS = Table(
    kind=MeterVersion,
    name="meter_versions",
    key=("meter_id", "version"),
    key_of=lambda row: (row.meter_id, row.version),
    columns=("meter_id", "version", "rate_type", "tier_unit", "tiers", "reset", "created_us", "options"),
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
        row.held_micros,
    )


def _decode_counter(cells: Cells) -> Counter:
    customer_id, meter_id, cycle, count_micros, charge_carry, cost_carry, held_micros = cells
    return Counter(
        customer_id=customer_id,
        meter_id=meter_id,
        cycle=cycle,
        count_micros=count_micros,
        held_micros=held_micros,
        charge_carry=_decode_fraction(charge_carry),
        cost_carry=_decode_fraction(cost_carry),
    )


COUNTERS = Table(
    kind=Counter,
    name="tier_counters",
    key=("customer_id", "meter_id", "cycle"),
    key_of=lambda row: (row.customer_id, row.meter_id, row.cycle),
    columns=("customer_id", "meter_id", "cycle", "count_micros", "charge_carry", "cost_carry", "held_micros"),
    encode=_encode_counter,
    decode=_decode_counter,
    lookups={"customer_id": Lookup(value=lambda row: row.customer_id)},
    is_sound=lambda row: row.count_micros >= 0 and row.held_micros >= 0,
)


def _encode_unique(row: UniqueValue) -> Row:
    return (row.customer_id, row.meter_id, row.cycle, row.value_sha256, row.created_us)


def _decode_unique(cells: Cells) -> UniqueValue:
    customer_id, meter_id, cycle, value_sha256, created_us = cells
    return UniqueValue(
        customer_id=customer_id, meter_id=meter_id, cycle=cycle, value_sha256=value_sha256, created_us=created_us
    )


UNIQUE_VALUES = Table(
    kind=UniqueValue,
    name="unique_values",
    key=("customer_id", "meter_id", "cycle", "value_sha256"),
    key_of=lambda row: (row.customer_id, row.meter_id, row.cycle, row.value_sha256),
    columns=("customer_id", "meter_id", "cycle", "value_sha256", "created_us"),
    encode=_encode_unique,
    decode=_decode_unique,
)
