"""One admitted call: its bytes read as they pass, then its usage, its price and its settlement.

Everything an edge may call here is quick and never raises: a fault of ours while metering flags the record and lets the
answer go on. Large answers are read to their end on a thread of their own.
"""

import logging
from collections.abc import Callable
from concurrent.futures import Executor, Future
from fractions import Fraction

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.entities import Hold, RequestRecord, RequestStatus
from lava_proxy.core.errors import LedgerUnavailable
from lava_proxy.core.ids import EventId, TransactionId
from lava_proxy.core.ports import Clock, IdSource, Ledger, Rows
from lava_proxy.core.pricing import Cost, PriceSheet, Unpriced, resolve
from lava_proxy.core.settlement import Holding, Measured, Stamp, by_subscription, load_holding, settle, void
from lava_proxy.core.usage import NO_USAGE, Reading, RequestFacts, Usage
from lava_proxy.dialects.base import Dialect, Reader
from lava_proxy.services.exchange import Ending, Headers
from lava_proxy.services.quoting import Quote

log = logging.getLogger(__name__)

READ_ASIDE_BYTES = 256 * 1024
"""Answers above this are read to their end off the edge's thread."""
_SWITCHING_PROTOCOLS = 101
_REDIRECTION = 300
"""From this status on an answer holds no result."""


class CallPlan(Struct, frozen=True, kw_only=True):
    """What was settled about a call before it left."""

    hold: Hold
    facts: RequestFacts
    quote: Quote
    dialect: Dialect
    op: str
    is_known_endpoint: bool
    takes_out_usage: bool
    price_of: Callable[[str | None, str | None], PriceSheet | None]
    """The price sheet for (the model that the answer names, service tier) at the instant of the hold."""
    charge_hold_if_unpriced: bool
    charge_hold_without_usage: bool
    trust_provider_cost: bool
    is_by_subscription: bool = False
    """The call costs no API money: its price is kept beside."""


class Desk(Struct, frozen=True, kw_only=True):
    """Where calls are settled: the process's ledger, clock, ids and helpers."""

    ledger: Ledger
    clock: Clock
    ids: IdSource
    aside: Executor
    closed: Callable[[str], None]
    """Told the request id when a call needs nothing more."""
    unsettled: Callable[[Callable[[], None]], None]
    """Given a step to be tried again when the ledger could not be written."""


class MeteredCall:
    """See ``exchange.Call``."""

    def __init__(self, plan: CallPlan, desk: Desk) -> None:
        self._plan = plan
        self._desk = desk
        self._status: int | None = None
        self._reader: Reader | None = None
        self._bytes_seen = 0
        self._first_byte_us: int | None = None
        self._flags: tuple[str, ...] = ()
        self._closing: Future[None] | None = None

    @property
    def request_id(self) -> str:
        return self._plan.hold.request_id

    def begin(self, status: int, headers: Headers) -> None:
        try:
            self._status = status
            self._first_byte_us = self._desk.clock.now_us()
            if status != _SWITCHING_PROTOCOLS and self._plan.is_known_endpoint:
                values = dict(headers)
                self._reader = self._plan.dialect.reader(
                    self._plan.op,
                    content_type=values.get("content-type", ""),
                    content_encoding=values.get("content-encoding", ""),
                    facts=self._plan.facts,
                    take_out_usage=self._plan.takes_out_usage and 200 <= status < 300,
                    headers=values,
                )
        except Exception as error:  # noqa: BLE001 the answer goes on, whatever went wrong while metering it
            self._metering_failed("begin", error)

    def feed(self, chunk: bytes) -> bytes:
        self._bytes_seen += len(chunk)
        if self._reader is None:
            return chunk
        try:
            return self._reader.feed(chunk)
        except Exception as error:  # noqa: BLE001 the answer goes on, whatever went wrong while metering it
            self._metering_failed("feed", error)
            return chunk

    def finish(self) -> bytes:
        if self._reader is None:
            return b""
        try:
            return self._reader.finish()
        except Exception as error:  # noqa: BLE001 the answer goes on, whatever went wrong while metering it
            self._metering_failed("finish", error)
            return b""

    def close(self, ending: Ending) -> Future[None]:
        if self._closing is None:
            self._closing = Future()
            if self._bytes_seen > READ_ASIDE_BYTES:
                self._desk.aside.submit(self._close, ending, self._closing)
            else:
                self._close(ending, self._closing)
        return self._closing

    def _metering_failed(self, step: str, error: Exception) -> None:
        extra = {"request_id": self.request_id, "step": step}
        log.error("metering failed; the answer goes on", exc_info=error, extra=extra)
        self._reader = None
        self._flags = (*self._flags, "metering_failed")

    def _close(self, ending: Ending, closing: Future[None]) -> None:
        try:
            measured = self._measure(ending)
        except Exception as error:  # noqa: BLE001 the answer goes on, whatever went wrong while metering it
            self._metering_failed("close", error)
            measured = self._unmeasured()
            if self._plan.is_by_subscription:
                measured = by_subscription(measured)
        transaction_id = self._desk.ids.new("txn")
        stamp = Stamp(
            now_us=self._desk.clock.now_us(),
            transaction_id=TransactionId(transaction_id),
            event_id=EventId("evt" + transaction_id.removeprefix("txn")),
        )
        self._settle(measured, stamp, closing)

    def _settle(self, measured: Measured, stamp: Stamp, closing: Future[None]) -> None:
        """Until it is written: a ledger in trouble delays a settlement, and never loses it while this process lives."""

        def finished(future: Future[RequestRecord | None]) -> None:
            error = future.exception()
            if error is None:
                self._done(future.result())
                closing.set_result(None)
            elif isinstance(error, LedgerUnavailable):
                log.warning("not settled yet: %s", error, extra={"request_id": self.request_id})
                self._desk.unsettled(lambda: self._settle(measured, stamp, closing))
            else:
                log.error(
                    "not settled; its hold stays open until the sweep",
                    exc_info=error,
                    extra={"request_id": self.request_id},
                )
                self._desk.closed(self.request_id)
                closing.set_result(None)

        self._resolve(measured, stamp).add_done_callback(finished)

    def _resolve(self, measured: Measured, stamp: Stamp) -> Future[RequestRecord | None]:
        hold_id = self._plan.hold.hold_id

        def load(rows: Rows) -> Holding:
            holding = load_holding(rows, hold_id)
            assert holding is not None, hold_id
            return holding

        if measured.status is RequestStatus.ERROR:
            return self._desk.ledger.transact(load, lambda holding: void(holding, stamp, measured), can_wait=True)
        return self._desk.ledger.transact(load, lambda holding: settle(holding, measured, stamp), can_wait=True)

    def _done(self, record: RequestRecord | None) -> None:
        self._desk.closed(self.request_id)
        if record is not None:
            log.debug("request settled", extra={"request_id": self.request_id, "charge_nanos": record.charge_nanos})

    def _measure(self, ending: Ending) -> Measured:
        measured = self._as_ended(ending)
        return by_subscription(measured) if self._plan.is_by_subscription else measured

    def _as_ended(self, ending: Ending) -> Measured:
        reading = self._reader.reading() if self._reader is not None else None
        if self._is_void(ending, reading):
            return self._void(ending, reading)
        if self._reader is None or reading is None:
            return self._unread(ending)
        if reading.is_pending:
            return self._at_quote(reading, ("background", "estimated"))
        if "decode_failed" in reading.flags:
            return self._at_quote(reading, ("estimated",))
        if ending is not Ending.COMPLETE and not reading.is_complete:
            return self._broken(ending, reading)
        return self._whole(reading)

    def _is_void(self, ending: Ending, reading: Reading | None) -> bool:
        """Whether the provider did nothing that it bills: never sent, no answer at all, or no result and no usage in it."""
        if ending is Ending.NOT_SENT:
            return True
        if self._status is None:
            return ending is Ending.UPSTREAM_GONE
        if reading is not None and not reading.usage.is_zero():
            return False
        return self._status >= _REDIRECTION or (
            reading is not None and reading.is_error and not reading.output_text_bytes
        )

    def _broken(self, ending: Ending, reading: Reading) -> Measured:
        """Cut off: what the provider told, else what was produced as far as it was seen, or the hold by the setting."""
        flag = "upstream_gone" if ending is Ending.UPSTREAM_GONE else "aborted"
        is_unseen = reading.usage.is_empty() and (self._status is None or not self._plan.facts.is_stream)
        if is_unseen and self._plan.charge_hold_without_usage:
            return self._at_quote(reading, (flag, "charged_at_hold"))
        return self._measured(self._estimate(reading), reading, (flag, "estimated"))

    def _whole(self, reading: Reading) -> Measured:
        """An answer that ended. Tokens that it does not tell are estimated: absent is not 0."""
        usage, estimated = reading.usage, self._estimate(reading)
        if usage.is_empty():
            if self._plan.charge_hold_without_usage:
                return self._at_quote(reading, ("no_usage", "charged_at_hold"))
            return self._measured(estimated, reading, ("no_usage", "estimated"))
        if estimated.total_tokens() == usage.total_tokens():
            return self._measured(usage, reading, ())
        flags = ("estimated",) if reading.is_complete else ("incomplete", "estimated")
        return self._measured(estimated, reading, flags)

    def _void(self, ending: Ending, reading: Reading | None) -> Measured:
        flags = () if ending is Ending.COMPLETE else (ending.value,)
        measured = self._measured(
            NO_USAGE, reading, flags, cost=Cost(exact_nanos=Fraction(0), unit_prices="", source="", price_date="")
        )
        return Measured(
            usage=NO_USAGE,
            cost=Fraction(0),
            charge_hold_if_unpriced=False,
            status=RequestStatus.ERROR,
            model=measured.model,
            http_status=self._status,
            flags=measured.flags,
            latency_us=measured.latency_us,
            first_byte_us=measured.first_byte_us,
        )

    def _unread(self, ending: Ending) -> Measured:
        """Nothing could read the answer: an endpoint nobody described, a WebSocket, or no answer before the client left."""
        if not self._plan.is_known_endpoint:
            return self._measured(NO_USAGE, None, ("unknown",))
        if self._status == _SWITCHING_PROTOCOLS:
            return self._at_quote(None, ("unknown", "estimated"))  # what was said passes unread: never nothing
        if "metering_failed" in self._flags:
            return self._at_quote(None, ("estimated",))
        nothing = Reading(usage=NO_USAGE)
        if ending is not Ending.COMPLETE:
            return self._broken(ending, nothing)
        return self._measured(self._estimate(nothing), nothing, ("estimated",))

    def _at_quote(self, reading: Reading | None, flags: tuple[str, ...]) -> Measured:
        measured = self._measured(self._plan.quote.as_usage(), reading, flags)
        return replace(measured, text_characters=self._plan.quote.characters, input_text_characters=_sent(self._plan))

    def _unmeasured(self) -> Measured:
        """What a call is booked at where measuring it failed: its quote, by nothing that could fail again."""
        plan = self._plan
        return Measured(
            usage=plan.quote.as_usage(),
            cost=plan.quote.cost,
            charge_hold_if_unpriced=True,
            model=plan.facts.model,
            http_status=self._status,
            dialect_version=plan.dialect.version,
            text_characters=plan.quote.characters,
            input_text_characters=_sent(plan),
            flags=(*self._flags, "estimated", *(() if plan.quote.cost is not None else ("unpriced",))),
        )

    def _estimate(self, reading: Reading) -> Usage:
        return self._plan.dialect.estimate(self._plan.op, self._plan.facts, reading)

    def _measured(
        self, usage: Usage, reading: Reading | None, flags: tuple[str, ...], *, cost: Cost | None = None
    ) -> Measured:
        plan, now_us = self._plan, self._desk.clock.now_us()
        found = cost or self._cost(usage, reading)
        priced = found if isinstance(found, Cost) else None
        unpriced = () if priced else ("unpriced",)
        read_flags = reading.flags if reading else ()
        characters = plan.facts.input_text_characters + reading.output_text_characters if reading else 0
        return Measured(
            usage=usage,
            cost=priced.exact_nanos if priced else None,
            charge_hold_if_unpriced=plan.charge_hold_if_unpriced,
            model=(reading.model if reading else None) or plan.facts.model,
            http_status=self._status,
            response_id=reading.response_id if reading else None,
            dialect_version=plan.dialect.version,
            raw_usage=reading.raw_usage if reading else (),
            service_tier=(reading.service_tier if reading else None) or plan.facts.service_tier or "",
            billed=reading.billed if reading and usage is reading.usage else None,
            text_characters=characters or None,
            input_text_characters=plan.facts.input_text_characters if reading else None,
            unit_prices=priced.unit_prices if priced else "",
            price_source=priced.source if priced else "",
            price_date=priced.price_date if priced else "",
            flags=tuple(dict.fromkeys((*self._flags, *flags, *unpriced, *read_flags, *found.flags))),
            latency_us=now_us - plan.hold.created_us,
            first_byte_us=self._first_byte_us - plan.hold.created_us if self._first_byte_us is not None else None,
        )

    def _cost(self, usage: Usage, reading: Reading | None) -> Cost | Unpriced:
        plan = self._plan
        tier = reading.service_tier if reading else None
        sheet = plan.price_of(reading.model if reading else None, tier)
        reported = reading.reported_cost if reading and plan.trust_provider_cost else None
        billed = reading.billed if reading and usage is reading.usage else None
        return resolve(reported, sheet, usage if billed is None else billed)


def _sent(plan: CallPlan) -> int:
    """Characters of text in the request, as the quote counts them."""
    return min(plan.facts.counted.input_characters or plan.facts.input_text_characters, plan.quote.characters)


def measured_at_quote(plan: CallPlan) -> Measured:
    """What a call is booked at when nobody knows what it came to."""
    found = resolve(None, plan.price_of(None, None), plan.quote.as_usage())
    priced = found if isinstance(found, Cost) else None
    measured = Measured(
        usage=plan.quote.as_usage(),
        cost=priced.exact_nanos if priced else None,
        charge_hold_if_unpriced=plan.charge_hold_if_unpriced,
        model=plan.facts.model,
        dialect_version=plan.dialect.version,
        text_characters=plan.quote.characters,
        input_text_characters=_sent(plan),
        unit_prices=priced.unit_prices if priced else "",
        price_source=priced.source if priced else "",
        price_date=priced.price_date if priced else "",
        flags=("estimated", *found.flags) if priced else ("estimated", "unpriced", *found.flags),
    )
    return by_subscription(measured) if plan.is_by_subscription else measured
