"""Many at once, and many after one another."""

import asyncio
import json
import re
from pathlib import Path

import pytest

from lava_proxy.demo.figures import figures, text_of
from lava_proxy.demo.plan import Plan
from lava_proxy.demo.provider import StandIn
from tests.proof.books import assert_accounted, calls_seen, wait_until_settled
from tests.proof.callers import Caller, chat, connected, share
from tests.proof.starting import TOKEN_NANOS, Start, until_waiting
from tests.support.proxy import RunningProxy, Shop

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

STREAMS = 200
PLAN = Plan(output_tokens=30, chunks=15, latch="all", latch_after_events=5)
LARGE = 20_000
"""Bytes of prompt and of answer: whatever keeps hold of one body a call outgrows every bound here."""


@pytest.mark.timeout(300)
async def test_two_hundred_streams_at_once_all_end_right_and_are_settled(
    start: Start, shop: Shop, provider: StandIn
) -> None:
    """None goes on beyond its fifth event before all of them are there."""
    provider.plan = PLAN
    with start() as proxy:
        async with connected(Caller(proxy, "acme") for _ in range(STREAMS)) as callers:

            async def ask(number: int) -> bytes:
                call = f"stream-{number:03d}"
                return (await callers[number].ask(chat(call, stream=True), call=call)).body

            asking = [asyncio.create_task(ask(number)) for number in range(STREAMS)]
            await until_waiting(provider, STREAMS)
            provider.release("all")
            bodies = await asyncio.gather(*asking)
        assert {_text(body) for body in bodies} == {text_of(30)}
        assert all(body.endswith(b"data: [DONE]\n\n") and b'"usage": {' not in body for body in bodies)
        wait_until_settled(shop)
    accounts = assert_accounted(shop, calls_seen(provider))
    tokens = figures(json.loads(chat("stream-000")), PLAN)
    charge = (tokens.input + tokens.output) * TOKEN_NANOS
    assert len(accounts.records) == STREAMS
    assert {(record.charge_nanos, record.flags) for record in accounts.records.values()} == {(charge, ())}


@pytest.mark.timeout(1800)
async def test_memory_stays_flat_over_many_calls(
    start: Start, shop: Shop, provider: StandIn, full_length: bool
) -> None:
    """The caches of the ledger fill over some 6,000 calls; from then on nothing grows."""
    warm_up, calls, mebibytes_max = (6_000, 20_000, 8) if full_length else (1_000, 2_000, 20)
    provider.plan = Plan(output_tokens=30, chunks=10, pad_bytes=LARGE)
    shop.grant("acme", "1000000")

    async def ask(caller: Caller, call: str) -> None:
        body = chat(call + "." * LARGE, stream=call.endswith("0"))
        heard = await caller.ask(body, call=call)
        assert heard.status == 200 and len(heard.body) > LARGE, heard.status

    with start() as proxy:
        async with connected(Caller(proxy, "acme") for _ in range(8)) as callers:
            await share(callers, [f"warm-{n:06d}" for n in range(warm_up)], ask)
            before = _resident_kib(proxy)
            await share(callers, [f"call-{n:06d}" for n in range(calls)], ask)
            growth = _resident_kib(proxy) - before
    print(f"resident memory grew by {growth} KiB over {calls} calls, from {before} KiB")
    assert growth < mebibytes_max * 1024


def _text(body: bytes) -> str:
    """What the pieces of a streamed answer say together."""
    events = [json.loads(line) for line in re.findall(rb"data: (\{.*)", body)]
    return "".join(event["choices"][0]["delta"].get("content") or "" for event in events)


def _resident_kib(proxy: RunningProxy) -> int:
    status = Path(f"/proc/{proxy.process.pid}/status").read_text()
    (found,) = re.findall(r"VmRSS:\s+(\d+) kB", status)
    return int(found)
