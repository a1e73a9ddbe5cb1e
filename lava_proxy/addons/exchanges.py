"""Admitted flows on their way: each is closed exactly once, by whichever of mitmproxy's endings comes.

mitmproxy ends a flow with exactly one of ``response``, ``error`` and ``websocket_end``, except when one of its layers
fails; then the flow is found here when its client has gone (see ``reap``).
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

from mitmproxy.connection import Server
from mitmproxy.http import HTTPFlow

from lava_proxy.services.exchange import Call, Ending, Headers

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One admitted flow. ``call`` is ``None`` where nothing is metered."""

    flow: HTTPFlow
    call: Call | None
    response_headers: Headers
    may_shorten: bool = False
    unsent: Server = field(init=False)
    """The flow's stand-in for a server connection: as long as it is there, nothing was sent."""
    has_begun: bool = False
    is_finished: bool = False

    def __post_init__(self) -> None:
        self.unsent = self.flow.server_conn

    @property
    def request_id(self) -> str:
        return self.call.request_id if self.call else ""

    def was_sent(self) -> bool:
        """Whether the provider may have received the request: from when a connection for it was there, TLS included."""
        return self.flow.server_conn is not self.unsent or self.unsent.timestamp_start is not None

    def begin(self, status: int, headers: Headers) -> None:
        if self.call is not None and not self.has_begun:
            self.has_begun = True
            self.call.begin(status, headers)

    def feed(self, chunk: bytes) -> bytes:
        """What goes to the client. A fault while metering lets the bytes pass as they are."""
        if self.call is None or self.is_finished:
            return chunk
        try:
            return self.call.feed(chunk)
        except Exception:
            log.exception("metering an answer failed; it goes on", extra={"request_id": self.request_id})
            self.is_finished = True
            return chunk

    def finish(self) -> bytes:
        """The body has ended: what was still held back for the client."""
        if self.call is None or self.is_finished:
            return b""
        self.is_finished = True
        try:
            return self.call.finish()
        except Exception:
            log.exception("metering the end of an answer failed", extra={"request_id": self.request_id})
            return b""


class Exchanges:
    """All admitted flows that have not ended, by flow id."""

    def __init__(self) -> None:
        self._open: dict[str, Exchange] = {}
        self._suspects: set[str] = set()

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Exchange]:
        return iter(self._open.values())

    def add(self, exchange: Exchange) -> None:
        self._open[exchange.flow.id] = exchange

    def find(self, flow: HTTPFlow) -> Exchange | None:
        return self._open.get(flow.id)

    def close(self, flow: HTTPFlow, ending: Ending) -> None:
        """Close the flow's call, if it has one that is still open. A flow that was never sent ends as such, whatever ended it."""
        exchange = self._open.pop(flow.id, None)
        if exchange is None or exchange.call is None:
            return
        exchange.call.close(ending if exchange.was_sent() else Ending.NOT_SENT)

    def reap(self) -> int:
        """Close what has no client any more and was in this state at the last call already; gives how many."""
        gone = {exchange.flow.id for exchange in self if exchange.flow.client_conn.timestamp_end is not None}
        lost = [exchange for exchange in self if exchange.flow.id in gone & self._suspects]
        self._suspects = gone
        for exchange in lost:
            log.warning("a call had lost its client without an ending", extra={"request_id": exchange.request_id})
            self.close(exchange.flow, Ending.CLIENT_GONE)
        return len(lost)
