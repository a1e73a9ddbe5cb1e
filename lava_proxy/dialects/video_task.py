"""Video that is made after the answer: OpenAI, xAI, and the many that take a job and are asked for it again.

A job that was only taken on tells no usage; its seconds are those that were asked for. One that is done tells its
length, where the provider does, else nothing; some tell a cost.
"""

from decimal import Decimal

from lava_proxy.core.usage import NO_USAGE, Reading, RequestFacts, Usage
from lava_proxy.dialects.faults import openai_fault
from lava_proxy.dialects.framing import Shape
from lava_proxy.dialects.json_text import JsonObject, as_object, as_objects, count_of, figures_text, name_of
from lava_proxy.dialects.openai_usage import usage_found
from lava_proxy.dialects.pieces import amount_in, counted_only, in_pieces, plain_facts
from lava_proxy.dialects.wire_format import WireFormat

_DONE = frozenset({"completed", "succeeded", "success", "done", "ready", "finished", "complete"})
_FAILED = frozenset({"failed", "error", "cancelled", "canceled", "expired", "rejected", "moderated"})
_LENGTHS = ("seconds", "duration", "duration_seconds", "durationSeconds", "num_seconds", "length", "video_length")
_LOOK = ("size", "resolution", "aspect_ratio", "quality", "ratio")


def _read(state: JsonObject) -> Reading:
    task = next(
        (part for name in ("data", "task", "video", "output") if "status" in (part := as_object(state.get(name)))),
        state,
    )
    status = (name_of(task.get("status")) or name_of(state.get("status")) or "").lower()
    figures = as_object(state.get("usage")) or as_object(task.get("usage"))
    job = next((found for part in (state, task) for name in _IDS if (found := name_of(part.get(name)))), None)
    video = as_object(state.get("video")) or as_object(next(as_objects(state.get("videos")), {}))
    seconds = _length((video, task, state)) if status in _DONE or (not status and video) else None
    cost = usage_found(figures, model=None).reported_cost
    look = {name: task[name] for name in (*_LOOK, *_LENGTHS) if isinstance(task.get(name), str | int)}
    return Reading(
        usage=NO_USAGE if seconds is None else Usage(video_seconds=seconds),
        model=name_of(state.get("model")) or name_of(task.get("model")),
        response_id=job,
        reported_cost=cost,
        raw_usage=tuple(figures_text(part) for part in (figures, look) if part),
        is_pending=job is not None and status not in _DONE | _FAILED and seconds is None,
        is_error=status in _FAILED,
    )


_IDS = ("id", "request_id", "task_id", "generation_id", "video_id", "uuid", "job_id")


def _length(carriers: tuple[JsonObject, ...]) -> Decimal | None:
    return next((s for part in carriers for name in _LENGTHS if (s := amount_in(part.get(name)))), None)


def _facts(request: JsonObject, path_model: str | None) -> RequestFacts:
    asked = (request, *(as_object(request.get(name)) for name in ("parameters", "input", "config")))
    seconds = _length(asked)
    videos = max(next((n for part in asked for name in ("n", "num_videos") if (n := count_of(part.get(name)))), 1), 1)
    counted = NO_USAGE if seconds is None else Usage(video_seconds=seconds * videos)
    return plain_facts(request, path_model, model_keys=("model", "model_name", "modelName"), counted=counted)


VIDEO_TASK = WireFormat(
    name="video_task",
    version=1,
    facts_of=_facts,
    interpreter_for=in_pieces(_read),
    fault_body=openai_fault,
    estimated=counted_only,
    shape=Shape(has_media=True),
    takes_uploads=True,
)
