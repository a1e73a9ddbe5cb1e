"""Rows of calls that ended: usage, cost, charge, and how they came about."""

from decimal import Decimal

from lava_proxy.core.entities import BreakdownLine, Customer, Hold, RequestRecord, RequestStatus
from lava_proxy.core.usage import NO_USAGE, Usage
from lava_proxy.store.rows_head import HEAD_COLUMNS, decode_head, encode_head, payer
from lava_proxy.store.table import (
    Cells,
    Lookup,
    Reference,
    Row,
    Table,
    from_json,
    list_from_json,
    list_to_json,
    to_json,
)

_USAGE_COLUMNS = (
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "input_audio_tokens",
    "cached_audio_tokens",
    "input_image_tokens",
    "output_tokens",
    "reasoning_tokens",
    "output_audio_tokens",
    "output_image_tokens",
    "input_characters",
    "output_characters",
    "input_seconds",
    "output_seconds",
    "images",
    "searches",
    "pages",
    "video_seconds",
    "requests",
    "credits",
)
_DECIMALS = ("input_seconds", "output_seconds", "video_seconds", "credits")
_LATER_COLUMNS = ("list_nanos", "service_tier", "billed", "reprices")
_NO_CELLS: Row = (None,) * len(_USAGE_COLUMNS)


def _encode_usage(usage: Usage) -> Row:
    if usage is NO_USAGE:
        return _NO_CELLS
    return (
        usage.input_tokens,
        usage.cached_input_tokens,
        usage.cache_write_tokens,
        usage.cache_write_1h_tokens,
        usage.input_audio_tokens,
        usage.cached_audio_tokens,
        usage.input_image_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
        usage.output_audio_tokens,
        usage.output_image_tokens,
        usage.input_characters,
        usage.output_characters,
        None if usage.input_seconds is None else str(usage.input_seconds),
        None if usage.output_seconds is None else str(usage.output_seconds),
        usage.images,
        usage.searches,
        usage.pages,
        None if usage.video_seconds is None else str(usage.video_seconds),
        usage.requests,
        None if usage.credits is None else str(usage.credits),
    )


def _decode_usage(cells: Cells) -> Usage:
    if cells == _NO_CELLS:
        return NO_USAGE
    quantities = dict(zip(_USAGE_COLUMNS, cells, strict=True))
    for column in _DECIMALS:
        if quantities[column] is not None:
            quantities[column] = Decimal(quantities[column])
    return Usage(**quantities)


def _encode_billed(billed: Usage | None) -> str:
    """Its units by name, as text; nearly every row has none."""
    if billed is None:
        return ""
    cells = zip(_USAGE_COLUMNS, _encode_usage(billed), strict=True)
    return to_json({column: cell for column, cell in cells if cell is not None})


def _decode_billed(text: str) -> Usage | None:
    if not text:
        return None
    quantities = from_json(text)
    for column in _DECIMALS:
        if column in quantities:
            quantities[column] = Decimal(quantities[column])
    return Usage(**quantities)


def _encode_breakdown(lines: tuple[BreakdownLine, ...]) -> str:
    if not lines:
        return "[]"
    return to_json(
        [
            [
                line.tier_start,
                line.rate_nanos,
                line.units_micros,
                line.charge_nanos,
                *((line.part,) if line.part else ()),
            ]
            for line in lines
        ]
    )


def _decode_breakdown(text: str) -> tuple[BreakdownLine, ...]:
    return tuple(
        BreakdownLine(
            tier_start=start, rate_nanos=rate, units_micros=units, charge_nanos=charge, part=part[0] if part else ""
        )
        for start, rate, units, charge, *part in from_json(text)
    )


def _encode_request(row: RequestRecord) -> Row:
    return (
        row.request_id,
        row.hold_id,
        row.customer_id,
        row.key_id,
        row.run_id,
        row.meter_id,
        row.meter_version,
        row.meter_rule,
        row.model,
        row.status.value,
        row.http_status,
        row.response_id,
        row.dialect_version,
        list_to_json(row.raw_usage),
        row.quote_nanos,
        row.cost_nanos,
        row.charge_nanos,
        row.uncovered_nanos,
        _encode_breakdown(row.breakdown),
        row.unit_prices,
        row.price_source,
        row.price_date,
        row.cost_basis,
        list_to_json(row.flags),
        row.latency_us,
        row.first_byte_us,
        row.created_us,
        row.settled_us,
        *encode_head(row.request),
        *_encode_usage(row.usage),
        row.list_nanos,
        row.service_tier,
        _encode_billed(row.billed),
        row.reprices,
    )


def _decode_request(cells: Cells) -> RequestRecord:
    (request_id, hold_id, customer_id, key_id, run_id, meter_id, meter_version, meter_rule, model, status) = cells[:10]
    (http_status, response_id, dialect_version, raw_usage, quote_nanos, cost_nanos, charge_nanos) = cells[10:17]
    (uncovered_nanos, breakdown, unit_prices, price_source, price_date, cost_basis, flags) = cells[17:24]
    (latency_us, first_byte_us, created_us, settled_us) = cells[24:28]
    list_nanos, service_tier, billed, reprices = cells[-len(_LATER_COLUMNS) :]
    return RequestRecord(
        request_id=request_id,
        hold_id=hold_id,
        customer_id=customer_id,
        key_id=key_id,
        run_id=run_id,
        meter_id=meter_id,
        meter_version=meter_version,
        meter_rule=meter_rule,
        request=decode_head(cells[28:38]),
        model=model,
        status=RequestStatus(status),
        http_status=http_status,
        response_id=response_id,
        dialect_version=dialect_version,
        usage=_decode_usage(cells[38 : 38 + len(_USAGE_COLUMNS)]),
        raw_usage=list_from_json(raw_usage),
        quote_nanos=quote_nanos,
        cost_nanos=cost_nanos,
        charge_nanos=charge_nanos,
        uncovered_nanos=uncovered_nanos,
        breakdown=_decode_breakdown(breakdown),
        unit_prices=unit_prices,
        price_source=price_source,
        price_date=price_date,
        cost_basis=cost_basis,
        flags=list_from_json(flags),
        latency_us=latency_us,
        first_byte_us=first_byte_us,
        created_us=created_us,
        settled_us=settled_us,
        list_nanos=list_nanos,
        service_tier=service_tier,
        billed=_decode_billed(billed),
        reprices=reprices,
    )


REQUESTS = Table(
    kind=RequestRecord,
    name="requests",
    key=("request_id",),
    key_of=lambda row: (row.request_id,),
    columns=(
        "request_id",
        "hold_id",
        "customer_id",
        "key_id",
        "run_id",
        "meter_id",
        "meter_version",
        "meter_rule",
        "model",
        "status",
        "http_status",
        "response_id",
        "dialect_version",
        "raw_usage",
        "quote_nanos",
        "cost_nanos",
        "charge_nanos",
        "uncovered_nanos",
        "breakdown",
        "unit_prices",
        "price_source",
        "price_date",
        "cost_basis",
        "flags",
        "latency_us",
        "first_byte_us",
        "created_us",
        "settled_us",
        *HEAD_COLUMNS,
        *_USAGE_COLUMNS,
        *_LATER_COLUMNS,
    ),
    encode=_encode_request,
    decode=_decode_request,
    lookups={"caller_request_id": Lookup(value=lambda row: row.request.caller_request_id)},
    references=(Reference(kind=Hold, keys=lambda row: ((row.hold_id,),)), Reference(kind=Customer, keys=payer)),
    is_sound=lambda row: row.charge_nanos >= 0 and row.uncovered_nanos >= 0,
    is_written_once=True,
    is_done_with=lambda _: True,
)
