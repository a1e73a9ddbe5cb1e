"""Outcomes of an import as JSON, one document a line."""

from decimal import Decimal

import msgspec

from lava_proxy.core.money import format_amount, round_half_up
from lava_proxy.core.recorded import Unreadable
from lava_proxy.core.usage import UNITS, Usage
from lava_proxy.services.import_metering import Outcome

_ENCODER = msgspec.json.Encoder(decimal_format="number")


def outcome_document(outcome: Outcome) -> str:
    """What an exchange used by unit, what it cost, what it is charged, and what is to be said of it."""
    document: dict[str, object] = {
        "id": outcome.recorded.recording_id,
        "provider": outcome.provider,
        "endpoint": outcome.op,
        "model": outcome.model,
        "usage": usage_document(outcome.usage),
        "cost": None if outcome.cost_nanos is None else format_amount(round_half_up(outcome.cost_nanos)),
        "price_source": outcome.price_source,
        "charge": None if outcome.charge_nanos is None else format_amount(outcome.charge_nanos),
        "flags": outcome.flags,
        "reason": outcome.reason,
    }
    if outcome.cost_basis != "metered":
        listed = outcome.list_cost_nanos
        document["cost_basis"] = outcome.cost_basis
        document["list_cost"] = None if listed is None else format_amount(round_half_up(listed))
    if outcome.estimated is not None:
        document["estimated"] = usage_document(outcome.estimated)
    if outcome.request_id is not None:
        document["request_id"], document["booked"] = outcome.request_id, outcome.is_new
    return _ENCODER.encode(document).decode()


def unreadable_document(piece: Unreadable) -> str:
    """A line of a recording that is no exchange."""
    document = {"id": piece.recording_id, "line": piece.line, "reason": "unreadable", "message": piece.why}
    return _ENCODER.encode(document).decode()


def usage_document(usage: Usage) -> dict[str, int | Decimal]:
    """Every unit that was told; ``seconds`` is the sum of those that went in and came out."""
    told = {name: value for name in UNITS if (value := getattr(usage, name)) is not None}
    seconds = [told[name] for name in ("input_seconds", "output_seconds") if name in told]
    if seconds:
        told["seconds"] = sum(seconds, Decimal(0))
    return told
