"""Answers written by hand in the providers' shapes, one for each way in which they differ."""

import json

from tests.dialects.feeding import DONE, event
from tests.dialects.samples_more import MORE_ANSWERS


def chat_chunk(text: str | None = None, **fields: object) -> dict[str, object]:
    delta = {} if text is None else {"content": text}
    return {
        "id": "chatcmpl-7",
        "object": "chat.completion.chunk",
        "created": 1790000000,
        "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "delta": delta, "finish_reason": None}],
        **fields,
    }


def usage_chunk(**usage: object) -> dict[str, object]:
    return chat_chunk(choices=[], usage=usage)


OPENAI_USAGE: dict[str, object] = {
    "prompt_tokens": 120,
    "completion_tokens": 30,
    "total_tokens": 150,
    "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 12, "audio_tokens": 0},
}

CHAT_STREAM = (
    event(chat_chunk("Hé", usage=None, service_tier="priority"))
    + event(chat_chunk('llo "you"', usage=None))
    + event(chat_chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}], usage=None))
    + event(usage_chunk(**OPENAI_USAGE))
    + DONE
)
CHAT_STREAM_WITHOUT_ITS_USAGE_EVENT = CHAT_STREAM.replace(event(usage_chunk(**OPENAI_USAGE)), b"")

CHAT_DOCUMENT = json.dumps(
    {
        "id": "chatcmpl-8",
        "object": "chat.completion",
        "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}],
        "usage": OPENAI_USAGE,
        "service_tier": "default",
    }
).encode()

MESSAGES_STREAM = (
    event(
        {
            "type": "message_start",
            "message": {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "model": "claude-sonnet-4-6",
                "content": [],
                "usage": {
                    "input_tokens": 20,
                    "cache_creation_input_tokens": 300,
                    "cache_read_input_tokens": 1000,
                    "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 100},
                    "output_tokens": 2,
                    "service_tier": "standard",
                },
            },
        },
        name="message_start",
    )
    + event({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
    + event({"type": "ping"}, name="ping")
    + event(
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "It is 12°."}},
        name="content_block_delta",
    )
    + event({"type": "content_block_stop", "index": 0}, name="content_block_stop")
    + event(
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": 41, "output_tokens_details": {"thinking_tokens": 9}},
        },
        name="message_delta",
    )
    + event({"type": "message_stop"}, name="message_stop")
)

RESPONSE: dict[str, object] = {
    "id": "resp_1",
    "object": "response",
    "status": "completed",
    "model": "gpt-5-2026-01-01",
    "service_tier": "flex",
    "error": None,
    "output": [
        {"type": "reasoning", "summary": []},
        {"type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "q"}},
        {"type": "web_search_call", "status": "completed", "action": {"type": "open_page", "url": "u"}},
        {"type": "file_search_call", "status": "completed"},
        {"type": "message", "content": [{"type": "output_text", "text": "Done."}]},
    ],
    "usage": {
        "input_tokens": 500,
        "input_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 50},
        "output_tokens": 80,
        "output_tokens_details": {"reasoning_tokens": 64},
        "total_tokens": 580,
    },
}

RESPONSES_STREAM = (
    event(
        {"type": "response.created", "response": {**RESPONSE, "status": "in_progress", "usage": None, "output": []}},
        name="response.created",
    )
    + event({"type": "response.output_text.delta", "delta": "Do"}, name="response.output_text.delta")
    + event({"type": "response.output_text.delta", "delta": "ne."}, name="response.output_text.delta")
    + event({"type": "response.output_text.done", "text": "Done."}, name="response.output_text.done")
    + event({"type": "response.completed", "response": RESPONSE}, name="response.completed")
)


def gemini_piece(text: str, *, is_last: bool = False, **counts: object) -> dict[str, object]:
    candidate: dict[str, object] = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    if is_last:
        candidate["finishReason"] = "STOP"
    return {"candidates": [candidate], "usageMetadata": counts, "modelVersion": "gemini-2.5-pro", "responseId": "r1"}


GEMINI_PIECES = [
    gemini_piece("One ", promptTokenCount=40, totalTokenCount=60, thoughtsTokenCount=20),
    gemini_piece("two ", promptTokenCount=40, candidatesTokenCount=4, totalTokenCount=64, thoughtsTokenCount=20),
    gemini_piece("", is_last=True, promptTokenCount=40, totalTokenCount=71, thoughtsTokenCount=27),
]
GEMINI_STREAM = b"".join(event(piece, end=b"\r\n") for piece in GEMINI_PIECES)
GEMINI_ARRAY = b"[" + b"\n,\r\n".join(json.dumps(piece, indent=1).encode() for piece in GEMINI_PIECES) + b"\n]\n"

EMBEDDINGS_DOCUMENT = json.dumps(
    {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}],
        "model": "text-embedding-3-small",
        "usage": {"prompt_tokens": 9, "total_tokens": 9},
    }
).encode()

ANSWERS: dict[str, list[bytes]] = {
    **MORE_ANSWERS,
    "openai_chat": [CHAT_STREAM, CHAT_DOCUMENT, CHAT_STREAM.replace(b"\n", b"\r\n"), CHAT_STREAM.replace(b"\n", b"\r")],
    "openai_completions": [
        event({"id": "cmpl-1", "model": "davinci", "choices": [{"text": " a", "index": 0}], "usage": None}) + DONE
    ],
    "openai_responses": [RESPONSES_STREAM, json.dumps(RESPONSE).encode()],
    "openai_embeddings": [EMBEDDINGS_DOCUMENT],
    "anthropic_messages": [MESSAGES_STREAM],
    "gemini_generate": [GEMINI_STREAM, GEMINI_ARRAY, json.dumps(GEMINI_PIECES[1]).encode()],
}
"""At least one whole answer of each wire format."""
