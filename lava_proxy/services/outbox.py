"""The outbox, as an operator sees it: which event is on its way to whom, and another try for what was given up."""

from msgspec import Struct

from lava_proxy.core.entities import Delivery, DeliveryState, Event
from lava_proxy.core.errors import InvalidInput
from lava_proxy.core.ids import EventId
from lava_proxy.core.ports import Clock, Ledger
from lava_proxy.services.documents import Document, instant


class Parcel(Struct, frozen=True, kw_only=True):
    """An event and its way to one consumer."""

    event: Event
    delivery: Delivery


class OutboxDesk:
    def __init__(self, *, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock

    def parcels(self, *, consumer: str | None = None, state: str | None = None, limit: int = 100) -> tuple[Parcel, ...]:
        """Those of the oldest events first.

        Raises:
            InvalidInput: there is no such state.
        """
        states = [known.value for known in DeliveryState]
        if state is not None and state not in states:
            raise InvalidInput(f"state: {state!r} is none; choose of {', '.join(states)}", field="state")
        found = self._ledger.outbox().deliveries(consumer=consumer, state=state, limit=limit)
        return tuple(Parcel(event=event, delivery=delivery) for event, delivery in found)

    def retry(self, consumer: str, event_id: str) -> None:
        """Make one delivery due now. Again changes nothing more.

        Raises:
            NotFound: this consumer never got the event.
            Refused: it was delivered.
        """
        self._ledger.outbox().retry(consumer, EventId(event_id), now_us=self._clock.now_us())

    def retry_dead(self, *, consumer: str | None = None) -> int:
        """Make everything due that was given up; gives how many."""
        count = 0
        while dead := self.parcels(consumer=consumer, state=DeliveryState.DEAD.value):
            for parcel in dead:
                self.retry(parcel.delivery.consumer, parcel.event.event_id)
            count += len(dead)
        return count


def parcel_document(parcel: Parcel) -> Document:
    event, delivery = parcel.event, parcel.delivery
    return {
        "event_id": event.event_id,
        "consumer": delivery.consumer,
        "kind": event.kind,
        "key": event.key,
        "state": delivery.state.value,
        "attempts": delivery.attempts,
        "last_error": delivery.last_error,
        "next_attempt_at": instant(delivery.next_attempt_us) if delivery.next_attempt_us else None,
        "created_at": instant(event.created_us),
    }
