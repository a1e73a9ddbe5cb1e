"""What the edge of our own does beyond what both edges do alike (`tests/addons` runs on either)."""

import asyncio

import pytest
from msgspec.structs import replace

from lava_proxy.http1.provider_side import ProviderSide
from lava_proxy.services.exchange import Ending
from tests.addons.conftest import StartRig
from tests.addons.fake_line import REFUSED_402, FakeCall, FakeLine
from tests.addons.rig import lead_to
from tests.addons.upstream import Seen, reset
from tests.addons.wire import request

EVENT_STREAM = b"content-type: text/event-stream\r\n"


def answering(text: bytes, *, then_closes: bool = False) -> object:
    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        await writer.drain()
        if then_closes:
            writer.close()

    return answer


def old(body: bytes = b"{}") -> bytes:
    """A request of HTTP/1.0."""
    return b"POST /v1/x HTTP/1.0\r\nhost: api.openai.com\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


async def test_tunnels_to_ai_hosts_are_taken_and_all_others_left(rig: StartRig) -> None:
    async with rig() as r:
        assert r.front is not None
        async with await r.tunnel() as ours, await r.dial() as theirs:
            assert (await ours.call()).status == 200
            theirs.send(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            assert (await theirs.read_answer()).status == 200

            assert len(r.front.service.connections) == 1
            assert len(r.engine.port.connections) == 1
        await r.until(lambda: r.front is not None and not r.front.service.connections)


@pytest.mark.parametrize(
    "head",
    [
        b"CONNECT api.openai.com:443 HTTP/1.1\r\nbroken\r\n\r\n",
        b"CONNECT api.openai.com:443 HTTP/1.1\r\nhost: a\r\n folded\r\n\r\n",
        b"CONNECT api.openai.com:443 HTTP/1.1\r\nproxy-authorization: a\r\nproxy-authorization: b\r\n\r\n",
    ],
)
async def test_an_odd_connect_is_left_to_mitmproxy(rig: StartRig, head: bytes) -> None:
    async with rig() as r, await r.dial() as wire:
        wire.send(head)
        await wire.reader.read(1)

        assert r.front is not None
        assert not r.front.service.connections
        assert len(r.engine.port.connections) <= 1


async def test_a_connect_that_comes_in_pieces_is_served_all_the_same(rig: StartRig) -> None:
    async with rig() as r, await r.dial() as wire:
        wire.send(b"CONNECT api.openai.com:443 HTTP/1.1\r\nhost: ")
        await asyncio.sleep(0.05)
        wire.send(b"api.openai.com:443\r\n\r\n")
        assert (await wire.read_answer(is_connect=True)).status == 200
        await wire.start_tls()

        assert (await wire.call()).status == 200


async def test_requests_sent_ahead_are_answered_in_their_order(rig: StartRig) -> None:
    line = FakeLine()
    line.decide = lambda head, body: REFUSED_402 if body == b"dear" else line.admitted()
    async with rig(line=line) as r, await r.tunnel() as wire:
        wire.send(request(body=b"1") + request(body=b"dear") + request(body=b"2"))

        assert [(await wire.read_answer()).status for _ in range(3)] == [200, 402, 200]
        assert [seen.body for seen in r.upstream.seen] == [b"1", b"2"]
        assert line.endings == [Ending.COMPLETE] * 2


async def test_a_client_that_waits_for_100_gets_it_and_the_provider_is_not_asked_for_it(rig: StartRig) -> None:
    async with rig() as r, await r.tunnel() as wire:
        wire.send(b"POST /v1/x HTTP/1.1\r\nhost: api.openai.com\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        assert (await wire.read_head())[0] == 100
        wire.send(b"{}")

        assert (await wire.read_answer()).status == 200
        assert "expect" not in r.upstream.seen[0].headers


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + EVENT_STREAM + b"content-length: 5\r\n\r\nhello",
    ],
)
async def test_a_client_of_http_1_0_gets_no_chunks(rig: StartRig, answer: bytes) -> None:
    async with rig(answering=answering(answer)) as r, await r.tunnel() as wire:
        wire.send(old())
        _, headers = await wire.read_head()

        assert "transfer-encoding" not in headers
        assert await wire.read_to_end() == b"hello"
        assert r.line.endings == [Ending.COMPLETE]


async def test_trailers_reach_the_client(rig: StartRig) -> None:
    text = b"HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nx-sum: 7\r\n\r\n"
    async with rig(answering=answering(text)) as r, await r.tunnel() as wire:
        wire.send(request())
        await wire.read_head()

        assert await wire.reader.readuntil(b"0\r\n") == b"2\r\n{}\r\n0\r\n"
        assert await wire.reader.readuntil(b"\r\n\r\n") == b"x-sum: 7\r\n\r\n"
        assert r.line.endings == [Ending.COMPLETE]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: other\r\nconnection: upgrade\r\n\r\nfree",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\nfree",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nfree",
        b"SSH-2.0 hello\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nfree",
        b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\nfree",
    ],
)
async def test_an_answer_that_is_none_is_a_502_and_not_complete(rig: StartRig, answer: bytes) -> None:
    async with rig(answering=answering(answer)) as r, await r.tunnel() as wire:
        found = await wire.call()

        assert (found.status, found.code) == (502, "upstream_gone")
        assert await wire.read_to_end() == b""
        assert r.line.endings == [Ending.UPSTREAM_GONE]


async def test_a_broken_chunk_in_mid_stream_cuts_the_answer_visibly(rig: StartRig) -> None:
    text = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\nzz\r\n"
    async with rig(answering=answering(text)) as r, await r.tunnel() as wire:
        wire.send(request())
        assert (await wire.read_head())[0] == 200
        rest = await wire.read_to_end()

        assert not rest.endswith(b"0\r\n\r\n")
        assert r.line.endings == [Ending.UPSTREAM_GONE]


async def test_more_than_was_asked_for_is_not_taken_for_the_next_answer(rig: StartRig) -> None:
    text = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"
    async with rig(answering=answering(text)) as r, await r.tunnel() as wire:
        assert [(await wire.call()).body for _ in range(2)] == [b"{}", b"{}"]
        assert r.upstream.connections == 2


async def test_an_answer_to_nothing_ends_the_providers_connection(rig: StartRig) -> None:
    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")

    async with rig(answering=answer) as r, await r.tunnel() as wire:
        assert (await wire.call()).body == b"{}"
        await asyncio.sleep(0.1)
        assert (await wire.call()).body == b"{}"
        assert r.upstream.connections == 2


async def test_an_answer_until_the_end_of_its_connection_that_breaks_off_does_not_look_whole(rig: StartRig) -> None:
    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await writer.drain()
        await asyncio.sleep(0.05)
        reset(writer)

    async with rig(answering=answer) as r, await r.tunnel() as wire:
        wire.send(request())
        await wire.read_head()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError, TimeoutError)):
            await wire.reader.readexactly(1000)
        assert r.line.endings == [Ending.UPSTREAM_GONE]


async def test_a_provider_that_says_close_is_asked_on_a_new_connection_and_the_client_told(rig: StartRig) -> None:
    text = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}"
    async with rig(answering=answering(text)) as r, await r.tunnel() as wire:
        answer = await wire.call()

        assert (answer.headers["connection"], await wire.read_to_end()) == ("close", b"")
        assert r.line.endings == [Ending.COMPLETE]


async def test_a_slow_client_holds_its_provider_back(rig: StartRig) -> None:
    size = 64 << 20
    sent = [0]

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        for _ in range(size >> 16):
            writer.write(bytes(1 << 16))
            await writer.drain()
            sent[0] += 1 << 16

    async with rig(answering=answer) as r, await r.tunnel() as wire:
        wire.send(request())
        await wire.read_head()
        for _ in range(100):
            before = sent[0]
            await asyncio.sleep(0.05)
            if sent[0] == before:
                break
        assert 0 < sent[0] < size  # it waits: what is in between is bounded
        body = await asyncio.wait_for(wire.reader.readexactly(size), 60)
        assert len(body) == size
        await r.until(lambda: r.line.endings == [Ending.COMPLETE])


async def test_silent_connections_are_closed_in_the_end(rig: StartRig) -> None:
    async with rig() as r, await r.tunnel() as wire:
        assert (await wire.call()).status == 200
        assert r.front is not None
        r.front.service.close_idle(asyncio.get_running_loop().time() - 3600)
        assert (await wire.call()).status == 200
        r.front.service.close_idle(asyncio.get_running_loop().time() + 1)

        assert await wire.read_to_end() == b""


async def test_a_conversation_survives_any_size_of_message(rig: StartRig) -> None:
    """Bytes pass as they are: what they say is nobody's business here but its end."""
    blob = bytes(range(256)) * 1024

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n")
        writer.write(b"\x82\x7f" + len(blob).to_bytes(8) + blob)
        await writer.drain()

    call = FakeCall(line := FakeLine(), "req_1")
    line.decide = lambda head, body: line.admitted(call)
    async with rig(line=line, answering=answer) as r, await r.tunnel() as wire:
        wire.send(
            b"GET /v1/realtime HTTP/1.1\r\nhost: api.openai.com\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
        )
        assert (await wire.read_head())[0] == 101
        assert (await wire.reader.readexactly(10 + len(blob)))[10:] == blob
        assert (call.fed, line.closed) == ([], [])
        await wire.close()
        await r.until(lambda: line.closed == [("req_1", Ending.CLIENT_GONE)])


async def test_a_connection_that_ends_before_it_is_used_was_never_sent_the_call(
    rig: StartRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A balancer that closes in the same breath as the handshake ends."""
    async with rig() as r, await r.tunnel() as wire:
        with monkeypatch.context() as patched:
            patched.setattr(ProviderSide, "is_free", property(lambda _: False))
            answer = await wire.call()
            assert (answer.status, answer.code) == (502, "unreachable")
        assert (await wire.call()).status == 200
        assert r.line.endings == [Ending.NOT_SENT, Ending.COMPLETE]


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "text/event-stream"])
async def test_an_answer_that_may_become_shorter_never_announces_its_length(rig: StartRig, kind: str) -> None:
    body = b'data: {"n":1}\n\ndata: {"usage":1}\n\n'
    text = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (kind.encode(), len(body), body)
    call = FakeCall(line := FakeLine(), "req_1")
    call.drops = b'data: {"usage":1}\n\n'
    line.decide = lambda head, body: replace(line.admitted(call), may_shorten=True)
    async with rig(line=line, answering=answering(text)) as r, await r.tunnel() as wire:
        answer = await wire.call()

        assert answer.body == b'data: {"n":1}\n\n'
        assert "content-length" not in answer.headers
        assert r.line.endings == [Ending.COMPLETE]


async def test_what_is_cut_at_the_end_is_closed_as_what_it_was(rig: StartRig) -> None:
    async def never(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)
        writer.close()

    server = await asyncio.start_server(never, "127.0.0.1", 0)
    async with rig(answering=answering(b"")) as r, await r.tunnel() as asked, await r.tunnel() as connecting:
        assert r.front is not None
        asked.send(request(body=b"asked"))
        await r.until(lambda: r.upstream.seen)
        lead_to(server.sockets[0].getsockname()[1])
        connecting.send(request(body=b"connecting"))
        await r.until(lambda: len(r.line.heads) == 2)
        r.front.service.cut_all()

        await r.until(lambda: len(r.line.closed) == 2)
        assert dict(r.line.closed) == {"req_1": Ending.STOPPED, "req_2": Ending.NOT_SENT}
        assert r.front.service.busy() == 0
    server.close()


async def test_a_conversation_that_is_over_as_it_begins_is_complete(rig: StartRig) -> None:
    text = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n\x88\x02\x03\xe8"
    async with rig(answering=answering(text)) as r, await r.tunnel() as wire:
        wire.send(
            b"GET /v1/x HTTP/1.1\r\nhost: api.openai.com\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n\x81\x00"
        )
        assert (await wire.read_head())[0] == 101
        assert await wire.read_to_end() == b"\x88\x02\x03\xe8"
        assert r.line.endings == [Ending.COMPLETE]


async def test_a_client_that_says_much_before_its_conversation_begins_is_heard_on(rig: StartRig) -> None:
    heard = bytearray()

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.3)
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n")
        await writer.drain()
        reader: asyncio.StreamReader = writer._protocol._stream_reader  # type: ignore[attr-defined]
        while len(heard) < size:
            heard.extend(await reader.read(1 << 16))

    size = 3 << 20
    async with rig(answering=answer) as r, await r.tunnel() as wire:
        wire.send(b"GET /v1/x HTTP/1.1\r\nhost: api.openai.com\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        wire.send(b"\x82\x7f" + (size - 10).to_bytes(8) + bytes(size - 10))
        assert (await wire.read_head())[0] == 101
        await r.until(lambda: len(heard) == size)
