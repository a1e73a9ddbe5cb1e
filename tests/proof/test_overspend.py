"""A thousand calls of $0.10 against $5.00, over real connections: exactly fifty reach the provider.

The provider withholds every answer until 950 calls were refused, so that all fifty are in flight at once and nothing
but their holds can tell that the credit is used up.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pytest

from lava_proxy.core.entities import TierUnit
from lava_proxy.core.money import parse_amount
from lava_proxy.demo.plan import Plan
from lava_proxy.demo.provider import StandIn
from lava_proxy.demo.seen import Counters
from lava_proxy.dialects import DIALECTS
from lava_proxy.services.quoting import quote
from lava_proxy.wiring import MadeHome
from tests.proof.books import assert_accounted, calls_seen, spent_and_held_at_every_step, wait_until_settled
from tests.proof.callers import Caller, Heard, chat, connected, share
from tests.support.certificates import Authority
from tests.support.proxy import RunningProxy, Shop, eventually, running_proxy

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300), pytest.mark.usefixtures("repetition")]

CALLS, PAID = 1000, 50
FIVE, TEN_CENTS = parse_amount("5"), parse_amount("0.10")
CONNECTIONS = 100
"""Fifty of them wait for their answers; the others are enough to be refused."""
USED_TOKENS, MORE_TOKENS = 100, 200
"""What each call of the last test uses, and by how much its quote is higher."""


@pytest.fixture
def two_proxies(made_home: MadeHome, provider: StandIn, authority: Authority) -> Iterator[list[RunningProxy]]:
    """Two processes on one home."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                running_proxy(
                    made_home.home, provider=provider, authority=authority, settings={"LAVA_INSTANCE": instance}
                )
            )
            for instance in ("a", "b")
        ]


async def test_of_a_thousand_calls_exactly_fifty_reach_the_provider(
    shop: Shop, provider: StandIn, proxy: RunningProxy
) -> None:
    _stock(shop)
    await _rush([proxy], provider)
    _assert_spent_to_the_cent(shop, provider)


async def test_two_proxies_on_one_home_together_let_exactly_fifty_through(
    shop: Shop, provider: StandIn, two_proxies: list[RunningProxy]
) -> None:
    _stock(shop)
    await _rush(two_proxies, provider)
    _assert_spent_to_the_cent(shop, provider)


async def test_with_quotes_of_three_times_the_charge_every_call_that_can_be_paid_gets_through(
    shop: Shop, provider: StandIn, two_proxies: list[RunningProxy]
) -> None:
    """Each call is quoted $0.30 and charged $0.10: at most sixteen at once, and again as what was held comes back.

    When $0.20 are left, a quote of $0.30 can never be held, however often it is tried: the last two calls get through
    by asking for less, which is what the refusal tells (`spent`, no longer `held_by_calls_in_flight`).
    """
    input_tokens = _quoted_input_tokens()
    frugal = USED_TOKENS - input_tokens
    provider.plan = Plan(output_tokens=frugal, cached_tokens=input_tokens)
    shop.meter("tokens", "1000", unit=TierUnit.TOKENS_1M)  # $0.10 for 100 tokens
    shop.customer("acme", credit="5", meter="tokens")

    async def call_until_spent(caller: Caller, worker: str) -> int:
        for number in range(CALLS):
            name = f"{worker}-{number:04d}"
            heard = await caller.ask(chat(name, max_tokens=frugal + MORE_TOKENS), call=name)
            if heard.status == 402 and heard.details["reason"] == "held_by_calls_in_flight":
                await asyncio.sleep(0.01)
            elif heard.status == 402:
                return number
            else:
                assert heard.status == 200, heard
        raise AssertionError("the credit never ran out")

    async with connected(Caller(two_proxies[n % 2], "acme") for n in range(40)) as callers:
        await share(callers, [f"w{n:03d}" for n in range(40)], call_until_spent)
        wait_until_settled(shop)
        assert provider.counters.requests == PAID - 2
        names = [f"last-{n:04d}" for n in range(3)]
        last = [await callers[0].ask(chat(name, max_tokens=frugal), call=name) for name in names]
    assert [heard.status for heard in last] == [200, 200, 402]
    wait_until_settled(shop)
    records = assert_accounted(shop, calls_seen(provider)).records.values()
    assert {record.charge_nanos for record in records} == {TEN_CENTS} and len(records) == PAID
    assert Counter(record.quote_nanos for record in records) == {3 * TEN_CENTS: PAID - 2, TEN_CENTS: 2}
    _assert_never_above(shop)


def _stock(shop: Shop) -> None:
    shop.meter("per-call", "0.10")
    shop.customer("acme", credit="5", meter="per-call")


async def _rush(proxies: Sequence[RunningProxy], provider: StandIn) -> None:
    """A thousand calls over a hundred connections; the answers are let go when 950 refusals have come back."""
    provider.plan = Plan(latch="tap")
    refused = 0

    async def ask(caller: Caller, call: str) -> Heard:
        nonlocal refused
        heard = await caller.ask(chat(call), call=call)
        if heard.status == 402:
            refused += 1
            assert heard.error["code"] == "insufficient_credits", heard
            assert heard.details["reason"] == "held_by_calls_in_flight", heard
            if refused == CALLS - PAID:
                assert await asyncio.to_thread(provider.counters.wait_until, _fifty_wait, timeout_seconds=60)
                provider.release("tap")
        return heard

    async with connected(Caller(proxies[n % len(proxies)], "acme") for n in range(CONNECTIONS)) as callers:
        heard = await share(callers, [f"call-{n:04d}" for n in range(CALLS)], ask)
    assert Counter(answer.status for answer in heard) == {402: CALLS - PAID, 200: PAID}


def _fifty_wait(counters: Counters) -> bool:
    return counters.waiting == PAID


def _assert_spent_to_the_cent(shop: Shop, provider: StandIn) -> None:
    assert provider.counters.requests == provider.counters.connections == PAID
    wait_until_settled(shop)
    records = assert_accounted(shop, calls_seen(provider)).records.values()
    assert [record.charge_nanos for record in records] == [TEN_CENTS] * PAID
    assert shop.available("acme") == 0
    _assert_never_above(shop)
    eventually(lambda: shop.refusals("acme") == {"insufficient_credits": CALLS - PAID})


def _assert_never_above(shop: Shop) -> None:
    steps = spent_and_held_at_every_step(shop)
    assert max(steps) <= FIVE and steps[-1] == FIVE


def _quoted_input_tokens() -> int:
    """Of the bodies of the last test, whose names are all of this length."""
    facts = DIALECTS["openai_chat"].read_request("chat", chat("last-0000"), path_model=None)
    return quote(facts, None, assumed_output_tokens=0).input_tokens
