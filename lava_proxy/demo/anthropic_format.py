"""Anthropic's messages, token counts, models and errors, as the stand-in answers them."""

import json
from collections.abc import Mapping

from lava_proxy.demo.answer import EVENT_STREAM, Answer, Question, dump, first_tool, sse
from lava_proxy.demo.figures import Figures, count_input, pieces, text_of

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


def messages(question: Question) -> Answer:
    """`/v1/messages`, whole or streamed."""
    found = question.figures
    block, reason = _block(question, found)
    if question.is_stream:
        return _stream(question, found, block, reason)
    usage = {} if question.plan.usage == "no" else {"usage": _usage(question, found)}
    document = {**_message(question), "content": [block], "stop_reason": reason, **usage}
    return Answer(events=(dump(document),), headers=_headers(question))


def count_tokens(question: Question) -> Answer:
    """`/v1/messages/count_tokens`: what a message would take as input; costs nothing."""
    return Answer(events=(dump({"input_tokens": count_input(question.body)}),), headers=_headers(question))


def models(question: Question) -> Answer:
    """`/v1/models`."""
    entry = {
        "type": "model",
        "id": "claude-haiku-4-5",
        "display_name": "Stand-in",
        "created_at": "2025-09-29T00:00:00Z",
    }
    page = {"data": [entry], "has_more": False, "first_id": entry["id"], "last_id": entry["id"]}
    return Answer(events=(dump(page),), headers=_headers(question))


def error(status: int, message: str) -> Answer:
    """An error in Anthropic's shape."""
    return Answer(status=status, events=(dump(_error_object(status, message)),))


def _stream(question: Question, found: Figures, block: Mapping[str, object], reason: str) -> Answer:
    has_usage = question.plan.usage != "no"
    start = {**_message(question), "content": [], "stop_reason": None}
    if has_usage:
        start["usage"] = {**_usage(question, found), "output_tokens": 0 if question.plan.usage == "zero" else 1}
    delta: dict[str, object] = {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}}
    if has_usage:
        delta["usage"] = {"output_tokens": 0 if question.plan.usage == "zero" else found.output}
    told: list[Mapping[str, object]] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": _opened(block)},
        {"type": "ping"},
        *({"type": "content_block_delta", "index": 0, "delta": part} for part in _deltas(question, block)),
        {"type": "content_block_stop", "index": 0},
        delta,
        {"type": "message_stop"},
    ]
    return Answer(
        events=tuple(sse(event, event=str(event["type"])) for event in told),
        content_type=EVENT_STREAM,
        is_stream=True,
        headers=_headers(question),
        error_event=sse(_error_object(529, "Overloaded"), event="error"),
    )


def _block(question: Question, found: Figures) -> tuple[dict[str, object], str]:
    tool = first_tool(question.body, question.plan)
    if tool:
        name, arguments = tool
        return {
            "type": "tool_use",
            "id": question.new_id("toolu_"),
            "name": name,
            "input": json.loads(arguments),
        }, "tool_use"
    text = text_of(found.output - found.reasoning, pad_bytes=question.plan.pad_bytes)
    return {"type": "text", "text": text}, "max_tokens" if found.is_cut else "end_turn"


def _opened(block: Mapping[str, object]) -> dict[str, object]:
    return {**block, "text": ""} if block["type"] == "text" else {**block, "input": {}}


def _deltas(question: Question, block: Mapping[str, object]) -> list[dict[str, object]]:
    if block["type"] == "text":
        return [{"type": "text_delta", "text": part} for part in pieces(str(block["text"]), question.plan.chunks)]
    parts = pieces(json.dumps(block["input"]), question.plan.chunks)
    return [{"type": "input_json_delta", "partial_json": part} for part in ["", *parts]]


def _message(question: Question) -> dict[str, object]:
    base = {"id": question.new_id("msg_"), "type": "message", "role": "assistant", "model": question.model}
    return {**base, "stop_sequence": None}


def _usage(question: Question, found: Figures) -> dict[str, object]:
    """Here ``input_tokens`` leaves out what was read from or written to a cache."""
    zero = question.plan.usage == "zero"
    fresh = found.input - found.cached - found.cache_write
    return {
        "input_tokens": 0 if zero else fresh,
        "cache_creation_input_tokens": 0 if zero else found.cache_write,
        "cache_read_input_tokens": 0 if zero else found.cached,
        "cache_creation": {
            "ephemeral_5m_input_tokens": 0 if zero else found.cache_write,
            "ephemeral_1h_input_tokens": 0,
        },
        "output_tokens": 0 if zero else found.output,
        "service_tier": "standard",
    }


def _headers(question: Question) -> tuple[tuple[str, str], ...]:
    return (("request-id", question.new_id("req_")),)


def _error_object(status: int, message: str) -> dict[str, object]:
    kind = _ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_stand_in"}
