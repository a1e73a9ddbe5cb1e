"""The lines of the spool file: what is known of a call before it leaves, and what it turned out to be. Plain JSON."""

import json
from decimal import Decimal
from fractions import Fraction

from msgspec import Struct

from lava_proxy.core.entities import Hold, HoldState, RequestHead, RequestStatus
from lava_proxy.core.identity import Claims
from lava_proxy.core.ids import HoldId, InstanceId, KeyId, MeterId, RequestId
from lava_proxy.core.settlement import Measured
from lava_proxy.core.usage import Usage


class SentLine(Struct, frozen=True, kw_only=True):
    """A call that is about to leave. ``hold`` is a hold of nothing, whose payer is found when it is booked."""

    hold: Hold
    claims: Claims
    """Without the key's text."""
    key_id: KeyId | None
    key_sha256: str
    """Of the secret that was shown."""
    at_quote: Measured
    """What it is booked at if its end is never known."""


class EndedLine(Struct, frozen=True, kw_only=True):
    request_id: str
    measured: Measured


def write_sent(line: SentLine) -> str:
    hold, request = line.hold, line.hold.request
    document = {
        "kind": "sent",
        "request_id": hold.request_id,
        "hold_id": hold.hold_id,
        "instance_id": hold.instance_id,
        "meter_id": hold.meter_id,
        "meter_version": hold.meter_version,
        "meter_rule": hold.meter_rule,
        "created_us": hold.created_us,
        "expires_us": hold.expires_us,
        "quote": hold.quote,
        "request": {name: getattr(request, name) for name in RequestHead.__struct_fields__},
        "claims": {name: getattr(line.claims, name) for name in Claims.__struct_fields__ if name != "key"},
        "key_id": line.key_id,
        "key_sha256": line.key_sha256,
        "at_quote": _measured_document(line.at_quote),
    }
    return json.dumps(document, separators=(",", ":"))


def write_ended(line: EndedLine) -> str:
    document = {"kind": "ended", "request_id": line.request_id, "measured": _measured_document(line.measured)}
    return json.dumps(document, separators=(",", ":"))


def read_line(text: str) -> SentLine | EndedLine:
    """Raises ValueError, KeyError or TypeError where the line is not whole."""
    document = json.loads(text)
    if document["kind"] == "ended":
        return EndedLine(request_id=document["request_id"], measured=_measured(document["measured"]))
    request = document["request"]
    hold = Hold(
        hold_id=HoldId(document["hold_id"]),
        request_id=RequestId(document["request_id"]),
        instance_id=InstanceId(document["instance_id"]),
        customer_id=None,
        key_id=None,
        run_id=None,
        meter_id=MeterId(document["meter_id"]),
        meter_version=document["meter_version"],
        meter_rule=document["meter_rule"],
        billed=False,
        amount_nanos=0,
        cost_quote_nanos=None,
        state=HoldState.IN_FLIGHT,
        request=RequestHead(**{**request, "metadata": _pairs(request["metadata"])}),
        quote=document["quote"],
        created_us=document["created_us"],
        expires_us=document["expires_us"],
    )
    claims = document["claims"]
    return SentLine(
        hold=hold,
        claims=Claims(**{**claims, "metadata": _pairs(claims["metadata"])}),
        key_id=KeyId(document["key_id"]) if document["key_id"] else None,
        key_sha256=document["key_sha256"],
        at_quote=_measured(document["at_quote"]),
    )


def _measured_document(measured: Measured) -> dict[str, object]:
    document: dict[str, object] = {name: getattr(measured, name) for name in Measured.__struct_fields__}
    usage = {name: getattr(measured.usage, name) for name in Usage.__struct_fields__}
    document["usage"] = {name: str(value) if isinstance(value, Decimal) else value for name, value in usage.items()}
    document["cost"] = None if measured.cost is None else str(measured.cost)
    return document


def _measured(document: dict[str, object]) -> Measured:
    usage = document["usage"]
    assert isinstance(usage, dict)
    read = {name: Decimal(value) if isinstance(value, str) else value for name, value in usage.items()}
    cost = document["cost"]
    values = {
        **document,
        "usage": Usage(**read),  # type: ignore[arg-type]
        "cost": None if cost is None else Fraction(str(cost)),
        "status": RequestStatus(str(document["status"])),
        "raw_usage": _texts(document["raw_usage"]),
        "flags": _texts(document["flags"]),
    }
    return Measured(**values)  # type: ignore[arg-type]


def _texts(value: object) -> tuple[str, ...]:
    assert isinstance(value, list)
    return tuple(str(text) for text in value)


def _pairs(value: list[list[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((key, text) for key, text in value)
