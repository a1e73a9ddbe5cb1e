"""Amazon Bedrock's converse and converse-stream: one shape for all makers' models.

``inputTokens`` excludes cache reads and writes; our total includes them. A stream is AWS' binary events, the last of
which, ``metadata``, carries the usage. No answer names its model, but where a router chose it; requests are signed, so
nothing in them is ever changed.
"""

from collections.abc import Iterable

from lava_proxy.core.usage import Reading, RequestFacts, Usage
from lava_proxy.dialects.faults import bedrock_fault
from lava_proxy.dialects.framing import Shape
from lava_proxy.dialects.json_text import (
    JsonObject,
    as_object,
    as_objects,
    count_of,
    figures_text,
    largest,
    name_of,
    overlay,
    total_of,
)
from lava_proxy.dialects.pieces import in_pieces, plain_facts
from lava_proxy.dialects.tiers import tier_of
from lava_proxy.dialects.wire_format import WireFormat

AWS_SHAPE = Shape(has_frames=True, has_objects=True)
_TEXT_KEYS = ("text", "input", "name")
_INPUT = ("messages", "system", "toolConfig", "inputText", "promptVariables")


def converse_usage(figures: JsonObject) -> Usage:
    """The usage object of converse, which Nova's own bodies have as well."""
    reads = largest(*_counts(figures, "cacheReadInputTokens", "cacheReadInputTokenCount"))
    writes = largest(*_counts(figures, "cacheWriteInputTokens", "cacheWriteInputTokenCount"))
    by_hour = (part for part in as_objects(figures.get("cacheDetails")) if part.get("ttl") == "1h")
    return Usage(
        input_tokens=total_of(count_of(figures.get("inputTokens")), reads, writes),
        cached_input_tokens=reads,
        cache_write_tokens=writes,
        cache_write_1h_tokens=total_of(*(count_of(part.get("inputTokens")) for part in by_hour)),
        output_tokens=count_of(figures.get("outputTokens")),
    )


def _counts(figures: JsonObject, *names: str) -> Iterable[int | None]:
    return (count_of(figures.get(name)) for name in names)


def fault_in(piece: JsonObject) -> bool:
    """Whether a piece is one of AWS' exceptions in the middle of a stream."""
    return any(name.endswith(("Exception", "Error")) for name in piece)


def _step(state: JsonObject, piece: JsonObject) -> JsonObject:
    carrier = as_object(piece.get("metadata")) or piece
    kept = {name: carrier[name] for name in ("usage", "trace", "serviceTier", "performanceConfig") if carrier.get(name)}
    if "messageStop" in piece or "stopReason" in piece:
        kept["is_stopped"] = True
    if fault_in(piece):
        kept["error"] = True
    return overlay(state, kept) if kept else state


def _read(state: JsonObject) -> Reading:
    figures = as_object(state.get("usage"))
    routed = as_object(as_object(state.get("trace")).get("promptRouter")).get("invokedModelId")
    return Reading(
        usage=converse_usage(figures),
        model=name_of(routed),
        service_tier=tier_of(
            as_object(state.get("serviceTier")).get("type"), as_object(state.get("performanceConfig")).get("latency")
        ),
        raw_usage=(figures_text(figures),) if figures else (),
        is_complete=state.get("is_stopped") is True and bool(figures),
    )


def _facts(request: JsonObject, path_model: str | None) -> RequestFacts:
    settings = as_object(request.get("inferenceConfig"))
    return plain_facts(
        request,
        path_model,
        _INPUT,
        model_keys=("modelId",),
        output_limit=count_of(settings.get("maxTokens")),
        has_output=True,
    )


BEDROCK_CONVERSE = WireFormat(
    name="bedrock_converse",
    version=1,
    facts_of=_facts,
    interpreter_for=in_pieces(_read, _step, _TEXT_KEYS),
    fault_body=bedrock_fault,
    shape=AWS_SHAPE,
    is_stream_by_op=True,
)
