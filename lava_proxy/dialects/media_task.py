"""Pictures, sound and video by the provider's own unit of account: fal, Black Forest Labs, Kling, Runway, Runware,
Leonardo, Stability and their like.

What is told, is taken: fal's billable units (a header of the result), credits, a cost in dollars, tokens. Else pictures
are counted. A job that was only taken on is work that goes on; its credits count where its taking tells them.
"""

from decimal import Decimal

from msgspec.structs import replace

from lava_proxy.core.usage import Reading, RequestFacts, Usage
from lava_proxy.dialects.faults import plain_fault
from lava_proxy.dialects.framing import Shape
from lava_proxy.dialects.json_text import JsonObject, as_object, as_objects, count_of, figures_text, name_of
from lava_proxy.dialects.openai_usage import usage_found
from lava_proxy.dialects.pieces import amount_in, counted_only, in_pieces, laid_over, length_of, plain_facts
from lava_proxy.dialects.wire_format import Exchange, WireFormat

_UNENDED = frozenset(
    {"in_queue", "in_progress", "queued", "pending", "processing", "submitted", "starting", "running", "throttled"}
)
_FAILED = frozenset({"failed", "error", "cancelled", "canceled", "rejected"})
_CREDITS = (
    "final_unit_deduction",
    "apiCreditCost",
    "creditsUsed",
    "credits_used",
    "credits",
    "consumed_credits",
    "cost_credits",
)
_CREDIT_HEADERS = ("x-fal-billable-units", "x-credits-consumed", "x-credits-used", "x-credit-cost")
_LISTS = ("images", "artifacts", "data", "generated_images", "result")
_RUNWAY_CREDIT_USD = Decimal("0.01")


def _carriers(state: JsonObject) -> list[JsonObject]:
    """The objects that may tell: the answer, its ``data`` (an object, or the first of a list), its job and estimate."""
    names = ("data", "task", "sdGenerationJob", "estimatedCost", "result", "usage", "task_result")
    inner = [as_object(state.get(name)) for name in names]
    listed = [next(as_objects(state.get(name)), {}) for name in ("data",)]
    return [part for part in (state, *inner, *listed) if part]


def _read(state: JsonObject) -> Reading:
    carriers = _carriers(state)
    status = next(
        (s.lower() for part in carriers for n in ("status", "task_status", "state") if (s := name_of(part.get(n)))), ""
    )
    job = next(
        (
            i
            for part in carriers
            for n in ("request_id", "task_id", "id", "taskUUID", "generationId")
            if (i := name_of(part.get(n)))
        ),
        None,
    )
    credits = next((c for part in carriers for n in _CREDITS if (c := amount_in(part.get(n))) is not None), None)
    figures = as_object(state.get("usage"))
    found = usage_found(figures, model=None)
    usage = laid_over(found.usage, Usage(credits=credits, images=_pictures(state)))
    estimated = amount_in(as_object(state.get("estimatedCost")).get("credits"))
    told = {
        name: part[name]
        for part in carriers
        for name in (*_CREDITS, "cost", "input_mp", "output_mp")
        if isinstance(part.get(name), str | int | Decimal)
    }
    return Reading(
        usage=usage,
        model=name_of(state.get("model")),
        response_id=job,
        reported_cost=found.reported_cost if estimated is None else estimated * _RUNWAY_CREDIT_USD,
        raw_usage=(figures_text(told),) if told else (),
        is_pending=status in _UNENDED or (usage.is_empty() and job is not None and not status),
        is_error=status in _FAILED,
    )


def _pictures(state: JsonObject) -> int | None:
    for part in (state, as_object(state.get("result")), as_object(state.get("task_result"))):
        for name in _LISTS:
            count = length_of(part.get(name))
            if count and any(_is_picture(item) for item in as_objects(part.get(name))):
                return count
    return 1 if as_object(state.get("image")).get("url") else None


def _is_picture(item: JsonObject) -> bool:
    return any(name in item for name in ("base64", "b64_json", "imageURL", "image_url", "imageBase64Data")) or (
        "url" in item and (name_of(item.get("content_type")) or "image/").startswith("image/")
    )


def _completed(reading: Reading, exchange: Exchange) -> Reading:
    units = next((u for name in _CREDIT_HEADERS if (u := amount_in(exchange.headers.get(name))) is not None), None)
    cost = amount_in(exchange.headers.get("x-edenai-cost"))
    if exchange.headers.get("content-type", "").startswith("image/") and reading.usage.is_empty():
        reading = replace(reading, usage=exchange.facts.counted)
    if units is not None:
        reading = replace(reading, usage=replace(reading.usage, credits=units), is_pending=False)
    return reading if cost is None else replace(reading, reported_cost=cost)


def _facts(request: JsonObject, path_model: str | None) -> RequestFacts:
    asked = (request, as_object(request.get("input")), as_object(request.get("parameters")))
    names = ("num_images", "n", "samples", "num_outputs", "numberResults", "number_of_images")
    images = next((count for part in asked for name in names if (count := count_of(part.get(name)))), 1)
    return plain_facts(request, path_model, model_keys=("model", "modelId", "model_name"), counted=Usage(images=images))


MEDIA_TASK = WireFormat(
    name="media_task",
    version=1,
    facts_of=_facts,
    interpreter_for=in_pieces(_read),
    fault_body=plain_fault,
    completed=_completed,
    estimated=counted_only,
    shape=Shape(has_media=True),
    takes_uploads=True,
)
