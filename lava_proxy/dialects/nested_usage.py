"""Wires that say the usual counts in an envelope of their own: DeepInfra, Eden AI, Yandex, Oracle, Baidu and their like.

The envelope is opened (``result``, ``chatResponse``, ``inferenceResponse``), and the counts are read under the names
that these providers use, as numbers or as texts (Yandex). A stream's counts are cumulative: the last ones count.
"""

from msgspec.structs import replace

from lava_proxy.core.usage import Reading, RequestFacts, Usage
from lava_proxy.dialects.faults import plain_fault
from lava_proxy.dialects.framing import Shape
from lava_proxy.dialects.json_text import JsonObject, as_object, count_of, figures_text, largest, name_of, overlay
from lava_proxy.dialects.pieces import amount_in, count_in, in_pieces, plain_facts
from lava_proxy.dialects.wire_format import Exchange, WireFormat

_ENVELOPES = ("result", "chatResponse", "inferenceResponse", "response", "data")
_USAGES = ("usage", "inference_status")
_INPUT = ("prompt_tokens", "input_tokens", "inputTextTokens", "promptTokens", "inputTokens", "tokens_input")
_OUTPUT = ("completion_tokens", "output_tokens", "completionTokens", "outputTokens", "tokens_generated")


def _step(state: JsonObject, piece: JsonObject) -> JsonObject:
    kept: JsonObject = {}
    for carrier in (piece, *(as_object(piece.get(name)) for name in _ENVELOPES)):
        for name in (*_USAGES, "model", "modelId", "modelVersion", "cost", "error", "id", "request_id"):
            if carrier.get(name) is not None:
                kept[name] = carrier[name]
    return overlay(state, kept)


def _read(state: JsonObject) -> Reading:
    figures = next((found for name in _USAGES if (found := as_object(state.get(name)))), {})
    usage = Usage(
        input_tokens=largest(*(count_in(figures.get(name)) for name in _INPUT)),
        output_tokens=largest(*(count_in(figures.get(name)) for name in _OUTPUT)),
        reasoning_tokens=count_in(as_object(figures.get("completionTokensDetails")).get("reasoningTokens")),
    )
    cost = amount_in(figures.get("cost"))
    return Reading(
        usage=usage,
        model=name_of(state.get("model")) or name_of(state.get("modelId")),
        response_id=name_of(state.get("id")) or name_of(state.get("request_id")),
        reported_cost=amount_in(state.get("cost")) if cost is None else cost,
        raw_usage=(figures_text(figures),) if figures else (),
    )


def _completed(reading: Reading, exchange: Exchange) -> Reading:
    cost = amount_in(exchange.headers.get("x-edenai-cost"))
    return reading if cost is None or reading.reported_cost is not None else replace(reading, reported_cost=cost)


def _facts(request: JsonObject, path_model: str | None) -> RequestFacts:
    names = ("input", "messages", "text", "chatRequest", "prompt", "texts")
    asked = (request, as_object(request.get("chatRequest")), as_object(request.get("completionOptions")))
    limits = (count_in(part.get(name)) for part in asked for name in ("max_new_tokens", "max_tokens", "maxTokens"))
    facts = plain_facts(
        request,
        path_model,
        names,
        model_keys=("model", "modelUri", "providers"),
        output_limit=count_of(largest(*limits)),
        has_output="texts" not in request,
    )
    return (
        replace(facts, model=(facts.model or "").removeprefix("gpt://").rpartition("/")[2] or None)
        if "modelUri" in request
        else facts
    )


NESTED_USAGE = WireFormat(
    name="nested_usage",
    version=1,
    facts_of=_facts,
    interpreter_for=in_pieces(_read, _step, ("text", "content", "generated_text")),
    fault_body=plain_fault,
    completed=_completed,
    shape=Shape(has_objects=True, has_media=True),
    takes_uploads=True,
)
