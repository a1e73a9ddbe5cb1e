"""One connection to a provider: it carries one exchange at a time."""

import asyncio
import logging
from typing import Protocol

import httptools

from lava_proxy.http1.answers import fault
from lava_proxy.http1.exchange import SWITCHING_PROTOCOLS, Exchange

log = logging.getLogger(__name__)

_FIRST_FINAL_STATUS = 200
_HEAD_BYTES_MAX = 1024 * 1024
_WEBSOCKET = b"websocket"
_UNASKED = "the provider switched to a protocol that nobody asked for"


class Relay(Protocol):
    """Where a provider's bytes go after a switch of protocols."""

    def from_provider(self, data: bytes) -> None: ...

    def provider_left(self) -> None: ...

    def provider_is_full(self, *, is_full: bool) -> None:
        """It takes no more for the moment, or again."""


class ProviderSide(asyncio.Protocol):
    """Reads answers and gives them to the exchange. The methods ``on_…`` are the parser's (llhttp's) way to tell."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._relay: Relay | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._reason = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._trailers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._has_head, self._has_length, self._is_chunked = False, False, False
        self._is_interim, self._is_until_close = False, False
        self._is_over = False
        """The answer is complete."""
        self._is_lost = False
        """The answer is none that an exchange can have."""
        self._is_last = False
        """The provider said that the connection ends with this answer."""
        self._is_spoilt = False
        """More has come than was asked for: nothing may be sent after this."""

    @property
    def is_free(self) -> bool:
        """Whether another request can be sent on it."""
        return (
            self._transport is not None
            and not self._transport.is_closing()
            and self._exchange is None
            and not (self._is_last or self._is_spoilt)
        )

    def send(self, exchange: Exchange, request: bytes) -> None:
        assert self.is_free and self._transport is not None
        self._exchange = exchange
        exchange.was_sent = True
        self._transport.write(request)

    def relay(self, to: Relay) -> None:
        """From here on, bytes are passed on as they are."""
        self._relay = to

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def drop(self) -> None:
        """Whatever still comes, nobody wants it."""
        self._exchange = self._relay = None
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        self._exchange = self._relay = None
        if self._transport is not None:
            self._transport.close()

    def client_is_full(self, *, is_full: bool) -> None:
        """Read no more while the client does not take what there is."""
        if self._transport is None or self._transport.is_closing():
            return
        if is_full:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._relay is not None:
            self._relay.from_provider(data)
            return
        if self._exchange is None:  # an answer to nothing
            self.drop()
            return
        wrong = self._parse(data)
        if self._is_over:
            self._end()
        elif wrong is not None:
            self._break_off(wrong)
        elif self._exchange is not None:
            self._exchange.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        exchange, relay = self._exchange, self._relay
        self._transport = self._relay = None
        if relay is not None:
            relay.provider_left()
        if exchange is None:
            return
        if exc is None and self._has_head and self._is_until_close:
            self._is_last = True
            self._end()
        else:
            self._break_off(str(exc) if exc else "the provider closed the connection")

    def pause_writing(self) -> None:
        if self._relay is not None:
            self._relay.provider_is_full(is_full=True)

    def resume_writing(self) -> None:
        if self._relay is not None:
            self._relay.provider_is_full(is_full=False)

    def on_message_begin(self) -> None:
        if self._is_over:
            self._is_spoilt = True

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_over:
            return
        value = value.rstrip(b" \t")
        if self._has_head:
            self._trailers.append((name, value))
            return
        self._fields.append((name, value))
        key = name.lower()
        if key == b"content-length":
            self._has_length = True
        elif key == b"transfer-encoding":
            self._is_chunked = value.lower().endswith(b"chunked")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._exchange is None or self._is_over:
            return
        if status < _FIRST_FINAL_STATUS:
            self._is_interim = status != SWITCHING_PROTOCOLS
            self._is_lost = not self._is_interim
            return
        self._has_head = True
        has_body = self._exchange.begin(
            status, self._reason, tuple(self._fields), is_chunked=self._is_chunked, has_length=self._has_length
        )
        self._is_last = not self._parser.should_keep_alive()
        self._is_over = not has_body  # of a body that will not come, the parser knows nothing
        self._is_until_close = has_body and not (self._is_chunked or self._has_length)

    def on_body(self, part: bytes) -> None:
        if self._exchange is not None and not self._is_over:
            self._exchange.body(part)

    def on_message_complete(self) -> None:
        if self._is_interim:
            self._start_over()
        elif self._has_head:
            self._is_over = True

    def _parse(self, data: bytes) -> str | None:
        """Gives what is wrong with the answer, if anything is."""
        if not self._has_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return self._switch(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            return f"the provider's answer is no HTTP/1.1: {error}"
        if self._is_lost:
            return _UNASKED
        if not self._has_head and self._head_bytes > _HEAD_BYTES_MAX:
            return "the head of the provider's answer is too large"
        return None

    def _end(self) -> None:
        exchange, trailers, keeps_open = self._exchange, tuple(self._trailers), not self._is_last
        assert exchange is not None
        self._exchange = None
        is_parsed = not (exchange.request.is_head or self._is_until_close)
        self._start_over()
        if not is_parsed:
            self._parser = httptools.HttpResponseParser(self)
        if (self._is_last or self._is_spoilt) and self._transport is not None:
            self._transport.close()
        exchange.end(trailers, keeps_open=keeps_open)

    def _switch(self, rest: bytes) -> str | None:
        exchange = self._exchange
        if exchange is None or not exchange.request.wants_websocket:
            return _UNASKED
        if not any(name.lower() == b"upgrade" and value.lower() == _WEBSOCKET for name, value in self._fields):
            return _UNASKED
        self._exchange = None
        exchange.switch(self._reason, tuple(self._fields), rest)
        return None

    def _break_off(self, reason: str) -> None:
        exchange, self._exchange = self._exchange, None
        if self._transport is not None:
            self._transport.abort()
        if exchange is not None:
            exchange.fail(fault(502, code="upstream_gone", message=f"There is no whole answer: {reason}.", closes=True))

    def _start_over(self) -> None:
        self._reason, self._fields, self._trailers, self._head_bytes = b"", [], [], 0
        self._has_head = self._has_length = self._is_chunked = False
        self._is_interim = self._is_over = self._is_lost = self._is_until_close = False
