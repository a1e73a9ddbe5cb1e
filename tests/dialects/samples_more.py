"""Answers of the other wires, written by hand in the providers' shapes."""

import json

from tests.dialects.feeding import DONE, chunk_frame, event, frame, lines

CONVERSE = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Fine."}]}},
    "stopReason": "end_turn",
    "usage": {
        "inputTokens": 11,
        "outputTokens": 6,
        "totalTokens": 617,
        "cacheReadInputTokens": 500,
        "cacheWriteInputTokens": 100,
        "cacheDetails": [{"ttl": "1h", "inputTokens": 60}, {"ttl": "5m", "inputTokens": 40}],
    },
    "serviceTier": {"type": "priority"},
}
CONVERSE_STREAM = (
    frame("messageStart", {"role": "assistant"})
    + frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Fine."}})
    + frame("messageStop", {"stopReason": "end_turn"})
    + frame("metadata", {"usage": CONVERSE["usage"], "metrics": {"latencyMs": 9}})
)
METRICS = {"inputTokenCount": 7, "outputTokenCount": 12, "cacheReadInputTokenCount": 30, "cacheWriteInputTokenCount": 3}
LLAMA_STREAM = chunk_frame({"generation": "A", "prompt_token_count": 7, "generation_token_count": 1}) + chunk_frame(
    {
        "generation": " b",
        "prompt_token_count": None,
        "generation_token_count": 12,
        "stop_reason": "stop",
        "amazon-bedrock-invocationMetrics": {"inputTokenCount": 7, "outputTokenCount": 12},
    }
)
CLAUDE_ON_BEDROCK = (
    chunk_frame(
        {
            "type": "message_start",
            "message": {"id": "msg_1", "model": "claude-haiku-4-5", "usage": {"input_tokens": 7, "output_tokens": 1,
                        "cache_read_input_tokens": 30, "cache_creation_input_tokens": 3}},
        }
    )
    + chunk_frame({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}})
    + chunk_frame({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 15}})
    + chunk_frame({"type": "message_stop", "amazon-bedrock-invocationMetrics": METRICS})
)  # fmt: skip


def agent_trace(kind: str, usage: object) -> bytes:
    """A finished model call inside an agent's answer."""
    return frame("trace", {"trace": {kind: {"modelInvocationOutput": {"metadata": {"usage": usage}}}}})


AGENT_STREAM = (
    frame("trace", {"trace": {"orchestrationTrace": {"modelInvocationInput": {"text": "x"}}}})
    + agent_trace("orchestrationTrace", {"inputTokens": 40, "outputTokens": 9})
    + agent_trace("postProcessingTrace", {"inputTokens": 5, "outputTokens": 1})
    + frame("chunk", {"bytes": "T2s="})
)
COHERE_USAGE = {
    "billed_units": {"input_tokens": 8, "output_tokens": 10},
    "tokens": {"input_tokens": 503, "output_tokens": 13},
    "cached_tokens": 448,
}
COHERE_STREAM = (
    event(
        {"type": "message-start", "id": "c-1", "delta": {"message": {"role": "assistant", "content": []}}},
        name="message-start",
    )
    + event(
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Rain"}}}}, name="content-delta"
    )
    + event({"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": COHERE_USAGE}}, name="message-end")
    + DONE
)
COHERE_LINES = lines(
    {"is_finished": False, "event_type": "stream-start", "generation_id": "g-1"},
    {"is_finished": False, "event_type": "text-generation", "text": "Rain"},
    {
        "is_finished": True,
        "event_type": "stream-end",
        "finish_reason": "COMPLETE",
        "response": {"text": "Rain", "meta": {"billed_units": {"input_tokens": 14.0, "output_tokens": 9.0}}},
    },
)
OLLAMA_LINES = lines(
    {"model": "llama3.2", "message": {"role": "assistant", "content": "Hel"}, "done": False},
    {"model": "llama3.2", "message": {"role": "assistant", "content": "lo"}, "done": False},
    {
        "model": "llama3.2",
        "message": {"content": ""},
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": 26,
        "eval_count": 4,
    },
)
INTERACTION = {
    "id": "v1_1",
    "object": "interaction",
    "model": "gemini-3-flash",
    "status": "completed",
    "service_tier": "flex",
    "steps": [{"type": "model_output", "content": [{"type": "text", "text": "Yes"}]}],
    "usage": {
        "total_input_tokens": 20,
        "total_cached_tokens": 8,
        "total_output_tokens": 5,
        "total_thought_tokens": 30,
        "total_tool_use_tokens": 7,
        "total_tokens": 62,
        "input_tokens_by_modality": [{"modality": "text", "tokens": 15}, {"modality": "audio", "tokens": 5}],
    },
}
INTERACTION_STREAM = (
    event(
        {
            "event_type": "interaction.created",
            "interaction": {"id": "v1_1", "model": "gemini-3-flash", "status": "in_progress"},
        }
    )
    + event({"event_type": "step.delta", "delta": {"type": "text", "text": "Yes"}})
    + event({"event_type": "interaction.completed", "interaction": INTERACTION})
    + event("[DONE]", name="done")
)
TURN = {
    "type": "response.done",
    "response": {
        "usage": {
            "total_tokens": 219,
            "input_tokens": 122,
            "output_tokens": 97,
            "input_token_details": {
                "text_tokens": 96,
                "audio_tokens": 26,
                "cached_tokens": 64,
                "cached_tokens_details": {"text_tokens": 54, "audio_tokens": 10},
            },
            "output_token_details": {"text_tokens": 28, "audio_tokens": 69},
        }
    },
}  # fmt: skip
REALTIME = lines(
    {"type": "session.created", "session": {"id": "sess_1", "model": "gpt-realtime"}},
    {"type": "response.output_text.delta", "delta": "Hello"},
    {"type": "conversation.item.input_audio_transcription.completed", "usage": {"type": "duration", "seconds": 3}},
    TURN,
    TURN,
)
LIVE = lines(
    {"setupComplete": {}},
    {"serverContent": {"modelTurn": {"parts": [{"text": "Hi"}]}}},
    {"usageMetadata": {"promptTokenCount": 40, "responseTokenCount": 9, "thoughtsTokenCount": 3, "totalTokenCount": 49,
                       "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 9}]}},
    {"serverContent": {"turnComplete": True}, "usageMetadata": {"promptTokenCount": 60, "responseTokenCount": 1, "totalTokenCount": 61}},
)  # fmt: skip
IMAGE_STREAM = event({"type": "image_generation.partial_image", "b64_json": "aaaa", "partial_image_index": 0}) + event(
    {
        "type": "image_generation.completed",
        "b64_json": "bbbb",
        "size": "1024x1024",
        "quality": "high",
        "usage": {
            "input_tokens": 30,
            "output_tokens": 4160,
            "total_tokens": 4190,
            "input_tokens_details": {"text_tokens": 20, "image_tokens": 10},
        },
    }
)
_CHAT_RESULT = {"model": "gpt-4o", "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}}
_CLAUDE_USAGE = {"input_tokens": 4, "cache_read_input_tokens": 6, "output_tokens": 3}
BATCH_LINES = lines(
    {"id": "b1", "custom_id": "1", "response": {"status_code": 200, "body": _CHAT_RESULT}},
    {"id": "b2", "custom_id": "2", "response": {"status_code": 500, "body": {"error": {"message": "x"}}}},
    {
        "custom_id": "3",
        "result": {"type": "succeeded", "message": {"type": "message", "model": "claude", "usage": _CLAUDE_USAGE}},
    },
)
RUN = {
    "id": "run_1",
    "object": "thread.run",
    "status": "completed",
    "model": "gpt-4o",
    "usage": {"prompt_tokens": 90, "completion_tokens": 12, "total_tokens": 102},
}
RUN_STREAM = (
    event(
        {"id": "run_1", "object": "thread.run", "status": "queued", "model": "gpt-4o", "usage": None},
        name="thread.run.created",
    )
    + event(
        {"id": "step_1", "object": "thread.run.step", "usage": {"prompt_tokens": 90, "completion_tokens": 12}},
        name="thread.run.step.completed",
    )
    + event(RUN, name="thread.run.completed")
    + event("[DONE]", name="done")
)
WATSONX_STREAM = (
    event(
        {
            "model_id": "ibm/granite",
            "results": [
                {
                    "generated_text": "",
                    "generated_token_count": 0,
                    "input_token_count": 8,
                    "stop_reason": "not_finished",
                }
            ],
        }
    )
    + event(
        {
            "model_id": "ibm/granite",
            "results": [
                {
                    "generated_text": "A",
                    "generated_token_count": 4,
                    "input_token_count": 0,
                    "stop_reason": "not_finished",
                }
            ],
        }
    )
    + event(
        {
            "results": [
                {"generated_text": "b", "generated_token_count": 11, "input_token_count": 0, "stop_reason": "eos_token"}
            ]
        }
    )
)
PREDICTION = {
    "id": "p1",
    "model": "a/b",
    "status": "succeeded",
    "output": ["https://x.example/1.png"],
    "metrics": {"predict_time": 3.25},
}
EXA = {"requestId": "r", "results": [], "costDollars": {"total": 0.0075, "search": {"neural": 0.005}}}
DASHSCOPE_STREAM = event(
    {
        "output": {"text": "A", "finish_reason": "null"},
        "usage": {"input_tokens": 9, "output_tokens": 1},
        "request_id": "q",
    }
) + event(
    {
        "output": {"text": "Ab", "finish_reason": "stop"},
        "usage": {"input_tokens": 9, "output_tokens": 3, "total_tokens": 12},
        "request_id": "q",
    }
)
CLOUDFLARE_STREAM = (
    event({"response": "A"})
    + event({"response": "", "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}})
    + DONE
)
COMPLETE_STREAM = event(
    {"type": "completion", "id": "compl_1", "completion": " Hi", "stop_reason": None, "model": "claude-2.1"},
    name="completion",
) + event(
    {"type": "completion", "id": "compl_1", "completion": "", "stop_reason": "stop_sequence", "model": "claude-2.1"},
    name="completion",
)


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


MORE_ANSWERS: dict[str, list[bytes]] = {
    "bedrock_converse": [_json(CONVERSE), CONVERSE_STREAM],
    "bedrock_invoke": [LLAMA_STREAM, CLAUDE_ON_BEDROCK, _json({"inputTextTokenCount": 4.0, "results": [{"tokenCount": 9.0}]})],
    "bedrock_agent": [AGENT_STREAM],
    "cohere": [COHERE_STREAM, COHERE_LINES, _json({"id": "x", "meta": {"billed_units": {"search_units": 1}}})],
    "ollama": [OLLAMA_LINES],
    "gemini_interactions": [_json(INTERACTION), INTERACTION_STREAM],
    "gemini_embed": [_json({"embedding": {"values": [0.5]}, "usageMetadata": {"promptTokenCount": 11}})],
    "gemini_live": [LIVE],
    "google_predict": [_json({"predictions": [{"embeddings": {"statistics": {"token_count": 5}, "values": [0.1]}}]})],
    "watsonx": [WATSONX_STREAM],
    "rerank": [_json({"model": "r", "results": [], "usage": {"total_tokens": 43}})],
    "openai_images": [IMAGE_STREAM, _json({"created": 1, "data": [{"url": "u"}, {"url": "v"}]})],
    "speech": [b"ID3\x04\x00\x00\x00\x00\x00\x00", _json({"audio": "aa", "billable_characters_count": 12})],
    "transcription": [_json({"text": "Hi", "usage": {"type": "duration", "seconds": 6}})],
    "openai_realtime": [REALTIME],
    "openai_runs": [RUN_STREAM, _json(RUN)],
    "batch_results": [BATCH_LINES, _json({"id": "batch_1", "status": "in_progress"})],
    "video_task": [_json({"id": "video_1", "object": "video", "status": "completed", "model": "sora-2", "seconds": "8"})],
    "replicate": [_json(PREDICTION)],
    "media_task": [_json({"images": [{"url": "u", "content_type": "image/png"}], "request_id": "r"})],
    "elevenlabs": [_json({"text": "Hi", "words": [{"text": "Hi", "start": 0.1, "end": 1.75}]})],
    "web_tools": [_json(EXA)],
    "doc_pages": [_json({"pages": [{}, {}], "model": "mistral-ocr-latest", "usage_info": {"pages_processed": 2}})],
    "agent_calls": [_json({"id": "call_1", "status": "ended", "cost": 0.25, "durationSeconds": 61.5})],
    "dashscope": [DASHSCOPE_STREAM],
    "cloudflare": [CLOUDFLARE_STREAM, _json({"result": {"response": "A", "usage": {"prompt_tokens": 7}}, "success": True})],
    "huggingface": [b'[{"generated_text":"A","details":{"generated_tokens":20,"prefill":[{},{}]}}]'],
    "aleph_alpha": [_json({"completions": [], "model_version": "v", "num_tokens_prompt_total": 9, "num_tokens_generated": 3})],
    "anthropic_complete": [COMPLETE_STREAM],
    "nested_usage": [_json({"result": {"usage": {"inputTextTokens": "12", "completionTokens": "7"}, "modelVersion": "1"}})],
}  # fmt: skip
