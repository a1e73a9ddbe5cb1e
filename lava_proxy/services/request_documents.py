"""Lava's request object, with its fields and types; and beside them what is ours: all units, quote, margin, flags, sources."""

import json
from decimal import Decimal
from fractions import Fraction

from lava_proxy.core.entities import BreakdownLine, Hold, MeterVersion, RequestHead, RequestRecord, Tier, TierUnit
from lava_proxy.core.money import format_amount, round_half_up
from lava_proxy.core.option_rating import PART_FREE
from lava_proxy.core.pricing import UNITS, Cost, PriceSheet, cost_of, rate
from lava_proxy.core.rating import MICROS
from lava_proxy.core.usage import NO_USAGE, Usage
from lava_proxy.services.documents import Document, Json, amount, instant, tier_document, usage_units
from lava_proxy.services.requests import Call


def request_document(call: Call) -> Document:
    """The object of one request; ``pending`` while it is in flight."""
    if call.record is not None:
        return _finished(call.record, call.version)
    assert call.hold is not None
    return _pending(call.hold, call.version)


def _finished(record: RequestRecord, version: MeterVersion) -> Document:
    margin = None if record.cost_nanos is None else record.charge_nanos - record.cost_nanos
    return {
        **_head(record.request, request_id=record.request_id, status=record.status.value),
        **_present(customer_id=record.customer_id, model=record.model, response_id=record.response_id),
        "meter_id": record.meter_id,
        "model_usage": _model_usage(record.usage, record.cost_nanos or 0, _input_cost_nanos(record)),
        "cost": format_amount(record.cost_nanos or 0),
        "cost_basis": record.cost_basis,
        "list_cost": amount(record.list_nanos),
        "charge": {
            "amount": format_amount(record.charge_nanos),
            "rate_type": version.rate_type.value,
            "breakdown": [_breakdown_line(line, version) for line in record.breakdown],
        },
        "created_at": instant(record.created_us),
        "usage": usage_units(record.usage),
        "quote": format_amount(record.quote_nanos),
        "margin": amount(margin),
        "uncovered": format_amount(record.uncovered_nanos),
        "flags": list(record.flags),
        "price_source": record.price_source,
        "price_date": record.price_date,
        "unit_prices": _json(record.unit_prices),
        "meter_rule": record.meter_rule,
        "meter_version": record.meter_version,
        "http_status": record.http_status,
        "key_id": record.key_id,
        "run_id": record.run_id,
        "hold_id": record.hold_id,
        "latency_ms": _milliseconds(record.latency_us),
        "first_byte_ms": _milliseconds(record.first_byte_us),
        "settled_at": instant(record.settled_us),
    }


def _pending(hold: Hold, version: MeterVersion) -> Document:
    return {
        **_head(hold.request, request_id=hold.request_id, status="pending"),
        **_present(customer_id=hold.customer_id, model=hold.request.model),
        "meter_id": hold.meter_id,
        "model_usage": _model_usage(NO_USAGE, 0, 0),
        "cost": format_amount(0),
        "cost_basis": "metered" if hold.billed or hold.customer_id is None else "subscription",
        "list_cost": amount(None),
        "charge": {"amount": format_amount(0), "rate_type": version.rate_type.value, "breakdown": []},
        "created_at": instant(hold.created_us),
        "usage": {},
        "quote": format_amount(hold.amount_nanos),
        "margin": None,
        "uncovered": format_amount(0),
        "flags": [],
        "price_source": "",
        "price_date": "",
        "unit_prices": None,
        "meter_rule": hold.meter_rule,
        "meter_version": hold.meter_version,
        "http_status": None,
        "key_id": hold.key_id,
        "run_id": hold.run_id,
        "hold_id": hold.hold_id,
        "latency_ms": None,
        "first_byte_ms": None,
        "settled_at": None,
    }


def _head(request: RequestHead, *, request_id: str, status: str) -> Document:
    return {
        "request_id": request.caller_request_id or request_id,
        "lava_request_id": request_id,
        "status": status,
        "provider": request.provider,
        "provider_key_type": request.provider_key_type,
        "endpoint": f"{request.method} {request.url}",
        "operation": request.op,
        "is_stream": request.is_stream,
        "metadata": dict(request.metadata),
    }


def _present(**texts: str | None) -> Document:
    """Lava leaves out what is not known."""
    return {name: text for name, text in texts.items() if text is not None}


def _model_usage(usage: Usage, cost_nanos: int, input_cost_nanos: int | None) -> Document:
    input_seconds, output_seconds = usage.input_seconds or Decimal(0), usage.output_seconds or Decimal(0)
    is_split = input_cost_nanos is not None
    return {
        "input_tokens": usage.input_tokens or 0,
        "output_tokens": usage.output_tokens or 0,
        "total_tokens": usage.total_tokens(),
        "input_characters": usage.input_characters or 0,
        "output_characters": usage.output_characters or 0,
        "total_characters": (usage.input_characters or 0) + (usage.output_characters or 0),
        "input_seconds": _number(input_seconds),
        "output_seconds": _number(output_seconds),
        "total_seconds": _number(input_seconds + output_seconds),
        "input_cost": format_amount(input_cost_nanos or 0),
        "output_cost": format_amount(cost_nanos - (input_cost_nanos or 0) if is_split else 0),
        "total_cost": format_amount(cost_nanos),
    }


def _input_cost_nanos(record: RequestRecord) -> int | None:
    """The part of the cost that is for input, from the unit prices kept with the request; ``None``: it cannot be told.

    A provider that reports its own total does not say how it is made up; then both parts are shown as 0.
    """
    prices = _json(record.unit_prices)
    if record.cost_nanos is None or not isinstance(prices, dict) or not set(prices) <= set(UNITS):
        return None
    usage = record.usage
    inputs = Usage(
        input_tokens=usage.input_tokens or 0,
        cached_input_tokens=usage.cached_input_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        cache_write_1h_tokens=usage.cache_write_1h_tokens,
        input_audio_tokens=usage.input_audio_tokens,
        cached_audio_tokens=usage.cached_audio_tokens,
        input_image_tokens=usage.input_image_tokens,
        input_characters=usage.input_characters,
        input_seconds=usage.input_seconds,
    )
    found = cost_of(_sheet(prices), inputs)
    if not isinstance(found, Cost):
        return None
    return min(round_half_up(found.exact_nanos), record.cost_nanos)


def _sheet(prices: dict[str, Json]) -> PriceSheet:
    """The sheet that ``unit_prices`` was written from, without what is for the request as a whole."""
    rates = {}
    for unit, line in prices.items():
        assert isinstance(line, dict), prices
        above = line.get("above_input_tokens", {})
        assert isinstance(above, dict), prices
        steps = [(int(tokens), Decimal(str(usd))) for tokens, usd in above.items()]
        minimum = line.get("minimum", 0)
        if unit != "requests":
            rates[unit] = rate(
                Decimal(str(line["usd"])), per=int(str(line["per"])), steps=steps, minimum=int(str(minimum))
            )
    return PriceSheet(provider="", model="", source="", price_date="", rates=rates)


def _breakdown_line(line: BreakdownLine, version: MeterVersion) -> Document:
    """Lava's line; beside it the part, where it is none of the meter's own unit, and the exact units of that."""
    units, unit = Fraction(line.units_micros, MICROS), version.tier_unit
    custom = version.options.unit if version.options is not None else ""
    tier = tier_document(Tier(start=line.tier_start, rate_nanos=line.rate_nanos), version)
    is_own = line.part not in ("", PART_FREE)
    if is_own:
        tier["type"] = line.part
    name = line.part if is_own else unit.value
    more: Document = {"part": line.part} if line.part else {}
    if is_own or custom:
        more["units"] = _units_text(line.units_micros)
    return {
        "tier": tier,
        "tokens": int(units) if name == TierUnit.TOKENS_1M.value or name.endswith("_tokens") else 0,
        "characters": int(units) if name == TierUnit.CHARACTERS_1M.value or name.endswith("_characters") else 0,
        "seconds": float(units) if name == TierUnit.MINUTES.value or name.endswith("_seconds") else 0,
        "cost": format_amount(line.charge_nanos),
        **more,
    }


def _units_text(units_micros: int) -> str:
    whole, part = divmod(units_micros, MICROS)
    return f"{whole}.{part:06d}".rstrip("0").rstrip(".")


def _json(text: str) -> Json:
    if not text:
        return None
    loaded: Json = json.loads(text)
    return loaded


def _milliseconds(microseconds: int | None) -> float | None:
    return None if microseconds is None else microseconds / 1000


def _number(seconds: Decimal) -> int | float:
    return int(seconds) if seconds == int(seconds) else float(seconds)
