"""Just enough HTTP/1.1 for the stand-in: requests in, answers out, kept alive."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

HEAD_BYTES_MAX = 256 * 1024
BODY_BYTES_MAX = 256 * 1024 * 1024


class BadRequest(Exception):
    """The bytes are no HTTP request that we understand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")

    @property
    def is_kept_alive(self) -> bool:
        return "close" not in self.header("connection").lower()


async def read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> HttpRequest | None:
    """The next request, or ``None`` at the end of the connection.

    Raises:
        BadRequest: what came is not HTTP/1.1.
        ConnectionError: the connection broke within a request.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise ConnectionResetError("the connection ended within a request's head") from error
        return None
    except asyncio.LimitOverrunError as error:
        raise BadRequest("the request's head is too large") from error
    request = _parse_head(head)
    if request.header("expect").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = await _read_body(reader, request)
    return HttpRequest(
        method=request.method, path=request.path, query=request.query, headers=request.headers, body=body
    )


def head_bytes(status: int, headers: Iterable[tuple[str, str]]) -> bytes:
    """Status line and headers of an answer."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Overloaded" if status == 529 else "Unknown"
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def chunk_bytes(part: bytes) -> bytes:
    """One chunk of a chunked body; an empty part gives nothing, as it would end the body."""
    return b"%x\r\n%s\r\n" % (len(part), part) if part else b""


LAST_CHUNK = b"0\r\n\r\n"


def _parse_head(head: bytes) -> HttpRequest:
    lines = head.decode("latin-1").split("\r\n")
    parts = lines[0].split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise BadRequest(f"not an HTTP/1.1 request line: {lines[0][:80]!r}")
    target = parts[1]
    if "://" in target.partition("?")[0]:
        target = "/" + target.split("://", 1)[1].partition("/")[2]
    path, _, query = target.partition("?")
    headers = tuple(
        (name.strip().lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines[1:] if line)
    )
    return HttpRequest(method=parts[0], path=path, query=query, headers=headers, body=b"")


async def _read_body(reader: asyncio.StreamReader, request: HttpRequest) -> bytes:
    try:
        if "chunked" in request.header("transfer-encoding").lower():
            return await _read_chunked(reader)
        length = int(request.header("content-length") or 0)
        if length > BODY_BYTES_MAX:
            raise BadRequest("the request's body is too large")
        return await reader.readexactly(length)
    except asyncio.IncompleteReadError as error:
        raise ConnectionResetError("the connection ended within a request's body") from error
    except ValueError as error:
        raise BadRequest(f"a length that is no number: {error}") from error


async def _read_chunked(reader: asyncio.StreamReader) -> bytes:
    parts = bytearray()
    while True:
        size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        if len(parts) + size > BODY_BYTES_MAX:
            raise BadRequest("the request's body is too large")
        parts += (await reader.readexactly(size + 2))[:size]
        if not size:
            return bytes(parts)
