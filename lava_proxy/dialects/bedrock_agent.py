"""Amazon Bedrock's agents: an answer in chunks, and with tracing on the usage of each model call inside it.

Traces are increments: they add up. Without tracing nothing tells what the agent's models consumed.
"""

from lava_proxy.core.usage import NO_USAGE, Reading, RequestFacts, Usage
from lava_proxy.dialects.bedrock_converse import AWS_SHAPE, fault_in
from lava_proxy.dialects.faults import bedrock_fault
from lava_proxy.dialects.json_text import JsonObject, as_object, count_of, figures_text, total_of
from lava_proxy.dialects.pieces import in_pieces, plain_facts
from lava_proxy.dialects.wire_format import WireFormat

_DEEPEST = 8


def _step(state: JsonObject, piece: JsonObject) -> JsonObject:
    kept = {**state, "error": True} if fault_in(piece) else state
    for figures in _usages(piece.get("trace"), _DEEPEST):
        counts = {name: total_of(count_of(kept.get(name)), count_of(figures.get(name))) for name in _NAMES}
        kept = {**kept, **counts}
    return kept


_NAMES = ("inputTokens", "outputTokens")


def _usages(value: object, depth: int) -> list[JsonObject]:
    """The usage of every finished model call in a trace."""
    if not isinstance(value, dict) or not depth:
        return []
    usage = as_object(as_object(value.get("metadata")).get("usage"))
    inside = [found for item in value.values() for found in _usages(item, depth - 1)]
    return [usage, *inside] if usage else inside


def _read(state: JsonObject) -> Reading:
    figures = {name: state[name] for name in _NAMES if state.get(name) is not None}
    usage = Usage(
        input_tokens=count_of(figures.get("inputTokens")), output_tokens=count_of(figures.get("outputTokens"))
    )
    return Reading(usage=usage if figures else NO_USAGE, raw_usage=(figures_text(figures),) if figures else ())


def _facts(request: JsonObject, path_model: str | None) -> RequestFacts:
    return plain_facts(request, path_model, ("inputText", "input", "sessionState"), has_output=True, is_stream=True)


BEDROCK_AGENT = WireFormat(
    name="bedrock_agent",
    version=1,
    facts_of=_facts,
    interpreter_for=in_pieces(_read, _step, ("bytes", "text")),
    fault_body=bedrock_fault,
    shape=AWS_SHAPE,
)
