"""IBM watsonx: text generation, embeddings, rerank. (Its chat is OpenAI's wire.)

Each event of a stream has its own result: the input stands in the first ones and is 0 later, the output is cumulative.
"""

from lava_proxy.core.usage import Reading, RequestFacts, Usage
from lava_proxy.dialects.faults import plain_fault
from lava_proxy.dialects.json_text import JsonObject, as_object, as_objects, count_of, figures_text, largest, name_of
from lava_proxy.dialects.pieces import in_pieces, plain_facts
from lava_proxy.dialects.wire_format import WireFormat

_COUNTS = ("input_token_count", "generated_token_count")


def _step(state: JsonObject, piece: JsonObject) -> JsonObject:
    results = list(as_objects(piece.get("results")))
    kept = dict(state)
    for name in _COUNTS:
        counts = [count_of(result.get(name)) for result in (piece, *results)]
        kept[name] = largest(count_of(state.get(name)), *counts)
    stops = [name_of(result.get("stop_reason")) for result in results]
    if any(stop not in (None, "not_finished") for stop in stops):
        kept["is_stopped"] = True
    if piece.get("errors"):
        kept["error"] = True
    return {**kept, "model_id": piece.get("model_id") or state.get("model_id")}


def _read(state: JsonObject) -> Reading:
    counts = {name: state[name] for name in _COUNTS if state.get(name) is not None}
    return Reading(
        usage=Usage(input_tokens=count_of(counts.get(_COUNTS[0])), output_tokens=count_of(counts.get(_COUNTS[1]))),
        model=name_of(state.get("model_id")),
        raw_usage=(figures_text(counts),) if counts else (),
        is_complete=state.get("is_stopped") is True,
    )


def _facts(request: JsonObject, path_model: str | None) -> RequestFacts:
    asked = as_object(request.get("parameters"))
    return plain_facts(
        request,
        path_model,
        ("input", "inputs", "query"),
        model_keys=("model_id",),
        output_limit=count_of(asked.get("max_new_tokens")),
        has_output="input" in request,
    )


WATSONX = WireFormat(
    name="watsonx",
    version=1,
    facts_of=_facts,
    interpreter_for=in_pieces(_read, _step, ("generated_text",)),
    fault_body=plain_fault,
)
