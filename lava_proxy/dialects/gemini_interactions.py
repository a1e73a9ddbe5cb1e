"""Gemini's interactions: other names than generateContent's for the same counts.

Thoughts stand beside the output, tool use beside the input; our totals include both. A stream ends with an event that
carries the whole interaction. One that goes on in the background is looked at again with GET.
"""

from msgspec.structs import replace

from lava_proxy.core.usage import Reading, RequestFacts, Usage
from lava_proxy.dialects.faults import google_fault
from lava_proxy.dialects.json_text import (
    JsonObject,
    as_object,
    as_objects,
    count_of,
    figures_text,
    name_of,
    overlay,
    total_of,
)
from lava_proxy.dialects.pieces import in_pieces, plain_facts
from lava_proxy.dialects.request_size import UNSEEN_TOKENS
from lava_proxy.dialects.tiers import tier_of
from lava_proxy.dialects.wire_format import WireFormat

_UNENDED = frozenset({"in_progress", "queued"})
_KEPT = ("id", "model", "agent", "usage", "status", "service_tier", "error")


def _step(state: JsonObject, piece: JsonObject) -> JsonObject:
    carriers = (piece, as_object(piece.get("interaction")), as_object(piece.get("metadata")))
    for carrier in carriers:
        state = overlay(state, {name: carrier[name] for name in _KEPT if carrier.get(name) is not None})
    return state


def interactions_usage(figures: JsonObject) -> Usage:
    """The usage object. Where the total does not leave room for it, tool use is already part of the input."""
    into, output = count_of(figures.get("total_input_tokens")), count_of(figures.get("total_output_tokens"))
    thoughts, tools = count_of(figures.get("total_thought_tokens")), count_of(figures.get("total_tool_use_tokens"))
    total = count_of(figures.get("total_tokens"))
    known = (into or 0) + (output or 0) + (thoughts or 0)
    beside = tools if total is None or total - known >= (tools or 0) else None
    into_by, out_by, cached_by = (
        _by_modality(figures.get(f"{kind}_tokens_by_modality")) for kind in ("input", "output", "cached")
    )
    return Usage(
        input_tokens=total_of(into, beside),
        cached_input_tokens=count_of(figures.get("total_cached_tokens")),
        input_audio_tokens=into_by.get("audio"),
        cached_audio_tokens=cached_by.get("audio"),
        input_image_tokens=into_by.get("image"),
        output_tokens=total_of(output, thoughts),
        reasoning_tokens=thoughts,
        output_audio_tokens=out_by.get("audio"),
        output_image_tokens=out_by.get("image"),
    )


def _by_modality(details: object) -> dict[str, int]:
    counts: dict[str, int] = {}
    for detail in as_objects(details):
        modality, tokens = name_of(detail.get("modality")), count_of(detail.get("tokens"))
        if modality and tokens is not None:
            counts[modality.lower()] = counts.get(modality.lower(), 0) + tokens
    return counts


def _read(state: JsonObject) -> Reading:
    figures = as_object(state.get("usage"))
    status = name_of(state.get("status"))
    return Reading(
        usage=interactions_usage(figures),
        model=name_of(state.get("model")) or name_of(state.get("agent")),
        response_id=name_of(state.get("id")),
        service_tier=tier_of(state.get("service_tier")),
        raw_usage=(figures_text(figures),) if figures else (),
        is_complete=bool(figures) and status not in _UNENDED,
        is_pending=not figures and status in _UNENDED,
        is_error=status == "failed",
    )


def _facts(request: JsonObject, path_model: str | None) -> RequestFacts:
    settings = as_object(request.get("generation_config"))
    facts = plain_facts(
        request,
        path_model,
        ("input", "system_instruction", "tools", "response_format"),
        model_keys=("model", "agent"),
        output_limit=count_of(settings.get("max_output_tokens")),
        has_output=True,
    )
    unseen = UNSEEN_TOKENS if request.get("previous_interaction_id") else 0
    return replace(facts, input_other_tokens=facts.input_other_tokens + unseen)


GEMINI_INTERACTIONS = WireFormat(
    name="gemini_interactions",
    version=1,
    facts_of=_facts,
    interpreter_for=in_pieces(_read, _step, ("text", "arguments", "name")),
    fault_body=google_fault,
)
