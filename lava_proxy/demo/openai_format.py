"""OpenAI's chat completions, completions, embeddings, models and errors, as the stand-in answers them."""

import base64
import struct
from collections.abc import Mapping

from lava_proxy.demo.answer import EVENT_STREAM, Answer, Question, dump, first_tool, sse
from lava_proxy.demo.figures import Figures, pieces, text_of

_ERROR_TYPES = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
    500: ("server_error", None),
    503: ("server_error", None),
}
_DONE = b"data: [DONE]\n\n"


def chat(question: Question) -> Answer:
    """`/chat/completions`, whole or streamed."""
    return _chat_stream(question) if question.is_stream else _chat_whole(question)


def completion(question: Question) -> Answer:
    """`/completions`, whole or streamed."""
    found = question.figures
    text = _text(question, found)
    if not question.is_stream:
        choices = [_completion_choice(index, text, _reason(found)) for index in range(found.choices)]
        return Answer(
            events=(dump({**_completion_base(question), "choices": choices, **_usage_field(question, found)}),)
        )
    extra: dict[str, object] = {"usage": None} if _wants_usage(question) else {}
    base = _completion_base(question)
    events = []
    for index in range(found.choices):
        parts = [_completion_choice(index, part, None) for part in pieces(text, question.plan.chunks)]
        events += [
            sse({**base, "choices": [choice], **extra})
            for choice in [*parts, _completion_choice(index, "", _reason(found))]
        ]
    return _stream(question, found, base, events)


def embeddings(question: Question) -> Answer:
    """`/embeddings`: numbers that depend on the place only; base64 where asked for, as the SDK does."""
    given = question.body.get("input")
    count = len(given) if isinstance(given, list) and given and not isinstance(given[0], int) else 1
    size = question.body.get("dimensions")
    vectors = [[(i + 1) / (j + 2) for j in range(size if isinstance(size, int) else 8)] for i in range(count)]
    if question.body.get("encoding_format") == "base64":
        encoded: list[object] = [base64.b64encode(struct.pack(f"<{len(v)}f", *v)).decode() for v in vectors]
    else:
        encoded = list(vectors)
    items = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(encoded)]
    tokens = 0 if question.plan.usage == "zero" else question.figures.input
    usage = {} if question.plan.usage == "no" else {"usage": {"prompt_tokens": tokens, "total_tokens": tokens}}
    return Answer(events=(dump({"object": "list", "data": items, "model": question.model, **usage}),))


def models(question: Question) -> Answer:
    """`/models` and `/models/{id}`."""
    name = question.path.rstrip("/").rpartition("/models")[2].lstrip("/")
    if name:
        return Answer(events=(dump(_model(name)),))
    return Answer(events=(dump({"object": "list", "data": [_model("gpt-4o-mini"), _model("text-embedding-3-small")]}),))


def error(status: int, message: str) -> Answer:
    """An error in OpenAI's shape."""
    return Answer(status=status, events=(dump({"error": _error_object(status, message)}),))


def usage_object(question: Question, found: Figures) -> Mapping[str, object]:
    """The ``usage`` of a chat completion."""
    zero = question.plan.usage == "zero"
    prompt, output = (0, 0) if zero else (found.input, found.output_total)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": {"cached_tokens": 0 if zero else found.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0 if zero else found.reasoning_total,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _chat_whole(question: Question) -> Answer:
    found = question.figures
    tool = first_tool(question.body, question.plan)
    message: dict[str, object] = {
        "role": "assistant",
        "content": None if tool else _text(question, found),
        "refusal": None,
    }
    if tool:
        message["tool_calls"] = [_tool_call(question, *tool)]
    choices = [
        {
            "index": index,
            "message": message,
            "logprobs": None,
            "finish_reason": "tool_calls" if tool else _reason(found),
        }
        for index in range(found.choices)
    ]
    return Answer(
        events=(dump({**_chat_base(question, "chat.completion"), "choices": choices, **_usage_field(question, found)}),)
    )


def _chat_stream(question: Question) -> Answer:
    found = question.figures
    base = _chat_base(question, "chat.completion.chunk")
    extra: dict[str, object] = {"usage": None} if _wants_usage(question) else {}
    tool = first_tool(question.body, question.plan)
    events = []
    for index in range(found.choices):
        deltas = _tool_deltas(question, *tool) if tool else _text_deltas(question, found)
        parts = [_chunk_choice(index, delta, None) for delta in deltas]
        last = _chunk_choice(index, {}, "tool_calls" if tool else _reason(found))
        events += [sse({**base, "choices": [choice], **extra}) for choice in [*parts, last]]
    return _stream(question, found, base, events)


def _stream(question: Question, found: Figures, base: Mapping[str, object], events: list[bytes]) -> Answer:
    """The events, then the one with the usage where the request asks for it, then the end."""
    if _wants_usage(question) and question.plan.usage != "no":
        events.append(sse({**base, "choices": [], "usage": usage_object(question, found)}))
    broken = (
        b"data: "
        + dump({"error": _error_object(500, "The server had an error while processing your request.")})
        + b"\n\n"
    )
    return Answer(events=(*events, _DONE), content_type=EVENT_STREAM, is_stream=True, error_event=broken)


def _wants_usage(question: Question) -> bool:
    options = question.body.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def _usage_field(question: Question, found: Figures) -> dict[str, object]:
    return {} if question.plan.usage == "no" else {"usage": usage_object(question, found)}


def _text(question: Question, found: Figures) -> str:
    return text_of(found.output - found.reasoning, pad_bytes=question.plan.pad_bytes)


def _text_deltas(question: Question, found: Figures) -> list[dict[str, object]]:
    rest: list[dict[str, object]] = [{"content": part} for part in pieces(_text(question, found), question.plan.chunks)]
    return [{"role": "assistant", "content": "", "refusal": None}, *rest]


def _tool_deltas(question: Question, name: str, arguments: str) -> list[dict[str, object]]:
    call = _tool_call(question, name, "")
    parts = pieces(arguments, question.plan.chunks)
    rest: list[dict[str, object]] = [{"tool_calls": [{"index": 0, "function": {"arguments": part}}]} for part in parts]
    return [{"role": "assistant", "content": None, "tool_calls": [{"index": 0, **call}]}, *rest]


def _tool_call(question: Question, name: str, arguments: str) -> dict[str, object]:
    return {"id": question.new_id("call_"), "type": "function", "function": {"name": name, "arguments": arguments}}


def _chat_base(question: Question, kind: str) -> dict[str, object]:
    base = {
        "id": question.new_id("chatcmpl-"),
        "object": kind,
        "created": question.created_seconds,
        "model": question.model,
    }
    return {**base, "service_tier": "default", "system_fingerprint": "fp_stand_in"}


def _completion_base(question: Question) -> dict[str, object]:
    return {
        "id": question.new_id("cmpl-"),
        "object": "text_completion",
        "created": question.created_seconds,
        "model": question.model,
    }


def _completion_choice(index: int, text: str, reason: str | None) -> dict[str, object]:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": reason}


def _chunk_choice(index: int, delta: Mapping[str, object], reason: str | None) -> dict[str, object]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}


def _reason(found: Figures) -> str:
    return "length" if found.is_cut else "stop"


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "stand-in"}


def _error_object(status: int, message: str) -> dict[str, object]:
    kind, code = _ERROR_TYPES.get(status, ("invalid_request_error" if status < 500 else "server_error", None))
    return {"message": message, "type": kind, "param": None, "code": code}
