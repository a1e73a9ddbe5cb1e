"""Ollama's own API: chat, generate, embed. A stream is one JSON object a line; the one with ``done`` has the counts.

``prompt_eval_count`` is left out where the whole prompt was cached: then the input is not told.
"""

from lava_proxy.core.usage import Reading, RequestFacts, Usage
from lava_proxy.dialects.faults import plain_fault
from lava_proxy.dialects.framing import Shape
from lava_proxy.dialects.json_text import JsonObject, as_object, count_of, figures_text, name_of
from lava_proxy.dialects.pieces import in_pieces, keep, plain_facts
from lava_proxy.dialects.wire_format import WireFormat

_COUNTS = ("prompt_eval_count", "eval_count")
_INPUT = ("messages", "prompt", "system", "tools", "format", "suffix", "input", "images")


def _read(state: JsonObject) -> Reading:
    counts = {name: state[name] for name in _COUNTS if count_of(state.get(name)) is not None}
    return Reading(
        usage=Usage(input_tokens=count_of(counts.get(_COUNTS[0])), output_tokens=count_of(counts.get(_COUNTS[1]))),
        model=name_of(state.get("model")),
        raw_usage=(figures_text(counts),) if counts else (),
        is_complete=state.get("done") is True,
    )


def _facts(request: JsonObject, path_model: str | None) -> RequestFacts:
    """Streams unless told not to; a negative limit is none."""
    is_embedding = "messages" not in request and (
        "input" in request or set(request) <= {"model", "prompt", "options", "keep_alive"}
    )
    return plain_facts(
        request,
        path_model,
        _INPUT,
        model_keys=("model", "name"),
        output_limit=count_of(as_object(request.get("options")).get("num_predict")),
        has_output=not is_embedding or "prompt" in request,
        is_stream=request.get("stream") is not False and "input" not in request,
    )


OLLAMA = WireFormat(
    name="ollama",
    version=1,
    facts_of=_facts,
    interpreter_for=in_pieces(_read, keep(("model", "done", "error", *_COUNTS)), ("content", "response", "thinking")),
    fault_body=plain_fault,
    shape=Shape(has_objects=True),
)
