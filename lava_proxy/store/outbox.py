"""The outbox over any ledger: deliveries are rows like all others, leased and closed by steps of ``transact``.

A consumer has a cursor: the sequence number of the last event that was ever handed to it. Events up to the cursor have
a delivery row; those beyond have none yet. So a settle writes its event once, whoever listens, and a consumer that is
added later starts at 0 and gets all there is. Sequence numbers are given under the write lock: none appears late.
"""

from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.entities import Delivery, DeliveryState, Event, HomeFact
from lava_proxy.core.errors import NotFound, Refused
from lava_proxy.core.ids import EventId
from lava_proxy.core.ports import Decision, Ledger, Rows


class EventSource(Protocol):
    """Committed events and deliveries, oldest event first."""

    def due(self, consumer: str, *, now_us: int, limit: int) -> list[Event]:
        """Events with a pending delivery whose lease and waiting time are over."""

    def after(self, sequence: int, *, kinds: tuple[str, ...], limit: int) -> list[Event]:
        """Events with a greater sequence number; of these kinds, if any are named."""

    def last_event(self) -> int:
        """The sequence number of the last event; 0 where there is none."""

    def deliveries(
        self, *, consumer: str | None, state: str | None, limit: int
    ) -> tuple[tuple[Event, Delivery], ...]: ...


PASSED_BY_MAX = 1000
"""A cursor follows events of other kinds only when so many have passed by: it costs a write."""


class _Claim(Struct, frozen=True, kw_only=True):
    cursor: int
    candidates: tuple[tuple[Event, Delivery | None], ...]


class LedgerOutbox:
    """``core.ports.Outbox``."""

    def __init__(self, ledger: Ledger, events: EventSource) -> None:
        self._ledger = ledger
        self._events = events

    def claim(
        self, consumer: str, *, now_us: int, lease_us: int, limit: int, kinds: tuple[str, ...] = ()
    ) -> tuple[Event, ...]:
        """See ``core.ports.Outbox``. Two that claim at once never get the same event."""
        cursor = self._ledger.read(lambda rows: _cursor(rows, consumer))
        found = self._events.due(consumer, now_us=now_us, limit=limit)
        seen = cursor
        if len(found) < limit:
            end, wanted = self._events.last_event(), limit - len(found)
            new = self._events.after(cursor, kinds=kinds, limit=wanted)
            found += new
            seen = new[-1].sequence if new else cursor
            if len(new) < wanted and end > seen:  # all up to the end was looked at
                seen = end
        if not found and seen - cursor < PASSED_BY_MAX:
            return ()

        def load(rows: Rows) -> _Claim:
            candidates = tuple((event, rows.get(Delivery, consumer, event.event_id)) for event in found)
            return _Claim(cursor=_cursor(rows, consumer), candidates=candidates)

        def decide(claim: _Claim) -> Decision[tuple[Event, ...]]:
            taken = [
                (e, d or Delivery(consumer=consumer, event_id=e.event_id))
                for e, d in claim.candidates
                if _is_due(d, now_us)
            ]
            leased = tuple(replace(delivery, leased_until_us=now_us + lease_us) for _, delivery in taken)
            last = max(claim.cursor, seen, *(event.sequence for event, _ in claim.candidates))
            moved = (HomeFact(name=_cursor_name(consumer), value=str(last)),) if last > claim.cursor else ()
            return Decision(result=tuple(event for event, _ in taken), rows=(*leased, *moved))

        return self._ledger.transact(load, decide).result()

    def done(self, consumer: str, event_id: EventId) -> None:
        """It was delivered; saying so again changes nothing.

        Raises:
            NotFound: this consumer never claimed it.
        """
        self._change(consumer, event_id, _delivered)

    def failed(self, consumer: str, event_id: EventId, *, error: str, retry_at_us: int | None) -> None:
        """See ``core.ports.Outbox``. What was delivered meanwhile stays delivered.

        Raises:
            NotFound: this consumer never claimed it.
        """

        def fail(delivery: Delivery) -> Delivery:
            if delivery.state is DeliveryState.DELIVERED:
                return delivery
            state = DeliveryState.DEAD if retry_at_us is None else DeliveryState.PENDING
            attempts, due_us = delivery.attempts + 1, retry_at_us or 0
            return replace(
                delivery, state=state, attempts=attempts, leased_until_us=0, next_attempt_us=due_us, last_error=error
            )

        self._change(consumer, event_id, fail)

    def deliveries(
        self, *, consumer: str | None = None, state: str | None = None, limit: int = 100
    ) -> tuple[tuple[Event, Delivery], ...]:
        """Deliveries that were begun, those of the oldest events first."""
        return self._events.deliveries(consumer=consumer, state=state, limit=limit)

    def retry(self, consumer: str, event_id: EventId, *, now_us: int) -> None:
        """See ``core.ports.Outbox``.

        Raises:
            NotFound: this consumer never claimed it.
            Refused: it was delivered.
        """

        def again(delivery: Delivery) -> Delivery:
            if delivery.state is DeliveryState.DELIVERED:
                raise Refused(
                    f"The event {event_id} was delivered to {consumer} already.", consumer=consumer, event_id=event_id
                )
            return replace(delivery, state=DeliveryState.PENDING, leased_until_us=0, next_attempt_us=now_us)

        self._change(consumer, event_id, again)

    def last_sequence(self) -> int:
        """See ``core.ports.Outbox``."""
        return self._events.last_event()

    def after(self, sequence: int, *, kinds: tuple[str, ...] = (), limit: int) -> tuple[Event, ...]:
        """See ``core.ports.Outbox``."""
        return tuple(self._events.after(sequence, kinds=kinds, limit=limit))

    def _change(self, consumer: str, event_id: EventId, change: "_Change") -> None:
        def decide(delivery: Delivery | None) -> Decision[None]:
            if delivery is None:
                message = f"The event {event_id} was never handed to {consumer}."
                raise NotFound(message, consumer=consumer, event_id=event_id)
            changed = change(delivery)
            return Decision(result=None, rows=() if changed == delivery else (changed,))

        self._ledger.transact(lambda rows: rows.get(Delivery, consumer, event_id), decide).result()


class _Change(Protocol):
    def __call__(self, delivery: Delivery, /) -> Delivery: ...


def _delivered(delivery: Delivery) -> Delivery:
    if delivery.state is DeliveryState.DELIVERED:
        return delivery
    return replace(
        delivery, state=DeliveryState.DELIVERED, attempts=delivery.attempts + 1, leased_until_us=0, last_error=""
    )


def _is_due(delivery: Delivery | None, now_us: int) -> bool:
    if delivery is None:
        return True
    is_pending = delivery.state is DeliveryState.PENDING
    return is_pending and delivery.leased_until_us <= now_us and delivery.next_attempt_us <= now_us


def _cursor_name(consumer: str) -> str:
    return f"outbox_cursor:{consumer}"


def _cursor(rows: Rows, consumer: str) -> int:
    fact = rows.get(HomeFact, _cursor_name(consumer))
    return int(fact.value) if fact else 0
