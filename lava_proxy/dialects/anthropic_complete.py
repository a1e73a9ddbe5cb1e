"""Anthropic's first wire, ``/v1/complete``: it tells no usage at all, so its text is what is estimated by."""

from lava_proxy.core.usage import NO_USAGE, Reading, RequestFacts
from lava_proxy.dialects.faults import anthropic_fault
from lava_proxy.dialects.json_text import JsonObject, count_of, name_of
from lava_proxy.dialects.pieces import in_pieces, keep, plain_facts
from lava_proxy.dialects.wire_format import WireFormat


def _read(state: JsonObject) -> Reading:
    return Reading(
        usage=NO_USAGE,
        model=name_of(state.get("model")),
        response_id=name_of(state.get("id")),
        is_complete=state.get("stop_reason") is not None,
    )


def _facts(request: JsonObject, path_model: str | None) -> RequestFacts:
    limit = count_of(request.get("max_tokens_to_sample"))
    return plain_facts(request, path_model, ("prompt",), output_limit=limit, has_output=True)


ANTHROPIC_COMPLETE = WireFormat(
    name="anthropic_complete",
    version=1,
    facts_of=_facts,
    interpreter_for=in_pieces(_read, keep(("id", "model", "stop_reason", "error")), ("completion",)),
    fault_body=anthropic_fault,
)
