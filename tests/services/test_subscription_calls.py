"""Calls by the login of a coding tool: recorded with their list price, and in no sum of cost, charge or margin."""

import json

import pytest

from lava_proxy.core.entities import Hold, RateType, Tier, TierUnit
from lava_proxy.core.ports import RequestFilter
from lava_proxy.services.credits import GrantTerms
from lava_proxy.services.customer_fields import CustomerFields
from lava_proxy.services.exchange import Credentials, Ending, Forward, Head, Via
from lava_proxy.services.meters import MeterTerms
from lava_proxy.wiring import House
from tests.services.conftest import ME, Traffic

DOLLAR = 10**9
LOGIN = ("authorization", "Bearer sk-ant-oat01-abc")
API_KEY = ("x-api-key", "sk-ant-api03-abc")
ANTHROPIC = ("api.anthropic.com", "/v1/messages")
CODEX = ("chatgpt.com", "/backend-api/codex/responses")
ANSWERS = {
    ANTHROPIC: {"type": "message", "model": "claude-sonnet-4-5", "stop_reason": "end_turn", "content": []},
    CODEX: {"object": "response", "status": "completed", "model": "gpt-5", "output": []},
}


@pytest.fixture(autouse=True)
def acme(house: House) -> None:
    house.customers.create(CustomerFields(reference_id="acme"), by=ME)
    house.credits.grant(GrantTerms(customer="acme", amount_nanos=5 * DOLLAR), by=ME)


def call(traffic: Traffic, where: tuple[str, str], *headers: tuple[str, str], model: str | None = None) -> str:
    host, path = where
    answer = dict(ANSWERS[where])
    answer["model"] = model or answer["model"]
    head = Head(
        via=Via.CONNECT,
        method="POST",
        scheme="https",
        host=host,
        port=443,
        path=path,
        headers=(("content-type", "application/json"), *headers),
        credentials=Credentials(user="acme", secret=""),
    )
    opened = traffic.line.open(head, json.dumps({"model": answer["model"], "max_tokens": 100}).encode()).result()
    assert isinstance(opened, Forward) and opened.call is not None, opened
    opened.call.begin(200, (("content-type", "application/json"),))
    usage = {"input_tokens": 100_000, "output_tokens": 0, "total_tokens": 100_000}
    opened.call.feed(json.dumps({**answer, "usage": usage}).encode())
    opened.call.finish()
    opened.call.close(Ending.COMPLETE).result()
    return opened.call.request_id


@pytest.mark.parametrize(("where", "headers"), [(ANTHROPIC, (LOGIN,)), (CODEX, (("authorization", "Bearer ey.x"),))])
def test_a_login_costs_nothing_holds_nothing_and_charges_nothing(
    house: House, traffic: Traffic, where: tuple[str, str], headers: tuple[tuple[str, str], ...]
) -> None:
    request_id = call(traffic, where, *headers)
    record = house.requests.get(request_id).record
    assert record is not None
    assert (record.cost_basis, record.cost_nanos, record.charge_nanos) == ("subscription", 0, 0)
    assert record.list_nanos is not None and record.list_nanos > 0 and record.usage.input_tokens == 100_000
    hold = house.ledger.read(lambda rows: rows.get(Hold, record.hold_id))
    assert hold is not None and (hold.amount_nanos, hold.cost_quote_nanos) == (0, 0)
    assert house.credits.balance("acme").available_nanos == 5 * DOLLAR
    (line,) = house.ledger.books().usage(RequestFilter(), by=())
    assert (line.requests, line.cost_nanos, line.charge_nanos, line.unpriced) == (1, 0, 0, 0)
    assert house.verify().findings == ()


@pytest.mark.parametrize("headers", [(API_KEY,), (API_KEY, LOGIN), (LOGIN, API_KEY), ()])
def test_an_api_key_is_charged_also_where_a_login_is_shown_beside_it(
    house: House, traffic: Traffic, headers: tuple[tuple[str, str], ...]
) -> None:
    record = house.requests.get(call(traffic, ANTHROPIC, *headers)).record
    assert record is not None and record.cost_basis == "metered" and record.list_nanos is None
    assert record.charge_nanos == record.cost_nanos == 300_000_000


def test_a_meter_with_a_rate_of_its_own_charges_nothing_either(house: House, traffic: Traffic) -> None:
    tiers = (Tier(start=0, rate_nanos=DOLLAR),)
    house.meters.create(
        MeterTerms(slug="flat", name="Flat", rate_type=RateType.FIXED, tier_unit=TierUnit.TOKENS_1M, tiers=tiers),
        by=ME,
    )
    house.customers.update("acme", CustomerFields(meter="flat"), by=ME)
    record = house.requests.get(call(traffic, ANTHROPIC, LOGIN)).record
    assert record is not None and (record.charge_nanos, record.breakdown) == (0, ())
    assert house.verify().findings == ()


def test_a_model_without_a_list_price_is_not_unpriced(house: House, traffic: Traffic) -> None:
    record = house.requests.get(call(traffic, ANTHROPIC, LOGIN, model="claude-of-tomorrow")).record
    assert record is not None and (record.cost_nanos, record.list_nanos) == (0, None)
    assert "unpriced" not in record.flags
