"""A line that admits or refuses by rule and notes what it was told: the whole contract of `services.exchange`, without a ledger."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from lava_proxy.services.exchange import Call, Credentials, Ending, Forward, Head, Headers, Refused

REFUSED_402 = Refused(
    code="insufficient_credits",
    status=402,
    headers=(("content-type", "application/json"), ("x-should-retry", "false")),
    body=b'{"error":{"message":"Not enough credit.","type":"insufficient_quota","code":"insufficient_credits"}}',
)
KEY_REQUIRED = Refused(code="key_required", status=401, headers=(("content-type", "application/json"),), body=b"{}")


def done[T](value: T) -> Future[T]:
    future: Future[T] = Future()
    future.set_result(value)
    return future


class FakeCall:
    """``fed`` is what came through the tap. ``hold_back`` keeps that many last bytes until the end."""

    def __init__(self, line: "FakeLine", request_id: str, hold_back: int = 0) -> None:
        self._line, self._request_id, self._hold_back = line, request_id, hold_back
        self.status: int | None = None
        self.headers: Headers = ()
        self.fed: list[bytes] = []
        self.is_finished = False
        self.endings: list[Ending] = []
        self.fails_in_feed = False
        self.drops: bytes | None = None
        self._held = b""

    @property
    def request_id(self) -> str:
        return self._request_id

    @property
    def body(self) -> bytes:
        return b"".join(self.fed)

    def begin(self, status: int, headers: Headers) -> None:
        assert self.status is None, "begun twice"
        self.status, self.headers = status, headers

    def feed(self, chunk: bytes) -> bytes:
        assert chunk and not self.is_finished and not self.endings
        self.fed.append(chunk)
        if self.fails_in_feed:
            raise RuntimeError("a fault while metering")
        if self.drops is not None and self.drops in chunk:
            return chunk.replace(self.drops, b"")
        if not self._hold_back:
            return chunk
        self._held += chunk
        out, self._held = self._held[: -self._hold_back], self._held[-self._hold_back :]
        return out

    def finish(self) -> bytes:
        assert not self.is_finished, "finished twice"
        self.is_finished = True
        return self._held

    def close(self, ending: Ending) -> Future[None]:
        if not self.endings:
            self._line.closed.append((self._request_id, ending))
        self.endings.append(ending)
        return done(None)


@dataclass(slots=True)
class FakeLine:
    """``decide`` answers an opening; by default everything is admitted. A future that it gives is waited for."""

    ai_hosts: set[str] = field(default_factory=lambda: {"api.openai.com", "api.anthropic.com"})
    decide: Callable[[Head, bytes], Forward | Refused | Future[Forward | Refused]] | None = None
    tunnel: Callable[[str, int, Credentials | None], Refused | None] = lambda host, port, credentials: None
    heads: list[Head] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    tunnels: list[tuple[str, int, Credentials | None]] = field(default_factory=list)
    calls: list[FakeCall] = field(default_factory=list)
    closed: list[tuple[str, Ending]] = field(default_factory=list)
    abandoned: list[Future[Forward | Refused]] = field(default_factory=list)

    def is_own_host(self, host: str, port: int) -> bool:
        return False

    def is_ai_host(self, host: str, port: int) -> bool:
        return (host in self.ai_hosts and port == 443) or f"{host}:{port}" in self.ai_hosts

    def admit_tunnel(self, host: str, port: int, credentials: Credentials | None) -> Future[Refused | None]:
        self.tunnels.append((host, port, credentials))
        return done(self.tunnel(host, port, credentials))

    def open(self, head: Head, body: bytes) -> Future[Forward | Refused]:
        self.heads.append(head)
        self.bodies.append(body)
        outcome = self.decide(head, body) if self.decide else self.admitted()
        return outcome if isinstance(outcome, Future) else done(outcome)

    def abandon(self, opening: Future[Forward | Refused]) -> None:
        self.abandoned.append(opening)

        def void(finished: Future[Forward | Refused]) -> None:
            outcome = finished.result()
            if isinstance(outcome, Forward) and outcome.call is not None:
                outcome.call.close(Ending.NOT_SENT)

        opening.add_done_callback(void)

    def open_calls(self) -> int:
        return sum(not call.endings for call in self.calls)

    def close_all(self, ending: Ending) -> Future[None]:
        for call in self.calls:
            if not call.endings:
                call.close(ending)
        return done(None)

    def call(self, *, hold_back: int = 0) -> FakeCall:
        call = FakeCall(self, f"req_{len(self.calls) + 1}", hold_back)
        self.calls.append(call)
        return call

    def admitted(self, call: Call | None = None, **more: object) -> Forward:
        call = call or self.call()
        headers = (("x-lava-request-id", call.request_id),)
        drop = frozenset({"x-lava-customer", "x-lava-meter", "x-lava-metadata"})
        return Forward(call=call, drop_headers=drop, response_headers=headers, **more)  # type: ignore[arg-type]

    @property
    def endings(self) -> list[Ending]:
        return [ending for _, ending in self.closed]
