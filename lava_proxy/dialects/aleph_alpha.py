"""Aleph Alpha's completions: counts at the top of the answer, and in a stream's last event."""

from lava_proxy.core.usage import Reading, RequestFacts, Usage
from lava_proxy.dialects.faults import plain_fault
from lava_proxy.dialects.json_text import JsonObject, count_of, figures_text, name_of
from lava_proxy.dialects.pieces import in_pieces, keep, plain_facts
from lava_proxy.dialects.wire_format import WireFormat

_COUNTS = ("num_tokens_prompt_total", "num_tokens_generated")


def _read(state: JsonObject) -> Reading:
    counts = {name: state[name] for name in _COUNTS if count_of(state.get(name)) is not None}
    return Reading(
        usage=Usage(input_tokens=count_of(counts.get(_COUNTS[0])), output_tokens=count_of(counts.get(_COUNTS[1]))),
        model=name_of(state.get("model_version")),
        raw_usage=(figures_text(counts),) if counts else (),
    )


def _facts(request: JsonObject, path_model: str | None) -> RequestFacts:
    limit = count_of(request.get("maximum_tokens"))
    return plain_facts(request, path_model, ("prompt", "query"), output_limit=limit, has_output=True)


ALEPH_ALPHA = WireFormat(
    name="aleph_alpha",
    version=1,
    facts_of=_facts,
    interpreter_for=in_pieces(_read, keep(("model_version", "error", *_COUNTS)), ("completion",)),
    fault_body=plain_fault,
)
