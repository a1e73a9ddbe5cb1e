"""Hugging Face's native inference: text generation (TGI), embeddings (TEI) and the pipelines before them.

Tokens stand in ``details`` where the request asked for them, else in headers: ``x-prompt-tokens`` and
``x-generated-tokens`` of TGI, ``x-compute-tokens`` (input) of TEI; ``x-compute-characters`` and ``x-compute-time``
beside them.
"""

from msgspec.structs import replace

from lava_proxy.core.usage import Reading, RequestFacts, Usage
from lava_proxy.dialects.faults import plain_fault
from lava_proxy.dialects.framing import Shape
from lava_proxy.dialects.json_text import JsonObject, as_object, count_of, figures_text, overlay
from lava_proxy.dialects.pieces import (
    amount_in,
    count_in,
    estimated_if_silent,
    in_pieces,
    laid_over,
    length_of,
    plain_facts,
)
from lava_proxy.dialects.wire_format import Exchange, WireFormat


def _step(state: JsonObject, piece: JsonObject) -> JsonObject:
    """Only the details count, and whether there is an error; a list of numbers is no piece."""
    kept = {name: piece[name] for name in ("details", "error") if piece.get(name)}
    return overlay(state, kept)


def _read(state: JsonObject) -> Reading:
    details = as_object(state.get("details"))
    prompt = count_of(details.get("input_length"))
    prefill = length_of(details.get("prefill")) or None
    told = {name: details[name] for name in ("generated_tokens", "input_length") if details.get(name) is not None}
    return Reading(
        usage=Usage(
            input_tokens=prompt if prompt is not None else prefill,
            output_tokens=count_of(details.get("generated_tokens")),
        ),
        raw_usage=(figures_text(told),) if told else (),
    )


def _completed(reading: Reading, exchange: Exchange) -> Reading:
    headers = exchange.headers
    prompt = count_in(headers.get("x-prompt-tokens"))
    told = Usage(
        input_tokens=prompt if prompt is not None else count_in(headers.get("x-compute-tokens")),
        output_tokens=count_in(headers.get("x-generated-tokens")),
        input_characters=count_in(headers.get("x-compute-characters")),
        output_seconds=amount_in(headers.get("x-compute-time")),
    )
    return replace(reading, usage=laid_over(told, reading.usage))


def _facts(request: JsonObject, path_model: str | None) -> RequestFacts:
    asked = as_object(request.get("parameters"))
    limit = count_of(asked.get("max_new_tokens"))
    return plain_facts(
        request, path_model, ("inputs",), output_limit=limit, has_output=limit is not None or "stream" in request
    )


HUGGINGFACE = WireFormat(
    name="huggingface",
    version=1,
    facts_of=_facts,
    interpreter_for=in_pieces(_read, _step, ("generated_text",)),
    fault_body=plain_fault,
    estimated=estimated_if_silent,
    completed=_completed,
    shape=Shape(has_media=True),
    takes_uploads=True,
)
