"""OpenAI's responses, as the stand-in answers them."""

from collections.abc import Mapping

from lava_proxy.demo.answer import EVENT_STREAM, Answer, Question, dump, first_tool, sse
from lava_proxy.demo.figures import Figures, pieces, text_of


def responses(question: Question) -> Answer:
    """`/responses`, whole or streamed."""
    found = question.figures
    items = _items(question, found)
    final = _response(question, found, items)
    return _stream(question, items, final) if question.is_stream else Answer(events=(dump(final),))


def _stream(question: Question, items: list[dict[str, object]], final: Mapping[str, object]) -> Answer:
    begun = {**final, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    told: list[dict[str, object]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
    ]
    for index, item in enumerate(items):
        told += _item_events(question, index, item)
    told.append({"type": f"response.{final['status']}", "response": final})
    events = tuple(sse({**event, "sequence_number": n}, event=str(event["type"])) for n, event in enumerate(told))
    problem = {
        "type": "error",
        "code": "server_error",
        "message": "The server had an error.",
        "param": None,
        "sequence_number": len(told),
    }
    return Answer(events=events, content_type=EVENT_STREAM, is_stream=True, error_event=sse(problem, event="error"))


def _item_events(question: Question, index: int, item: Mapping[str, object]) -> list[dict[str, object]]:
    place: dict[str, object] = {"item_id": item["id"], "output_index": index}
    opened = {**item, "status": "in_progress", **({"content": []} if item["type"] == "message" else {"arguments": ""})}
    parts = _text_events(question, place, item) if item["type"] == "message" else _call_events(question, place, item)
    return [
        {"type": "response.output_item.added", "output_index": index, "item": opened},
        *parts,
        {"type": "response.output_item.done", "output_index": index, "item": item},
    ]


def _text_events(
    question: Question, place: Mapping[str, object], item: Mapping[str, object]
) -> list[dict[str, object]]:
    content = item["content"]
    assert isinstance(content, list)
    part = content[0]
    text = part["text"]
    where = {**place, "content_index": 0}
    return [
        {"type": "response.content_part.added", **where, "part": {**part, "text": ""}},
        *(
            {"type": "response.output_text.delta", **where, "delta": piece, "logprobs": []}
            for piece in pieces(text, question.plan.chunks)
        ),
        {"type": "response.output_text.done", **where, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **where, "part": part},
    ]


def _call_events(
    question: Question, place: Mapping[str, object], item: Mapping[str, object]
) -> list[dict[str, object]]:
    arguments = str(item["arguments"])
    deltas = (
        {"type": "response.function_call_arguments.delta", **place, "delta": piece}
        for piece in pieces(arguments, question.plan.chunks)
    )
    return [
        *deltas,
        {"type": "response.function_call_arguments.done", **place, "arguments": arguments, "name": item["name"]},
    ]


def _items(question: Question, found: Figures) -> list[dict[str, object]]:
    tool = first_tool(question.body, question.plan)
    if tool:
        name, arguments = tool
        call: dict[str, object] = {"id": question.new_id("fc_"), "type": "function_call", "status": "completed"}
        return [{**call, "call_id": question.new_id("call_"), "name": name, "arguments": arguments}]
    text = text_of(found.output - found.reasoning, pad_bytes=question.plan.pad_bytes)
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    status = "incomplete" if found.is_cut else "completed"
    return [
        {"id": question.new_id("msg_"), "type": "message", "status": status, "role": "assistant", "content": [part]}
    ]


def _response(question: Question, found: Figures, items: list[dict[str, object]]) -> dict[str, object]:
    return {
        "id": question.new_id("resp_"),
        "object": "response",
        "created_at": question.created_seconds,
        "status": "incomplete" if found.is_cut else "completed",
        "background": False,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if found.is_cut else None,
        "instructions": question.body.get("instructions"),
        "max_output_tokens": question.body.get("max_output_tokens"),
        "metadata": question.body.get("metadata") or {},
        "model": question.model,
        "output": items,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": question.body.get("tool_choice") or "auto",
        "tools": question.body.get("tools") or [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": _usage(question, found),
        "user": None,
    }


def _usage(question: Question, found: Figures) -> dict[str, object] | None:
    if question.plan.usage == "no":
        return None
    zero = question.plan.usage == "zero"
    given, made = (0, 0) if zero else (found.input, found.output)
    return {
        "input_tokens": given,
        "input_tokens_details": {"cached_tokens": 0 if zero else found.cached},
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": 0 if zero else found.reasoning},
        "total_tokens": given + made,
    }
