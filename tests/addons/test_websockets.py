"""An upgrade is one call from its handshake to its end; what is said on it is not kept."""

import asyncio
import base64
import hashlib
import os

import pytest

from lava_proxy.services.exchange import Ending
from tests.addons.conftest import StartRig
from tests.addons.fake_line import REFUSED_402, FakeLine
from tests.addons.rig import Rig
from tests.addons.upstream import Seen, reset
from tests.addons.wire import Wire

_MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_HANDSHAKE = (
    b"GET /v1/realtime?model=gpt-realtime HTTP/1.1\r\nhost: api.openai.com\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def frame(text: bytes, *, opcode: int = 1, masked: bool = True) -> bytes:
    assert len(text) < 126
    if not masked:
        return bytes([0x80 | opcode, len(text)]) + text
    mask = os.urandom(4)
    return bytes([0x80 | opcode, 0x80 | len(text)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(text))


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    first, second = await reader.readexactly(2)
    mask = await reader.readexactly(4) if second & 0x80 else bytes(4)
    text = await reader.readexactly(second & 0x7F)
    return first & 0x0F, bytes(b ^ mask[i % 4] for i, b in enumerate(text))


async def accept(seen: Seen, writer: asyncio.StreamWriter) -> None:
    key = seen.headers["sec-websocket-key"] + _MAGIC
    accepted = base64.b64encode(hashlib.sha1(key.encode()).digest())
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: "
        + accepted
        + b"\r\n\r\n"
    )
    await writer.drain()


class Echo:
    """A provider that repeats every message; ``ends`` is how it behaves on the message ``end``."""

    def __init__(self, ends: str = "close") -> None:
        self._ends = ends

    async def __call__(self, seen: Seen, writer: asyncio.StreamWriter) -> None:
        await accept(seen, writer)
        reader: asyncio.StreamReader = writer._protocol._stream_reader  # type: ignore[attr-defined]
        while True:
            opcode, text = await read_frame(reader)
            if opcode == 8 or (text == b"end" and self._ends == "close"):
                writer.write(frame(b"\x03\xe8", opcode=8, masked=False))
                await writer.drain()
                return
            if text == b"end":
                reset(writer)
                return
            writer.write(frame(b"echo " + text, masked=False))
            await writer.drain()


async def upgraded(r: Rig) -> Wire:
    wire = await r.tunnel()
    wire.send(_HANDSHAKE)
    status, headers = await wire.read_head()
    assert status == 101
    assert headers["x-lava-request-id"] == "req_1"
    return wire


async def test_a_conversation_is_one_call_that_ends_with_it(rig: StartRig) -> None:
    async with rig(answering=Echo()) as r, await upgraded(r) as wire:
        for number in range(5):
            wire.send(frame(b"%d" % number))
            assert await read_frame(wire.reader) == (1, b"echo %d" % number)
        assert r.line.closed == []
        wire.send(frame(b"\x03\xe8", opcode=8))
        await r.until(lambda: r.line.closed)

        assert r.line.heads[0].path == "/v1/realtime?model=gpt-realtime"
        assert r.line.calls[0].status == 101
        assert r.line.calls[0].endings == [Ending.COMPLETE]


async def test_a_client_that_breaks_off_ends_the_call_as_gone(rig: StartRig) -> None:
    async with rig(answering=Echo()) as r:
        wire = await upgraded(r)
        wire.send(frame(b"1"))
        await read_frame(wire.reader)
        wire.reset()
        await r.until(lambda: r.line.closed)

        assert r.line.calls[0].endings == [Ending.CLIENT_GONE]


@pytest.mark.parametrize(("ends", "ending"), [("close", Ending.COMPLETE), ("reset", Ending.UPSTREAM_GONE)])
async def test_the_call_ends_as_the_provider_ends_it(rig: StartRig, ends: str, ending: Ending) -> None:
    async with rig(answering=Echo(ends)) as r, await upgraded(r) as wire:
        wire.send(frame(b"end"))
        await r.until(lambda: r.line.closed)

        assert r.line.calls[0].endings == [ending]


async def test_a_refused_upgrade_is_an_http_answer_and_opens_no_connection(rig: StartRig) -> None:
    line = FakeLine(decide=lambda head, body: REFUSED_402)
    async with rig(line=line) as r, await r.tunnel() as wire:
        wire.send(_HANDSHAKE)

        assert (await wire.read_answer()).status == 402
        assert r.upstream.connections == 0


async def test_messages_are_not_kept(mitmproxy_rig: StartRig) -> None:
    """mitmproxy would keep every one until the connection ends."""
    async with mitmproxy_rig(answering=Echo()) as r, await upgraded(r) as wire:
        for _ in range(100):
            wire.send(frame(b"x"))
            await read_frame(wire.reader)

        (exchange,) = r.edge.exchanges
        assert exchange.flow.websocket is not None
        assert len(exchange.flow.websocket.messages) == 1
