"""After a request has left: the stream is sacred, and every call is closed once, as what it was."""

import asyncio
import gc
import zlib

import pytest
from mitmproxy.http import HTTPFlow

from lava_proxy.services.exchange import Ending, Forward, Head
from tests.addons.conftest import StartRig
from tests.addons.fake_line import FakeCall, FakeLine
from tests.addons.rig import BODY_SIZE_LIMIT, lead_to
from tests.addons.upstream import Seen, reset
from tests.addons.wire import request

EVENTS = [b'data: {"n":%d}\n\n' % number for number in range(5)]
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


class Steps:
    """An answer in steps: each part goes out when the test says so."""

    def __init__(self, *parts: bytes) -> None:
        self._parts = parts
        self._steps: asyncio.Queue[None] = asyncio.Queue()

    def step(self, count: int = 1) -> None:
        for _ in range(count):
            self._steps.put_nowait(None)

    async def __call__(self, seen: Seen, writer: asyncio.StreamWriter) -> None:
        for part in self._parts:
            await self._steps.get()
            writer.write(part)
            await writer.drain()


async def stream(seen: Seen, writer: asyncio.StreamWriter) -> None:
    writer.write(STREAM_HEAD)
    for event in EVENTS:
        writer.write(chunk(event))
        await writer.drain()
        await asyncio.sleep(0.005)
    writer.write(chunk(b""))


async def test_a_stream_passes_event_by_event_while_it_comes(rig: StartRig) -> None:
    steps = Steps(STREAM_HEAD, *map(chunk, EVENTS), chunk(b""))
    async with rig(answering=steps) as r, await r.tunnel() as wire:
        wire.send(request())
        steps.step()
        status, headers = await wire.read_head()
        received = []
        for _ in EVENTS:
            steps.step()
            received.append(await wire.read_chunk())
        assert r.line.closed == []
        steps.step()

        assert await wire.read_chunk() == b""
        assert (status, headers["x-lava-request-id"]) == (200, "req_1")
        assert received == EVENTS
        assert r.line.calls[0].body == b"".join(EVENTS)
        assert (r.line.calls[0].is_finished, r.line.endings) == (True, [Ending.COMPLETE])


async def test_the_line_sees_status_and_headers_as_the_provider_sent_them(rig: StartRig) -> None:
    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 429 Too Many\r\nRetry-After: 3\r\nX-Odd: \xe9\r\ncontent-length: 2\r\n\r\n{}")

    async with rig(answering=answer) as r, await r.tunnel() as wire:
        assert (await wire.call()).status == 429

        assert r.line.calls[0].status == 429
        assert dict(r.line.calls[0].headers) == {"retry-after": "3", "x-odd": "é", "content-length": "2"}


async def test_the_tap_sees_the_bytes_still_compressed_and_the_client_gets_the_same(rig: StartRig) -> None:
    packed = zlib.compress(b"".join(EVENTS), wbits=31)

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n"
            + chunk(packed)
            + chunk(b"")
        )

    async with rig(answering=answer) as r, await r.tunnel() as wire:
        assert (await wire.call()).body == packed
        assert r.line.calls[0].body == packed


async def test_an_event_that_the_line_takes_out_does_not_end_the_stream(rig: StartRig) -> None:
    """To give mitmproxy an empty part would end the client's body."""
    call = FakeCall(line := FakeLine(), "req_1")
    call.drops = EVENTS[2]
    line.decide = lambda head, body: line.admitted(call)
    async with rig(line=line, answering=stream) as r, await r.tunnel() as wire:
        assert (await wire.call()).body == b"".join(EVENTS[:2] + EVENTS[3:])
        assert (await wire.call()).status == 200


async def test_an_announced_stream_from_which_an_event_is_taken_is_sent_in_chunks(rig: StartRig) -> None:
    whole = b"".join(EVENTS)

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(whole) + whole
        )

    line = FakeLine()

    def admit(head: Head, body: bytes) -> Forward:
        call = line.call()
        call.drops = EVENTS[4]
        return line.admitted(call)

    line.decide = admit
    async with rig(line=line, answering=answer) as r, await r.tunnel() as wire:
        answers = [await wire.call() for _ in range(2)]

        assert [a.body for a in answers] == [b"".join(EVENTS[:4])] * 2
        assert "content-length" not in answers[0].headers


async def test_what_the_line_held_back_reaches_the_client_at_the_end(rig: StartRig) -> None:
    line = FakeLine()
    line.decide = lambda head, body: line.admitted(line.call(hold_back=7))
    async with rig(line=line, answering=stream) as r, await r.tunnel() as wire:
        assert (await wire.call()).body == b"".join(EVENTS)


async def test_a_tap_that_fails_costs_the_client_nothing(rig: StartRig) -> None:
    """mitmproxy would drop the part, or leave the client hanging at the end."""
    line = FakeLine()

    def admit(head: Head, body: bytes) -> Forward:
        call = line.call()
        call.fails_in_feed = True
        return line.admitted(call)

    line.decide = admit
    async with rig(line=line, answering=stream) as r, await r.tunnel() as wire:
        assert [(await wire.call()).body for _ in range(2)] == [b"".join(EVENTS)] * 2
        assert line.endings == [Ending.COMPLETE] * 2


@pytest.mark.parametrize("failing", ["begin", "finish"])
async def test_a_line_that_fails_at_either_end_of_an_answer_costs_the_client_nothing(
    rig: StartRig, failing: str
) -> None:
    line = FakeLine()

    class Failing(FakeCall):
        def begin(self, *arguments: object) -> None:
            assert failing != "begin"

        def finish(self) -> bytes:
            assert failing != "finish"
            return b""

    line.decide = lambda head, body: line.admitted(Failing(line, "req_x"))
    async with rig(line=line, answering=stream) as r, await r.tunnel() as wire:
        assert (await wire.call()).body == b"".join(EVENTS)
        assert line.closed == [("req_x", Ending.COMPLETE)]


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n"),
        ("POST", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("POST", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    ],
)
async def test_an_answer_without_a_body_is_complete(rig: StartRig, method: str, answer: bytes) -> None:
    async def answering(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    async with rig(answering=answering) as r, await r.tunnel() as wire:
        assert [(await wire.call(method=method)).body for _ in range(2)] == [b"", b""]
        assert [call.is_finished for call in r.line.calls] == [True, True]
        assert r.line.endings == [Ending.COMPLETE] * 2


async def test_an_answer_that_ends_with_its_connection_is_complete(rig: StartRig) -> None:
    async def answering(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{}")
        await writer.drain()
        writer.close()

    async with rig(answering=answering) as r, await r.tunnel() as wire:
        assert (await wire.call()).body == b"{}"
        assert r.line.endings == [Ending.COMPLETE]


async def test_an_answer_larger_than_the_limit_of_requests_passes(rig: StartRig) -> None:
    size = BODY_SIZE_LIMIT + 1

    async def answering(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + bytes(size))

    async with rig(answering=answering) as r, await r.tunnel() as wire:
        assert len((await wire.call()).body) == size


@pytest.mark.parametrize("leaves", ["close", "reset"])
async def test_a_client_that_leaves_in_mid_stream_is_closed_as_gone_with_what_it_got(
    rig: StartRig, leaves: str
) -> None:
    steps = Steps(STREAM_HEAD + chunk(EVENTS[0]), chunk(EVENTS[1]))
    async with rig(answering=steps) as r:
        wire = await r.tunnel()
        wire.send(request())
        steps.step()
        await wire.read_head()
        assert await wire.read_chunk() == EVENTS[0]
        if leaves == "reset":
            wire.reset()
        else:
            wire.writer.close()
        await r.until(lambda: r.line.closed)

        assert r.line.closed == [("req_1", Ending.CLIENT_GONE)]
        assert r.line.calls[0].body == EVENTS[0]
        assert not r.line.calls[0].is_finished


async def test_a_client_that_leaves_before_the_answer_begins_is_closed_as_gone(rig: StartRig) -> None:
    async with rig(answering=Steps(b"never")) as r:
        wire = await r.tunnel()
        wire.send(request())
        await r.until(lambda: r.upstream.seen)
        await wire.close()
        await r.until(lambda: r.line.closed)

        assert r.line.endings == [Ending.CLIENT_GONE]
        assert r.line.calls[0].status is None


@pytest.mark.parametrize(
    "sent", [b"", STREAM_HEAD + chunk(EVENTS[0]), b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort"]
)
async def test_a_provider_that_breaks_off_after_the_request_is_closed_as_gone(rig: StartRig, sent: bytes) -> None:
    async def answering(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        await writer.drain()
        await asyncio.sleep(0.05)
        reset(writer)

    async with rig(answering=answering) as r, await r.tunnel() as wire:
        wire.send(request())
        await r.until(lambda: r.line.closed)

        assert r.line.closed == [("req_1", Ending.UPSTREAM_GONE)]
        assert (await wire.read_head())[0] == (200 if sent else 502)


async def test_a_provider_that_cannot_be_reached_was_never_sent_the_call(rig: StartRig) -> None:
    async with rig() as r, await r.tunnel("api.anthropic.com") as wire:
        lead_to(9)  # nobody listens there
        assert (await wire.call(host="api.anthropic.com")).status == 502
        assert r.line.closed == [("req_1", Ending.NOT_SENT)]


async def test_a_provider_with_a_wrong_certificate_was_never_sent_the_call(rig: StartRig) -> None:
    line = FakeLine(ai_hosts={"wrong.example"})
    async with rig(line=line) as r:
        lead_to(r.upstream.port, "wrong.example")
        async with await r.tunnel("wrong.example") as wire:
            assert (await wire.call(host="wrong.example")).status == 502
            assert line.closed == [("req_1", Ending.NOT_SENT)]
            assert r.upstream.seen == []


async def test_a_provider_that_hangs_up_in_the_tls_handshake_was_never_sent_the_call(rig: StartRig) -> None:
    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with rig() as r, await r.tunnel() as wire:
        lead_to(server.sockets[0].getsockname()[1])
        assert (await wire.call()).status == 502
        assert r.line.closed == [("req_1", Ending.NOT_SENT)]
    server.close()


async def test_a_provider_that_refuses_the_second_call_on_a_reused_connection_may_have_seen_it(rig: StartRig) -> None:
    """The connection was there, TLS and all, so it is not certain that nothing was received."""

    async def answering(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if len(r.upstream.seen) > 1:
            reset(writer)
        else:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    async with rig(answering=answering) as r, await r.tunnel() as wire:
        assert [(await wire.call()).status for _ in range(2)] == [200, 502]
        assert r.line.endings == [Ending.COMPLETE, Ending.UPSTREAM_GONE]


async def test_a_provider_that_closed_its_idle_connection_gets_the_next_call_on_a_new_one(rig: StartRig) -> None:
    async def answering(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()

    async with rig(answering=answering) as r, await r.tunnel() as wire:
        for _ in range(3):
            assert (await wire.call()).status == 200
            await asyncio.sleep(0.05)

        assert r.upstream.connections == 3
        assert r.line.endings == [Ending.COMPLETE] * 3


async def test_interim_answers_are_not_taken_for_the_answer(rig: StartRig) -> None:
    async def answering(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.write(b"HTTP/1.1 103 Early Hints\r\nlink: </y>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    async with rig(answering=answering) as r, await r.tunnel() as wire:
        assert [(await wire.call()).body for _ in range(2)] == [b"{}", b"{}"]

        assert [call.status for call in r.line.calls] == [200, 200]
        assert r.line.endings == [Ending.COMPLETE] * 2


async def test_an_upgrade_to_what_nobody_reads_is_not_complete(mitmproxy_rig: StartRig) -> None:
    """After it, bytes would pass that are not metered."""

    async def answering(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: other\r\nconnection: upgrade\r\n\r\nfree")

    async with mitmproxy_rig(answering=answering) as r, await r.tunnel() as wire:
        wire.send(request(upgrade="other", connection="upgrade"))
        await r.until(lambda: r.line.closed)

        assert r.line.endings == [Ending.UPSTREAM_GONE]
        assert b"free" not in await wire.read_to_end()


class Killer:
    """Another addon that kills flows, as mitmproxy's own do."""

    def __init__(self, hook: str) -> None:
        self._hook = hook

    def request(self, flow: HTTPFlow) -> None:
        if self._hook == "request":
            flow.kill()  # type: ignore[no-untyped-call]

    def responseheaders(self, flow: HTTPFlow) -> None:
        if self._hook == "responseheaders":
            flow.kill()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(("hook", "ending"), [("request", Ending.NOT_SENT), ("responseheaders", Ending.UPSTREAM_GONE)])
async def test_a_killed_flow_is_closed_once(mitmproxy_rig: StartRig, hook: str, ending: Ending) -> None:
    async with mitmproxy_rig(after=[Killer(hook)]) as r, await r.tunnel() as wire:
        wire.send(request())
        await r.until(lambda: r.line.closed)
        assert await wire.read_to_end() == b""

        assert r.line.calls[0].endings == [ending]


async def test_a_flow_that_mitmproxy_forgets_is_reaped_once_its_client_is_gone(mitmproxy_rig: StartRig) -> None:
    """One of its layers fails on trailers, and then neither `response` nor `error` comes."""

    async def answering(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + chunk(EVENTS[0]) + b"0\r\nx-trailer: 1\r\n\r\n")

    async with mitmproxy_rig(answering=answering) as r:
        wire = await r.tunnel()
        wire.send(request())
        await wire.read_head()
        assert await wire.read_chunk() == EVENTS[0]
        assert r.edge.exchanges.reap() == 0
        await wire.close()
        await r.until(lambda: not r.engine.port.connections)

        if r.line.closed:  # a mitmproxy that has learned trailers
            return
        assert r.edge.exchanges.reap() == 0  # it may still be on its way
        assert r.edge.exchanges.reap() == 1
        assert r.line.closed == [("req_1", Ending.CLIENT_GONE)]


async def test_five_calls_share_one_connection_with_the_right_server_name(rig: StartRig) -> None:
    async with rig() as r, await r.tunnel() as wire:
        for _ in range(5):
            assert (await wire.call()).status == 200

        assert r.upstream.connections == 1
        assert r.upstream.server_names == ["api.openai.com"]


async def test_two_hundred_streams_at_once_are_all_whole_and_all_closed(rig: StartRig) -> None:
    async with rig(answering=stream) as r:

        async def one() -> bytes:
            async with await r.tunnel() as wire:
                return (await wire.call()).body

        bodies = await asyncio.gather(*(one() for _ in range(200)))

        assert set(bodies) == {b"".join(EVENTS)}
        assert r.line.endings == [Ending.COMPLETE] * 200
        assert len(r.edge.exchanges) == 0


async def test_nothing_is_kept_of_calls_that_have_ended(rig: StartRig) -> None:
    async with rig() as r, await r.tunnel() as wire:
        for _ in range(50):
            await wire.call()
        gc.collect()
        before = sum(isinstance(found, HTTPFlow) for found in gc.get_objects())
        for _ in range(300):
            await wire.call()
        gc.collect()

        assert sum(isinstance(found, HTTPFlow) for found in gc.get_objects()) <= before + 2
        assert len(r.edge.exchanges) == 0


async def test_closed_provider_connections_are_forgotten_while_the_client_stays(mitmproxy_rig: StartRig) -> None:
    async def answering(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()

    async with mitmproxy_rig(answering=answering) as r, await r.tunnel() as wire:
        for number in range(20):
            assert (await wire.call()).status == 200
            await r.until(lambda: r.upstream.connections == number + 1)  # noqa: B023 it is called at once
            await asyncio.sleep(0.01)

        (handler,) = r.engine.port.connections.values()
        http = handler.layer.context.layers[-1]
        assert len(http.connections) <= 4  # type: ignore[attr-defined]
