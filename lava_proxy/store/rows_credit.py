"""Rows of credit: grants, what is owed, budgets, and the count of refused calls."""

from lava_proxy.core.entities import (
    Budget,
    BudgetMeasure,
    Customer,
    Grant,
    GrantSource,
    GrantStatus,
    Refusal,
    Wallet,
)
from lava_proxy.store.table import (
    Cells,
    Lookup,
    Reference,
    Row,
    Table,
    all_but,
    list_from_json,
    list_to_json,
)

_lasting = all_but(Grant, "free_nanos", "held_nanos", "spent_nanos")


def _is_open(row: Grant) -> bool:
    return row.free_nanos + row.held_nanos > 0


def _encode_grant(row: Grant) -> Row:
    return (
        row.grant_id,
        row.customer_id,
        row.source.value,
        row.amount_nanos,
        row.paid_nanos,
        row.free_nanos,
        row.held_nanos,
        row.spent_nanos,
        row.lapsed_nanos,
        row.priority,
        row.expires_us,
        list_to_json(row.meter_ids),
        row.status.value,
        row.note,
        row.created_us,
        1 if _is_open(row) else 0,
    )


def _decode_grant(cells: Cells) -> Grant:
    (grant_id, customer_id, source, amount, paid, free, held, spent, lapsed) = cells[:9]
    (priority, expires_us, meter_ids, status, note, created_us, _) = cells[9:]
    return Grant(
        grant_id=grant_id,
        customer_id=customer_id,
        source=GrantSource(source),
        amount_nanos=amount,
        paid_nanos=paid,
        free_nanos=free,
        held_nanos=held,
        spent_nanos=spent,
        lapsed_nanos=lapsed,
        priority=priority,
        expires_us=expires_us,
        meter_ids=list_from_json(meter_ids),
        status=GrantStatus(status),
        note=note,
        created_us=created_us,
    )


def _quick_grant(new: Grant, old: Grant) -> Row | None:
    """Calls move credit within a grant, and seldom do more."""
    if _is_open(new) != _is_open(old) or _lasting(new) != _lasting(old):
        return None
    return new.free_nanos, new.held_nanos, new.spent_nanos


GRANTS = Table(
    kind=Grant,
    name="grants",
    key=("grant_id",),
    key_of=lambda row: (row.grant_id,),
    columns=(
        "grant_id",
        "customer_id",
        "source",
        "amount_nanos",
        "paid_nanos",
        "free_nanos",
        "held_nanos",
        "spent_nanos",
        "lapsed_nanos",
        "priority",
        "expires_us",
        "meter_ids",
        "status",
        "note",
        "created_us",
        "is_open",
    ),
    encode=_encode_grant,
    decode=_decode_grant,
    quick_columns=("free_nanos", "held_nanos", "spent_nanos"),
    quick=_quick_grant,
    lookups={"customer_id": Lookup(value=lambda row: row.customer_id, only=_is_open, only_sql="is_open = 1")},
    references=(Reference(kind=Customer, keys=lambda row: ((row.customer_id,),)),),
)


def _encode_wallet(row: Wallet) -> Row:
    return (row.customer_id, row.debt_nanos)


def _decode_wallet(cells: Cells) -> Wallet:
    customer_id, debt_nanos = cells
    return Wallet(customer_id=customer_id, debt_nanos=debt_nanos)


WALLETS = Table(
    kind=Wallet,
    name="wallets",
    key=("customer_id",),
    key_of=lambda row: (row.customer_id,),
    columns=("customer_id", "debt_nanos"),
    encode=_encode_wallet,
    decode=_decode_wallet,
    references=(Reference(kind=Customer, keys=lambda row: ((row.customer_id,),)),),
)


def _encode_budget(row: Budget) -> Row:
    return (
        row.budget_id,
        row.subject,
        row.measure.value,
        row.limit,
        row.spent,
        row.held,
        row.period,
        row.period_start_us,
        row.created_us,
        row.burst,
        row.arrival_ns,
        list_to_json(row.allowed),
        row.template_id,
        row.ended_us,
    )


def _decode_budget(cells: Cells) -> Budget:
    budget_id, subject, measure, limit, spent, held, period, period_start_us, created_us = cells[:9]
    burst, arrival_ns, allowed, template_id, ended_us = cells[9:]
    return Budget(
        budget_id=budget_id,
        subject=subject,
        measure=BudgetMeasure(measure),
        limit=limit,
        spent=spent,
        held=held,
        period=period,
        period_start_us=period_start_us,
        burst=burst,
        arrival_ns=arrival_ns,
        allowed=list_from_json(allowed),
        template_id=template_id,
        ended_us=ended_us,
        created_us=created_us,
    )


BUDGETS = Table(
    kind=Budget,
    name="budgets",
    key=("budget_id",),
    key_of=lambda row: (row.budget_id,),
    columns=(
        "budget_id",
        "subject",
        "measure",
        "limit_amount",
        "spent",
        "held",
        "period",
        "period_start_us",
        "created_us",
        "burst",
        "arrival_ns",
        "allowed",
        "template_id",
        "ended_us",
    ),
    encode=_encode_budget,
    decode=_decode_budget,
    lookups={
        "subject": Lookup(
            value=lambda row: row.subject, only=lambda row: row.ended_us is None, only_sql="ended_us IS NULL"
        )
    },
    is_sound=lambda row: row.limit >= 0 and row.spent >= 0 and row.held >= 0,
)


def _encode_refusal(row: Refusal) -> Row:
    return (row.bucket_us, row.customer_id, row.run_id, row.code, row.count)


def _decode_refusal(cells: Cells) -> Refusal:
    bucket_us, customer_id, run_id, code, count = cells
    return Refusal(bucket_us=bucket_us, customer_id=customer_id, run_id=run_id, code=code, count=count)


REFUSALS = Table(
    kind=Refusal,
    name="refusals",
    key=("bucket_us", "customer_id", "run_id", "code"),
    key_of=lambda row: (row.bucket_us, row.customer_id, row.run_id, row.code),
    columns=("bucket_us", "customer_id", "run_id", "code", "count"),
    encode=_encode_refusal,
    decode=_decode_refusal,
)
