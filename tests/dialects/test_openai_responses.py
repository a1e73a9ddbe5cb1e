"""Responses: the terminal event has it all; searches; background; answers in chat's shape."""

import json
from decimal import Decimal

import pytest

from lava_proxy.core.usage import NO_USAGE, Usage
from tests.dialects.feeding import event, read, read_in
from tests.dialects.samples import CHAT_DOCUMENT, CHAT_STREAM, RESPONSE, RESPONSES_STREAM

RESPONSES = "openai_responses"
USAGE = Usage(
    input_tokens=500,
    cached_input_tokens=100,
    cache_write_tokens=50,
    output_tokens=80,
    reasoning_tokens=64,
    searches=2,
)


def document(**fields: object) -> bytes:
    return json.dumps({**RESPONSE, **fields}, indent=2).encode()


def test_a_document_and_a_stream_give_the_same_usage() -> None:
    of_document, of_stream = read(document(), RESPONSES), read(RESPONSES_STREAM, RESPONSES)
    assert of_document.usage == of_stream.usage == USAGE
    assert of_document.model == of_stream.model == "gpt-5-2026-01-01"
    assert of_document.response_id == of_stream.response_id == "resp_1"
    assert of_document.service_tier == of_stream.service_tier == "flex"
    assert of_document.is_complete
    assert of_stream.is_complete
    assert of_document.output_text_characters == of_stream.output_text_characters == 5


@pytest.mark.parametrize("ending", ["incomplete", "failed", "cancelled"])
def test_every_terminal_event_carries_usage(ending: str) -> None:
    response = {**RESPONSE, "status": ending}
    reading = read(event({"type": f"response.{ending}", "response": response}), RESPONSES)
    assert reading.usage == USAGE
    assert reading.is_complete


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_a_response_in_the_background_has_no_usage_yet(status: str) -> None:
    reading = read(document(status=status, usage=None, output=[]), RESPONSES)
    assert reading.usage == NO_USAGE
    assert reading.model == "gpt-5-2026-01-01"
    assert not reading.is_complete


def test_an_aborted_stream_knows_model_text_and_searches() -> None:
    search = {"type": "web_search_call", "status": "completed", "action": {"type": "search"}}
    done = event({"type": "response.output_item.done", "item": search})
    again = event({"type": "response.web_search_call.completed", "item_id": "ws_1"})
    created, rest = RESPONSES_STREAM.split(b"\n\n", 1)
    reading, _ = read_in(
        [created + b"\n\n" + done + again + rest.split(b"event: response.output_text.done")[0]], RESPONSES
    )
    assert reading.usage == Usage(searches=1)
    assert reading.model == "gpt-5-2026-01-01"
    assert reading.output_text_characters == 5
    assert not reading.is_complete


def test_the_responses_own_count_of_searches_wins_where_it_is_larger() -> None:
    assert read(document(tool_usage={"web_search": {"num_requests": 4}}), RESPONSES).usage.searches == 4
    assert read(document(tool_usage={"web_search": {"num_requests": 0}}), RESPONSES).usage.searches == 2
    assert read(document(tool_usage={"web_search": {"num_requests": 0}}, output=[]), RESPONSES).usage.searches == 0


def test_xai_counts_its_searches_and_cost_in_the_usage() -> None:
    calls = {"web_search_calls": 2, "x_search_calls": 1, "code_interpreter_calls": 0}
    usage = {"input_tokens": 1, "output_tokens": 1, "server_side_tool_usage_details": calls}
    reading = read(document(usage={**usage, "cost_in_usd_ticks": 10_000_000}, output=[]), RESPONSES)
    assert reading.usage.searches == 3
    assert reading.reported_cost == Decimal("0.001")


def test_tools_that_cost_more_than_tokens_are_flagged() -> None:
    assert read(document(), RESPONSES).flags == ()
    images = {"image_gen": {"input_tokens": 10, "output_tokens": 200, "total_tokens": 210}}
    reading = read(document(tool_usage=images), RESPONSES)
    assert reading.flags == ("tool_use_outside_totals",)
    assert '"total_tokens":210' in reading.raw_usage[1]
    assert read(document(output=[{"type": "code_interpreter_call"}]), RESPONSES).flags == ("tool_use_outside_totals",)


def test_a_failed_response_is_an_error() -> None:
    failed = {**RESPONSE, "status": "failed", "usage": None, "error": {"code": "server_error", "message": "x"}}
    assert read(event({"type": "response.failed", "response": failed}), RESPONSES).is_error
    assert read(json.dumps(failed).encode(), RESPONSES).is_error
    assert read(event({"type": "error", "error": {"message": "x"}}), RESPONSES).is_error
    assert not read(RESPONSES_STREAM, RESPONSES).is_error


@pytest.mark.parametrize("body", [CHAT_STREAM, CHAT_DOCUMENT], ids=["stream", "document"])
def test_an_answer_in_chats_shape_is_read_as_chat(body: bytes) -> None:
    assert read(body, RESPONSES) == read(body, "openai_chat")


def test_metadata_that_looks_like_a_terminal_event_changes_nothing() -> None:
    spoof = event({"type": "response.in_progress", "response": {"metadata": {"type": "response.completed"}}})
    assert read(RESPONSES_STREAM + spoof, RESPONSES).usage == USAGE


def test_work_that_goes_on_in_the_background_is_told_from_an_answer() -> None:
    queued = {"status": "queued", "background": True, "usage": None, "output": []}
    created = event({"type": "response.created", "response": {**RESPONSE, **queued}})
    completed = event({"type": "response.completed", "response": {**RESPONSE, "background": True}})
    foreground = event({"type": "response.created", "response": {**RESPONSE, **queued, "background": False}})

    assert read(document(**queued), RESPONSES).is_pending
    assert read(created, RESPONSES).is_pending
    assert not read(created + completed, RESPONSES).is_pending
    assert not read(document(background=True), RESPONSES).is_pending
    assert not read(foreground, RESPONSES).is_pending
