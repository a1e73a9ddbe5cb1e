"""Bedrock: one shape for all makers, every maker's own, two kinds of binary events, and counts in headers."""

import pytest

from lava_proxy.core.usage import NO_USAGE, Usage
from lava_proxy.dialects import DIALECTS
from lava_proxy.dialects.event_stream import FrameCutter
from tests.dialects.feeding import chunk_frame, exchange, frame, lines, pieces
from tests.dialects.samples_more import (
    AGENT_STREAM,
    CLAUDE_ON_BEDROCK,
    CONVERSE,
    CONVERSE_STREAM,
    LLAMA_STREAM,
    METRICS,
)

CONVERSE_USAGE = Usage(
    input_tokens=611, cached_input_tokens=500, cache_write_tokens=100, cache_write_1h_tokens=60, output_tokens=6
)


def test_converse_counts_cache_reads_and_writes_into_the_input() -> None:
    found = exchange("bedrock_converse", CONVERSE)
    assert found.usage == CONVERSE_USAGE
    assert found.service_tier == "priority"
    assert found.model is None


def test_a_stream_of_converse_tells_its_usage_in_the_last_event() -> None:
    found = exchange("bedrock_converse", CONVERSE_STREAM, op="converse_stream")
    assert found.usage == CONVERSE_USAGE
    assert found.is_complete
    assert found.output_text_characters == 5


def test_a_stream_whose_binary_framing_was_lost_is_read_from_its_lines() -> None:
    body = lines(
        {"contentBlockDelta": {"delta": {"text": "Hi"}}}, {"metadata": {"usage": {"inputTokens": 3, "outputTokens": 2}}}
    )
    assert exchange("bedrock_converse", body).usage == Usage(input_tokens=3, output_tokens=2)


def test_an_exception_in_mid_stream_is_an_error_and_no_usage() -> None:
    body = frame("messageStart", {"role": "assistant"}) + frame(
        "throttlingException", {"message": "slow"}, kind="exception"
    )
    found = exchange("bedrock_converse", body)
    assert found.is_error
    assert found.usage == NO_USAGE
    assert not found.is_complete


def test_the_model_is_the_paths() -> None:
    facts = DIALECTS["bedrock_converse"].read_request(
        "converse",
        b'{"messages":[],"inferenceConfig":{"maxTokens":50}}',
        path_model="us.anthropic.claude-haiku-4-5-v1:0",
    )
    assert facts.model == "us.anthropic.claude-haiku-4-5-v1:0"
    assert facts.output_limit == 50


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        pytest.param(
            {"type": "message", "model": "claude", "usage": {"input_tokens": 3, "cache_read_input_tokens": 9, "output_tokens": 5}},
            Usage(input_tokens=12, cached_input_tokens=9, output_tokens=5),
            id="anthropic",
        ),
        pytest.param(
            {"output": {}, "usage": {"inputTokens": 8, "outputTokens": 3, "cacheReadInputTokenCount": 2}},
            Usage(input_tokens=10, cached_input_tokens=2, output_tokens=3),
            id="nova",
        ),
        pytest.param(
            {"inputTextTokenCount": 28.0, "results": [{"tokenCount": 100.0}, {"tokenCount": 97.0}]},
            Usage(input_tokens=28, output_tokens=197),
            id="titan",
        ),
        pytest.param({"embedding": [0.1], "inputTextTokenCount": 5}, Usage(input_tokens=5), id="titan embeddings"),
        pytest.param(
            {"generation": "A", "prompt_token_count": 10, "generation_token_count": 60},
            Usage(input_tokens=10, output_tokens=60),
            id="llama",
        ),
        pytest.param(
            {"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 6, "total_tokens": 10}},
            Usage(input_tokens=4, output_tokens=6),
            id="openai's shape",
        ),
        pytest.param(
            {"prompt": {"tokens": [{}, {}, {}]}, "completions": [{"data": {"tokens": [{}, {}]}}]},
            Usage(input_tokens=3, output_tokens=2),
            id="jurassic",
        ),
        pytest.param({"images": ["aaaa", "bbbb"]}, Usage(images=2), id="pictures"),
    ],
)  # fmt: skip
def test_every_makers_body_is_read(body: object, usage: Usage) -> None:
    assert exchange("bedrock_invoke", body, op="invoke").usage == usage


def test_counts_in_headers_stand_where_the_body_is_silent() -> None:
    headers = {
        "x-amzn-bedrock-input-token-count": "7",
        "x-amzn-bedrock-output-token-count": "20",
        "x-amzn-bedrock-cache-read-input-token-count": "3",
    }
    found = exchange("bedrock_invoke", {"generations": [{"text": "A"}]}, headers=headers)
    assert found.usage == Usage(input_tokens=10, output_tokens=20, cached_input_tokens=3)
    told = exchange("bedrock_invoke", {"prompt_token_count": 9, "generation_token_count": 1}, headers=headers)
    assert told.usage.input_tokens == 9


def test_llamas_counts_in_a_stream_are_cumulative() -> None:
    found = exchange("bedrock_invoke", LLAMA_STREAM, op="invoke_stream")
    assert found.usage == Usage(input_tokens=7, output_tokens=12)
    assert found.is_complete
    assert found.output_text_characters == 3


def test_claudes_own_figures_win_over_bedrocks_and_a_difference_is_told() -> None:
    found = exchange("bedrock_invoke", CLAUDE_ON_BEDROCK, op="invoke_stream")
    assert found.usage == Usage(input_tokens=40, cached_input_tokens=30, cache_write_tokens=3, output_tokens=15)
    assert found.model == "claude-haiku-4-5"
    assert found.flags == ("invocation_metrics_differ",)


def test_metrics_are_enough() -> None:
    body = chunk_frame({"outputText": "A", "amazon-bedrock-invocationMetrics": METRICS})
    assert exchange("bedrock_invoke", body).usage == Usage(
        input_tokens=40, cached_input_tokens=30, cache_write_tokens=3, output_tokens=12
    )


def test_a_prompt_that_a_guardrail_kept_back_costs_no_inference() -> None:
    blocked = {
        "outputText": "Blocked.",
        "inputTextTokenCount": 6.0,
        "totalOutputTextTokenCount": 3.0,
        "amazon-bedrock-guardrailAction": "INTERVENED",
        "amazon-bedrock-trace": {"guardrail": {"input": {"g": {"topicPolicy": {"topics": [{"action": "BLOCKED"}]}}}}},
    }
    found = exchange("bedrock_invoke", chunk_frame(blocked))
    assert found.usage == NO_USAGE
    assert found.flags == ("blocked_by_guardrail",)


def test_an_agents_model_calls_add_up() -> None:
    assert exchange("bedrock_agent", AGENT_STREAM).usage == Usage(input_tokens=45, output_tokens=10)
    assert exchange("bedrock_agent", frame("chunk", {"bytes": "T2s="})).usage == NO_USAGE


def test_a_damaged_event_is_passed_over_and_the_next_one_read() -> None:
    good = frame("metadata", {"usage": {"inputTokens": 1, "outputTokens": 2}})
    for damaged in (bytearray(frame("a", {})), bytearray(b"\0\0\0\x40" + bytes(60))):
        damaged[-1] ^= 0x55
        found = exchange("bedrock_converse", bytes(damaged) + good)
        assert found.usage == Usage(input_tokens=1, output_tokens=2)
        assert "malformed_body" in found.flags


def test_an_event_above_the_limit_is_dropped_and_what_follows_is_read() -> None:
    body = frame("big", {"x": "y" * 500}) + frame("small", {})
    for size in (1, 13, 10_000):
        cutter = FrameCutter(limit=300)
        found = [event.name for chunk in pieces(body, size) for event in cutter.feed(chunk)]
        assert found == ["small"]
        assert cutter.has_dropped and not cutter.is_damaged and not cutter.has_rest


def test_endless_damage_is_given_up() -> None:
    cutter = FrameCutter(limit=1000)
    for _ in range(40):
        assert cutter.feed(b"\0" * (64 << 10)) == []
    assert cutter.is_damaged
    assert cutter.feed(CONVERSE_STREAM) == []
