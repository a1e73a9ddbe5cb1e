"""After a request has left: its answer is tapped as it passes, and its call closed once.

What ends a flow, as mitmproxy tells it: ``response`` when the answer is complete, ``error`` when either side broke off or
no connection came about, ``websocket_end`` after an upgrade. ``client_disconnected`` is no ending: its order varies.
"""

import asyncio
import contextlib
import logging
from typing import Final

from mitmproxy.http import Headers, HTTPFlow, Response

from lava_proxy.addons.edge import Edge
from lava_proxy.addons.exchanges import Exchange
from lava_proxy.addons.heads import read_fields
from lava_proxy.http1.fields import changed
from lava_proxy.services.exchange import Ending

log = logging.getLogger(__name__)

_SWITCHING_PROTOCOLS: Final = 101
_OK: Final = 200
_ABNORMAL_CLOSURE: Final = 1006
_REAP_SECONDS = 60.0


class Metering:
    """Feeds the call of an admitted flow with its answer, and lets every answer from elsewhere pass as a stream."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._reaper: asyncio.Task[None] | None = None

    def running(self) -> None:
        self._reaper = asyncio.get_running_loop().create_task(self._reap())

    async def done(self) -> None:
        if self._reaper is not None:
            self._reaper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reaper

    def responseheaders(self, flow: HTTPFlow) -> None:
        response = flow.response
        exchange = self._edge.exchanges.find(flow)
        if response is None or flow.error is not None:
            return
        if exchange is None:
            response.stream = response.raw_content is None  # ours have their content already
            return
        response.stream = Tap(exchange)
        try:
            self._begin(exchange, response)
        except Exception:
            log.exception("metering an answer failed; it goes on", extra={"request_id": exchange.request_id})

    def response(self, flow: HTTPFlow) -> None:
        if flow.websocket is not None:
            return  # `websocket_end` comes
        exchange = self._edge.exchanges.find(flow)
        if exchange is not None:
            exchange.finish()  # where there was no body to tap
            self._edge.exchanges.close(flow, _ending_of(flow.response))

    def error(self, flow: HTTPFlow) -> None:
        gone = not flow.client_conn.connected
        self._edge.exchanges.close(flow, Ending.CLIENT_GONE if gone else Ending.UPSTREAM_GONE)

    def websocket_message(self, flow: HTTPFlow) -> None:
        if flow.websocket is not None:
            del flow.websocket.messages[:-1]  # mitmproxy would keep them all

    def websocket_end(self, flow: HTTPFlow) -> None:
        self._edge.exchanges.close(flow, _websocket_ending(flow))

    def _begin(self, exchange: Exchange, response: Response) -> None:
        exchange.begin(response.status_code, read_fields(response.headers))
        if exchange.call is not None and (exchange.may_shorten or _is_event_stream(response.headers)):
            _reframe(exchange.flow, response)
        for name, value in exchange.response_headers:
            response.headers[name] = value

    async def _reap(self) -> None:
        while True:
            await asyncio.sleep(_REAP_SECONDS)
            self._edge.exchanges.reap()


class Tap:
    """What mitmproxy calls with each part of a body as it comes, and with ``b""`` when the body has ended.

    To give ``b""`` would end the client's body, so nothing is said with ``[]``. Must not raise: mitmproxy would lose
    the part, or at the end leave the client hanging.
    """

    __slots__ = ("_exchange",)

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def __call__(self, chunk: bytes) -> bytes | list[bytes]:
        return (self._exchange.feed(chunk) if chunk else self._exchange.finish()) or []


def _ending_of(response: Response | None) -> Ending:
    """An interim answer that mitmproxy took for the last one leaves the real one unread."""
    is_final = response is not None and response.status_code >= _OK
    return Ending.COMPLETE if is_final else Ending.UPSTREAM_GONE


def _websocket_ending(flow: HTTPFlow) -> Ending:
    websocket = flow.websocket
    if websocket is None or websocket.close_code != _ABNORMAL_CLOSURE:
        return Ending.COMPLETE
    return Ending.CLIENT_GONE if websocket.closed_by_client else Ending.UPSTREAM_GONE


def _is_event_stream(headers: Headers) -> bool:
    return str(headers.get("content-type", "")).startswith("text/event-stream")


def _reframe(flow: HTTPFlow, response: Response) -> None:
    """A stream of announced length may become shorter by the event that is taken out: send it in chunks instead."""
    if "content-length" not in response.headers:
        return
    setting: dict[bytes, bytes] = {}
    if flow.request.is_http11:
        setting[b"transfer-encoding"] = b"chunked"
    else:
        setting[b"connection"] = b"close"
    response.headers.fields = changed(response.headers.fields, frozenset({b"content-length"}), setting)
