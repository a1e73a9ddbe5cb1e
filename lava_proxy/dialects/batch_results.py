"""Batches: the job as it is looked at, and its results, one JSON object a line, of OpenAI, Anthropic and Mistral.

Results add up; a job's own total stands for all of them. Both may be fetched again and again: who settles them does it
once per job. Everything in a batch is charged at the batch's rate (``service_tier`` "batch"). A job that is made, or not
ended yet, is work that goes on.
"""

from functools import reduce

from msgspec.structs import replace

from lava_proxy.core.usage import NO_USAGE, Reading, RequestFacts, Usage
from lava_proxy.dialects.anthropic_messages import messages_usage
from lava_proxy.dialects.faults import openai_fault
from lava_proxy.dialects.framing import Shape
from lava_proxy.dialects.gemini_generate import gemini_usage
from lava_proxy.dialects.json_text import JsonObject, as_object, as_objects, count_of, figures_text, name_of
from lava_proxy.dialects.openai_usage import usage_found
from lava_proxy.dialects.pieces import added, in_pieces, plain_facts
from lava_proxy.dialects.wire_format import WireFormat

_ENDED = frozenset({"completed", "ended", "success", "expired", "cancelled", "failed", "timeout_exceeded", "job_state_succeeded",
                    "batch_state_succeeded"})  # fmt: skip


def _step(state: JsonObject, piece: JsonObject) -> JsonObject:
    answer = _answer_in(piece)
    if answer is None:
        return {**state, "job": piece}
    usage, model = _usage_of(answer)
    before = state.get("usage")
    return {
        **state,
        "usage": added(before, usage) if isinstance(before, Usage) else usage,
        "model": state.get("model") or model,
        "results": (count_of(state.get("results")) or 0) + 1,
    }


def _answer_in(piece: JsonObject) -> JsonObject | None:
    """The answer that one line of results holds; ``None`` where it is no result."""
    if "custom_id" not in piece and "key" not in piece:
        return None
    result, response = as_object(piece.get("result")), as_object(piece.get("response"))
    return as_object(result.get("message")) or as_object(response.get("body")) or response


def _usage_of(answer: JsonObject) -> tuple[Usage, str | None]:
    model = name_of(answer.get("model")) or name_of(answer.get("modelVersion"))
    figures = as_object(answer.get("usage"))
    if answer.get("usageMetadata"):
        return gemini_usage(as_object(answer.get("usageMetadata"))), model
    if answer.get("type") == "message":
        return messages_usage(figures), model
    return usage_found(figures, model=model, is_embedding=answer.get("object") == "list").usage, model


def _read(state: JsonObject) -> Reading:
    usage = state.get("usage")
    if isinstance(usage, Usage):
        told: JsonObject = {
            "results": state.get("results"),
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
        }
        return Reading(
            usage=usage,
            model=name_of(state.get("model")),
            service_tier="batch",
            raw_usage=(figures_text(told),),
            is_replay=True,
        )
    return _read_job(as_object(state.get("job")))


def _read_job(job: JsonObject) -> Reading:
    figures = as_object(job.get("usage"))
    state = job.get("status") or job.get("processing_status") or as_object(job.get("metadata")).get("state")
    status = (name_of(state) or "").lower()
    is_job = bool(status) or "batch_id" in job
    found = usage_found(figures, model=name_of(job.get("model")))
    is_ended = status in _ENDED
    inside = _inlined(job)
    usage = found.usage if inside is None else inside
    return Reading(
        usage=usage if is_ended else NO_USAGE,
        model=name_of(job.get("model")) or name_of(as_object(job.get("metadata")).get("model")),
        response_id=name_of(job.get("id")) or name_of(job.get("batch_id")) or name_of(job.get("name")),
        service_tier="batch",
        raw_usage=(figures_text(figures),) if figures else (),
        is_pending=is_job and not is_ended,
        is_replay=True,
        flags=found.flags,
    )


def _inlined(job: JsonObject) -> Usage | None:
    """The sum of the answers that Gemini's job holds itself; ``None`` where it holds none."""
    outputs = (job.get("response"), job.get("dest"), as_object(job.get("metadata")).get("output"))
    for output in map(as_object, outputs):
        held = output.get("inlinedResponses")
        answers = [
            as_object(item.get("response")) for item in as_objects(as_object(held).get("inlinedResponses") or held)
        ]
        usages = [_usage_of(answer)[0] for answer in answers if answer.get("usageMetadata")]
        if usages:
            return reduce(added, usages)
    return None


def _facts(request: JsonObject, path_model: str | None) -> RequestFacts:
    """What a batch will do stands in a file: nothing is known of it."""
    return replace(plain_facts(request, path_model, ("requests",)), service_tier="batch")


BATCH_RESULTS = WireFormat(
    name="batch_results",
    version=1,
    facts_of=_facts,
    interpreter_for=in_pieces(_read, _step),
    fault_body=openai_fault,
    shape=Shape(has_objects=True),
)
