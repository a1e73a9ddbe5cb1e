"""Anthropic's messages: cache outside the input, first and last usage of a stream, searches, tiers, errors."""

import json

from lava_proxy.core.usage import NO_USAGE, Reading, Usage
from tests.dialects.feeding import event, read, read_in
from tests.dialects.samples import MESSAGES_STREAM

MESSAGES = "anthropic_messages"


def usage_of(usage: object, **fields: object) -> Reading:
    content = [{"type": "text", "text": "Hi"}, {"type": "tool_use", "name": "go", "input": {"a": 1}}]
    answer = {"id": "msg_2", "type": "message", "model": "claude-x", "content": content, "usage": usage, **fields}
    return read(json.dumps(answer).encode(), MESSAGES)


def start(**usage: object) -> bytes:
    return event({"type": "message_start", "message": {"id": "m", "model": "claude-x", "usage": usage}})


def delta(**usage: object) -> bytes:
    return event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage})


STOP = event({"type": "message_stop"})


def test_a_stream_has_its_input_in_the_first_event_and_its_output_in_the_last() -> None:
    reading = read(MESSAGES_STREAM, MESSAGES)
    assert reading.usage == Usage(
        input_tokens=1320,
        cached_input_tokens=1000,
        cache_write_tokens=300,
        cache_write_1h_tokens=100,
        output_tokens=41,
        reasoning_tokens=9,
    )
    assert (reading.model, reading.response_id, reading.service_tier) == ("claude-sonnet-4-6", "msg_1", "standard")
    assert reading.is_complete
    assert (reading.output_text_characters, reading.output_text_bytes) == (10, 11)
    assert len(reading.raw_usage) == 2


def test_a_document_counts_the_cache_into_the_input() -> None:
    reading = usage_of(
        {"input_tokens": 5, "cache_read_input_tokens": 7, "cache_creation_input_tokens": 11, "output_tokens": 3}
    )
    assert reading.usage == Usage(input_tokens=23, cached_input_tokens=7, cache_write_tokens=11, output_tokens=3)
    assert reading.output_text_characters == len("Hi" + "go" + '{"a": 1}')


def test_cache_writes_told_by_lifetime_alone_are_summed() -> None:
    creation = {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 12}
    usage = usage_of({"input_tokens": 1, "output_tokens": 1, "cache_creation": creation}).usage
    assert (usage.input_tokens, usage.cache_write_tokens, usage.cache_write_1h_tokens) == (43, 42, 12)


def test_a_delta_that_restates_the_input_overrides_the_start() -> None:
    reading = read(
        start(input_tokens=699, output_tokens=5) + delta(input_tokens=1040, output_tokens=41) + STOP, MESSAGES
    )
    assert (reading.usage.input_tokens, reading.usage.output_tokens) == (1040, 41)


def test_deltas_are_cumulative_and_never_added() -> None:
    body = start(input_tokens=9, output_tokens=1) + delta(output_tokens=20) + delta(output_tokens=35) + STOP
    assert read(body, MESSAGES).usage == Usage(input_tokens=9, output_tokens=35)


def test_a_delta_that_zeroes_the_input_does_not_erase_it() -> None:
    body = start(input_tokens=900, cache_read_input_tokens=80, output_tokens=1)
    body += delta(input_tokens=0, cache_read_input_tokens=0, output_tokens=7) + STOP
    assert read(body, MESSAGES).usage == Usage(input_tokens=980, cached_input_tokens=80, output_tokens=7)


def test_the_input_may_be_told_at_the_end_alone() -> None:
    body = start(input_tokens=0, output_tokens=0) + delta(input_tokens=31, output_tokens=4) + STOP
    assert read(body, MESSAGES).usage == Usage(input_tokens=31, output_tokens=4)


def test_an_output_of_zero_at_the_end_is_believed() -> None:
    assert (
        read(start(input_tokens=5, output_tokens=3) + delta(output_tokens=0) + STOP, MESSAGES).usage.output_tokens == 0
    )


def test_several_message_starts_leave_the_figures_of_the_last_delta() -> None:
    body = start(input_tokens=10, output_tokens=1) + start(input_tokens=20, output_tokens=2)
    assert read(body + delta(input_tokens=33, output_tokens=8) + STOP, MESSAGES).usage == Usage(
        input_tokens=33, output_tokens=8
    )


def test_an_aborted_stream_knows_its_input_and_not_its_output() -> None:
    text = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Half an ans"}}
    reading, _ = read_in([start(input_tokens=900, output_tokens=1), event(text)], MESSAGES, is_over=False)
    assert reading.usage == Usage(input_tokens=900)
    assert not reading.is_complete
    assert reading.output_text_characters == 11


def test_thinking_and_tool_input_count_as_text() -> None:
    blocks = [
        {
            "type": "content_block_start",
            "content_block": {"type": "tool_use", "id": "toolu_1", "name": "go", "input": {}},
        },
        {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "hmm"}},
        {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": '{"q":'}},
        {"type": "content_block_delta", "delta": {"type": "signature_delta", "signature": "AAAA"}},
    ]
    assert read(b"".join(map(event, blocks)), MESSAGES).output_text_characters == len("go" + "hmm" + '{"q":')


def test_web_searches_are_counted() -> None:
    tools = {"web_search_requests": 2, "web_fetch_requests": 1}
    assert usage_of({"input_tokens": 1, "output_tokens": 1, "server_tool_use": tools}).usage.searches == 2


def test_iterations_stay_out_of_the_totals_and_are_flagged() -> None:
    own = {"type": "message", "input_tokens": 10, "output_tokens": 2}
    usage = {"input_tokens": 10, "output_tokens": 2, "iterations": [own]}
    assert usage_of(usage).flags == ()
    other = {"type": "advisor_message", "model": "claude-y", "input_tokens": 500, "output_tokens": 90}
    reading = usage_of({**usage, "iterations": [own, other]})
    assert reading.usage == Usage(input_tokens=10, output_tokens=2)
    assert reading.flags == ("iterations_outside_totals",)
    assert '"advisor_message"' in reading.raw_usage[0]


def test_tier_and_speed_become_the_service_tier() -> None:
    usage = {"input_tokens": 1, "output_tokens": 1}
    assert usage_of(usage).service_tier is None
    assert usage_of({**usage, "service_tier": "standard", "speed": "standard"}).service_tier == "standard"
    assert usage_of({**usage, "service_tier": "priority"}).service_tier == "priority"
    assert usage_of({**usage, "service_tier": "standard", "speed": "fast"}).service_tier == "fast"


def test_an_error_event_after_the_start_keeps_the_input() -> None:
    error = event({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, name="error")
    reading = read(start(input_tokens=900, output_tokens=1) + error, MESSAGES)
    assert reading.is_error
    assert not reading.is_complete
    assert reading.usage == Usage(input_tokens=900)


def test_a_tool_that_writes_of_usage_changes_nothing() -> None:
    spoof = '{"type":"message_delta","usage":{"input_tokens":0,"output_tokens":0}}'
    text = {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": spoof}}
    nested = {"type": "content_block_start", "content_block": {"type": "message_delta", "usage": {"output_tokens": 1}}}
    body = start(input_tokens=9, output_tokens=1) + delta(output_tokens=50) + event(text) + event(nested) + STOP
    assert read(body, MESSAGES).usage == Usage(input_tokens=9, output_tokens=50)


def test_an_error_document_has_no_usage() -> None:
    reading = read(b'{"type":"error","error":{"type":"api_error","message":"x"}}', MESSAGES)
    assert reading.is_error
    assert reading.usage == NO_USAGE
