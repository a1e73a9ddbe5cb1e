"""Voice agents (Vapi, Retell, Bland, Ultravox and their like): a call by telephone or browser, looked at when it ended.

Its sound never passes here: what it cost and how long it took is read when somebody asks for the call.
"""

from decimal import Decimal

from lava_proxy.core.usage import NO_USAGE, Reading, RequestFacts, Usage
from lava_proxy.dialects.faults import plain_fault
from lava_proxy.dialects.json_text import JsonObject, as_object, figures_text, name_of
from lava_proxy.dialects.pieces import amount_in, counted_only, in_pieces, plain_facts
from lava_proxy.dialects.wire_format import WireFormat

_ENDED = frozenset({"ended", "completed", "complete", "done", "error", "failed"})
_IDS = ("id", "call_id", "callId", "conversation_id")


def _read(state: JsonObject) -> Reading:
    """Vapi and Bland tell dollars; Retell cents (``combined_cost``)."""
    cents = amount_in(as_object(state.get("call_cost")).get("combined_cost"))
    dollars = amount_in(state.get("cost")) if cents is None else cents / 100
    if dollars is None:
        dollars = amount_in(state.get("price"))
    seconds = _seconds(state)
    status = (name_of(state.get("status")) or name_of(state.get("call_status")) or "").lower()
    told = {"cost": dollars, "seconds": seconds}
    shown = {name: value for name, value in told.items() if value is not None}
    is_ended = status in _ENDED or bool(state.get("ended") or state.get("endedAt") or state.get("completed"))
    return Reading(
        usage=Usage(output_seconds=seconds) if is_ended and seconds is not None else NO_USAGE,
        response_id=next((i for name in _IDS if (i := name_of(state.get(name)))), None),
        reported_cost=dollars if is_ended else None,
        raw_usage=(figures_text(shown),) if shown else (),
        is_pending=not is_ended,
    )


def _seconds(state: JsonObject) -> Decimal | None:
    milliseconds, minutes = amount_in(state.get("duration_ms")), amount_in(state.get("call_length"))
    if milliseconds is not None:
        return milliseconds / 1000
    if minutes is not None:
        return minutes * 60
    cost = as_object(state.get("call_cost"))
    names = ("duration", "durationSeconds", "total_duration_seconds", "billedDuration")
    return next((s for part in (cost, state) for name in names if (s := amount_in(part.get(name))) is not None), None)


def _facts(request: JsonObject, path_model: str | None) -> RequestFacts:
    return plain_facts(request, path_model)


AGENT_CALLS = WireFormat(
    name="agent_calls",
    version=1,
    facts_of=_facts,
    interpreter_for=in_pieces(_read),
    fault_body=plain_fault,
    estimated=counted_only,
)
