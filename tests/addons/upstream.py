"""A small provider on 127.0.0.1 that answers byte by byte as a test says, and notes what it sees."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from lava_proxy.demo.provider import TlsFiles

JSON_ANSWER = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{"answer":"yes"}'[:-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One request. ``head`` is as it came."""

    head: bytes
    body: bytes

    @property
    def first_line(self) -> str:
        return self.head.partition(b"\r\n")[0].decode()

    @property
    def headers(self) -> dict[str, str]:
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}


Answering = Callable[[Seen, asyncio.StreamWriter], Awaitable[None]]


async def answer_json(seen: Seen, writer: asyncio.StreamWriter) -> None:
    body = b'{"answer":"yes"}'
    writer.write(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    )


def reset(writer: asyncio.StreamWriter) -> None:
    """Break the connection off, as a machine that dies does."""
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    writer.transport.abort()


@dataclass(slots=True)
class Upstream:
    answering: Answering = answer_json
    port: int = 0
    connections: int = 0
    server_names: list[str | None] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n"))[:-4]
                request = Seen(head=head, body=await _read_body(head, reader))
                self.seen.append(request)
                await self.answering(request, writer)
                if writer.is_closing():
                    break
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()
            self._tasks.discard(task)


async def _read_body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    headers = Seen(head=head, body=b"").headers
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
        return body
    return await reader.readexactly(int(headers.get("content-length", "0")))


@contextlib.asynccontextmanager
async def running_upstream(tls: TlsFiles | None, answering: Answering = answer_json) -> AsyncIterator[Upstream]:
    upstream = Upstream(answering=answering)
    context = None
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.certificate, tls.key)
        context.sni_callback = lambda _socket, name, _context: upstream.server_names.append(name)
    server = await asyncio.start_server(upstream._serve, "127.0.0.1", 0, ssl=context, backlog=512)
    upstream.port = server.sockets[0].getsockname()[1]
    try:
        yield upstream
    finally:
        server.close()
        for task in list(upstream._tasks):
            task.cancel()
        await asyncio.gather(*upstream._tasks, return_exceptions=True)
