"""Everything that goes wrong on the way, at once, on two proxies: clients that leave, a provider that fails or breaks off."""

import contextlib
import itertools
import json
import random
from collections import Counter
from dataclasses import dataclass

import pytest

from lava_proxy.core.entities import RequestRecord, RequestStatus, TierUnit
from lava_proxy.core.money import parse_amount
from lava_proxy.demo.figures import figures
from lava_proxy.demo.plan import Plan
from lava_proxy.demo.provider import StandIn
from tests.proof.books import assert_accounted, calls_seen, spent_and_held_at_every_step, wait_until_settled
from tests.proof.callers import Caller, chat, share
from tests.proof.starting import TOKEN_NANOS, Start
from tests.support.proxy import RunningProxy, Shop

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]

CALLS = 400
CREDIT = "9"
PLAN = Plan(output_tokens=12, chunks=6, delay_ms=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """How a call goes. ``parts``: how much of a stream the client waits for before it leaves; -1: not even the head."""

    stream: bool = False
    parts: int | None = None
    provider: str = "{}"
    """The stand-in's knobs."""
    is_free: bool = False
    """The provider bills nothing: it said no, or said nothing."""


FATES = {
    "whole": Fate(),
    "stream": Fate(stream=True),
    "gone-at-once": Fate(stream=True, parts=-1),
    "gone-at-head": Fate(stream=True, parts=0),
    "gone-in-midst": Fate(stream=True, parts=2),
    "error": Fate(provider='{"status": 500}', is_free=True),
    "silence": Fate(provider='{"abort_after_events": -1}', is_free=True),
    "torn": Fate(stream=True, provider='{"abort_after_events": 3, "tear": true}'),
}


async def test_in_a_storm_every_call_is_booked_once_and_for_what_it_was(
    start: Start, shop: Shop, provider: StandIn, repetition: int
) -> None:
    provider.plan = PLAN
    shop.meter("scarce", str(1000), unit=TierUnit.TOKENS_1M)
    shop.customer("poor", credit=CREDIT, meter="scarce")
    chance = random.Random(repetition)
    calls = [f"{chance.choice(list(FATES))}-{number:04d}" for number in range(CALLS)]
    statuses: Counter[int] = Counter()

    with start(LAVA_INSTANCE="a") as one, start(LAVA_INSTANCE="b") as other:
        proxies = itertools.cycle((one, other))

        async def ask(_: Caller, call: str) -> None:
            statuses[await _go_through(next(proxies), call)] += 1

        await share([Caller(one, "poor") for _ in range(24)], calls, ask)
        wait_until_settled(shop)
    seen = calls_seen(provider)
    assert set(seen.values()) == {1}, seen
    accounts = assert_accounted(shop, [call for call in seen if not _fate(call).is_free])
    for call, record in accounts.records.items():
        _assert_booked_right(call, record, has_reached=call in seen)
    assert max(spent_and_held_at_every_step(shop)) <= parse_amount(CREDIT)
    assert statuses[200] and statuses[402] and statuses[500], "the weather was too fair to tell"


async def _go_through(proxy: RunningProxy, call: str) -> int:
    """Gives the status that the client has seen; 0 for none."""
    fate = _fate(call)
    headers = [f"x-stand-in: {fate.provider}"]
    status = 0
    with contextlib.suppress(ConnectionError, EOFError):
        async with Caller(proxy, "poor") as caller:
            if fate.parts == -1:
                caller.send(chat(call, stream=True), call=call, headers=headers)
                caller.reset()
                return status
            heard = await caller.begin(chat(call, stream=fate.stream), call=call, headers=headers)
            status = heard.status
            if fate.parts is None or status != 200:
                await caller.rest(heard)
            else:
                for _ in range(fate.parts):
                    await caller.part()
                caller.reset()
    return status


def _assert_booked_right(call: str, record: RequestRecord, *, has_reached: bool) -> None:
    fate = _fate(call)
    if not has_reached or fate.is_free:
        assert (record.status, record.charge_nanos) == (RequestStatus.ERROR, 0), (call, record)
        return
    assert record.status is RequestStatus.COMPLETED, (call, record)
    if fate.parts is None and fate.provider == "{}":
        tokens = figures(json.loads(chat(call)), PLAN)
        assert record.flags == () and record.charge_nanos == (tokens.input + tokens.output) * TOKEN_NANOS, record
    elif fate.parts is None:
        assert {"upstream_gone", "estimated"} <= set(record.flags), (call, record)
    elif record.flags:  # else all of the answer had come when the client left
        assert {"aborted", "estimated"} <= set(record.flags), (call, record)


def _fate(call: str) -> Fate:
    return FATES[call[:-5]]
