"""Replicate's predictions: made with POST, looked at with GET (or awaited with ``Prefer: wait``).

One that is not done tells nothing. ``metrics.predict_time`` are seconds of its hardware; newer models tell tokens,
pictures and seconds of video instead.
"""

from lava_proxy.core.usage import NO_USAGE, Reading, RequestFacts, Usage
from lava_proxy.dialects.faults import plain_fault
from lava_proxy.dialects.json_text import JsonObject, as_object, count_of, figures_text, name_of
from lava_proxy.dialects.pieces import amount_in, counted_only, in_pieces, plain_facts
from lava_proxy.dialects.wire_format import WireFormat

_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".avif")
_UNENDED = frozenset({"starting", "processing", "queued", "booting"})


def _read(state: JsonObject) -> Reading:
    status = name_of(state.get("status"))
    metrics = as_object(state.get("metrics"))
    is_done = status in ("succeeded", "successful")
    return Reading(
        usage=_usage(metrics, state.get("output")) if is_done else NO_USAGE,
        model=name_of(state.get("model")),
        response_id=name_of(state.get("id")),
        raw_usage=(figures_text(metrics),) if metrics else (),
        is_pending=status in _UNENDED,
        is_error=status in ("failed", "canceled", "aborted"),
    )


def _usage(metrics: JsonObject, output: object) -> Usage:
    images = count_of(metrics.get("image_output_count"))
    return Usage(
        input_tokens=count_of(metrics.get("input_token_count")),
        output_tokens=count_of(metrics.get("output_token_count")),
        output_seconds=amount_in(metrics.get("predict_time")),
        images=_pictures(output) if images is None else images,
        video_seconds=amount_in(metrics.get("video_output_duration_seconds")),
    )


def _pictures(output: object) -> int | None:
    """Addresses of pictures in the output."""
    addresses = output if isinstance(output, list) else [output]
    named = [item for item in addresses if isinstance(item, str) and item.partition("?")[0].lower().endswith(_PICTURES)]
    return len(named) or None


def _facts(request: JsonObject, path_model: str | None) -> RequestFacts:
    return plain_facts(request, path_model, ("input",), model_keys=("model", "version"))


REPLICATE = WireFormat(
    name="replicate",
    version=1,
    facts_of=_facts,
    interpreter_for=in_pieces(_read),
    fault_body=plain_fault,
    estimated=counted_only,
)
