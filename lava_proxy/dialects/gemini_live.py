"""Gemini's live sessions: the server's messages, one JSON object after the other.

``usageMetadata`` comes once a turn, in a message with content or by itself: increments, they add up. It says
``responseTokenCount`` where generateContent says ``candidatesTokenCount``; thoughts stand beside it. No message names
the model: the client's first one (``setup``) does.
"""

from msgspec.structs import replace

from lava_proxy.core.usage import Reading, RequestFacts, Usage
from lava_proxy.dialects.faults import google_fault
from lava_proxy.dialects.framing import Shape
from lava_proxy.dialects.gemini_generate import gemini_usage
from lava_proxy.dialects.json_text import JsonObject, as_object, count_of, figures_text, name_of
from lava_proxy.dialects.openai_realtime import realtime_facts
from lava_proxy.dialects.pieces import added, in_pieces
from lava_proxy.dialects.wire_format import Exchange, WireFormat

_OTHER_NAMES = {"responseTokenCount": "candidatesTokenCount", "responseTokensDetails": "candidatesTokensDetails"}


def _step(state: JsonObject, piece: JsonObject) -> JsonObject:
    figures = as_object(piece.get("usageMetadata"))
    if not figures:
        return state
    usage = gemini_usage({_OTHER_NAMES.get(name, name): value for name, value in figures.items()})
    before = state.get("usage")
    return {
        "usage": added(before, usage) if isinstance(before, Usage) else usage,
        "turns": (count_of(state.get("turns")) or 0) + 1,
        "first": state.get("first") or figures,
        "last": figures,
    }


def _read(state: JsonObject) -> Reading:
    usage = state.get("usage")
    raw = [figures_text(as_object(state.get(name))) for name in ("first", "last") if state.get(name)]
    return Reading(usage=usage if isinstance(usage, Usage) else Usage(), raw_usage=tuple(dict.fromkeys(raw)))


def _completed(reading: Reading, exchange: Exchange) -> Reading:
    return replace(reading, model=reading.model or exchange.facts.model)


def _facts(request: JsonObject, path_model: str | None) -> RequestFacts:
    return realtime_facts(request, name_of(path_model))


GEMINI_LIVE = WireFormat(
    name="gemini_live",
    version=1,
    facts_of=_facts,
    interpreter_for=in_pieces(_read, _step, ("text",)),
    fault_body=google_fault,
    completed=_completed,
    shape=Shape(has_objects=True),
)
