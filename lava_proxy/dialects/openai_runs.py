"""OpenAI's assistants: runs of a thread. A run that is not ended tells nothing; a stream tells it in its last events.

The steps of a run repeat its usage: only the run's own is read.
"""

from msgspec.structs import replace

from lava_proxy.core.usage import Reading, RequestFacts
from lava_proxy.dialects.faults import openai_fault
from lava_proxy.dialects.json_text import JsonObject, as_object, count_of, figures_text, largest, name_of
from lava_proxy.dialects.openai_usage import usage_found
from lava_proxy.dialects.pieces import in_pieces, plain_facts
from lava_proxy.dialects.request_size import UNSEEN_TOKENS
from lava_proxy.dialects.wire_format import WireFormat

_UNENDED = frozenset({"queued", "in_progress", "requires_action", "cancelling"})


def _step(state: JsonObject, piece: JsonObject) -> JsonObject:
    if piece.get("object") == "thread.run":
        return piece
    return {**state, "error": piece["error"]} if piece.get("error") is not None else state


def _read(state: JsonObject) -> Reading:
    figures = as_object(state.get("usage"))
    model = name_of(state.get("model"))
    status = name_of(state.get("status"))
    found = usage_found(figures, model=model)
    return Reading(
        usage=found.usage,
        model=model,
        response_id=name_of(state.get("id")),
        raw_usage=(figures_text(figures),) if figures else (),
        is_pending=not figures and status in _UNENDED,
        is_complete=status is not None and status not in _UNENDED,
        flags=found.flags,
    )


def _facts(request: JsonObject, path_model: str | None) -> RequestFacts:
    """The thread and the assistant's instructions are not in the request."""
    facts = plain_facts(
        request,
        path_model,
        ("instructions", "additional_instructions", "additional_messages", "thread", "tools"),
        output_limit=count_of(request.get("max_completion_tokens")),
        has_output=True,
    )
    unseen = largest(count_of(request.get("max_prompt_tokens")), UNSEEN_TOKENS) or 0
    return replace(facts, input_other_tokens=facts.input_other_tokens + unseen)


OPENAI_RUNS = WireFormat(
    name="openai_runs",
    version=1,
    facts_of=_facts,
    interpreter_for=in_pieces(_read, _step),
    fault_body=openai_fault,
)
