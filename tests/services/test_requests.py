"""Requests as Lava's objects, in flight and finished; holds, usage and quotes beside them."""

import json
from itertools import islice
from typing import Any

import pytest

from lava_proxy.core.entities import HoldState, RequestStatus
from lava_proxy.core.errors import CustomerNotFound, InvalidInput, MeterNotFound, NotFound, Refused
from lava_proxy.core.ports import RequestFilter
from lava_proxy.services.credits import GrantTerms
from lava_proxy.services.customer_fields import CustomerFields
from lava_proxy.services.documents import Document, hold_document
from lava_proxy.services.exchange import Ending
from lava_proxy.services.idempotency import By
from lava_proxy.services.quotes import CallQuestion, Payer, TokenQuestion, quote_document
from lava_proxy.services.recovery import Recovery
from lava_proxy.services.request_documents import request_document
from lava_proxy.services.usage import usage_document
from lava_proxy.wiring import House
from tests.services.conftest import AT, DAY_US, ME, TestClock, Traffic

DOLLAR = 10**9
ALL = RequestFilter()


def plain(document: Document) -> Any:
    """As a reader of its JSON has it."""
    return json.loads(json.dumps(document))


@pytest.fixture(autouse=True)
def acme(house: House) -> None:
    house.customers.create(CustomerFields(reference_id="acme"), by=ME)
    house.credits.grant(GrantTerms(customer="acme", amount_nanos=10 * DOLLAR), by=ME)


def test_a_finished_request_has_every_field_of_lavas_object_with_its_type(house: House, traffic: Traffic) -> None:
    call = traffic.begin("acme", headers=(("x-lava-metadata", '{"feature": "chat"}'),))
    document = request_document(house.requests.get(traffic.end(call)))

    texts = (
        "request_id",
        "status",
        "customer_id",
        "meter_id",
        "provider",
        "provider_key_type",
        "model",
        "endpoint",
        "response_id",
    )
    assert {name: type(document[name]) for name in texts} == dict.fromkeys(texts, str)
    assert document["status"] == "completed"
    assert document["provider_key_type"] == "unmanaged"
    assert document["endpoint"] == "POST https://api.openai.com/v1/chat/completions"
    assert document["metadata"] == {"feature": "chat"}
    assert document["model_usage"] == {
        "input_tokens": 1000,
        "output_tokens": 500,
        "total_tokens": 1500,
        "input_characters": 0,
        "output_characters": 0,
        "total_characters": 0,
        "input_seconds": 0,
        "output_seconds": 0,
        "total_seconds": 0,
        "input_cost": "0.0001500000",
        "output_cost": "0.0003000000",
        "total_cost": "0.0004500000",
    }
    assert document["cost"] == "0.0004500000"
    assert document["charge"] == {
        "amount": "0.0004500000",
        "rate_type": "percentage",
        "breakdown": [
            {
                "tier": {"start": 0, "rate": "0.00", "type": "tokens_1m"},
                "tokens": 1500,
                "characters": 0,
                "seconds": 0,
                "cost": "0.0004500000",
            }
        ],
    }
    assert document["margin"] == "0.0000000000"
    assert document["usage"] == {"input_tokens": 1000, "output_tokens": 500}
    assert document["meter_rule"] == "home_default"
    assert str(document["price_source"]).startswith("genai-prices")
    assert json.loads(json.dumps(document)) == document


def test_a_request_in_flight_is_pending_and_first(house: House, traffic: Traffic) -> None:
    done = traffic.call("acme")
    call = traffic.begin("acme")
    page = house.requests.page(ALL)
    assert [request_document(c)["status"] for c in page.items] == ["pending", "completed"]
    pending = request_document(house.requests.get(call.request_id))
    assert set(pending) == set(request_document(house.requests.get(done))) - {"response_id"}
    assert pending["quote"] != "0.0000000000"
    assert [
        request_document(c)["request_id"]
        for c in house.requests.page(RequestFilter(status=RequestStatus.PENDING)).items
    ] == [call.request_id]
    traffic.end(call)
    assert [request_document(c)["status"] for c in house.requests.page(ALL).items] == ["completed", "completed"]


def test_requests_are_filtered_and_paged_newest_first(house: House, traffic: Traffic, clock: TestClock) -> None:
    house.customers.create(CustomerFields(reference_id="other"), by=ME)
    house.credits.grant(GrantTerms(customer="other", amount_nanos=DOLLAR), by=ME)
    first, second = traffic.call("acme"), traffic.call("other")
    clock.at_us = AT + DAY_US
    third = traffic.call("acme")
    refused = traffic.end(traffic.begin("acme"), status=500)

    def ids(which: RequestFilter) -> list[str]:
        return [str(request_document(call)["request_id"]) for call in house.requests.page(which).items]

    customer_id = house.customers.get("acme").customer_id
    assert ids(RequestFilter(customer_id=customer_id)) == [refused, third, first]
    assert ids(RequestFilter(status=RequestStatus.ERROR)) == [refused]
    assert ids(RequestFilter(until_us=AT + DAY_US)) == [second, first]
    assert ids(RequestFilter(since_us=AT + DAY_US)) == [refused, third]
    assert ids(RequestFilter(model="nosuch")) == []
    page = house.requests.page(ALL, limit=3)
    rest = house.requests.page(ALL, limit=3, cursor=page.next_cursor)
    assert [len(page.items), len(rest.items), rest.next_cursor] == [3, 1, None]


def test_a_refused_call_costs_nothing_and_is_an_error(house: House, traffic: Traffic) -> None:
    request_id = traffic.end(traffic.begin("acme"), status=429)
    document = request_document(house.requests.get(request_id))
    assert (document["status"], document["http_status"], document["cost"]) == ("error", 429, "0.0000000000")
    assert house.credits.balance("acme").available_nanos == 10 * DOLLAR


def test_following_tells_each_request_once_as_it_ends(house: House, traffic: Traffic) -> None:
    traffic.call("acme")
    slow = traffic.begin("acme")
    ended: list[str] = []

    def go_on() -> None:
        if not ended:
            ended.append(traffic.call("acme"))
        else:
            ended.append(traffic.end(slow))

    told = [request_document(call)["request_id"] for call in islice(house.requests.follow(ALL, pause=go_on), 2)]
    assert told == ended == [ended[0], slow.request_id]


def test_the_newest_entry_of_the_journal_is_found_at_any_length(house: House, traffic: Traffic) -> None:
    for _ in range(6):
        entries = list(house.ledger.books().journal())
        assert house.requests.last_sequence() == entries[-1].sequence
        traffic.call("acme")


def test_an_unknown_request_is_not_found(house: House) -> None:
    with pytest.raises(NotFound, match="'req_nosuch'"):
        house.requests.get("req_nosuch")


def test_a_hold_in_flight_is_voided_by_force_and_with_a_reason_only(house: House, traffic: Traffic) -> None:
    call = traffic.begin("acme")
    (hold,) = house.holds.page().items
    assert hold_document(hold)["state"] == "in_flight"
    with pytest.raises(Refused, match="in flight"):
        house.holds.void(hold.hold_id, by=ME, reason="stuck")
    with pytest.raises(InvalidInput, match="reason"):
        house.holds.void(hold.hold_id, by=ME, force=True)
    voided = house.holds.void(call.request_id, by=ME, force=True, reason="stuck")
    assert voided.value.state is HoldState.VOIDED
    assert house.holds.page().items == ()
    assert house.credits.balance("acme").available_nanos == 10 * DOLLAR
    traffic.end(call)
    assert house.credits.balance("acme").available_nanos == 10 * DOLLAR
    assert house.verify().findings == ()


def test_voiding_an_orphan_pays_its_charge_back_once(house: House, traffic: Traffic) -> None:
    call = traffic.begin("acme")
    sweep = Recovery(
        ledger=house.ledger,
        clock=house.clock,
        ids=house.ids,
        own=None,
        is_alive=lambda _: False,
        is_open=lambda _: False,
    )
    assert sweep.sweep().orphaned == 1
    hold = house.holds.get(call.request_id)
    assert hold.state is HoldState.ORPHANED
    assert house.credits.balance("acme").available_nanos == 10 * DOLLAR - hold.amount_nanos
    by = By(actor="test", idempotency_key="k")
    for _ in range(2):
        house.holds.void(hold.hold_id, by=by, reason="the provider never got it")
    house.holds.void(hold.hold_id, by=ME, reason="the provider never got it")
    assert house.credits.balance("acme").available_nanos == 10 * DOLLAR
    record = house.requests.get(call.request_id).record
    assert record is not None and {"orphaned", "voided"} <= set(record.flags)
    assert house.verify().findings == ()


def test_a_settled_hold_is_not_voided(house: House, traffic: Traffic) -> None:
    request_id = traffic.call("acme")
    with pytest.raises(Refused, match="settled"):
        house.holds.void(request_id, by=ME, force=True, reason="no")
    with pytest.raises(NotFound):
        house.holds.get("hld_nosuch")


def test_usage_sums_up_by_day_customer_and_model(house: House, traffic: Traffic, clock: TestClock) -> None:
    traffic.call("acme")
    traffic.call(None)
    clock.at_us = AT + DAY_US
    traffic.call("acme", input_tokens=2000)
    by_day = plain(usage_document(house.usage.report(ALL)))
    days = [
        (item["date"], item["total_requests"], item["total_usage_tokens"], item["total_cost"])
        for item in by_day["items"]
    ]
    assert days == [("2026-09-21", 2, 3000, "0.0009000000"), ("2026-09-22", 1, 2500, "0.0006000000")]
    totals = by_day["totals"]
    assert (totals["total_requests"], totals["total_cost"], totals["total_charge"]) == (
        3,
        "0.0015000000",
        "0.0010500000",
    )
    assert totals["total_margin"] == "-0.0004500000"

    report = house.usage.report(ALL, by=("customer", "model"))
    assert [(line.requests, line.charge_nanos) for line in report.lines] == [(1, 0), (2, 1_050_000)]
    with pytest.raises(InvalidInput, match="no group"):
        house.usage.report(ALL, by=("planet",))


def test_a_day_is_that_of_the_time_zone(house: House, traffic: Traffic) -> None:
    traffic.call("acme")
    (item,) = plain(usage_document(house.usage.report(ALL, time_zone="Pacific/Auckland")))["items"]
    assert (item["date"], item["start"], item["end"]) == (
        "2026-09-22",
        "2026-09-21T12:00:00.000000Z",
        "2026-09-22T11:59:59.999999Z",
    )


def test_a_quote_for_tokens_is_what_such_a_call_is_charged(house: House, traffic: Traffic) -> None:
    question = TokenQuestion(model="gpt-4o-mini", input_tokens=1000, output_tokens=500)
    answer = house.quotes.of_tokens(question, Payer(customer="acme"))
    record = house.requests.get(traffic.call("acme")).record
    assert record is not None
    assert (answer.cost_nanos, answer.charge_nanos) == (record.cost_nanos, record.charge_nanos) == (450_000, 450_000)
    assert answer.provider == "openai" and answer.refusal is None
    assert quote_document(answer)["available"] == "10.0000000000"


def test_a_quote_for_a_request_is_what_the_line_holds(house: House, traffic: Traffic) -> None:
    body = {"model": "gpt-4o-mini", "max_tokens": 1000, "messages": [{"role": "user", "content": "Hello"}]}
    question = CallQuestion(url="https://api.openai.com/v1/chat/completions", body=json.dumps(body).encode())
    answer = house.quotes.of_call(question, Payer(customer="acme"))
    traffic.begin("acme")
    (hold,) = house.holds.page().items
    assert (answer.hold_nanos, answer.charge_nanos, answer.cost_nanos) == (hold.amount_nanos,) * 2 + (
        hold.cost_quote_nanos,
    )
    assert not answer.is_exact


def test_a_quote_tells_that_a_call_would_be_refused_and_writes_nothing(house: House) -> None:
    entries = len(list(house.ledger.books().journal()))
    question = TokenQuestion(model="gpt-4o-mini", input_tokens=10**12, output_tokens=0)
    answer = house.quotes.of_tokens(question, Payer(customer="acme"))
    assert answer.refusal is not None and answer.refusal.code == "insufficient_credits"
    assert answer.hold_nanos == 0
    assert len(list(house.ledger.books().journal())) == entries
    assert house.holds.page().items == ()


def test_a_quote_without_a_customer_tells_the_charge_of_a_meter(house: House) -> None:
    question = TokenQuestion(model="gpt-4o-mini", input_tokens=1000, output_tokens=500)
    answer = house.quotes.of_tokens(question, Payer(meter="at-cost"))
    assert (answer.charge_nanos, answer.hold_nanos, answer.available_nanos) == (450_000, 0, None)
    assert (answer.meter_slug, answer.meter_rule) == ("at-cost", "named")


def test_what_cannot_be_quoted_says_why(house: House) -> None:
    nothing = TokenQuestion(model="nosuch", input_tokens=1, output_tokens=1)
    known = TokenQuestion(model="gpt-4o-mini", input_tokens=1, output_tokens=1)
    with pytest.raises(NotFound, match="No price"):
        house.quotes.of_tokens(nothing, Payer())
    with pytest.raises(CustomerNotFound):
        house.quotes.of_tokens(known, Payer(customer="nobody"))
    with pytest.raises(MeterNotFound):
        house.quotes.of_tokens(known, Payer(meter="nosuch"))
    for url in ("api.openai.com", "https://example.com/v1", "https://api.openai.com/v1/files"):
        with pytest.raises(InvalidInput, match="url"):
            house.quotes.of_call(CallQuestion(url=url, body=b"{}"), Payer())


def test_a_call_that_ended_with_the_process_is_flagged(house: House, traffic: Traffic) -> None:
    call = traffic.begin("acme")
    call.begin(200, (("content-type", "application/json"),))
    call.close(Ending.CLIENT_GONE).result()
    document = request_document(house.requests.get(call.request_id))
    assert isinstance(document["flags"], list) and "estimated" in document["flags"]
