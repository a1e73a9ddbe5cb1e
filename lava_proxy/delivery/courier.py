"""Carries alerts from the outbox to their destinations, and beats the heart."""

import logging
import time
from collections.abc import Callable
from typing import Protocol

import msgspec
from msgspec import Struct

from lava_proxy.core.alert_rows import Destination, DestinationKind, DestinationStatus
from lava_proxy.core.alerts import ALERT_EVENTS
from lava_proxy.core.destinations import Address
from lava_proxy.core.entities import Customer, Delivery, Event
from lava_proxy.core.errors import InvalidInput
from lava_proxy.core.ids import EventId
from lava_proxy.core.instants import format_instant
from lava_proxy.core.pausing import is_paused
from lava_proxy.core.ports import Clock, IdSource, Ledger
from lava_proxy.delivery.answer import Answer
from lava_proxy.delivery.chat import send_pagerduty, send_slack
from lava_proxy.delivery.http import send
from lava_proxy.delivery.mail import send_mail
from lava_proxy.delivery.message import Message, named, read_message, trial_message
from lava_proxy.delivery.webhook import send_webhook

log = logging.getLogger(__name__)

LEASE_US = 120 * 1_000_000
"""Longer than any sending takes; after the death of a process others take over then."""
AT_ONCE = 10
RETRY_SECONDS = (10, 30, 120, 600, 1800, 7200, 21600, 43200)
"""After the first failure, the second …; after the last it is put among the dead, a day later in all."""
LOG_CONSUMER = "alerts:log"
_NOT_OPENED = (InvalidInput, OSError, ValueError)
"""What opening an address raises where the home's key is missing, damaged, or another."""


class Sender(Protocol):
    """Sends one message; never raises for what the other side does."""

    def __call__(self, address: Address, message: Message, *, now_us: int) -> Answer: ...


def send_heartbeat(address: Address, message: Message, *, now_us: int) -> Answer:
    """A heartbeat says no more than that we live."""
    del message, now_us
    return send("GET", address.url, headers={"user-agent": "lava-proxy"})


SENDERS: dict[DestinationKind, Sender] = {
    DestinationKind.WEBHOOK: send_webhook,
    DestinationKind.SLACK: send_slack,
    DestinationKind.PAGERDUTY: send_pagerduty,
    DestinationKind.EMAIL: send_mail,
    DestinationKind.HEARTBEAT: send_heartbeat,
}


class Delivered(Struct, frozen=True, kw_only=True):
    """What came of one round."""

    sent: int = 0
    failed: int = 0


class Courier:
    """Any number of processes may deliver at once: each event is leased to one of them."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        clock: Clock,
        ids: IdSource,
        open_address: Callable[[Destination], Address],
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger, self._clock, self._ids = ledger, clock, ids
        self._open_address, self._seconds = open_address, seconds
        self._last_beats: dict[str, float] = {}

    def deliver(self) -> Delivered:
        """Everything that is due now. A paused home only writes its log.

        Raises:
            LedgerUnavailable
        """
        sent, failed = self._carry(LOG_CONSUMER, _log, since_us=0)
        for destination in self._destinations():
            if destination.kind is DestinationKind.HEARTBEAT:
                continue
            more, refused = self._carry(
                consumer_of(destination), self._sending(destination), since_us=destination.created_us
            )
            sent, failed = sent + more, failed + refused
        return Delivered(sent=sent, failed=failed)

    def beat(self) -> None:
        """Tell every heartbeat whose time it is that we live: that the ledger can be read, and was written last time."""
        if self._ledger.backlog().failure:
            return
        for destination in self._destinations():
            if destination.kind is DestinationKind.HEARTBEAT:
                self._beat(destination)

    def try_out(self, destination: Destination) -> Answer:
        """Send one message now and tell what the other side answered, paused or not.

        Raises:
            SealBroken
        """
        now_us = self._clock.now_us()
        message = trial_message(event_id=self._ids.new("evt"), at=format_instant(now_us))
        return SENDERS[destination.kind](self._open_address(destination), message, now_us=now_us)

    def _beat(self, destination: Destination) -> None:
        try:
            address = self._open_address(destination)
        except _NOT_OPENED as error:
            log.warning("a heartbeat cannot be sent", extra={"destination": destination.slug, "answer": str(error)})
            return
        now = self._seconds()
        last = self._last_beats.get(destination.destination_id)
        if last is not None and now - last < address.every_seconds:
            return
        self._last_beats[destination.destination_id] = now
        answer = send("GET", address.url, headers={"user-agent": "lava-proxy"})
        if not answer.is_ok:
            log.warning("a heartbeat was not heard", extra={"destination": destination.slug, "answer": answer.text})

    def _destinations(self) -> tuple[Destination, ...]:
        """None while the home is paused."""
        return self._ledger.read(
            lambda rows: () if is_paused(rows) else rows.find(Destination, status=DestinationStatus.ACTIVE.value)
        )

    def _sending(self, destination: Destination) -> "Callable[[Message], Answer]":
        sender = SENDERS[destination.kind]

        def send_to(message: Message) -> Answer:
            try:
                address = self._open_address(destination)
            except _NOT_OPENED as error:
                return Answer(is_ok=False, text=f"its address cannot be opened: {error}")
            return sender(address, message, now_us=self._clock.now_us())

        return send_to

    def _carry(self, consumer: str, send_to: Callable[[Message], Answer], *, since_us: int) -> tuple[int, int]:
        """One lot of what is due; the rest comes in the next round, after the other destinations."""
        outbox = self._ledger.outbox()
        sent = 0
        for _ in range(AT_ONCE):
            now_us = self._clock.now_us()
            claimed = outbox.claim(consumer, now_us=now_us, lease_us=LEASE_US, limit=1, kinds=ALERT_EVENTS)
            if not claimed:
                break
            (event,) = claimed
            answer = self._send(event, send_to) if event.created_us >= since_us else _BEFORE
            if not answer.is_ok:
                self._put_off(consumer, event.event_id, answer)
                return sent, 1  # what refuses one will hardly take the next
            outbox.done(consumer, event.event_id)
            sent += answer is not _BEFORE
        return sent, 0

    def _send(self, event: Event, send_to: Callable[[Message], Answer]) -> Answer:
        try:
            message = read_message(event)
        except msgspec.MsgspecError as error:
            return Answer(is_ok=False, text=f"not an alert: {error}", is_final=True)
        customer_id = message.customer_id
        customer = self._ledger.read(lambda rows: rows.get(Customer, customer_id)) if customer_id else None
        return send_to(named(message, customer.reference_id if customer else None))

    def _put_off(self, consumer: str, event_id: EventId, answer: Answer) -> None:
        delivery = self._ledger.read(lambda rows: rows.get(Delivery, consumer, event_id))
        attempts = delivery.attempts if delivery else 0
        is_last = answer.is_final or attempts >= len(RETRY_SECONDS)
        retry_at_us = None if is_last else self._clock.now_us() + RETRY_SECONDS[attempts] * 1_000_000
        self._ledger.outbox().failed(consumer, event_id, error=answer.text, retry_at_us=retry_at_us)
        log.warning(
            "an alert was not delivered",
            extra={"consumer": consumer, "event_id": event_id, "answer": answer.text, "given_up": is_last},
        )


_BEFORE = Answer(is_ok=True, text="it happened before the destination was made")


def consumer_of(destination: Destination) -> str:
    """Under which name the outbox knows it."""
    return f"alerts:{destination.destination_id}"


def _log(message: Message) -> Answer:
    level = logging.INFO if message.state == "resolved" else logging.WARNING
    extra = {"alert_id": message.alert_id, "rule": message.rule, "kind": message.kind, "subject": message.subject}
    log.log(level, "alert %s: %s", message.state, message.message, extra=extra)
    return Answer(is_ok=True, text="logged")
