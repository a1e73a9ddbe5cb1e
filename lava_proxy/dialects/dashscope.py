"""Alibaba's DashScope, its native wire (the compatible one is OpenAI's): text, vision, speech, pictures, video.

A stream's usage is cumulative: the last counts. Pictures and video are jobs that are asked for again.
"""

from lava_proxy.core.usage import Reading, RequestFacts, Usage
from lava_proxy.dialects.faults import plain_fault
from lava_proxy.dialects.json_text import JsonObject, as_object, count_of, figures_text, largest, name_of
from lava_proxy.dialects.openai_usage import usage_found
from lava_proxy.dialects.pieces import (
    amount_in,
    estimated_if_silent,
    in_pieces,
    keep,
    laid_over,
    length_of,
    plain_facts,
)
from lava_proxy.dialects.wire_format import WireFormat

_UNENDED = frozenset({"PENDING", "RUNNING", "SUSPENDED"})


def _read(state: JsonObject) -> Reading:
    figures, output = as_object(state.get("usage")), as_object(state.get("output"))
    found = usage_found(figures, model=None)
    status = name_of(output.get("task_status"))
    media = Usage(
        images=largest(count_of(figures.get("image_count")), count_of(figures.get("n"))),
        video_seconds=amount_in(figures.get("video_duration")),
        input_characters=count_of(figures.get("characters")),
        input_seconds=amount_in(figures.get("duration")),
        input_image_tokens=count_of(figures.get("image_tokens")),
    )
    return Reading(
        usage=laid_over(media, found.usage),
        response_id=name_of(output.get("task_id")) or name_of(state.get("request_id")),
        raw_usage=(figures_text(figures),) if figures else (),
        is_complete=output.get("finish_reason") not in (None, "null"),
        is_pending=status in _UNENDED,
        is_error=status == "FAILED" or (state.get("code") is not None and not output),
        flags=found.flags,
    )


def _facts(request: JsonObject, path_model: str | None) -> RequestFacts:
    asked, given = as_object(request.get("parameters")), as_object(request.get("input"))
    images = count_of(asked.get("n"))
    is_text = "messages" in given or ("prompt" in given and images is None and "size" not in asked)
    counted = Usage(
        images=None if is_text else images,
        video_seconds=amount_in(asked.get("duration")),
        input_characters=len(text) if isinstance(text := given.get("text"), str) else None,
    )
    return plain_facts(
        request,
        path_model,
        ("input",),
        counted=counted,
        output_limit=count_of(asked.get("max_tokens")),
        has_output=is_text and length_of(given.get("texts")) is None,
        choices=max(images or 1, 1) if is_text else 1,
    )


DASHSCOPE = WireFormat(
    name="dashscope",
    version=1,
    facts_of=_facts,
    interpreter_for=in_pieces(
        _read, keep(("usage", "output", "request_id", "code")), ("text", "content", "reasoning_content")
    ),
    fault_body=plain_fault,
    estimated=estimated_if_silent,
)
