"""Lists, sums and the journal out of memory, as they are said in ``core.ports``: the plain reading of each."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import add, attrgetter
from typing import Any

from lava_proxy.core.admission import REFUSAL_BUCKET_US
from lava_proxy.core.billing import Payment, Subscription
from lava_proxy.core.entities import (
    Customer,
    CustomerStatus,
    Delivery,
    DeliveryState,
    Entity,
    Event,
    Grant,
    Hold,
    JournalEntry,
    Refusal,
    RequestRecord,
    RequestStatus,
    Transaction,
)
from lava_proxy.core.flows import NO_FLOWS, FlowLine, flows_of, is_at_hold
from lava_proxy.core.ids import CustomerId, RequestId, RunId
from lava_proxy.core.ports import FlagSet, Page, RequestFilter, UsageLine
from lava_proxy.core.rollups import FIGURES, NOTHING, bucket_of, figures_of
from lava_proxy.store.flows import FlowRange, Moved, flow_lines
from lava_proxy.store.memory_state import State
from lava_proxy.store.periods import PERIODS, period_of, zone
from lava_proxy.store.reading import check_grouping, check_limit, matches, page_of, parse_request_cursor, request_cursor
from lava_proxy.store.rows_holds import OPEN_STATES
from lava_proxy.store.table import list_to_json

_GROUPS: dict[str, Callable[[RequestRecord], str]] = {
    "customer": lambda record: record.customer_id or "",
    "meter": lambda record: record.meter_id,
    "model": lambda record: record.model or "",
    "provider": lambda record: record.request.provider,
}


class MemoryBooks:
    """``core.ports.Books``, and the outbox's ``EventSource``."""

    def __init__(self, state: Callable[[], State]) -> None:
        self._state = state

    @contextmanager
    def snapshot(self) -> Iterator["MemoryBooks"]:
        """See ``core.ports.Books``."""
        state = self._state()
        yield MemoryBooks(lambda: state)

    def customers(
        self, *, cursor: str | None = None, limit: int = 50, include_archived: bool = False
    ) -> Page[Customer]:
        """See ``core.ports.Books``."""
        check_limit(limit)
        found = [
            row
            for row in self.rows(Customer)
            if row.customer_id > (cursor or "") and (include_archived or row.status is CustomerStatus.ACTIVE)
        ]
        return page_of(found[: limit + 1], limit=limit, cursor_of=lambda row: row.customer_id)

    def requests(self, which: RequestFilter, *, cursor: str | None = None, limit: int = 50) -> Page[RequestRecord]:
        """See ``core.ports.Books``."""
        check_limit(limit)
        found = sorted(self._requests(which), key=_place, reverse=True)
        if cursor is not None:
            before = parse_request_cursor(cursor)
            found = [row for row in found if _place(row) < before]
        return page_of(found[: limit + 1], limit=limit, cursor_of=request_cursor)

    def each_request(self, which: RequestFilter) -> Iterator[RequestRecord]:
        """See ``core.ports.Books``."""
        yield from sorted(self._requests(which), key=_place)

    def holds(
        self, *, open_only: bool, customer_id: CustomerId | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Hold]:
        """See ``core.ports.Books``."""
        check_limit(limit)
        found = [
            row
            for row in self.rows(Hold)
            if (not open_only or row.state in OPEN_STATES)
            and (customer_id is None or row.customer_id == customer_id)
            and (cursor is None or row.hold_id < cursor)
        ]
        return page_of(found[::-1][: limit + 1], limit=limit, cursor_of=lambda row: row.hold_id)

    def grants(self, customer_id: CustomerId) -> tuple[Grant, ...]:
        """See ``core.ports.Books``."""
        found = (row for row in self.rows(Grant) if row.customer_id == customer_id)
        return tuple(sorted(found, key=attrgetter("created_us", "grant_id")))

    def usage(self, which: RequestFilter, *, by: tuple[str, ...], time_zone: str = "UTC") -> tuple[UsageLine, ...]:
        """See ``core.ports.Books``."""
        check_grouping(by)
        days_zone = zone(time_zone)
        groups: dict[tuple[str, ...], list[RequestRecord]] = {} if by else {(): []}
        for record in self._requests(which):
            group = tuple(
                period_of(name, record.created_us, days_zone) if name in PERIODS else _GROUPS[name](record)
                for name in by
            )
            groups.setdefault(group, []).append(record)
        return tuple(_line(group, groups[group]) for group in sorted(groups))

    def flows(
        self,
        customer_id: CustomerId | None = None,
        *,
        by: str,
        now_us: int,
        since_us: int | None = None,
        until_us: int | None = None,
        time_zone: str = "UTC",
    ) -> tuple[FlowLine, ...]:
        """See ``core.ports.Books``."""
        which = FlowRange(since_us=since_us, until_us=until_us, now_us=now_us, by=by, time_zone=zone(time_zone))
        buckets = [bucket_of(row.created_us) for row in self._requests(RequestFilter(customer_id=customer_id))]
        ends = (min(buckets), max(buckets)) if buckets else None
        return flow_lines(which, lambda _: self._moved(which, customer_id), ends)

    def flag_sets(self, which: RequestFilter) -> tuple[FlagSet, ...]:
        """See ``core.ports.Books``."""
        found: dict[tuple[str, str], list[RequestRecord]] = {}
        for record in self._requests(which):
            if record.status is not RequestStatus.ERROR:
                found.setdefault((record.request.provider, list_to_json(record.flags)), []).append(record)
        return tuple(
            FlagSet(
                provider=provider,
                flags=records[0].flags,
                requests=len(records),
                sample=max(record.request_id for record in records),
            )
            for (provider, _), records in sorted(found.items())
        )

    def refusals(
        self, *, run_id: RunId | None = None, customer_id: CustomerId | None = None, since_us: int = 0
    ) -> tuple[tuple[str, int], ...]:
        """See ``core.ports.Books``."""
        counts: dict[str, int] = {}
        for row in self.rows(Refusal):
            is_wanted = run_id in (None, row.run_id) and customer_id in (None, row.customer_id)
            if is_wanted and row.bucket_us > since_us - REFUSAL_BUCKET_US:
                counts[row.code] = counts.get(row.code, 0) + row.count
        return tuple(sorted(counts.items()))

    def rollup_faults(self, *, limit: int) -> tuple[str, ...]:  # noqa: ARG002 there are none to be at fault
        """See ``core.ports.Books``: sums are made of the requests themselves."""
        return ()

    def last_sequence(self) -> int:
        """See ``core.ports.Books``."""
        return len(self._state().journal)

    def journal(self, *, after: int = 0, customer_id: CustomerId | None = None) -> Iterator[JournalEntry]:
        """See ``core.ports.Books``."""
        for entry in self._state().journal[after:]:
            if customer_id is None or entry.transaction.customer_id == customer_id:
                yield entry

    def rows[T: Entity](self, kind: type[T]) -> Iterator[T]:
        """See ``core.ports.Books``."""
        rows: dict[Any, T] = self._state().rows[kind]
        for key in sorted(rows):
            yield rows[key]

    def transactions_of(self, request_id: RequestId) -> tuple[Transaction, ...]:
        """See ``core.ports.Books``."""
        return tuple(e.transaction for e in self._state().journal if e.transaction.request_id == request_id)

    def overdue[T: (Subscription, Payment)](self, kind: type[T], *, now_us: int, limit: int) -> tuple[T, ...]:
        """See ``core.ports.Books``."""
        found = [row for row in self.rows(kind) if row.due_us is not None and row.due_us <= now_us]
        return tuple(sorted(found, key=lambda row: row.due_us or 0)[:limit])

    def due(self, consumer: str, *, now_us: int, limit: int) -> list[Event]:
        """See ``store.outbox.EventSource``."""
        found = [
            event
            for event, delivery in self.deliveries(consumer=consumer, state=DeliveryState.PENDING.value, limit=10**9)
            if delivery.leased_until_us <= now_us and delivery.next_attempt_us <= now_us
        ]
        return found[:limit]

    def after(self, sequence: int, *, kinds: tuple[str, ...], limit: int) -> list[Event]:
        """See ``store.outbox.EventSource``."""
        found = (event for event in self.rows(Event) if event.sequence > sequence)
        return [event for event in found if not kinds or event.kind in kinds][:limit]

    def last_event(self) -> int:
        """See ``store.outbox.EventSource``."""
        return len(self._state().rows[Event])

    def deliveries(self, *, consumer: str | None, state: str | None, limit: int) -> tuple[tuple[Event, Delivery], ...]:
        """See ``store.outbox.EventSource``."""
        events = {event.event_id: event for event in self.rows(Event)}
        found = [
            (events[row.event_id], row)
            for row in self.rows(Delivery)
            if consumer in (None, row.consumer) and state in (None, row.state)
        ]
        found.sort(key=lambda pair: (pair[0].sequence, pair[1].consumer))
        return tuple(found[:limit])

    def _moved(self, which: FlowRange, customer_id: CustomerId | None) -> Iterator[Moved]:
        records = self._state().rows[RequestRecord]
        for entry in self.journal(customer_id=customer_id):
            transaction = entry.transaction
            record = records.get((transaction.request_id,)) if transaction.request_id else None
            for posting in transaction.postings:
                if flows_of(posting.source, posting.destination, 1, is_call=True) == NO_FLOWS:
                    continue
                is_charge = record is not None and is_at_hold(posting.source, posting.destination)
                at_us = record.created_us if record is not None and is_charge else transaction.at_us
                if which.until_us is None or at_us < which.until_us:
                    is_before = which.since_us is not None and at_us < which.since_us
                    yield Moved(
                        None if is_before else at_us,
                        transaction.request_id is not None,
                        posting.source,
                        posting.destination,
                        posting.amount_nanos,
                    )

    def _requests(self, which: RequestFilter) -> list[RequestRecord]:
        return [record for record in self.rows(RequestRecord) if matches(record, which)]


def _place(record: RequestRecord) -> tuple[int, str]:
    return record.created_us, record.request_id


def _line(group: tuple[str, ...], records: list[RequestRecord]) -> UsageLine:
    figures = NOTHING
    for record in records:
        figures = tuple(map(add, figures, figures_of(record)))
    return UsageLine(group=group, **dict(zip(FIGURES, figures, strict=True)))
