"""Rows of calls in flight, and of what was set aside for each."""

from lava_proxy.core.entities import Budget, BudgetAllocation, Customer, Grant, GrantAllocation, Hold, HoldState
from lava_proxy.store.rows_head import HEAD_COLUMNS, decode_head, encode_head, payer
from lava_proxy.store.table import Cells, Children, Lookup, Reference, Row, Table, all_but, from_json

_lasting = all_but(Hold, "state", "resolved_us")
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
        *encode_head(row.request),
        row.cycle,
        row.allowance_micros,
        row.overage_nanos,
    )


def _encode_allocations(row: Hold) -> tuple[Row, ...]:
    """Hold, position, grant, budget, amount, period: of grant and budget one is set."""
    parts: list[tuple[str | None, str | None, int, int]] = [(a.grant_id, None, a.amount_nanos, 0) for a in row.grants]
    parts += [(None, a.budget_id, a.amount, a.period_start_us) for a in row.budgets]
    return tuple((row.hold_id, position, *part) for position, part in enumerate(parts))


def _decode_hold(cells: Cells) -> Hold:
    (hold_id, request_id, instance_id, customer_id, key_id, run_id, meter_id, meter_version, meter_rule) = cells[:9]
    (billed, amount_nanos, cost_quote_nanos, state, quote, created_us, expires_us, resolved_us) = cells[9:17]
    allocations = from_json(cells[30])
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
        cycle=cells[27],
        allowance_micros=cells[28],
        billed=billed == 1,
        amount_nanos=amount_nanos,
        cost_quote_nanos=cost_quote_nanos,
        grants=tuple(
            GrantAllocation(grant_id=grant, amount_nanos=amount) for grant, _, amount, _ in allocations if grant
        ),
        budgets=tuple(
            BudgetAllocation(budget_id=budget, amount=amount, period_start_us=start_us)
            for _, budget, amount, start_us in allocations
            if budget
        ),
        overage_nanos=cells[29],
        state=HoldState(state),
        request=decode_head(cells[17:27]),
        quote=quote,
        created_us=created_us,
        expires_us=expires_us,
        resolved_us=resolved_us,
    )


def _quick(new: Hold, old: Hold) -> Row | None:
    """Most holds change once, when they are resolved."""
    return (new.state.value, new.resolved_us) if _lasting(new) == _lasting(old) else None


def _state(row: Hold) -> str:
    return row.state.value


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
        *HEAD_COLUMNS,
        "cycle",
        "allowance_micros",
        "overage_nanos",
    ),
    encode=_encode_hold,
    decode=_decode_hold,
    quick_columns=("state", "resolved_us"),
    quick=_quick,
    derived=(
        "(SELECT json_group_array(json_array(grant_id, budget_id, amount, period_start_us)) FROM"
        " (SELECT * FROM hold_allocations WHERE hold_id = holds.hold_id ORDER BY position))"
    ),
    children=Children(
        name="hold_allocations",
        columns=("hold_id", "position", "grant_id", "budget_id", "amount", "period_start_us"),
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
        Reference(kind=Customer, keys=payer),
        Reference(kind=Grant, keys=lambda row: tuple((a.grant_id,) for a in row.grants)),
        Reference(kind=Budget, keys=lambda row: tuple((a.budget_id,) for a in row.budgets)),
    ),
    is_sound=lambda row: (row.resolved_us is None) == _is_open(row),
    is_done_with=lambda row: row.state not in OPEN_STATES,
)
