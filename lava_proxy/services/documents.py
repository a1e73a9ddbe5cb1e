"""The JSON of the product: what the API answers and ``--json`` prints. Shapes and types are Lava's where Lava has them.

Amounts are decimal strings with 10 decimals, instants RFC 3339 in UTC. What is ours stands beside Lava's fields.
"""

from collections.abc import Mapping
from decimal import Decimal

from lava_proxy.core.entities import (
    Customer,
    Grant,
    Hold,
    Key,
    KeyScope,
    MeterVersion,
    Run,
    Tier,
)
from lava_proxy.core.instants import format_instant
from lava_proxy.core.money import format_amount
from lava_proxy.core.tiers import example
from lava_proxy.core.usage import Usage
from lava_proxy.services.credits import Balance, Statement
from lava_proxy.services.keys import NewKey
from lava_proxy.services.meters import PricedMeter
from lava_proxy.services.runs import Receipt

type Json = str | int | float | bool | list[Json] | Mapping[str, Json] | None
Document = dict[str, Json]


def instant(at_us: int | None) -> str | None:
    return None if at_us is None else format_instant(at_us)


def amount(nanos: int | None) -> str | None:
    return None if nanos is None else format_amount(nanos)


def rate_text(rate_nanos: int) -> str:
    """A rate as short as it can be told exactly, with 2 decimals at least."""
    whole, _, part = format_amount(rate_nanos, decimals=9).rstrip("0").partition(".")
    return f"{whole}.{part.ljust(2, '0')}"


def customer_document(customer: Customer) -> Document:
    first, _, last = (customer.name or "").partition(" ")
    return {
        "customer_id": customer.customer_id,
        "reference_id": customer.reference_id,
        "contact": {
            "phone": customer.phone,
            "email": customer.email,
            "first_name": first or None,
            "last_name": last or None,
        },
        "subscription": None,
        "metadata": dict(customer.metadata) or None,
        "created_at": instant(customer.created_us),
        "name": customer.name,
        "meter_id": customer.meter_id,
        "status": customer.status.value,
    }


def tier_document(tier: Tier, version: MeterVersion) -> Document:
    custom = version.options.unit if version.options is not None else ""
    return {"start": tier.start, "rate": rate_text(tier.rate_nanos), "type": custom or version.tier_unit.value}


def options_document(version: MeterVersion) -> Document:
    """What a meter has beyond Lava's, where it has any of it."""
    options = version.options
    if options is None:
        return {}
    found: Document = {
        "tier_mode": options.tier_mode.value,
        "unit_rates": {rate.unit: rate_text(rate.rate_nanos) for rate in options.units},
        "model_rates": [
            {
                "model": rates.model,
                "rate": None if rates.rate_nanos is None else rate_text(rates.rate_nanos),
                "unit_rates": {rate.unit: rate_text(rate.rate_nanos) for rate in rates.units},
            }
            for rates in options.models
        ],
        "minimum_charge": amount(options.minimum_nanos),
        "allowance": options.allowance,
    }
    return {**found, "unit": options.unit, "aggregation": options.aggregation.value} if options.unit else found


def meter_document(priced: PricedMeter) -> Document:
    meter, version = priced.meter, priced.version
    return {
        "meter_id": meter.meter_id,
        "meter_slug": meter.slug,
        "name": meter.name,
        "rate_type": version.rate_type.value,
        "tiers": [tier_document(tier, version) for tier in version.tiers],
        "created_at": instant(meter.created_us),
        "tier_type": version.tier_unit.value,
        "version": version.version,
        "reset": version.reset.value,
        **options_document(version),
        "status": meter.status.value,
        "is_default": priced.is_default,
        "example": example(version),
    }


def version_document(version: MeterVersion) -> Document:
    return {
        "version": version.version,
        "tiers": [tier_document(tier, version) for tier in version.tiers],
        **options_document(version),
        "created_at": instant(version.created_us),
    }


def key_document(key: Key) -> Document:
    return {
        "secret_key_id": key.key_id,
        "name": key.name,
        "secret_key_hint": key.hint,
        "created_at": instant(key.created_us),
        "scope": key.scope.value,
        "customer_id": key.customer_id,
        "meter_ids": list(key.meter_ids),
        "expires_at": instant(key.expires_us),
        "revoked_at": instant(key.revoked_us),
        "last_used_at": instant(key.last_used_us),
        **({"run_id": key.run_id} if key.scope is KeyScope.RUN else {}),
    }


def new_key_document(new: NewKey) -> Document:
    """With the key itself, this once."""
    return {**key_document(new.key), "secret_key": new.text}


def grant_document(grant: Grant) -> Document:
    return {
        "grant_id": grant.grant_id,
        "customer_id": grant.customer_id,
        "source": grant.source.value,
        "amount": amount(grant.amount_nanos),
        "paid": amount(grant.paid_nanos),
        "available": amount(grant.free_nanos),
        "held": amount(grant.held_nanos),
        "spent": amount(grant.spent_nanos),
        "lapsed": amount(grant.lapsed_nanos),
        "priority": grant.priority,
        "expires_at": instant(grant.expires_us),
        "meter_ids": list(grant.meter_ids),
        "status": grant.status.value,
        "note": grant.note,
        "created_at": instant(grant.created_us),
    }


def balance_document(balance: Balance) -> Document:
    return {
        "customer_id": balance.customer.customer_id,
        "reference_id": balance.customer.reference_id,
        "available": amount(balance.available_nanos),
        "held": amount(balance.held_nanos),
        "debt": amount(balance.debt_nanos),
        "granted": amount(balance.granted_nanos),
        "spent": amount(balance.spent_nanos),
        "lapsed": amount(balance.lapsed_nanos),
        "grants": [grant_document(grant) for grant in balance.grants],
    }


def statement_document(statement: Statement) -> Document:
    return {
        "customer_id": statement.customer.customer_id,
        "reference_id": statement.customer.reference_id,
        "opening_balance": amount(statement.opening_nanos),
        "closing_balance": amount(statement.closing_nanos),
        "data": [
            {
                "sequence": line.sequence,
                "at": instant(line.at_us),
                "kind": line.kind,
                "amount": amount(line.amount_nanos),
                "balance": amount(line.balance_nanos),
                "request_id": line.request_id,
                "note": line.note,
            }
            for line in statement.lines
        ],
    }


def hold_document(hold: Hold) -> Document:
    return {
        "hold_id": hold.hold_id,
        "request_id": hold.request_id,
        "customer_id": hold.customer_id,
        "meter_id": hold.meter_id,
        "run_id": hold.run_id,
        "state": hold.state.value,
        "amount": amount(hold.amount_nanos),
        "overage": amount(hold.overage_nanos),
        "cost_quote": amount(hold.cost_quote_nanos),
        "provider": hold.request.provider,
        "model": hold.request.model,
        "instance_id": hold.instance_id,
        "created_at": instant(hold.created_us),
        "expires_at": instant(hold.expires_us),
        "resolved_at": instant(hold.resolved_us),
    }


def run_document(run: Run) -> Document:
    return {
        "run_id": run.run_id,
        "customer_id": run.customer_id,
        "meter_id": run.meter_id,
        "created_at": instant(run.created_us),
        "ended_at": instant(run.ended_us),
    }


def receipt_document(receipt: Receipt) -> Document:
    return {
        **run_document(receipt.run),
        "requests": receipt.requests,
        "input_tokens": receipt.input_tokens,
        "output_tokens": receipt.output_tokens,
        "total_tokens": receipt.input_tokens + receipt.output_tokens,
        "cost": amount(receipt.cost_nanos),
        "charge": amount(receipt.charge_nanos),
        "blocked": receipt.blocked,
        "refusals": dict(receipt.refusals),
        "errors": receipt.errors,
        "unpriced": receipt.unpriced,
        "estimated": receipt.estimated,
        "pending": receipt.pending,
    }


def usage_units(usage: Usage) -> Document:
    """Every unit that was reported; what nobody reported is left out."""
    units: Document = {}
    for unit in usage.__struct_fields__:
        value = getattr(usage, unit)
        if value is not None:
            units[unit] = float(value) if isinstance(value, Decimal) else value
    return units
