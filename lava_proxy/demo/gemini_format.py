"""Google's generateContent and streamGenerateContent (server-sent events or one JSON array), as the stand-in answers them."""

import json
from collections.abc import Mapping

from lava_proxy.demo.answer import EVENT_STREAM, JSON, Answer, Question, dump, first_tool, sse
from lava_proxy.demo.figures import Figures, count_input, pieces, text_of

_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


def generate(question: Question) -> Answer:
    """`models/{model}:generateContent`."""
    found = question.figures
    parts = _parts(question, found)
    return Answer(events=(dump(_document(question, found, parts, made=found.output, is_last=True)),))


def stream_generate(question: Question) -> Answer:
    """`models/{model}:streamGenerateContent`: events with ``alt=sse``, else one JSON array. Usage grows with every part."""
    found = question.figures
    parts = _split(question, _parts(question, found))
    documents = []
    for number, part in enumerate(parts, start=1):
        is_last = number == len(parts)
        made = found.output if is_last else found.reasoning + (found.output - found.reasoning) * number // len(parts)
        documents.append(_document(question, found, [part], made=made, is_last=is_last))
    if "alt=sse" in question.query:
        broken = sse(_error_object(500, "An internal error has occurred."))
        return Answer(
            events=tuple(sse(d) for d in documents), content_type=EVENT_STREAM, is_stream=True, error_event=broken
        )
    elements = tuple((b"[" if n == 0 else b",\r\n") + dump(d) for n, d in enumerate(documents))
    broken = b",\r\n" + dump(_error_object(500, "An internal error has occurred."))
    return Answer(
        events=elements, content_type=f"{JSON}; charset=UTF-8", is_stream=True, error_event=broken, ending=(b"]",)
    )


def count_tokens(question: Question) -> Answer:
    """`models/{model}:countTokens`; costs nothing."""
    inner = question.body.get("generateContentRequest")
    total = count_input(inner if isinstance(inner, dict) else question.body)
    return Answer(events=(dump({"totalTokens": total}),))


def models(_: Question) -> Answer:
    """`/v1beta/models`."""
    model = {
        "name": "models/gemini-2.5-flash",
        "displayName": "Stand-in",
        "supportedGenerationMethods": ["generateContent"],
    }
    return Answer(events=(dump({"models": [model]}),))


def error(status: int, message: str) -> Answer:
    """An error in Google's shape."""
    return Answer(status=status, events=(dump(_error_object(status, message)),))


def _parts(question: Question, found: Figures) -> list[dict[str, object]]:
    tool = first_tool(question.body, question.plan)
    if tool:
        name, arguments = tool
        return [{"functionCall": {"name": name, "args": json.loads(arguments)}}]
    return [{"text": text_of(found.output - found.reasoning, pad_bytes=question.plan.pad_bytes)}]


def _split(question: Question, parts: list[dict[str, object]]) -> list[dict[str, object]]:
    text = parts[0].get("text")
    if not isinstance(text, str) or not text:
        return parts
    return [{"text": piece} for piece in pieces(text, question.plan.chunks)]


def _document(
    question: Question, found: Figures, parts: list[dict[str, object]], *, made: int, is_last: bool
) -> dict[str, object]:
    content = {"role": "model", "parts": parts}
    ending = {"finishReason": "MAX_TOKENS" if found.is_cut else "STOP"} if is_last else {}
    candidates = [{"content": content, **ending, "index": index} for index in range(found.choices)]
    usage = {} if question.plan.usage == "no" else {"usageMetadata": _usage(question, found, made=made)}
    return {"candidates": candidates, **usage, "modelVersion": question.model, "responseId": question.new_id("r")}


def _usage(question: Question, found: Figures, *, made: int) -> Mapping[str, object]:
    """Here ``candidatesTokenCount`` leaves out the thoughts."""
    if question.plan.usage == "zero":
        return {"promptTokenCount": 0, "candidatesTokenCount": 0, "totalTokenCount": 0}
    shown = (made - found.reasoning) * found.choices
    usage: dict[str, object] = {
        "promptTokenCount": found.input,
        "candidatesTokenCount": shown,
        "totalTokenCount": found.input + shown + found.reasoning_total,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": found.input}],
    }
    if found.reasoning:
        usage["thoughtsTokenCount"] = found.reasoning_total
    if found.cached:
        usage["cachedContentTokenCount"] = found.cached
        usage["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": found.cached}]
    return usage


def _error_object(status: int, message: str) -> dict[str, object]:
    name = _STATUSES.get(status, "UNKNOWN")
    return {"error": {"code": status, "message": message, "status": name}}
