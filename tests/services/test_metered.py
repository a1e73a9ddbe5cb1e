"""How calls end that do not end well, or not as they began: never silently for less than what the provider did."""

import json
from pathlib import Path

import pytest

from lava_proxy.core.entities import Hold, HoldState, RequestRecord, RequestStatus, TierUnit
from lava_proxy.core.money import parse_amount
from lava_proxy.dialects.wire_format import WireFormat
from lava_proxy.prices import PriceBook
from lava_proxy.providers import load_providers
from lava_proxy.services.exchange import Ending, Forward
from tests.services.test_calls import ANSWER, CHAT, Desk, chunk, sse

JSON = (("content-type", "application/json"),)
STREAM = (("content-type", "text/event-stream"),)
CLAUDE = {"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": [{"role": "user", "content": "Hello there"}]}
BACKGROUND = {"model": "gpt-4o-mini", "max_output_tokens": 5000, "background": True, "input": "Think for a while."}
QUEUED = {
    "id": "resp_1",
    "object": "response",
    "model": "gpt-4o-mini",
    "status": "queued",
    "background": True,
    "output": [],
    "usage": None,
}


@pytest.fixture
def desk(tmp_path: Path, price_book: PriceBook) -> Desk:
    return open_desk(tmp_path, price_book)


def open_desk(folder: Path, price_book: PriceBook, **settings: object) -> Desk:
    return Desk(folder, load_providers(), price_book, **settings)


def ended(
    desk: Desk,
    forward: Forward,
    body: bytes,
    *,
    headers: tuple[tuple[str, str], ...] = STREAM,
    ending: Ending = Ending.COMPLETE,
    status: int = 200,
) -> RequestRecord:
    """The record of a call whose answer had this body and this end."""
    assert forward.call is not None
    forward.call.begin(status, headers)
    forward.call.feed(body)
    forward.call.finish()
    forward.call.close(ending).result(5)
    return desk.record(forward)


def hold_of(desk: Desk, forward: Forward) -> Hold:
    assert forward.call is not None
    [hold] = desk.ledger.find(Hold, request_id=forward.call.request_id)
    return hold


@pytest.mark.parametrize("status", [301, 302, 307, 308, 304])
def test_a_redirect_is_no_answer_and_gives_the_hold_back(desk: Desk, status: int) -> None:
    record = ended(
        desk, desk.admitted(), b"<html>moved</html>", headers=(("content-type", "text/html"),), status=status
    )
    assert (record.status, record.charge_nanos, record.http_status) == (RequestStatus.ERROR, 0, status)
    assert desk.free() == parse_amount("1") and desk.held() == 0


def test_a_stream_that_the_provider_ends_with_an_error_is_charged_for_the_text_that_came(desk: Desk) -> None:
    forward = desk.admitted(CLAUDE | {"stream": True}, host="api.anthropic.com", path="/v1/messages")
    start = {
        "type": "message_start",
        "message": {"id": "msg_1", "model": "claude-sonnet-4-5", "usage": {"input_tokens": 20, "output_tokens": 1}},
    }
    delta = {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": "word after word " * 30},
    }
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    record = ended(desk, forward, sse(start, delta, error))
    assert record.usage.input_tokens == 20 and (record.usage.output_tokens or 0) >= 100
    assert {"incomplete", "estimated"} <= set(record.flags) and record.status is RequestStatus.COMPLETED


def test_an_error_after_half_an_answer_without_usage_is_charged_for_that_half(desk: Desk) -> None:
    text = chunk(choices=[{"index": 0, "delta": {"content": "word after word " * 30}}])
    record = ended(
        desk, desk.admitted({**CHAT, "stream": True}), sse(text, {"error": {"message": "gone", "code": 502}})
    )
    assert (record.usage.output_tokens or 0) >= 100 and "estimated" in record.flags and record.charge_nanos > 0


def test_an_error_in_place_of_an_answer_is_not_charged_whatever_its_status(desk: Desk) -> None:
    record = ended(desk, desk.admitted({**CHAT, "stream": True}), sse({"error": {"message": "gone", "code": 502}}))
    assert (record.status, record.charge_nanos) == (RequestStatus.ERROR, 0)


def test_an_interim_answer_that_was_taken_for_the_last_one_is_estimated_for_the_true_one_went_unread(
    desk: Desk,
) -> None:
    record = ended(desk, desk.admitted(), b"", ending=Ending.UPSTREAM_GONE, status=103)
    assert {"upstream_gone", "estimated"} <= set(record.flags) and record.charge_nanos > 0


def test_an_error_that_tells_a_usage_of_nothing_is_not_charged(desk: Desk) -> None:
    desk.meter("0.10")
    nothing = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    record = desk.answered(desk.admitted(), {"error": {"message": "no"}, "usage": nothing}, status=500)
    assert (record.status, record.charge_nanos) == (RequestStatus.ERROR, 0)


def test_tokens_that_a_whole_answer_does_not_tell_are_estimated_and_flagged(desk: Desk) -> None:
    answer = {**ANSWER, "usage": {"completion_tokens": 500}}
    record = desk.answered(desk.admitted(), answer)
    assert record.usage.output_tokens == 500 and (record.usage.input_tokens or 0) > 0
    assert "estimated" in record.flags


def test_tokens_left_out_because_there_were_none_are_no_estimate(desk: Desk) -> None:
    path = "/v1beta/models/gemini-2.5-flash:generateContent"
    body = {"contents": [{"parts": [{"text": "Hello there"}]}]}
    forward = desk.admitted(body, host="generativelanguage.googleapis.com", path=path)
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 9}}
    record = desk.answered(forward, blocked)
    assert (record.usage.input_tokens, record.usage.output_tokens, record.flags) == (9, None, ())


def test_work_that_the_provider_goes_on_with_in_the_background_is_charged_at_its_quote(desk: Desk) -> None:
    forward = desk.admitted(BACKGROUND, path="/v1/responses")
    queued = {
        "id": "resp_1",
        "object": "response",
        "model": "gpt-4o-mini",
        "status": "queued",
        "background": True,
        "output": [],
        "usage": None,
    }
    record = desk.answered(forward, queued)
    assert record.usage.output_tokens == 5000 and {"background", "estimated"} <= set(record.flags)
    assert record.charge_nanos >= 3_000_000  # 5,000 tokens out at $0.60 a million


def test_leaving_a_stream_of_background_work_does_not_make_it_cheaper(desk: Desk) -> None:
    forward = desk.admitted({**BACKGROUND, "stream": True}, path="/v1/responses")
    created = {
        "type": "response.created",
        "response": {"id": "resp_1", "model": "gpt-4o-mini", "status": "queued", "background": True, "usage": None},
    }
    record = ended(desk, forward, sse(created), ending=Ending.CLIENT_GONE)
    assert record.usage.output_tokens == 5000 and "background" in record.flags


def test_background_work_whose_stream_ends_is_charged_what_it_came_to(desk: Desk) -> None:
    forward = desk.admitted({**BACKGROUND, "stream": True}, path="/v1/responses")
    usage = {"input_tokens": 10, "output_tokens": 20, "total_tokens": 30}
    created = {"type": "response.created", "response": QUEUED}
    completed = {"type": "response.completed", "response": {**QUEUED, "status": "completed", "usage": usage}}
    record = ended(desk, forward, sse(created, completed))
    assert (record.usage.input_tokens, record.usage.output_tokens, record.flags) == (10, 20, ())


@pytest.mark.parametrize(("answered", "is_priority"), [("default", False), ("priority", True), (None, True)])
def test_the_tier_that_the_answer_names_is_charged_and_the_one_that_was_asked_for_where_it_names_none(
    desk: Desk, answered: str | None, *, is_priority: bool
) -> None:
    answer = ANSWER if answered is None else {**ANSWER, "service_tier": answered}
    record = desk.answered(desk.admitted({**CHAT, "service_tier": "priority"}), answer)
    assert ("service_tier_unpriced" in record.flags) is is_priority


def test_a_call_without_an_answer_is_charged_at_its_hold_where_the_operator_wants_it_so(
    tmp_path: Path, price_book: PriceBook
) -> None:
    desk = open_desk(tmp_path, price_book, no_usage="hold")
    forward = desk.admitted()
    assert forward.call is not None
    forward.call.close(Ending.CLIENT_GONE).result(5)
    record = desk.record(forward)
    assert record.charge_nanos == record.quote_nanos and {"aborted", "charged_at_hold"} <= set(record.flags)


def test_a_meter_by_characters_charges_the_text_that_went_by(desk: Desk) -> None:
    desk.meter("1000", TierUnit.CHARACTERS_1M)  # $0.001 a character
    record = desk.answered(desk.admitted())
    text = len("Hello there") + len("Hi.")
    assert record.charge_nanos >= text * 1_000_000 and "unit_not_reported" not in record.flags
    assert (
        record.charge_nanos < 100 * 1_000_000
        and sum(line.units_micros for line in record.breakdown) >= text * 1_000_000
    )


def test_a_meter_by_characters_says_so_where_there_was_no_text_to_count(desk: Desk) -> None:
    desk.meter("1000", TierUnit.CHARACTERS_1M)
    forward = desk.admitted({"model": "text-embedding-3-small", "input": [[1, 2, 3]]}, path="/v1/embeddings")
    answer = {"model": "text-embedding-3-small", "data": [], "usage": {"prompt_tokens": 3, "total_tokens": 3}}
    assert "unit_not_reported" in desk.answered(forward, answer).flags


@pytest.mark.parametrize("ending", [Ending.COMPLETE, Ending.CLIENT_GONE])
def test_an_answer_in_an_encoding_that_we_cannot_read_is_charged_at_its_quote(desk: Desk, ending: Ending) -> None:
    headers = (*JSON, ("content-encoding", "x-secret"))
    record = ended(desk, desk.admitted(), b"\x01\x02\x03", headers=headers, ending=ending)
    assert record.usage.output_tokens == 100 and {"decode_failed", "estimated"} <= set(record.flags)


def test_a_fault_in_the_prices_does_not_leave_a_call_open(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = desk.admitted()

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(PriceBook, "sheet", fail)
    record = ended(desk, forward, json.dumps(ANSWER).encode(), headers=JSON)
    assert record.charge_nanos == record.quote_nanos and {"metering_failed", "estimated"} <= set(record.flags)
    assert desk.calls.open_calls() == 0 and desk.held() == 0


def test_a_request_that_cannot_be_made_ready_leaves_no_hold(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise RuntimeError("a bug")

    monkeypatch.setattr(WireFormat, "ask_for_usage", fail)
    assert desk.refused({**CHAT, "stream": True})["code"] == "internal_error"
    assert desk.held() == 0 and desk.calls.open_calls() == 0
    assert not [
        h for h in desk.ledger.tables.get(Hold, {}).values() if isinstance(h, Hold) and h.state is HoldState.IN_FLIGHT
    ]


def test_a_call_admitted_after_the_line_was_closed_does_not_leave(desk: Desk) -> None:
    desk.calls.close_all(Ending.STOPPED).result(1)
    refusal = desk.refused()
    assert (refusal["status"], refusal["code"]) == (503, "stopping")
    assert desk.held() == 0 and desk.calls.open_calls() == 0
    assert {h.state for h in desk.ledger.tables[Hold].values() if isinstance(h, Hold)} == {HoldState.VOIDED}


def test_a_limit_of_nothing_is_taken_for_none(desk: Desk) -> None:
    held = []
    for limit in ({"max_tokens": 0}, {}):
        body = {key: value for key, value in CHAT.items() if key != "max_tokens"} | limit
        held.append(hold_of(desk, desk.admitted(body)).amount_nanos)
    assert held[0] == held[1] > 4096 * 600


def test_of_two_limits_the_larger_one_is_held_for(desk: Desk) -> None:
    small = hold_of(desk, desk.admitted({**CHAT, "max_tokens": 1000}))
    both = hold_of(desk, desk.admitted({**CHAT, "max_tokens": 1000, "max_completion_tokens": 1}))
    assert both.amount_nanos == small.amount_nanos


@pytest.mark.parametrize("name", ["a\nb", "\x00"])
def test_an_end_user_who_cannot_be_a_customers_name_is_refused(
    tmp_path: Path, price_book: PriceBook, name: str
) -> None:
    desk = open_desk(tmp_path, price_book, identity_from_body=True, unknown_customer="create")
    assert desk.refused({**CHAT, "user": name}, user="")["code"] == "invalid_identity"
    assert desk.admitted({**CHAT, "user": name}, headers=(("x-lava-customer", "acme"),)).call is not None


def test_a_limit_beyond_all_models_is_a_large_quote_and_no_fault_of_ours(desk: Desk) -> None:
    vast = {**CHAT, "model": "gpt-4o", "max_tokens": 10**15, "n": 1_000_000}
    assert desk.refused(vast)["code"] == "insufficient_credits"
    record = desk.answered(desk.admitted(vast, user=""), {**ANSWER, "model": "gpt-4o"})
    [hold] = [h for h in desk.ledger.tables[Hold].values() if isinstance(h, Hold)]
    assert (hold.cost_quote_nanos or 0) < 2**63 and record.cost_nanos == 2_500_000 + 5_000_000
