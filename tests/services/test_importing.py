"""Importing: metered as the proxy would have, booked once, whatever the wallet holds."""

import json
from fractions import Fraction
from typing import NoReturn

import pytest

from lava_proxy.core.entities import Wallet
from lava_proxy.core.errors import CustomerNotFound
from lava_proxy.core.recorded import Recorded
from lava_proxy.core.usage import NO_USAGE, Usage
from lava_proxy.services.credits import GrantTerms
from lava_proxy.services.customer_fields import CustomerFields
from lava_proxy.services.import_documents import outcome_document
from lava_proxy.services.import_metering import Outcome
from lava_proxy.wiring import House
from tests.imports.recordings import ANSWER, COST, REQUEST, URL
from tests.services.conftest import ME

USAGE = Usage(input_tokens=1000, output_tokens=500)
COST_NANOS = 450_000


def exchange(
    name: str = "x1", *, url: str = URL, answer: object = ANSWER, method: str = "POST", status: int = 200
) -> Recorded:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return Recorded(
        recording_id=name,
        line=1,
        method=method,
        url=url,
        request_body=json.dumps(REQUEST).encode(),
        status=status,
        response_headers=(("content-type", "application/json"), ("content-encoding", "gzip")),
        response_body=body,
    )


def told(house: House, *exchanges: Recorded, customer: str | None = None) -> list[Outcome]:
    return list(house.imports.meter_all(exchanges, house.imports.payer(customer)))


def booked(house: House, *exchanges: Recorded, customer: str | None = "acme") -> list[Outcome]:
    registered = house.instances.register(name="import", version="0")
    try:
        payer = house.imports.payer(customer)
        return list(house.imports.book_all(exchanges, payer, instance_id=registered.instance.instance_id))
    finally:
        house.instances.end(registered)


@pytest.fixture
def acme(house: House) -> str:
    """A customer with $0.01."""
    house.customers.create(CustomerFields(reference_id="acme"), by=ME)
    house.credits.grant(GrantTerms(customer="acme", amount_nanos=10_000_000), by=ME)
    return "acme"


def test_an_exchange_is_told_with_usage_cost_and_charge(house: House) -> None:
    (found,) = told(house, exchange())
    assert (found.provider, found.op, found.model) == ("openai", "chat", "gpt-4o-mini-2024-07-18")
    assert found.usage == USAGE
    assert found.cost_nanos == Fraction(COST_NANOS)
    assert found.reason is None
    document = json.loads(outcome_document(found))
    assert document["usage"] == {"input_tokens": 1000, "output_tokens": 500}
    assert (document["id"], document["cost"], document["charge"]) == ("x1", COST, COST)
    assert document["price_source"].startswith("genai-prices")


@pytest.mark.parametrize(
    ("recorded", "reason"),
    [
        (exchange(url="https://example.com/"), "not_an_ai_host"),
        (exchange(url="mailto:someone"), "no_http_address"),
        (exchange(url="https://api.openai.com/v1/nobody/knows"), "unknown_endpoint"),
        (exchange(url="https://api.openai.com/v1/models", method="GET"), "free"),
        (exchange(status=429, answer={"error": {"message": "slow"}}), "error_status"),
        (exchange(answer={"error": {"message": "no", "code": "content_filter"}}), "error_in_answer"),
        (exchange(answer=b'{"id": "half'), "malformed_body"),
        (exchange(url="https://api.openai.com/v1/responses", answer={"id": "r", "status": "queued", "usage": None}), "pending"),
        (exchange(url="https://api.openai.com/v1/responses/r", method="GET", answer={"id": "r", "status": "failed"}), "no_usage"),
    ],
)  # fmt: skip
def test_where_there_is_no_usage_the_reason_is_told(house: House, recorded: Recorded, reason: str) -> None:
    (found,) = told(house, recorded)
    assert found.reason == reason
    assert found.usage == NO_USAGE


def test_what_the_provider_did_not_tell_is_estimated_beside_the_usage(house: House) -> None:
    (found,) = told(house, exchange(answer={**ANSWER, "usage": None}))
    assert (found.usage, found.reason) == (NO_USAGE, "no_usage")
    assert found.estimated is not None and found.estimated.output_tokens
    assert "estimated" in found.flags
    assert "estimated" in json.loads(outcome_document(found))


def test_a_host_that_nobody_owns_is_known_by_its_path_and_unpriced(house: House) -> None:
    (found,) = told(house, exchange(url="http://llm.internal.example:8080/v1/chat/completions"))
    assert (found.provider, found.usage) == ("llm.internal.example", USAGE)
    assert {"unknown_host", "unpriced"} <= set(found.flags)
    assert found.cost_nanos is None and found.charge_nanos is None


def test_an_import_is_booked_once_however_often_it_runs(house: House, acme: str) -> None:
    first = booked(house, exchange("x1"), exchange("x2"))
    again = booked(house, exchange("x2"), exchange("x1"), exchange("x3"))
    assert [outcome.is_new for outcome in first] == [True, True]
    assert [outcome.is_new for outcome in again] == [False, False, True]
    assert [outcome.charge_nanos for outcome in again] == [COST_NANOS] * 3
    assert house.credits.balance(acme).spent_nanos == 3 * COST_NANOS
    assert house.verify().is_sound


def test_what_no_credit_covers_becomes_debt(house: House, acme: str) -> None:
    booked(house, *(exchange(f"x{number}") for number in range(30)))
    customer = house.customers.get(acme)
    wallet = house.ledger.read(lambda rows: rows.get(Wallet, customer.customer_id))
    assert wallet is not None and wallet.debt_nanos == 30 * COST_NANOS - 10_000_000
    assert house.verify().is_sound


def test_a_stored_answer_that_is_fetched_again_counts_once_with_its_call(house: House, acme: str) -> None:
    response = {"id": "resp_1", "object": "response", "status": "completed", "model": "gpt-4o-mini", "output": [],
                "usage": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}}  # fmt: skip
    call = exchange("a", url="https://api.openai.com/v1/responses", answer=response)
    poll = exchange("b", url="https://api.openai.com/v1/responses/resp_1", method="GET", answer=response)
    outcomes = booked(house, call, poll, poll)
    assert [outcome.is_new for outcome in outcomes] == [True, False, False]
    assert "replay" in outcomes[1].flags


def test_a_job_in_the_background_is_booked_when_its_result_is_seen(house: House, acme: str) -> None:
    queued = {"id": "resp_2", "status": "queued", "background": True, "usage": None}
    done = {**queued, "status": "completed", "model": "gpt-4o-mini", "usage": {"input_tokens": 10, "output_tokens": 5}}
    url = "https://api.openai.com/v1/responses"
    outcomes = booked(
        house, exchange("a", url=url, answer=queued), exchange("b", url=f"{url}/resp_2", method="GET", answer=done)
    )
    assert [(outcome.reason, outcome.is_new) for outcome in outcomes] == [("pending", None), (None, True)]


def test_a_dry_run_counts_them_once_as_well(house: House) -> None:
    response = {
        "id": "resp_1",
        "status": "completed",
        "model": "gpt-4o-mini",
        "usage": {"input_tokens": 1000, "output_tokens": 500},
    }
    url = "https://api.openai.com/v1/responses"
    call, poll = told(
        house,
        exchange("a", url=url, answer=response),
        exchange("b", url=f"{url}/resp_1", method="GET", answer=response),
    )
    assert (call.charge_nanos, poll.charge_nanos) == (COST_NANOS, 0)
    assert poll.usage == USAGE and {"replay", "counted_before"} <= set(poll.flags)


def test_an_import_that_was_killed_in_the_middle_is_put_right_by_the_next(house: House, acme: str) -> None:
    dead = house.instances.register(name="import", version="0")
    payer = house.imports.payer(acme)
    books = house.imports.book_all([exchange()], payer, instance_id=dead.instance.instance_id)
    settle = house.imports._settle

    def killed(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    house.imports._settle = killed  # type: ignore[method-assign,assignment]
    with pytest.raises(KeyboardInterrupt):
        list(books)
    house.imports._settle = settle  # type: ignore[method-assign]
    house.instances.end(dead)
    house.recovery(None).sweep()
    (found,) = booked(house, exchange())
    assert found.charge_nanos == COST_NANOS
    assert house.credits.balance(acme).spent_nanos == COST_NANOS
    assert house.verify().is_sound


def test_a_fault_of_ours_is_told_and_does_not_stop_the_rest(house: House, caplog: pytest.LogCaptureFixture) -> None:
    broken = exchange("bad", url="https://[::1/v1/chat/completions")
    assert [outcome.reason for outcome in told(house, broken, exchange())] == ["no_http_address", None]
    house.imports._metering._dialects = {}
    assert told(house, exchange())[0].reason == "metering_failed"


def test_calls_of_nobody_are_tracked_and_not_charged(house: House) -> None:
    (found,) = booked(house, exchange(), customer=None)
    assert (found.charge_nanos, found.is_new) == (0, True)


def test_an_unknown_customer_is_an_error_before_anything_is_read(house: House) -> None:
    with pytest.raises(CustomerNotFound):
        house.imports.payer("nobody")


def test_a_provider_that_bills_less_than_was_used_is_paid_what_it_bills(house: House) -> None:
    usage = {
        "tokens": {"input_tokens": 503, "output_tokens": 13},
        "billed_units": {"input_tokens": 8, "output_tokens": 10},
    }
    (found,) = told(
        house, exchange(url="https://api.cohere.com/v2/chat", answer={"id": "c", "message": {}, "usage": usage})
    )
    assert found.usage == Usage(input_tokens=503, output_tokens=13)
