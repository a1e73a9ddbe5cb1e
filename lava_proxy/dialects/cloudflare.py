"""Cloudflare's Workers AI, its native wire: a result in an envelope, or a stream of events; priced in neurons.

Neurons are taken as credits, where a header or the usage tells them.
"""

from msgspec.structs import replace

from lava_proxy.core.usage import Reading, RequestFacts
from lava_proxy.dialects.faults import plain_fault
from lava_proxy.dialects.framing import Shape
from lava_proxy.dialects.json_text import JsonObject, as_object, count_of, figures_text, name_of, overlay
from lava_proxy.dialects.openai_usage import usage_found
from lava_proxy.dialects.pieces import amount_in, estimated_if_silent, in_pieces, plain_facts
from lava_proxy.dialects.wire_format import Exchange, WireFormat


def _step(state: JsonObject, piece: JsonObject) -> JsonObject:
    result = as_object(piece.get("result")) or piece
    kept = {name: result[name] for name in ("usage", "model", "id") if result.get(name)}
    if piece.get("success") is False:
        kept["error"] = True
    return overlay(state, kept)


def _read(state: JsonObject) -> Reading:
    figures = as_object(state.get("usage"))
    model = name_of(state.get("model"))
    found = usage_found(figures, model=model)
    neurons = amount_in(figures.get("neurons"))
    return Reading(
        usage=found.usage if neurons is None else replace(found.usage, credits=neurons),
        model=model,
        response_id=name_of(state.get("id")),
        raw_usage=(figures_text(figures),) if figures else (),
        flags=found.flags,
    )


def _completed(reading: Reading, exchange: Exchange) -> Reading:
    neurons = amount_in(exchange.headers.get("cf-ai-neurons"))
    return reading if neurons is None else replace(reading, usage=replace(reading.usage, credits=neurons))


def _facts(request: JsonObject, path_model: str | None) -> RequestFacts:
    has_output = any(name in request for name in ("messages", "prompt", "input"))
    limit = count_of(request.get("max_tokens"))
    return plain_facts(
        request, path_model, ("messages", "prompt", "text", "input", "tools"), output_limit=limit, has_output=has_output
    )


CLOUDFLARE = WireFormat(
    name="cloudflare",
    version=1,
    facts_of=_facts,
    interpreter_for=in_pieces(_read, _step, ("response", "content")),
    fault_body=plain_fault,
    estimated=estimated_if_silent,
    completed=_completed,
    shape=Shape(has_media=True),
    takes_uploads=True,
)
