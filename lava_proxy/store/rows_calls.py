"""Rows of calls: the hold taken before one, and the record written after it."""

from decimal import Decimal
from functools import lru_cache

from lava_proxy.core.entities import (
    BreakdownLine,
    Budget,
    BudgetAllocation,
    Customer,
    Grant,
    GrantAllocation,
    Hold,
    HoldState,
    RequestHead,
    RequestRecord,
    RequestStatus,
)
from lava_proxy.core.ids import Metadata
from lava_proxy.core.usage import NO_USAGE, Usage
from lava_proxy.store.table import (
    Cells,
    Children,
    Key,
    Lookup,
    Reference,
    Row,
    Table,
    from_json,
    list_from_json,
    list_to_json,
    to_json,
)

_HEAD_COLUMNS = (
    "provider",
    "dialect",
    "op",
    "method",
    "url",
    "requested_model",
    "provider_key_type",
    "is_stream",
    "metadata",
    "caller_request_id",
)


@lru_cache(maxsize=4096)
def _encode_metadata(metadata: Metadata) -> str:
    return to_json(dict(metadata)) if metadata else "{}"


def _decode_metadata(text: str) -> Metadata:
    return tuple(from_json(text).items()) if text != "{}" else ()


def _encode_head(head: RequestHead) -> Row:
    return (
        head.provider,
        head.dialect,
        head.op,
        head.method,
        head.url,
        head.model,
        head.provider_key_type,
        1 if head.is_stream else 0,
        _encode_metadata(head.metadata),
        head.caller_request_id,
    )


def _decode_head(cells: Cells) -> RequestHead:
    provider, dialect, op, method, url, model, provider_key_type, is_stream, metadata, caller_request_id = cells
    return RequestHead(
        provider=provider,
        dialect=dialect,
        op=op,
        method=method,
        url=url,
        model=model,
        provider_key_type=provider_key_type,
        is_stream=is_stream == 1,
        metadata=_decode_metadata(metadata),
        caller_request_id=caller_request_id,
    )


OPEN_STATES = (HoldState.IN_FLIGHT, HoldState.RESERVED)
_OPEN_SQL = "state IN ('in_flight', 'reserved')"


def _is_open(row: Hold) -> bool:
    return row.state in OPEN_STATES


def _encode_hold(row: Hold) -> Row:
    return (
        row.hold_id,
        row.request_id,
        row.instance_id,
        row.customer_id,
        row.key_id,
        row.run_id,
        row.meter_id,
        row.meter_version,
        row.meter_rule,
        1 if row.billed else 0,
        row.amount_nanos,
        row.cost_quote_nanos,
        row.state.value,
        row.quote,
        row.created_us,
        row.expires_us,
        row.resolved_us,
        *_encode_head(row.request),
    )


def _encode_allocations(row: Hold) -> tuple[Row, ...]:
    """Hold, position, grant, budget, amount: of grant and budget one is set."""
    parts: list[tuple[str | None, str | None, int]] = [(a.grant_id, None, a.amount_nanos) for a in row.grants]
    parts += [(None, a.budget_id, a.amount) for a in row.budgets]
    return tuple((row.hold_id, position, *part) for position, part in enumerate(parts))


def _decode_hold(cells: Cells) -> Hold:
    (hold_id, request_id, instance_id, customer_id, key_id, run_id, meter_id, meter_version, meter_rule) = cells[:9]
    (billed, amount_nanos, cost_quote_nanos, state, quote, created_us, expires_us, resolved_us) = cells[9:17]
    allocations = from_json(cells[27])
    return Hold(
        hold_id=hold_id,
        request_id=request_id,
        instance_id=instance_id,
        customer_id=customer_id,
        key_id=key_id,
        run_id=run_id,
        meter_id=meter_id,
        meter_version=meter_version,
        meter_rule=meter_rule,
        billed=billed == 1,
        amount_nanos=amount_nanos,
        cost_quote_nanos=cost_quote_nanos,
        grants=tuple(GrantAllocation(grant_id=grant, amount_nanos=amount) for grant, _, amount in allocations if grant),
        budgets=tuple(BudgetAllocation(budget_id=budget, amount=amount) for _, budget, amount in allocations if budget),
        state=HoldState(state),
        request=_decode_head(cells[17:27]),
        quote=quote,
        created_us=created_us,
        expires_us=expires_us,
        resolved_us=resolved_us,
    )


def _state(row: Hold) -> str:
    return row.state.value


def _payer(row: Hold | RequestRecord) -> tuple[Key, ...]:
    return ((row.customer_id,),) if row.customer_id is not None else ()


HOLDS = Table(
    kind=Hold,
    name="holds",
    key=("hold_id",),
    key_of=lambda row: (row.hold_id,),
    columns=(
        "hold_id",
        "request_id",
        "instance_id",
        "customer_id",
        "key_id",
        "run_id",
        "meter_id",
        "meter_version",
        "meter_rule",
        "billed",
        "amount_nanos",
        "cost_quote_nanos",
        "state",
        "quote",
        "created_us",
        "expires_us",
        "resolved_us",
        *_HEAD_COLUMNS,
    ),
    encode=_encode_hold,
    decode=_decode_hold,
    derived=(
        "(SELECT json_group_array(json_array(grant_id, budget_id, amount)) FROM"
        " (SELECT * FROM hold_allocations WHERE hold_id = holds.hold_id ORDER BY position))"
    ),
    children=Children(
        name="hold_allocations",
        columns=("hold_id", "position", "grant_id", "budget_id", "amount"),
        encode=_encode_allocations,
        are_same=lambda one, other: one.grants == other.grants and one.budgets == other.budgets,
    ),
    lookups={
        "request_id": Lookup(value=lambda row: row.request_id),
        "state": Lookup(
            value=_state, only=_is_open, only_sql=_OPEN_SQL, values=frozenset(state.value for state in OPEN_STATES)
        ),
        "customer_id": Lookup(value=lambda row: row.customer_id, only=_is_open, only_sql=_OPEN_SQL),
    },
    unique={
        "request_id": lambda row: row.request_id,
        "caller_request_id": lambda row: row.request.caller_request_id if _is_open(row) else None,
    },
    references=(
        Reference(kind=Customer, keys=_payer),
        Reference(kind=Grant, keys=lambda row: tuple((a.grant_id,) for a in row.grants)),
        Reference(kind=Budget, keys=lambda row: tuple((a.budget_id,) for a in row.budgets)),
    ),
    is_sound=lambda row: (row.resolved_us is None) == _is_open(row),
    is_done_with=lambda row: row.state not in OPEN_STATES,
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
)
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
    )


def _decode_usage(cells: Cells) -> Usage:
    if cells == _NO_CELLS:
        return NO_USAGE
    quantities = dict(zip(_USAGE_COLUMNS, cells, strict=True))
    for column in ("input_seconds", "output_seconds"):
        if quantities[column] is not None:
            quantities[column] = Decimal(quantities[column])
    return Usage(**quantities)


def _encode_breakdown(lines: tuple[BreakdownLine, ...]) -> str:
    if not lines:
        return "[]"
    return to_json([[line.tier_start, line.rate_nanos, line.units_micros, line.charge_nanos] for line in lines])


def _decode_breakdown(text: str) -> tuple[BreakdownLine, ...]:
    return tuple(
        BreakdownLine(tier_start=start, rate_nanos=rate, units_micros=units, charge_nanos=charge)
        for start, rate, units, charge in from_json(text)
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
        *_encode_head(row.request),
        *_encode_usage(row.usage),
    )


def _decode_request(cells: Cells) -> RequestRecord:
    (request_id, hold_id, customer_id, key_id, run_id, meter_id, meter_version, meter_rule, model, status) = cells[:10]
    (http_status, response_id, dialect_version, raw_usage, quote_nanos, cost_nanos, charge_nanos) = cells[10:17]
    (uncovered_nanos, breakdown, unit_prices, price_source, price_date, cost_basis, flags) = cells[17:24]
    (latency_us, first_byte_us, created_us, settled_us) = cells[24:28]
    return RequestRecord(
        request_id=request_id,
        hold_id=hold_id,
        customer_id=customer_id,
        key_id=key_id,
        run_id=run_id,
        meter_id=meter_id,
        meter_version=meter_version,
        meter_rule=meter_rule,
        request=_decode_head(cells[28:38]),
        model=model,
        status=RequestStatus(status),
        http_status=http_status,
        response_id=response_id,
        dialect_version=dialect_version,
        usage=_decode_usage(cells[38:]),
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
        *_HEAD_COLUMNS,
        *_USAGE_COLUMNS,
    ),
    encode=_encode_request,
    decode=_decode_request,
    lookups={"caller_request_id": Lookup(value=lambda row: row.request.caller_request_id)},
    references=(Reference(kind=Hold, keys=lambda row: ((row.hold_id,),)), Reference(kind=Customer, keys=_payer)),
    is_sound=lambda row: row.charge_nanos >= 0 and row.uncovered_nanos >= 0,
    is_written_once=True,
    is_done_with=lambda _: True,
)
