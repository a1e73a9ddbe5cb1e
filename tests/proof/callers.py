"""Clients of the proxy: each is one connection (CONNECT, TLS inside) that is kept open from call to call."""

import asyncio
import base64
import contextlib
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.support.proxy import RunningProxy

HOST = "api.openai.com"
PATIENCE_SECONDS = 100
"""For one part of an answer: a machine under load is slow, and a test that waits for ever says nothing."""
GONE = (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError)
"""How a client learns that the other side has died."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """An answer. Of a stream that goes on, ``body`` is empty."""

    status: int
    headers: dict[str, str]
    body: bytes = b""

    @property
    def error(self) -> dict[str, object]:
        """The error object of OpenAI's and Anthropic's shape."""
        error = json.loads(self.body)["error"]
        assert isinstance(error, dict), error
        return error

    @property
    def details(self) -> dict[str, object]:
        details = self.error["details"]
        assert isinstance(details, dict), details
        return details

    @property
    def request_id(self) -> str:
        return self.headers["x-lava-request-id"]


def chat(call: str, *, model: str = "gpt-4o-mini", max_tokens: int = 40, stream: bool = False) -> bytes:
    """The body of a chat completion that says which call it is."""
    messages = [{"role": "user", "content": call}]
    return json.dumps({"model": model, "messages": messages, "max_tokens": max_tokens, "stream": stream}).encode()


class Caller:
    """One connection; ``async with`` opens and closes it."""

    def __init__(self, proxy: RunningProxy, user: str, key: str = "", *, host: str = HOST) -> None:
        self._proxy, self._host = proxy, host
        self._credentials = base64.b64encode(f"{user}:{key}".encode()).decode()
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        place = self._proxy.presence
        self._reader, self._writer = await asyncio.open_connection(place.host, place.port)
        target = f"{self._host}:443"
        credentials = f"Proxy-Authorization: Basic {self._credentials}"
        self._writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{credentials}\r\n\r\n".encode())
        answer = await self._head()
        assert answer.status == 200, answer
        context = ssl.create_default_context(cafile=str(self._proxy.ca_file))
        await self._writer.start_tls(context, server_hostname=self._host)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            await asyncio.wait_for(self._writer.wait_closed(), 5)

    async def ask(
        self, body: bytes, *, call: str = "", path: str = "/v1/chat/completions", headers: Sequence[str] = ()
    ) -> Heard:
        """A whole request, and its whole answer."""
        heard = await self.begin(body, call=call, path=path, headers=headers)
        return Heard(status=heard.status, headers=heard.headers, body=await self.rest(heard))

    async def begin(
        self, body: bytes, *, call: str = "", path: str = "/v1/chat/completions", headers: Sequence[str] = ()
    ) -> Heard:
        """A whole request, and the head of its answer. ``call`` names it in its record."""
        self.send(body, call=call, path=path, headers=headers)
        return await self._head()

    def send(
        self, body: bytes, *, call: str = "", path: str = "/v1/chat/completions", headers: Sequence[str] = ()
    ) -> None:
        """A whole request, without waiting for anything."""
        lines = [f"POST {path} HTTP/1.1", f"host: {self._host}", f"content-length: {len(body)}", *headers]
        if call:
            lines.append(f'x-lava-metadata: {{"call": "{call}"}}')
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + body)

    async def get(self, path: str) -> Heard:
        """A request without a body, and its whole answer."""
        self._writer.write(f"GET {path} HTTP/1.1\r\nhost: {self._host}\r\n\r\n".encode())
        heard = await self._head()
        return Heard(status=heard.status, headers=heard.headers, body=await self.rest(heard))

    async def part(self) -> bytes:
        """The next chunk of a stream; ``b""`` is its proper end."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            return (await self._reader.readexactly(size + 2))[:-2]

    async def rest(self, heard: Heard) -> bytes:
        """What is left of an answer's body."""
        if heard.headers.get("transfer-encoding") == "chunked":
            return b"".join([part async for part in self._parts()])
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._reader.readexactly(int(heard.headers.get("content-length", 0)))

    def reset(self) -> None:
        """Go away without a word."""
        plain: socket.socket = self._writer.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self._writer.transport.abort()

    async def _parts(self) -> AsyncIterator[bytes]:
        while part := await self.part():
            yield part

    async def _head(self) -> Heard:
        async with asyncio.timeout(PATIENCE_SECONDS):
            first, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return Heard(status=int(first.split()[1]), headers={name.lower(): value.strip() for name, _, value in pairs})


@contextlib.asynccontextmanager
async def connected(callers: Iterable[Caller]) -> AsyncIterator[list[Caller]]:
    """All of them open; closed at the end."""
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(caller) for caller in callers]


async def share[T](
    callers: Sequence[Caller], calls: Iterable[str], ask: Callable[[Caller, str], Awaitable[T]]
) -> list[T]:
    """Every caller takes the next of the calls when it is free, until there are none; gives all outcomes."""
    left = iter(calls)
    outcomes: list[T] = []

    async def work(caller: Caller) -> None:
        for call in left:
            outcomes.append(await ask(caller, call))  # noqa: PERF401 others append between

    async with asyncio.TaskGroup() as group:
        for caller in callers:
            group.create_task(work(caller))
    return outcomes
