"""A client that calls a provider, straight or through a proxy, and takes the time: closed loop or open loop.

Run as ``python -m bench.load SPEC.json``; prints one JSON object (`Sample`). It speaks HTTP/1.1 over TLS and knows no
more of it than the bench needs. In a closed loop each connection sends its next call when the last one is answered; in
an open loop calls begin at fixed instants, whether or not earlier ones are answered, and the time counts from the
instant at which the call was due.
"""

import asyncio
import base64
import json
import math
import ssl
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

_HEAD_END = b"\r\n\r\n"
_TIMEOUT_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How a call gets to the provider."""

    port: int
    """On 127.0.0.1: the provider itself, or the proxy."""
    authority: str
    """The authority that CONNECT names."""
    server_name: str
    ca_file: str
    through_proxy: bool = False
    credentials: str = ""
    """``user:password`` for the proxy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One measurement."""

    route: Route
    body_file: str
    seconds: float
    concurrency: int = 1
    """Closed loop: so many connections."""
    rate: float = 0
    """Above 0: open loop, so many calls a second."""
    fresh: bool = False
    """A new connection for every call."""
    is_stream: bool = False
    calls_max: int = 10_000_000
    """Counted after the warm-up."""
    warmup_seconds: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one measurement found. ``calls`` counts all, those of the warm-up and the bad ones too; the times are of the
    good ones after the warm-up."""

    calls: int
    errors: int
    per_second: float
    p50_ms: float
    p99_ms: float
    first_byte_p50_ms: float
    first_byte_p99_ms: float
    error_sample: str = ""


@dataclass(slots=True)
class Tally:
    """Of a measurement while it runs."""

    calls: int = 0
    errors: int = 0
    total_ms: list[float] = field(default_factory=list)
    first_byte_ms: list[float] = field(default_factory=list)
    error_sample: str = ""


class Connection:
    """One connection to the provider, perhaps through a proxy."""

    def __init__(self, route: Route, context: ssl.SSLContext) -> None:
        self._route = route
        self._context = context
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def open(self) -> None:
        route = self._route
        if not route.through_proxy:
            self._reader, self._writer = await asyncio.open_connection(
                "127.0.0.1", route.port, ssl=self._context, server_hostname=route.server_name
            )
            return
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", route.port)
        self._writer.write(_connect_head(route))
        answer = await self._reader.readuntil(_HEAD_END)
        if answer.split(b" ", 2)[1] != b"200":
            raise ConnectionError(f"CONNECT: {answer[:200]!r}")
        await self._writer.start_tls(self._context, server_hostname=route.server_name)

    async def call(self, request: bytes) -> tuple[float, float]:
        """Send and read to the end; the instants of the answer's first body byte and of its end.

        Raises:
            ConnectionError: anything but a whole answer with status 200.
        """
        self._writer.write(request)
        head = await self._reader.readuntil(_HEAD_END)
        if head.split(b" ", 2)[1] != b"200":
            raise ConnectionError(f"answer: {head[:100]!r} {await self._reader.read(300)!r}")
        lower = head.lower()
        if b"transfer-encoding: chunked" in lower:
            return await self._read_chunks()
        length = int(lower.partition(b"content-length:")[2].partition(b"\r")[0])
        await self._reader.readexactly(min(1, length))
        first = time.perf_counter()
        await self._reader.readexactly(max(0, length - 1))
        return first, time.perf_counter()

    async def _read_chunks(self) -> tuple[float, float]:
        first = 0.0
        while True:
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            first = first or time.perf_counter()
            await self._reader.readexactly(size + 2)
            if size == 0:
                return first, time.perf_counter()

    def close(self) -> None:
        if hasattr(self, "_writer"):
            self._writer.transport.abort()


def _connect_head(route: Route) -> bytes:
    lines = [f"CONNECT {route.authority} HTTP/1.1", f"Host: {route.authority}"]
    if route.credentials:
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(route.credentials.encode()).decode()}")
    return "\r\n".join([*lines, "", ""]).encode()


def request_bytes(route: Route, body: bytes) -> bytes:
    """A chat completion as the official client writes it, near enough."""
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {route.server_name}\r\nAccept: application/json\r\n"
        f"User-Agent: OpenAI/Python 3.0\r\nAuthorization: Bearer sk-bench\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Run:
    """One measurement while it runs."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.tally = Tally()
        self.context = ssl.create_default_context(cafile=spec.route.ca_file)
        self.request = request_bytes(spec.route, Path(spec.body_file).read_bytes())
        self.begin = time.perf_counter()
        self.measure_from = self.begin + spec.warmup_seconds
        self.end = self.measure_from + spec.seconds

    def is_over(self) -> bool:
        return time.perf_counter() >= self.end or len(self.tally.total_ms) >= self.spec.calls_max

    async def one(self, connection: Connection | None, due: float) -> Connection | None:
        """One call, counted from ``due``; the connection for the next one."""
        self.tally.calls += 1
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                if connection is None:
                    connection = Connection(self.spec.route, self.context)
                    await connection.open()
                    if not self.spec.fresh:
                        due = max(due, time.perf_counter())  # the handshake is not the call's
                first, last = await connection.call(self.request)
        except (OSError, TimeoutError, EOFError, ValueError, IndexError, ssl.SSLError) as error:
            self.tally.errors += 1
            self.tally.error_sample = self.tally.error_sample or f"{type(error).__name__}: {error}"
            if connection is not None:
                connection.close()
            return None
        if due >= self.measure_from:
            self.tally.first_byte_ms.append((first - due) * 1000)
            self.tally.total_ms.append((last - due) * 1000)
        if self.spec.fresh:
            connection.close()
            return None
        return connection

    async def closed_loop(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(self.spec.concurrency):
                group.create_task(self._client())

    async def _client(self) -> None:
        connection: Connection | None = None
        while not self.is_over():
            connection = await self.one(connection, time.perf_counter())
            if connection is None and self.tally.errors > 1000:
                return
        if connection is not None:
            connection.close()

    async def open_loop(self) -> None:
        """Idle connections are taken again, last in first out; a late answer does not delay the next call."""
        idle: list[Connection] = []
        number = 0
        async with asyncio.TaskGroup() as group:
            while not self.is_over():
                due = self.begin + number / self.spec.rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                group.create_task(self._lend(idle, due))
                number += 1
        for connection in idle:
            connection.close()

    async def _lend(self, idle: list[Connection], due: float) -> None:
        connection = await self.one(idle.pop() if idle else None, due)
        if connection is not None:
            idle.append(connection)


async def measure(spec: Spec) -> Sample:
    run = Run(spec)
    await (run.open_loop() if spec.rate else run.closed_loop())
    tally, seconds = run.tally, max(0.001, min(time.perf_counter(), run.end) - run.measure_from)
    tally.total_ms.sort()
    tally.first_byte_ms.sort()
    return Sample(
        calls=tally.calls,
        errors=tally.errors,
        per_second=len(tally.total_ms) / seconds,
        p50_ms=percentile(tally.total_ms, 0.50),
        p99_ms=percentile(tally.total_ms, 0.99),
        first_byte_p50_ms=percentile(tally.first_byte_ms, 0.50),
        first_byte_p99_ms=percentile(tally.first_byte_ms, 0.99),
        error_sample=tally.error_sample,
    )


def percentile(values: list[float], share: float) -> float:
    """Of sorted values; not a number where there are none."""
    return values[max(0, math.ceil(share * len(values)) - 1)] if values else math.nan


def main() -> None:
    values = json.loads(Path(sys.argv[1]).read_text())
    values["route"] = Route(**values["route"])
    print(json.dumps(asdict(asyncio.run(measure(Spec(**values))))))


if __name__ == "__main__":
    main()
