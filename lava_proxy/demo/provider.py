"""A stand-in AI provider: answers like OpenAI, Anthropic and Google, over plain HTTP/1.1 or TLS, and counts what it sees.

In a program: ``async with StandIn() as provider`` on a running loop, or ``with running_stand_in() as provider`` in a
thread of its own. As a process: ``python -m lava_proxy.demo.provider --port 0 --tls-cert C --tls-key K`` prints its port
and serves until it is ended; then ``/_stand_in/…`` (see `control`) takes the place of the methods here.
"""

import argparse
import asyncio
import contextlib
import ssl
import sys
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lava_proxy.demo import http1
from lava_proxy.demo.answer import Answer, Question, parse_body
from lava_proxy.demo.control import PREFIX, answer_control
from lava_proxy.demo.plan import CONTROL_HEADER, Plan, plan_from_json
from lava_proxy.demo.routes import Route, find_route
from lava_proxy.demo.seen import Counters, SeenRequest
from lava_proxy.demo.sending import Sending

_BACKLOG = 4096
_EPOCH_SECONDS = 1_767_225_600  # 2026-01-01: answers depend on requests only, never on the clock


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Certificate chain and private key, PEM."""

    certificate: Path
    key: Path


class StandIn:
    """The server. ``plan`` and ``plans`` say how it answers; everything public may be used from any thread."""

    def __init__(self, *, tls: TlsFiles | None = None, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host = host
        self.port = port
        self.plan = Plan()
        """For every request that nothing else speaks for."""
        self.plans: dict[str, Plan] = {}
        """By model."""
        self.next_plans: deque[Plan] = deque()
        """Each is for one request: the next one, the one after it, …; before ``plans``."""
        self.counters = Counters()
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._released: set[str] = set()
        self._latches: dict[str, asyncio.Event] = {}

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}"

    async def start(self) -> None:
        """Bind and listen; ``port`` tells where, if it was 0."""
        self._loop = asyncio.get_running_loop()
        context = _server_context(self._tls) if self._tls else None
        self._server = await self._loop.create_server(
            self._new_connection, self.host, self.port, ssl=context, backlog=_BACKLOG
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and drop every connection."""
        if self._server is None:
            return
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._server = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def release(self, latch: str) -> None:
        """Let all requests at this latch go on, those that are still to come too."""
        self._released.add(latch)
        waiting = self._latches.get(latch)
        if waiting is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(waiting.set)

    def reset(self) -> None:
        """Forget plans, latches and counts."""
        self.plan, self.counters = Plan(), Counters()
        self.plans.clear()
        self.next_plans.clear()
        self._released.clear()
        self._latches.clear()

    def _new_connection(self) -> asyncio.StreamReaderProtocol:
        """Called when a TCP connection was accepted, before TLS begins."""
        self.counters.change(connections=1)
        reader = asyncio.StreamReader(limit=http1.HEAD_BYTES_MAX, loop=self._loop)
        return asyncio.StreamReaderProtocol(reader, self._begin, loop=self._loop)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """All requests of one connection."""
        try:
            while (request := await http1.read_request(reader, writer)) is not None:
                if not await self._answer(request, writer) or not request.is_kept_alive:
                    break
        except http1.BadRequest as error:
            writer.write(
                http1.head_bytes(400, [("content-length", "0"), ("x-reason", str(error)), ("connection", "close")])
            )
        except (ConnectionError, ssl.SSLError, TimeoutError):
            pass  # the client went away: nobody is left to be told
        finally:
            writer.close()

    async def _answer(self, request: http1.HttpRequest, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; false where the connection is to be closed."""
        if request.path.startswith(PREFIX):
            answer = answer_control(self, request)
            plan = Plan()
        else:
            target = f"{request.path}?{request.query}" if request.query else request.path
            self.counters.saw(
                SeenRequest(method=request.method, path=target, headers=request.headers, body=request.body)
            )
            answer, plan = self._think(request)
        sending = Sending(writer=writer, counters=self.counters, latch=self._latch(plan))
        try:
            is_whole = await sending.send(answer, plan, accepts_gzip="gzip" in request.header("accept-encoding"))
        except (ConnectionError, ssl.SSLError, asyncio.CancelledError):
            self.counters.change(broken=1)
            raise
        self.counters.change(**({"answered": 1} if is_whole else {"broken": 1}))
        return is_whole

    def _think(self, request: http1.HttpRequest) -> tuple[Answer, Plan]:
        found = find_route(request.method, request.path, is_anthropic=bool(request.header("anthropic-version")))
        if found is None:
            return Answer(
                status=404, events=(b'{"error": {"message": "the stand-in does not answer this path", "code": 404}}',)
            ), Plan()
        route, url_model = found
        try:
            body = parse_body(request.body)
            plan = self._plan(request, url_model or body.get("model"))
        except ValueError as error:
            return route.error(400, str(error)), Plan()
        return self._ask(route, request, body, plan, url_model), plan

    def _ask(
        self, route: Route, request: http1.HttpRequest, body: dict[str, object], plan: Plan, url_model: str | None
    ) -> Answer:
        if plan.status >= 400:
            headers = () if plan.retry_after_seconds is None else (("retry-after", str(plan.retry_after_seconds)),)
            refusal = route.error(plan.status, f"The stand-in was asked to answer {plan.status}.")
            return Answer(status=plan.status, events=refusal.events, headers=headers)
        question = Question(
            path=request.path,
            query=request.query,
            body=body,
            plan=plan,
            number=self.counters.requests,
            created_seconds=_EPOCH_SECONDS + self.counters.requests,
            url_model=url_model,
        )
        return route.answer(question)

    def _plan(self, request: http1.HttpRequest, model: object) -> Plan:
        base = self.next_plans.popleft() if self.next_plans else self.plans.get(str(model), self.plan)
        control = request.header(CONTROL_HEADER)
        return plan_from_json(control, base=base) if control else base

    def _latch(self, plan: Plan) -> asyncio.Event:
        event = self._latches.setdefault(plan.latch, asyncio.Event()) if plan.latch else asyncio.Event()
        if not plan.latch or plan.latch in self._released:
            event.set()
        return event


@contextlib.contextmanager
def running_stand_in(*, tls: TlsFiles | None = None, host: str = "127.0.0.1", port: int = 0) -> Iterator[StandIn]:
    """A stand-in on a loop and in a thread of its own, until the block ends."""
    provider = StandIn(tls=tls, host=host, port=port)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="stand-in", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(provider.start(), loop).result(10)
        yield provider
        asyncio.run_coroutine_threadsafe(provider.stop(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def _server_context(tls: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.certificate, tls.key)
    context.set_alpn_protocols(["http/1.1"])
    return context


async def _serve_forever(tls: TlsFiles | None, host: str, port: int) -> None:
    async with StandIn(tls=tls, host=host, port=port) as provider:
        print(provider.port, flush=True)
        await asyncio.Event().wait()


def main(arguments: list[str] | None = None) -> None:
    """Serve until ended; the port is the first line on stdout."""
    parser = argparse.ArgumentParser(prog="python -m lava_proxy.demo.provider", description="A stand-in AI provider.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tls-cert", type=Path)
    parser.add_argument("--tls-key", type=Path)
    options = parser.parse_args(arguments)
    if (options.tls_cert is None) != (options.tls_key is None):
        parser.error("--tls-cert and --tls-key belong together")
    tls = TlsFiles(certificate=options.tls_cert, key=options.tls_key) if options.tls_cert else None
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve_forever(tls, options.host, options.port))


if __name__ == "__main__":
    main(sys.argv[1:])
