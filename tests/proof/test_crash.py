"""The proxy is killed (SIGKILL) at labelled points of a call; after the next start no call is free, and none doubled.

What was settled stays as it is. What was not is an orphan: nobody knows any more what the provider did, so it is
charged at its hold, and flagged. A meter by tokens tells the two apart: a hold is more than what the call comes to.
"""

import asyncio
import contextlib
import itertools
import json
import random
import signal
from dataclasses import dataclass, replace

import pytest

from lava_proxy.core.entities import Hold, HoldState
from lava_proxy.demo.figures import figures
from lava_proxy.demo.plan import Plan
from lava_proxy.demo.provider import StandIn
from lava_proxy.wiring import MadeHome
from tests.proof.books import Accounts, assert_accounted, calls_seen, open_holds, wait_until_settled
from tests.proof.callers import GONE, Caller, chat, connected, share
from tests.proof.starting import PLAN, TOKEN_NANOS, Start, run_to_the_end, until_waiting
from tests.support.proxy import RunningProxy, Shop, eventually

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300), pytest.mark.usefixtures("repetition")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """A point, and what is known of its call then: did it reach the provider, is it held, is it settled?"""

    die_at: str
    reached: bool = True
    held: bool = True
    settled: bool = False


DEATHS = (
    Death(die_at="hold:before_commit:1", reached=False, held=False),
    Death(die_at="hold:after_commit:1", reached=False),
    Death(die_at="settle:asked:1"),
    Death(die_at="settle:before_flush:1"),
    Death(die_at="settle:before_commit:1"),
    Death(die_at="settle:after_commit:1", settled=True),
)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_call_is_charged_once_wherever_the_proxy_kills_itself(
    start: Start, shop: Shop, provider: StandIn, stream: bool
) -> None:
    """Each life of the proxy begins with what the one before has left."""
    for death in DEATHS:
        seen_before = provider.counters.requests
        with start(PROOF_DIE_AT=death.die_at) as victim:
            assert open_holds(shop) == 0, "recovery comes before the first call"
            async with Caller(victim, "acme") as caller:
                with contextlib.suppress(*GONE):
                    await caller.ask(chat(death.die_at, stream=stream), call=death.die_at)
            assert victim.process.wait(60) == -signal.SIGKILL
        assert provider.counters.requests - seen_before == death.reached, death
        assert open_holds(shop) == (death.held and not death.settled), death
    accounts = await _start_again(start, shop, provider)
    assert set(accounts.records) == {death.die_at for death in DEATHS if death.held} | {"last"}
    assert accounts.orphaned() == {death.die_at for death in DEATHS if death.held and not death.settled}


async def test_calls_that_wait_or_stream_when_the_proxy_is_killed_are_charged_at_their_holds(
    start: Start, shop: Shop, provider: StandIn
) -> None:
    """One waits for a whole answer, the others have so many events of theirs: none, the head, some, all but the end."""
    stops = {"whole": -1, "no head": -1, "head": 0, "first event": 1, "mid-stream": 3, "all events": 99}
    with start() as proxy:
        async with connected(Caller(proxy, "acme") for _ in stops) as callers:
            asking = []
            for number, (caller, (call, events)) in enumerate(zip(callers, stops.items(), strict=True), start=1):
                provider.next_plans.append(replace(PLAN, latch="never", latch_after_events=events))
                body = chat(call, stream=call != "whole")
                asking.append(asyncio.create_task(caller.ask(body, call=call)))
                await until_waiting(provider, number)
            proxy.kill()
            ended = await asyncio.gather(*asking, return_exceptions=True)
            assert all(isinstance(error, GONE) for error in ended), ended
    accounts = await _start_again(start, shop, provider)
    assert accounts.orphaned() == set(stops)


async def test_of_two_calls_in_flight_the_settled_one_keeps_its_charge_and_the_other_becomes_an_orphan(
    start: Start, shop: Shop, provider: StandIn
) -> None:
    provider.next_plans.extend([Plan(latch="never"), PLAN])
    with start(PROOF_DIE_AT="settle:after_commit:1") as victim:
        async with Caller(victim, "acme") as one, Caller(victim, "acme") as other:
            asking = asyncio.create_task(one.ask(chat("first"), call="first"))
            await until_waiting(provider, 1)
            with contextlib.suppress(*GONE):
                await other.ask(chat("other"), call="other")
            with pytest.raises(GONE):
                await asking
    accounts = await _start_again(start, shop, provider)
    assert set(accounts.records) == {"first", "other", "last"}
    assert accounts.orphaned() == {"first"}


async def test_a_proxy_killed_while_it_charges_orphans_is_followed_by_one_that_charges_the_rest(
    start: Start, shop: Shop, provider: StandIn, made_home: MadeHome
) -> None:
    provider.next_plans.extend([Plan(latch="never")] * 3)
    names = ["call-1", "call-2", "call-3"]
    with start() as proxy:
        async with connected(Caller(proxy, "acme") for _ in names) as callers:
            pairs = zip(callers, names, strict=True)
            asking = [asyncio.create_task(caller.ask(chat(name), call=name)) for caller, name in pairs]
            await until_waiting(provider, 3)
            proxy.kill()
            await asyncio.gather(*asking, return_exceptions=True)
    for die_at, left in (("orphan:before_commit:1", 3), ("orphan:after_commit:1", 2), ("orphan:before_commit:2", 1)):
        assert run_to_the_end(made_home.home, PROOF_DIE_AT=die_at).returncode == -signal.SIGKILL
        assert open_holds(shop) == left, die_at
    accounts = await _start_again(start, shop, provider)
    assert accounts.orphaned() == set(names)


async def test_a_survivor_resolves_the_holds_of_a_killed_proxy_and_never_its_own(
    start: Start, shop: Shop, provider: StandIn
) -> None:
    provider.next_plans.extend([Plan(output_tokens=10, latch="survivor"), *[Plan(latch="never")] * 2])
    with start(LAVA_INSTANCE="survivor", PROOF_SWEEP_SECONDS="0.2") as survivor:
        async with Caller(survivor, "acme") as caller:
            asking = asyncio.create_task(caller.ask(chat("own"), call="own"))
            await until_waiting(provider, 1)
            for number, name in enumerate(("killed-1", "killed-2"), start=2):
                await _leave_an_orphan(start, provider, name, waiting=number)
                eventually(lambda name=name: _hold(shop, name).state is HoldState.ORPHANED, timeout_seconds=60)  # type: ignore[misc]
                assert _hold(shop, "own").state is HoldState.IN_FLIGHT
            provider.release("survivor")
            assert (await asking).status == 200
        wait_until_settled(shop)
        accounts = _assert_charged(shop, provider)
    assert accounts.orphaned() == {"killed-1", "killed-2"}


async def test_killed_at_any_moment_of_a_busy_time_no_call_is_free_or_doubled(
    start: Start, shop: Shop, provider: StandIn, repetition: int
) -> None:
    """Three lives of a proxy with sixteen clients; each ends at a moment that chance chooses."""
    chance = random.Random(repetition)
    provider.plan = replace(PLAN, delay_ms=4)
    for life in range(3):
        with start() as proxy:
            await _be_busy_until_killed(proxy, provider, chance, f"{life}")
    assert (await _start_again(start, shop, provider)).orphaned()


async def test_a_busy_survivor_and_the_next_life_of_a_killed_proxy_resolve_its_holds_once_between_them(
    start: Start, shop: Shop, provider: StandIn, repetition: int
) -> None:
    """The survivor sweeps all the time while its own calls go on, and while the other proxy starts again and recovers."""
    chance = random.Random(repetition)
    provider.plan = replace(PLAN, delay_ms=4)
    is_over = asyncio.Event()
    with start(LAVA_INSTANCE="survivor", PROOF_SWEEP_SECONDS="0.05") as survivor:

        async def go_on(caller: Caller, name: str) -> None:
            for number in itertools.count():
                call = f"own-{name}-{number:04d}"
                assert (await caller.ask(chat(call, stream=number % 2 == 0), call=call)).status == 200
                if is_over.is_set():
                    return

        async with connected(Caller(survivor, "acme") for _ in range(4)) as callers:
            own = asyncio.create_task(share(callers, ["a", "b", "c", "d"], go_on))
            for life in range(3):
                with contextlib.ExitStack() as stack:
                    killed = await asyncio.to_thread(stack.enter_context, start(LAVA_INSTANCE="killed"))
                    await _be_busy_until_killed(killed, provider, chance, f"{life}")
            is_over.set()
            await own
        wait_until_settled(shop)
    orphans = _assert_charged(shop, provider).orphaned()
    assert orphans and not any(call.startswith("own") for call in orphans)


async def _be_busy_until_killed(proxy: RunningProxy, provider: StandIn, chance: random.Random, name: str) -> None:
    """Sixteen clients, whole answers and streams; the end comes when chance says, once the first calls are through."""

    async def ask(caller: Caller, call: str) -> None:
        with contextlib.suppress(*GONE):
            await caller.ask(chat(call, stream=call.endswith(("1", "3", "5"))), call=call)

    async with connected(Caller(proxy, "acme") for _ in range(16)) as callers:
        busy = asyncio.create_task(share(callers, [f"{name}-{n:04d}" for n in range(1000)], ask))
        first = f"{name}-0000".encode()
        has_come = provider.counters.wait_until
        assert await asyncio.to_thread(has_come, lambda counters: any(first in seen.body for seen in counters.seen))
        await asyncio.sleep(chance.uniform(0, 0.6))
        proxy.kill()
        await busy


async def _start_again(start: Start, shop: Shop, provider: StandIn) -> Accounts:
    """The next life of the proxy finds nothing to wait for, and serves."""
    with start() as proxy:
        assert open_holds(shop) == 0, "recovery comes before the first call"
        async with Caller(proxy, "acme") as caller:
            assert (await caller.ask(chat("last"), call="last")).status == 200
        wait_until_settled(shop)
    return _assert_charged(shop, provider)


def _assert_charged(shop: Shop, provider: StandIn) -> Accounts:
    """Each call that reached the provider once: at its hold where it is an orphan, at its tokens where it is not."""
    seen = calls_seen(provider)
    assert set(seen.values()) == {1}, seen
    accounts = assert_accounted(shop, seen)
    for call, record in accounts.records.items():
        if "orphaned" in record.flags:
            assert record.charge_nanos == _hold(shop, call).amount_nanos
        else:
            tokens = figures(json.loads(chat(call)), PLAN)
            assert record.charge_nanos == (tokens.input + tokens.output) * TOKEN_NANOS, record
            assert record.charge_nanos < record.quote_nanos
    return accounts


def _hold(shop: Shop, call: str) -> Hold:
    (found,) = [
        hold for hold in shop.house.ledger.books().rows(Hold) if dict(hold.request.metadata).get("call") == call
    ]
    return found


async def _leave_an_orphan(start: Start, provider: StandIn, name: str, *, waiting: int) -> None:
    """A proxy that dies with a call in flight."""
    with start(LAVA_INSTANCE="killed") as killed:
        async with Caller(killed, "acme") as caller:
            asking = asyncio.create_task(caller.ask(chat(name), call=name))
            await until_waiting(provider, waiting)
            killed.kill()
            with pytest.raises(GONE):
                await asking
