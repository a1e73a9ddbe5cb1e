"""Cohere, versions 1 and 2: chat, generate, embed, rerank, classify.

``tokens`` is what a model consumed, ``billed_units`` what Cohere charges for, nearly always less: the first is our
usage, the second stands beside it as ``billed``. Version 2 streams events, version 1 one JSON object a line (called
``application/stream+json``). Rerank tells search units alone (one: a query with up to 100 documents). No answer names
its model.
"""

from lava_proxy.core.usage import NO_USAGE, Reading, RequestFacts, Usage
from lava_proxy.dialects.faults import plain_fault
from lava_proxy.dialects.framing import Shape
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
from lava_proxy.dialects.pieces import estimated_if_silent, in_pieces, laid_over, length_of, plain_facts
from lava_proxy.dialects.wire_format import WireFormat

_INPUT = (
    *("message", "chat_history", "preamble", "prompt", "messages", "tools", "documents", "texts", "inputs", "images"),
    *("query", "text", "examples", "response_format", "connectors"),
)
_ENDS = frozenset({"message-end", "stream-end"})
_DOCUMENTS_PER_SEARCH_UNIT = 100


def _step(state: JsonObject, piece: JsonObject) -> JsonObject:
    delta, response = as_object(piece.get("delta")), as_object(piece.get("response"))
    kept: JsonObject = {}
    for carrier in (piece, delta, response):
        for name in ("usage", "meta", "id", "response_id", "generation_id", "model"):
            if carrier.get(name) and (name != "model" or isinstance(carrier[name], str)):
                kept[name] = carrier[name]
        if carrier.get("finish_reason") == "ERROR" or carrier.get("error") is not None:
            kept["error"] = True
    if _ENDS & {name_of(piece.get("type")), name_of(piece.get("event_type"))} or piece.get("is_finished") is True:
        kept["is_ended"] = True
    return overlay(state, kept)


def _read(state: JsonObject) -> Reading:
    figures = as_object(state.get("usage")) or as_object(state.get("meta"))
    tokens, units = as_object(figures.get("tokens")), as_object(figures.get("billed_units"))
    used = Usage(
        input_tokens=count_of(tokens.get("input_tokens")),
        output_tokens=count_of(tokens.get("output_tokens")),
        cached_input_tokens=count_of(figures.get("cached_tokens")),
    )
    billed = Usage(
        input_tokens=total_of(count_of(units.get("input_tokens")), count_of(units.get("image_tokens"))),
        input_image_tokens=count_of(units.get("image_tokens")) or None,
        output_tokens=count_of(units.get("output_tokens")),
        images=count_of(units.get("images")),
        searches=count_of(units.get("search_units")),
        requests=count_of(units.get("classifications")),
    )
    usage = laid_over(billed, used)
    names: tuple[str, ...] = ("tokens", "billed_units", "cached_tokens")
    shown = {name: figures[name] for name in names if name in figures}
    return Reading(
        usage=usage,
        billed=billed if not billed.is_empty() and billed != usage else None,
        model=name_of(state.get("model")),
        response_id=name_of(state.get("id"))
        or name_of(state.get("response_id"))
        or name_of(state.get("generation_id")),
        raw_usage=(figures_text(shown),) if shown else (),
        is_complete=state.get("is_ended") is True,
    )


def _facts(request: JsonObject, path_model: str | None) -> RequestFacts:
    documents = length_of(request.get("documents")) or 0
    is_rerank = "query" in request and "documents" in request and "message" not in request
    is_chat = any(name in request for name in ("messages", "message", "prompt"))
    units = max(-(-documents // _DOCUMENTS_PER_SEARCH_UNIT), 1)
    return plain_facts(
        request,
        path_model,
        () if is_rerank else _INPUT,
        counted=Usage(searches=units) if is_rerank else _images_in(request),
        output_limit=count_of(request.get("max_tokens")),
        has_output=is_chat,
        choices=max(count_of(request.get("num_generations")) or 1, 1),
    )


def _images_in(request: JsonObject) -> Usage:
    inputs = as_objects(request.get("inputs"))
    parts = [part for item in inputs for part in as_objects(item.get("content")) if part.get("type") == "image_url"]
    images = (length_of(request.get("images")) or 0) + len(parts)
    return Usage(images=images) if images else NO_USAGE


COHERE = WireFormat(
    name="cohere",
    version=1,
    facts_of=_facts,
    interpreter_for=in_pieces(_read, _step, ("text", "thinking", "tool_plan", "arguments")),
    fault_body=plain_fault,
    estimated=estimated_if_silent,
    shape=Shape(has_objects=True),
)
