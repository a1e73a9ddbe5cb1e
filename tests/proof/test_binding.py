"""What another process changes binds the running proxy with its very next call, on connections that stay open too."""

import pytest
from msgspec.structs import replace

from lava_proxy.core.entities import BudgetMeasure, Tier
from lava_proxy.core.money import parse_amount
from lava_proxy.demo.provider import StandIn
from lava_proxy.services.budgets import BudgetTerms
from lava_proxy.services.keys import KeyTerms
from lava_proxy.services.meters import MeterChanges
from tests.proof.books import assert_accounted, calls_seen, wait_until_settled
from tests.proof.callers import Caller, chat
from tests.support.proxy import BY, RunningProxy, Shop

pytestmark = [pytest.mark.e2e]


async def test_a_revoked_key_opens_nothing_any_more(shop: Shop, proxy: RunningProxy, provider: StandIn) -> None:
    shop.meter("per-call", "0.10")
    shop.customer("acme", credit="5", meter="per-call")
    key = shop.house.keys.create(KeyTerms(customer="acme"), by=BY).value
    assert key.text is not None
    async with Caller(proxy, "acme", key.text) as caller:
        assert (await caller.ask(chat("before"), call="before")).status == 200
        shop.house.keys.revoke(key.key.key_id, by=BY)
        refused = await caller.ask(chat("after"), call="after")
    assert (refused.status, refused.error["code"]) == (401, "key_revoked")
    wait_until_settled(shop)
    assert set(assert_accounted(shop, calls_seen(provider)).records) == {"before"}


async def test_credit_is_there_with_the_call_after_its_grant(
    shop: Shop, proxy: RunningProxy, provider: StandIn
) -> None:
    shop.meter("per-call", "0.10")
    shop.customer("acme", meter="per-call")
    async with Caller(proxy, "acme") as caller:
        assert (await caller.ask(chat("poor"), call="poor")).status == 402
        shop.grant("acme", "0.10")
        assert (await caller.ask(chat("rich"), call="rich")).status == 200
        assert (await caller.ask(chat("poor again"), call="poor again")).status == 402
    wait_until_settled(shop)
    assert set(assert_accounted(shop, calls_seen(provider)).records) == {"rich"}


async def test_another_rate_of_a_meter_holds_for_the_next_call_and_not_for_one_in_flight(
    shop: Shop, proxy: RunningProxy, provider: StandIn
) -> None:
    shop.meter("per-call", "0.10")
    shop.customer("acme", credit="5", meter="per-call")
    async with Caller(proxy, "acme") as caller:
        head = await caller.begin(chat("before", stream=True), call="before")
        dearer = MeterChanges(tiers=(Tier(start=0, rate_nanos=parse_amount("0.25")),))
        shop.house.meters.update("per-call", dearer, by=BY)
        await caller.rest(head)
        assert (await caller.ask(chat("after"), call="after")).status == 200
    wait_until_settled(shop)
    accounts = assert_accounted(shop, calls_seen(provider))
    charges = {call: record.charge_nanos for call, record in accounts.records.items()}
    assert charges == {"before": parse_amount("0.10"), "after": parse_amount("0.25")}


async def test_an_archived_customer_is_refused_with_the_next_call(shop: Shop, proxy: RunningProxy) -> None:
    shop.customer("acme", credit="5")
    async with Caller(proxy, "acme") as caller:
        assert (await caller.ask(chat("before"), call="before")).status == 200
        wait_until_settled(shop)
        shop.house.customers.archive("acme", by=BY)
        assert (await caller.ask(chat("after"), call="after")).status == 403


async def test_a_budget_that_is_set_changed_or_taken_away_binds_the_next_call(
    shop: Shop, proxy: RunningProxy, provider: StandIn
) -> None:
    shop.meter("per-call", "0.10")
    shop.customer("acme", credit="5", meter="per-call")
    cap = BudgetTerms(measure=BudgetMeasure.CHARGE, limit=parse_amount("0.15"), period="week", customer="acme")
    async with Caller(proxy, "acme") as caller:
        assert (await caller.ask(chat("free"), call="free")).status == 200
        wait_until_settled(shop)
        budget = shop.house.budgets.set(cap, by=BY).value
        assert (await caller.ask(chat("first"), call="first")).status == 200
        refused = await caller.ask(chat("second"), call="second")
        assert (refused.status, refused.error["code"]) == (402, "budget_exceeded")
        shop.house.budgets.set(replace(cap, limit=parse_amount("0.25")), by=BY)
        assert (await caller.ask(chat("third"), call="third")).status == 200
        assert (await caller.ask(chat("fourth"), call="fourth")).status == 402
        shop.house.budgets.delete(budget.budget_id, by=BY)
        assert (await caller.ask(chat("fifth"), call="fifth")).status == 200
    wait_until_settled(shop)
    assert set(assert_accounted(shop, calls_seen(provider)).records) == {"free", "first", "third", "fifth"}
