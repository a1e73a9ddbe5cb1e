"""A client that says exactly what a test wants it to say, byte by byte."""

import asyncio
import base64
import contextlib
import json
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        loaded: dict[str, object] = json.loads(self.body)
        return loaded

    @property
    def code(self) -> object:
        error = self.json["error"]
        assert isinstance(error, dict)
        return error["code"]


class Wire:
    """One connection to the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ca_file: Path) -> None:
        self.reader, self.writer, self._ca_file = reader, writer, ca_file

    @classmethod
    async def dial(cls, port: int, ca_file: Path) -> Self:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        return cls(reader, writer, ca_file)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError, ssl.SSLError, asyncio.IncompleteReadError):
            await asyncio.wait_for(self.writer.wait_closed(), 5)

    def reset(self) -> None:
        """Break off without a word."""
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.writer.transport.abort()

    async def connect(self, target: str = "api.openai.com:443", *, user: str | None = None, secret: str = "") -> Answer:
        """CONNECT, with proxy credentials where a user is given."""
        credentials = f"Proxy-Authorization: {basic(user, secret)}\r\n" if user is not None else ""
        self.writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{credentials}\r\n".encode())
        return await self.read_answer(is_connect=True)

    async def start_tls(
        self, server_name: str | None = "api.openai.com", *, ca_file: Path | None = None, alpn: list[str] | None = None
    ) -> None:
        context = ssl.create_default_context(cafile=str(ca_file or self._ca_file))
        if alpn:
            context.set_alpn_protocols(alpn)
        if server_name is None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        await self.writer.start_tls(context, server_hostname=server_name)

    async def tunnel(self, host: str = "api.openai.com", *, user: str | None = None, secret: str = "") -> Self:
        """CONNECT to ``host`` on 443 and TLS inside."""
        answer = await self.connect(f"{host}:443", user=user, secret=secret)
        assert answer.status == 200, answer
        await self.start_tls(host)
        return self

    def send(self, text: bytes) -> None:
        self.writer.write(text)

    async def call(
        self,
        path: str = "/v1/chat/completions",
        body: bytes = b'{"model":"gpt-4o-mini"}',
        *,
        method: str = "POST",
        host: str = "api.openai.com",
        **headers: str,
    ) -> Answer:
        """A whole request, and its whole answer."""
        self.send(request(path, body, method=method, host=host, **headers))
        return await self.read_answer(is_head=method == "HEAD")

    async def read_head(self) -> tuple[int, dict[str, str]]:
        head = (await self._within(self.reader.readuntil(b"\r\n\r\n"))).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return int(first.split()[1]), headers

    async def read_answer(self, *, is_connect: bool = False, is_head: bool = False) -> Answer:
        status, headers = await self.read_head()
        if is_head or (is_connect and status == 200) or status in (101, 204, 304):
            return Answer(status=status, headers=headers, body=b"")
        return Answer(status=status, headers=headers, body=await self._read_body(headers))

    async def read_chunk(self) -> bytes:
        """One chunk of a chunked body; ``b""`` is the last."""
        size = int(await self._within(self.reader.readline()), 16)
        return (await self._within(self.reader.readexactly(size + 2)))[:-2]

    async def read_to_end(self) -> bytes:
        return await self._within(self.reader.read())

    async def _read_body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while chunk := await self.read_chunk():
                body += chunk
            return body
        if "content-length" in headers:
            return await self._within(self.reader.readexactly(int(headers["content-length"])))
        return await self.read_to_end()

    async def _within[T](self, coming: "asyncio._CoroutineLike[T]") -> T:
        """A test that waits for what does not come should say where."""
        return await asyncio.wait_for(coming, 20)


def basic(user: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()


def request(
    path: str = "/v1/chat/completions",
    body: bytes = b'{"model":"gpt-4o-mini"}',
    *,
    method: str = "POST",
    host: str = "api.openai.com",
    **headers: str,
) -> bytes:
    """``x_lava_customer="acme"`` becomes ``x-lava-customer: acme``."""
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    length = f"content-length: {len(body)}\r\n" if method == "POST" else ""
    head = f"{method} {path} HTTP/1.1\r\nhost: {host}\r\n{length}{more}\r\n"
    return head.encode() + (body if method == "POST" else b"")
