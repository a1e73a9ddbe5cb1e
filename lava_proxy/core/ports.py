"""What floor 2 offers to the rules, and the rules to floor 2: the only place where services and stores meet."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Protocol

from msgspec import Struct

from lava_proxy.core.billing import Payment, Subscription
from lava_proxy.core.entities import (
    Customer,
    Delivery,
    Entity,
    Event,
    Grant,
    Hold,
    JournalEntry,
    RequestRecord,
    RequestStatus,
    Transaction,
)
from lava_proxy.core.flows import FlowLine
from lava_proxy.core.ids import CustomerId, EventId, MeterId, RequestId, RunId


class Rows(Protocol):
    """The ledger's rows as one operation sees them, under the write lock, with the operation's own group before it."""

    def get[T: Entity](self, kind: type[T], *key: str | int) -> T | None:
        """The row with this primary key (its parts in the order of ``KEYS`` of the store's table), or ``None``."""

    def find[T: Entity](self, kind: type[T], **where: str | int | None) -> tuple[T, ...]:
        """All rows with these exact values, in primary-key order. Only columns with an index may be named:

        Customer.reference_id · Meter.slug · Meter.status · MeterVersion.meter_id · Grant.customer_id (open ones: free + held > 0)
        · Budget.subject (not ended) · Hold.request_id, .state, .customer_id (open ones) · Key.customer_id, .run_id · Counter.customer_id
        · RequestRecord.caller_request_id · Instance.ended_us · Event.event_id, .key
        · AlertRule.status · AlertState.rule_id · Destination.status · Plan.name · Bundle.plan_id · Subscription.customer_id (not
        cancelled) · Payment.customer_id · TopUp.customer_id · Terms.needs_look (1 only).
        """


class Decision[R](Struct, frozen=True, kw_only=True):
    """What a rule decided: the answer, and what is to be written for it, all or nothing."""

    result: R
    transactions: tuple[Transaction, ...] = ()
    rows: tuple[Entity, ...] = ()
    """New values of rows; each takes the place of the row with its primary key. Events and audit entries only ever append."""


class Ledger(Protocol):
    """The journal and its projections."""

    def transact[S, R](
        self, load: Callable[[Rows], S], decide: Callable[[S], Decision[R]], *, can_wait: bool = False
    ) -> Future[R]:
        """Load rows under the write lock, decide, write the outcome: one atomic, durable step.

        The future is resolved after the commit. A step that ``can_wait`` (nobody awaits it) may be put off for some
        milliseconds, to be committed with one that cannot. Steps run in the order of their calls, grouped into one commit where
        they come together; one that raises leaves nothing behind and does not touch the others. Cancelling the future
        before its step began drops it; after that, cancelling fails and the step is done.

        Raises (in the future):
            LedgerUnavailable: nothing was written; the same call may be repeated.
            whatever ``load`` or ``decide`` raise.
        """

    def read[R](self, load: Callable[[Rows], R]) -> R:
        """Committed rows, without the write lock, on the caller's thread. For control planes, never for admission."""

    def books(self) -> "Books":
        """Lists, sums and the whole journal, on the caller's thread."""

    def outbox(self) -> "Outbox": ...

    def rebuild_rollups(self) -> int:
        """Make the sums that reports are made of anew from the requests; gives how many there are.

        Raises:
            LedgerUnavailable: nothing was changed.
        """

    def backlog(self) -> "Backlog":
        """How far the writer is behind: for /readyz and `lava doctor`."""

    def close(self, *, timeout_seconds: float = 30.0) -> None:
        """Finish what was queued, checkpoint if this process is the one that does, and release the file."""


class Backlog(Struct, frozen=True, kw_only=True):
    waiting: int
    """Steps queued and not yet committed."""
    oldest_us: int
    """How long the oldest of them has waited, in microseconds."""
    failure: str = ""
    """Why the last commit failed, while it does; empty when healthy."""


class RequestFilter(Struct, frozen=True, kw_only=True):
    """Which requests. Instants are of the hold: ``since_us`` inclusive, ``until_us`` exclusive."""

    customer_id: CustomerId | None = None
    meter_id: MeterId | None = None
    run_id: RunId | None = None
    provider: str | None = None
    model: str | None = None
    status: RequestStatus | None = None
    flag: str | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    since_us: int | None = None
    until_us: int | None = None


class UsageLine(Struct, frozen=True, kw_only=True):
    """Sums over finished requests of one group."""

    group: tuple[str, ...]
    """Values of the grouping columns. A period is named by its begin: ``2026-11-28T14:00+01:00``, ``2026-11-28``,
    ``2026-W48``, ``2026-11``."""
    requests: int
    errors: int
    unpriced: int
    estimated: int
    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost_nanos: int
    charge_nanos: int
    uncovered_nanos: int
    """The part of the charge that no credit covered."""


class FlagSet(Struct, frozen=True, kw_only=True):
    """Finished requests of one provider with the same flags; errors, which cost nothing, are not among them."""

    provider: str
    flags: tuple[str, ...]
    requests: int
    sample: RequestId
    """The newest of them."""


class Page[T](Struct, frozen=True, kw_only=True):
    items: tuple[T, ...]
    next_cursor: str | None
    """Give it back to get the page after; ``None`` at the end."""


class Books(Protocol):
    """Reading many rows. Every call opens and ends its own snapshot, but for ``journal``, ``rows`` and ``each_request``,
    which hold one while they run.
    """

    def snapshot(self) -> AbstractContextManager["Books"]:
        """The same books, all of whose calls see one and the same state, until the context ends."""

    def last_sequence(self) -> int:
        """The sequence number of the journal's last entry, which is the number of its entries; 0 for an empty journal."""

    def customers(
        self, *, cursor: str | None = None, limit: int = 50, include_archived: bool = False
    ) -> Page[Customer]: ...

    def requests(self, which: RequestFilter, *, cursor: str | None = None, limit: int = 50) -> Page[RequestRecord]:
        """Newest first."""

    def each_request(self, which: RequestFilter) -> Iterator[RequestRecord]:
        """Oldest first; streams, whatever their number."""

    def holds(
        self, *, open_only: bool, customer_id: CustomerId | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Hold]: ...

    def grants(self, customer_id: CustomerId) -> tuple[Grant, ...]:
        """All of them, spent and expired ones too, oldest first."""

    def usage(self, which: RequestFilter, *, by: tuple[str, ...], time_zone: str = "UTC") -> tuple[UsageLine, ...]:
        """Sums by any of ``customer``, ``meter``, ``model``, ``provider`` and one of ``hour``, ``day``, ``week``, ``month``.

        () gives one line. Blocked calls are not requests.
        """

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
        """What moved beside the charges of calls: first all that was before, then period by period, without a gap.

        ``by``: hour, day, week or month, named as in ``usage``. They go from the first with anything in it to the end of
        the range, or to ``now_us`` or the last thing that happened, if that is before.
        """

    def flag_sets(self, which: RequestFilter) -> tuple[FlagSet, ...]:
        """Every set of flags that occurs, by provider, in the order of provider and flags."""

    def refusals(
        self, *, run_id: RunId | None = None, customer_id: CustomerId | None = None, since_us: int = 0
    ) -> tuple[tuple[str, int], ...]:
        """Refused calls by code."""

    def rollup_faults(self, *, limit: int) -> tuple[str, ...]:
        """Where the sums that reports are made of are not those of the requests, in words."""

    def journal(self, *, after: int = 0, customer_id: CustomerId | None = None) -> Iterator[JournalEntry]:
        """Entries in sequence order, each with its postings; streams, whatever the length."""

    def transactions_of(self, request_id: RequestId) -> tuple[Transaction, ...]:
        """Those of one request, in their order."""

    def overdue[T: (Subscription, Payment)](self, kind: type[T], *, now_us: int, limit: int) -> tuple[T, ...]:
        """Those about which something is to be done by then, the longest due first."""

    def rows[T: Entity](self, kind: type[T]) -> Iterator[T]:
        """Every row of a kind in primary-key order; streams."""


class Outbox(Protocol):
    """Events on their way to consumers: leased, retried, and put aside as dead after too many attempts."""

    def claim(
        self, consumer: str, *, now_us: int, lease_us: int, limit: int, kinds: tuple[str, ...] = ()
    ) -> tuple[Event, ...]:
        """Lease the oldest due events of this consumer. A consumer seen for the first time gets every event there is.

        ``kinds``: only events of these are the consumer's; the others pass it by without a row.
        """

    def done(self, consumer: str, event_id: EventId) -> None: ...

    def failed(self, consumer: str, event_id: EventId, *, error: str, retry_at_us: int | None) -> None:
        """Count an attempt; ``retry_at_us`` of ``None`` puts it among the dead."""

    def deliveries(
        self, *, consumer: str | None = None, state: str | None = None, limit: int = 100
    ) -> tuple[tuple[Event, Delivery], ...]: ...

    def retry(self, consumer: str, event_id: EventId, *, now_us: int) -> None:
        """Make a dead or waiting delivery due now."""

    def last_sequence(self) -> int:
        """The sequence number of the last event; 0 where there is none."""

    def after(self, sequence: int, *, kinds: tuple[str, ...] = (), limit: int) -> tuple[Event, ...]:
        """Events beyond this one, oldest first, for those who only look; nothing is leased."""


class Clock(Protocol):
    def now_us(self) -> int:
        """UTC microseconds."""


class IdSource(Protocol):
    def new(self, prefix: str) -> str:
        """``<prefix>_<ULID>``, sortable by time."""
