"""One admitted request on its way: the provider's answer, tapped as it passes, and its call closed once."""

import logging
from typing import Protocol

from lava_proxy.http1.answers import Answer
from lava_proxy.http1.fields import RawFields, as_text, changed
from lava_proxy.http1.requests import Request
from lava_proxy.services.exchange import Ending, Forward

log = logging.getLogger(__name__)

SWITCHING_PROTOCOLS = 101
_FAULT = "metering an answer failed; it goes on"
_BODILESS = frozenset({204, 304})
_NOTHING: frozenset[bytes] = frozenset()
_LENGTH = frozenset({b"content-length"})
_CODING = frozenset({b"transfer-encoding"})
_EVENT_STREAM = b"text/event-stream"


class Receiver(Protocol):
    """The client's side, as an exchange needs it."""

    def write(self, data: bytes) -> None: ...

    def answer(self, answer: Answer) -> None:
        """Write an answer of ours."""

    def exchange_ended(self, *, keeps_open: bool, is_cut: bool) -> None:
        """Called once, after the last byte was written. ``keeps_open``: the client may send another request.

        ``is_cut``: the answer broke off, and its end would look like a proper one.
        """

    def switched(self, rest: bytes) -> None:
        """Both sides speak WebSocket from here on; ``rest`` came with the answer."""


class Exchange:
    """From an admitted request to the end of its answer. What it writes goes out when ``flush`` is called."""

    __slots__ = (
        "_call",
        "_ends_with_connection",
        "_is_chunked",
        "_is_ended",
        "_may_shorten",
        "_out",
        "_receiver",
        "_response_headers",
        "_tap",
        "has_begun",
        "request",
        "was_sent",
    )

    def __init__(self, request: Request, forward: Forward, receiver: Receiver) -> None:
        self.request, self._receiver = request, receiver
        self._call = self._tap = forward.call
        self._response_headers = forward.response_headers
        self._out: list[bytes] = []
        self._is_chunked = self._ends_with_connection = self._is_ended = False
        self._may_shorten = forward.may_shorten
        self.was_sent = False
        """Whether the provider may have received the request."""
        self.has_begun = False
        """Whether the client has been told the answer's status."""

    @property
    def request_id(self) -> str:
        return self._call.request_id if self._call else ""

    def begin(self, status: int, reason: bytes, fields: RawFields, *, is_chunked: bool, has_length: bool) -> bool:
        """The answer's head; gives whether a body may follow it."""
        self._tell(status, fields)
        has_body = not (self.request.is_head or status in _BODILESS)
        if has_body:
            fields = self._framed(fields, is_chunked=is_chunked, has_length=has_length)
        self._put_head(status, reason, fields)
        return has_body

    def switch(self, reason: bytes, fields: RawFields, rest: bytes) -> None:
        """The answer to a request for a WebSocket: there it is."""
        self._tell(SWITCHING_PROTOCOLS, fields)
        self._put_head(SWITCHING_PROTOCOLS, reason, fields)
        self.flush()
        self._receiver.switched(rest)

    def body(self, part: bytes) -> None:
        """Bytes of the answer's body. A fault while metering lets them pass as they are."""
        if self._tap is not None:
            try:
                part = self._tap.feed(part)
            except Exception:
                log.exception(_FAULT, extra={"request_id": self.request_id})
                self._tap = None
        if part:
            self._put(part)

    def end(self, trailers: RawFields = (), *, keeps_open: bool = True) -> None:
        """The answer is complete. ``keeps_open``: it does not say that the connection ends with it."""
        if self._tap is not None:
            try:
                last = self._tap.finish()
            except Exception:
                log.exception(_FAULT, extra={"request_id": self.request_id})
            else:
                if last:
                    self._put(last)
        if self._is_chunked:
            self._out.append(b"0\r\n%b\r\n" % b"".join(b"%b: %b\r\n" % field for field in trailers))
        self.flush()
        self._close(Ending.COMPLETE)
        keeps_open = keeps_open and self.request.keeps_open and not self._ends_with_connection
        self._receiver.exchange_ended(keeps_open=keeps_open, is_cut=False)

    def flush(self) -> None:
        if self._out:
            out, self._out = self._out, []
            self._receiver.write(b"".join(out))

    def fail(self, answer: Answer) -> None:
        """The provider's answer will not come, or no more of it: ``answer`` stands in where none of it has been seen."""
        if self._is_ended:
            return
        self.flush()
        if not self.has_begun:
            self._receiver.answer(answer)
        self._close(Ending.UPSTREAM_GONE)
        keeps_open = not self.has_begun and self.request.keeps_open and not answer.closes
        self._receiver.exchange_ended(keeps_open=keeps_open, is_cut=self._ends_with_connection)

    def leave(self, ending: Ending) -> None:
        """Nobody waits for the answer any more."""
        if not self._is_ended:
            self._close(ending)

    def _close(self, ending: Ending) -> None:
        self._is_ended = True
        if self._call is not None:
            self._call.close(ending if self.was_sent else Ending.NOT_SENT)

    def _tell(self, status: int, fields: RawFields) -> None:
        self.has_begun = True
        if self._call is not None:
            try:
                self._call.begin(status, as_text(fields))
            except Exception:
                log.exception(_FAULT, extra={"request_id": self.request_id})

    def _framed(self, fields: RawFields, *, is_chunked: bool, has_length: bool) -> RawFields:
        """How the client learns where the body ends.

        A stream of announced length may become shorter by the event that is taken out: it is sent in chunks instead.
        """
        if has_length and not (self._tap is not None and (self._may_shorten or _is_event_stream(fields))):
            return fields
        if not (has_length or is_chunked):
            self._ends_with_connection = True
            return fields
        if self.request.is_http11:
            self._is_chunked = True
            return changed(fields, _LENGTH, {b"transfer-encoding": b"chunked"}) if has_length else fields
        self._ends_with_connection = True
        return changed(fields, _LENGTH | _CODING, {b"connection": b"close"})

    def _put_head(self, status: int, reason: bytes, fields: RawFields) -> None:
        if self._response_headers:
            setting = {name.encode(): value.encode() for name, value in self._response_headers}
            fields = changed(fields, _NOTHING, setting)
        lines = b"".join([b"%b: %b\r\n" % field for field in fields])
        self._out.append(b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, reason, lines))

    def _put(self, part: bytes) -> None:
        if self._is_chunked:
            self._out += (b"%x\r\n" % len(part), part, b"\r\n")
        else:
            self._out.append(part)


def _is_event_stream(fields: RawFields) -> bool:
    return any(name.lower() == b"content-type" and value.lower().startswith(_EVENT_STREAM) for name, value in fields)
