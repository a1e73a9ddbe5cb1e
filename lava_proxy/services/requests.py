"""Requests: finished ones from their records, those in flight from their holds, both as one list."""

from collections.abc import Callable, Iterator

from msgspec import Struct

from lava_proxy.core.entities import Hold, JournalEntry, MeterVersion, RequestRecord, RequestStatus
from lava_proxy.core.errors import NotFound
from lava_proxy.core.ids import MeterId
from lava_proxy.core.meters import AT_COST_ID, AT_COST_VERSION
from lava_proxy.core.ports import Ledger, Page, RequestFilter, Rows

RESOLUTIONS = frozenset({"settle", "void", "orphan", "expire", "late", "reprice"})
"""The kinds of transaction that write a request's record."""


class Call(Struct, frozen=True, kw_only=True):
    """A request with what is needed to read it: its record or, while it is in flight, its hold."""

    record: RequestRecord | None
    hold: Hold | None
    version: MeterVersion

    @property
    def created_us(self) -> int:
        if self.record is not None:
            return self.record.created_us
        assert self.hold is not None
        return self.hold.created_us


class Requests:
    def __init__(self, *, ledger: Ledger) -> None:
        self._ledger = ledger

    def get(self, reference: str) -> Call:
        """The request of this ``req_…`` id, or of the caller's own id.

        Raises:
            NotFound
        """

        def load(rows: Rows) -> Call:
            records = rows.get(RequestRecord, reference), *rows.find(RequestRecord, caller_request_id=reference)
            record = next((found for found in records if found is not None), None)
            if record is not None:
                return Call(record=record, hold=None, version=_version(rows, record.meter_id, record.meter_version))
            holds = rows.find(Hold, request_id=reference)
            if not holds:
                raise NotFound(f"There is no request {reference!r}.", hint="`lava requests list` shows the newest.")
            return Call(record=None, hold=holds[0], version=_version(rows, holds[0].meter_id, holds[0].meter_version))

        return self._ledger.read(load)

    def page(self, which: RequestFilter, *, cursor: str | None = None, limit: int = 50) -> Page[Call]:
        """Newest first; on the first page those in flight come before all others."""
        pending = () if cursor is not None else tuple(self.pending(which))
        if which.status is RequestStatus.PENDING:
            return Page(items=pending[:limit], next_cursor=None)
        records = self._ledger.books().requests(which, cursor=cursor, limit=limit)
        finished = self._with_versions(records.items)
        return Page(items=(*pending, *finished), next_cursor=records.next_cursor)

    def pending(self, which: RequestFilter) -> Iterator[Call]:
        """Those in flight, newest first."""
        if which.status not in (None, RequestStatus.PENDING) or which.flag is not None:
            return
        matching = [hold for hold in self._open_holds(which) if _matches(hold, which)]
        for hold in sorted(matching, key=lambda h: h.created_us, reverse=True):
            yield self._in_flight(hold)

    def last_sequence(self) -> int:
        """The journal's newest entry, found by halving: few steps, whatever the length."""
        low, high = 0, 1
        while self._entry_after(high) is not None:
            low, high = high, high * 2
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self._entry_after(middle) is not None else (low, middle)
        return low

    def follow(self, which: RequestFilter, *, pause: Callable[[], None]) -> Iterator[Call]:
        """Requests as they end, from now on, without end; ``pause`` is called when there is nothing new."""
        sequence = self.last_sequence()
        while True:
            news = list(self.resolved_after(sequence, which))  # all at once: nothing is kept open while somebody reads
            for at, call in news:
                sequence = at
                if call is not None:
                    yield call
            pause()

    def resolved_after(self, sequence: int, which: RequestFilter) -> Iterator[tuple[int, Call | None]]:
        """Requests whose record was written after this point of the journal, in that order, each with its own point.

        ``None`` in place of a request: that entry was about something else, or does not match.
        """
        for entry in self._ledger.books().journal(after=sequence):
            yield entry.sequence, self._resolved(entry, which)

    def _in_flight(self, hold: Hold) -> Call:
        version = self._ledger.read(lambda rows: _version(rows, hold.meter_id, hold.meter_version))
        return Call(record=None, hold=hold, version=version)

    def _resolved(self, entry: JournalEntry, which: RequestFilter) -> Call | None:
        transaction = entry.transaction
        if transaction.kind not in RESOLUTIONS or transaction.request_id is None:
            return None
        call = self.get(transaction.request_id)
        return call if call.record is not None and _record_matches(call.record, which) else None

    def _entry_after(self, sequence: int) -> JournalEntry | None:
        return next(iter(self._ledger.books().journal(after=sequence)), None)

    def _open_holds(self, which: RequestFilter) -> Iterator[Hold]:
        cursor = None
        while True:
            page = self._ledger.books().holds(open_only=True, customer_id=which.customer_id, cursor=cursor, limit=500)
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return

    def _with_versions(self, records: tuple[RequestRecord, ...]) -> tuple[Call, ...]:
        def load(rows: Rows) -> tuple[Call, ...]:
            known: dict[tuple[MeterId, int], MeterVersion] = {}
            for record in records:
                key = (record.meter_id, record.meter_version)
                known[key] = known.get(key) or _version(rows, *key)
            return tuple(Call(record=r, hold=None, version=known[r.meter_id, r.meter_version]) for r in records)

        return self._ledger.read(load)


def _version(rows: Rows, meter_id: MeterId, version: int) -> MeterVersion:
    if meter_id == AT_COST_ID:
        return AT_COST_VERSION
    found = rows.get(MeterVersion, meter_id, version)
    assert found is not None, (meter_id, version)
    return found


def _matches(hold: Hold, which: RequestFilter) -> bool:
    request = hold.request
    return (
        which.customer_id in (None, hold.customer_id)
        and which.meter_id in (None, hold.meter_id)
        and which.run_id in (None, hold.run_id)
        and which.provider in (None, request.provider)
        and which.model in (None, request.model)
        and set(which.metadata) <= set(request.metadata)
        and (which.since_us is None or hold.created_us >= which.since_us)
        and (which.until_us is None or hold.created_us < which.until_us)
    )


def _record_matches(record: RequestRecord, which: RequestFilter) -> bool:
    return (
        which.customer_id in (None, record.customer_id)
        and which.meter_id in (None, record.meter_id)
        and which.run_id in (None, record.run_id)
        and which.provider in (None, record.request.provider)
        and which.model in (None, record.model)
        and which.status in (None, record.status)
        and (which.flag is None or which.flag in record.flags)
        and set(which.metadata) <= set(record.request.metadata)
        and (which.since_us is None or record.created_us >= which.since_us)
        and (which.until_us is None or record.created_us < which.until_us)
    )
