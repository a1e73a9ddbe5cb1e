"""The ledger in trouble: locked, full, damaged, slow. Nothing leaves unbilled, and everything goes on when it is over."""

import asyncio
import contextlib
import json
import resource
import signal
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from lava_proxy.core.entities import RequestStatus
from lava_proxy.demo.provider import StandIn
from lava_proxy.settings import Home
from lava_proxy.wiring import MadeHome
from tests.proof.books import assert_accounted, calls_seen, open_holds, wait_until_settled
from tests.proof.callers import GONE, Caller, Heard, chat
from tests.proof.starting import PLAN, Start, run_to_the_end, until_waiting
from tests.support.proxy import RunningProxy, Shop, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]

HALF_WAY = replace(PLAN, latch="half", latch_after_events=2)


@contextlib.contextmanager
def locked(home: Home) -> Iterator[None]:
    """Somebody else holds the write lock of the ledger's file."""
    connection = sqlite3.connect(home.ledger_file, isolation_level=None, timeout=30)
    with contextlib.closing(connection):
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@contextlib.contextmanager
def full_disk(proxy: RunningProxy) -> Iterator[None]:
    """No file of the proxy's can be written any more."""
    _, hard = resource.prlimit(proxy.process.pid, resource.RLIMIT_FSIZE)
    before = resource.prlimit(proxy.process.pid, resource.RLIMIT_FSIZE, (0, hard))
    yield
    resource.prlimit(proxy.process.pid, resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("trouble", ["locked", "full disk"])
async def test_while_the_ledger_cannot_be_written_nothing_is_forwarded_and_afterwards_all_goes_on(
    start: Start, shop: Shop, provider: StandIn, made_home: MadeHome, trouble: str
) -> None:
    provider.next_plans.append(HALF_WAY)
    with start() as proxy:
        async with Caller(proxy, "acme") as streaming:
            head = await streaming.begin(chat("stream", stream=True), call="stream")
            await until_waiting(provider, 1)
            with locked(made_home.home) if trouble == "locked" else full_disk(proxy):
                provider.release("half")
                assert b"[DONE]" in await streaming.rest(head)
                refused = await asyncio.gather(*(_ask_as(proxy, host) for host in BODIES))
                assert provider.counters.requests == 1
                assert "ledger" in _unready(proxy)
                assert open_holds(shop) == 1, "the stream's end cannot be written yet"
            for host, heard in zip(BODIES, refused, strict=True):
                assert heard.status == 503 and heard.headers["x-lava-error"] == "ledger_unavailable", host
                assert _code(host, heard.body) == "ledger_unavailable"
            eventually(lambda: httpx.get(f"{proxy.url}/readyz", trust_env=False).status_code == 200, timeout_seconds=60)
            assert (await streaming.ask(chat("after"), call="after")).status == 200
        wait_until_settled(shop)
    accounts = assert_accounted(shop, calls_seen(provider))
    assert accounts.flags("stream") == accounts.flags("after") == ()


@pytest.mark.parametrize("damage", ["another file", "no header", "lost pages", "cut off"])
def test_a_damaged_ledger_is_told_at_the_start(made_home: MadeHome, shop: Shop, damage: str) -> None:
    shop.customer("acme", credit="5")
    shop.house.close()
    file = made_home.home.ledger_file
    whole = file.read_bytes()
    file.write_bytes(
        {
            "another file": b"Dear diary, today I kept no books.\n" * 1000,
            "no header": b"\0" * 100 + whole[100:],
            "lost pages": whole[:4096] + b"\xff" * (len(whole) - 4096),
            "cut off": whole[: len(whole) // 3],
        }[damage]
    )
    ended = run_to_the_end(made_home.home)
    assert ended.returncode == 9, ended.stderr
    assert "Traceback" not in ended.stderr
    assert str(file) in ended.stderr and "hint:" in ended.stderr


async def test_a_slow_disk_holds_up_neither_streams_nor_calls_that_need_no_ledger(
    start: Start, shop: Shop, provider: StandIn, tmp_path: Path
) -> None:
    """The writer stands still in the midst of a commit until the gate opens."""
    provider.next_plans.append(HALF_WAY)
    gate = tmp_path / "gate"
    with start(PROOF_GATE=str(gate)) as proxy:
        async with Caller(proxy, "acme") as streaming, Caller(proxy, "acme") as other, Caller(proxy, "acme") as held_up:
            head = await streaming.begin(chat("stream", stream=True), call="stream")
            await until_waiting(provider, 1)
            gate.touch()
            waiting = asyncio.create_task(held_up.ask(chat("held up"), call="held up"))
            await asyncio.to_thread(eventually, gate.with_suffix(".at").exists)
            provider.release("half")
            assert b"[DONE]" in await streaming.rest(head)
            assert (await other.get("/v1/models")).status == 200
            assert _is_healthy(proxy)
            assert not waiting.done() and "held up" not in _chats_seen(provider)
            gate.unlink()
            assert (await waiting).status == 200
        wait_until_settled(shop)
    assert_accounted(shop, ["stream", "held up"])


async def test_a_client_that_does_not_wait_for_its_hold_leaves_none_behind(
    start: Start, shop: Shop, provider: StandIn, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with start(PROOF_GATE=str(gate)) as proxy:
        async with Caller(proxy, "acme") as impatient:
            gate.touch()
            waiting = asyncio.create_task(impatient.ask(chat("first"), call="first"))
            await asyncio.to_thread(eventually, gate.with_suffix(".at").exists)
            impatient.reset()
            with pytest.raises(GONE):
                await waiting
        gate.unlink()
        async with Caller(proxy, "acme") as patient:
            assert (await patient.ask(chat("second"), call="second")).status == 200
        wait_until_settled(shop)
    accounts = assert_accounted(shop, ["second"])
    assert set(calls_seen(provider)) == {"second"}
    assert accounts.records["first"].status is RequestStatus.ERROR and accounts.records["first"].charge_nanos == 0


async def test_who_fails_open_lets_a_call_pass_once_it_is_noted_and_books_it_later(
    start: Start, shop: Shop, provider: StandIn, made_home: MadeHome
) -> None:
    provider.plan = replace(PLAN, latch="noted")
    with start(LAVA_FAIL_OPEN="true") as proxy:
        async with Caller(proxy, "acme") as caller:
            with locked(made_home.home):
                asking = asyncio.create_task(caller.ask(chat("first"), call="first"))
                await until_waiting(provider, 1)
                (noted,) = _spooled(made_home.home)
                assert '"sent"' in noted and '"first"' in noted
                provider.release("noted")
                heard = await asking
                assert heard.status == 200 and heard.request_id in noted
        eventually(lambda: not _spooled(made_home.home), timeout_seconds=60)
    assert assert_accounted(shop, calls_seen(provider)).flags("first") == ("fail_open", "over_hold")


async def test_who_fails_open_refuses_what_cannot_even_be_noted(
    start: Start, shop: Shop, provider: StandIn, made_home: MadeHome
) -> None:
    with start(LAVA_FAIL_OPEN="true") as proxy, full_disk(proxy):
        async with Caller(proxy, "acme") as caller:
            heard = await caller.ask(chat("first"), call="first")
    assert (heard.status, heard.error["code"]) == (503, "ledger_unavailable")
    assert provider.counters.requests == provider.counters.connections == 0
    assert not _spooled(made_home.home)


async def test_a_noted_call_whose_proxy_was_killed_is_booked_once_even_if_the_booking_is_killed_too(
    start: Start, shop: Shop, provider: StandIn, made_home: MadeHome
) -> None:
    provider.plan = replace(PLAN, latch="never")
    with start(LAVA_FAIL_OPEN="true") as proxy:
        async with Caller(proxy, "acme") as caller:
            with locked(made_home.home):
                asking = asyncio.create_task(caller.ask(chat("first"), call="first"))
                await until_waiting(provider, 1)
                proxy.kill()
                with pytest.raises(GONE):
                    await asking
    for die_at in ("hold:before_commit:1", "settle:before_commit:1", "late:before_commit:1", "late:after_commit:1"):
        died = run_to_the_end(made_home.home, LAVA_FAIL_OPEN="true", PROOF_DIE_AT=die_at)
        assert died.returncode == -signal.SIGKILL, died.stderr
    provider.plan = PLAN
    with start() as proxy:
        async with Caller(proxy, "acme") as caller:
            assert (await caller.ask(chat("last"), call="last")).status == 200
        wait_until_settled(shop)
    accounts = assert_accounted(shop, calls_seen(provider), corrected=["first"])
    assert set(accounts.records) == {"first", "last"} and not _spooled(made_home.home)
    assert {"fail_open", "estimated"} <= set(accounts.flags("first"))


async def test_a_proxy_told_to_stop_while_the_ledger_is_locked_ends_and_leaves_the_charge_to_the_next(
    start: Start, shop: Shop, provider: StandIn, made_home: MadeHome
) -> None:
    with start(LAVA_DRAIN_SECONDS="1") as proxy:
        async with Caller(proxy, "acme") as caller:
            provider.plan = replace(PLAN, latch="answer")
            asking = asyncio.create_task(caller.ask(chat("first"), call="first"))
            await until_waiting(provider, 1)
            with locked(made_home.home):
                provider.release("answer")
                assert (await asking).status == 200
                proxy.process.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(proxy.process.wait, 120) == 9
    assert open_holds(shop) == 1
    with start():
        assert open_holds(shop) == 0
    assert assert_accounted(shop, calls_seen(provider)).orphaned() == {"first"}


BODIES = {
    "api.openai.com": ("/v1/chat/completions", chat("refused")),
    "api.anthropic.com": ("/v1/messages", chat("refused", model="claude-sonnet-4-5")),
    "generativelanguage.googleapis.com": (
        "/v1beta/models/gemini-2.5-flash:generateContent",
        b'{"contents": [{"role": "user", "parts": [{"text": "refused"}]}]}',
    ),
}
"""A call to each of three providers."""


async def _ask_as(proxy: RunningProxy, host: str) -> Heard:
    path, body = BODIES[host]
    async with Caller(proxy, "acme", host=host) as caller:
        return await caller.ask(body, path=path, call="refused")


def _code(host: str, body: bytes) -> object:
    """Our code, where the provider's SDK looks for it."""
    error = json.loads(body)["error"]
    if host != "generativelanguage.googleapis.com":
        return error.get("code") or error.get("error_code")
    assert error["code"] == 503 and error["status"] == "UNAVAILABLE", error
    return error["details"][0]["metadata"]["code"]


def _unready(proxy: RunningProxy) -> str:
    """Why the proxy says that it cannot serve; empty when it can."""
    answer = httpx.get(f"{proxy.url}/readyz", trust_env=False)
    return str(answer.json()["reason"]) if answer.status_code == 503 else ""


def _is_healthy(proxy: RunningProxy) -> bool:
    return httpx.get(f"{proxy.url}/healthz", trust_env=False).status_code == 200


def _chats_seen(provider: StandIn) -> set[str]:
    bodies = [json.loads(seen.body) for seen in provider.counters.seen if seen.body]
    return {body["messages"][0]["content"] for body in bodies}


def _spooled(home: Home) -> list[str]:
    return [line for file in home.spool_folder.glob("*.jsonl") for line in file.read_text().splitlines()]
