"""Lists and the journal out of an SQLite file. SQL stands here as text, its values by name."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from lava_proxy.core.admission import REFUSAL_BUCKET_US
from lava_proxy.core.billing import Payment, Subscription
from lava_proxy.core.entities import (
    Customer,
    CustomerStatus,
    Delivery,
    Entity,
    Event,
    Grant,
    Hold,
    JournalEntry,
    Posting,
    RequestRecord,
    Transaction,
)
from lava_proxy.core.flows import FlowLine
from lava_proxy.core.ids import CustomerId, RequestId, RunId
from lava_proxy.core.ports import FlagSet, Page, RequestFilter, Rows, UsageLine
from lava_proxy.store.connections import ReadPool
from lava_proxy.store.flows import FlowRange
from lava_proxy.store.periods import zone
from lava_proxy.store.reading import check_limit, page_of, parse_request_cursor, request_cursor
from lava_proxy.store.rollups import find_faults
from lava_proxy.store.rows_credit import GRANTS
from lava_proxy.store.rows_holds import HOLDS
from lava_proxy.store.rows_house import DELIVERIES, EVENTS, decode_delivery, decode_event
from lava_proxy.store.rows_people import CUSTOMERS
from lava_proxy.store.rows_requests import REQUESTS
from lava_proxy.store.sqlite_flows import sqlite_flows
from lava_proxy.store.sqlite_usage import flag_sets, requests_where, usage_lines
from lava_proxy.store.statements import find_by, load_rows, order_sql, select_sql
from lava_proxy.store.table import Cell, Table, to_json
from lava_proxy.store.tables import table_of
from lava_proxy.store.unit import find_rows

_ENTRIES_AT_ONCE = 500

type Session = Callable[[], AbstractContextManager[sqlite3.Connection]]

_CUSTOMERS = f"""
{select_sql(CUSTOMERS.name, CUSTOMERS.columns)}
WHERE customer_id > :after AND (:archived OR status = :active)
ORDER BY customer_id LIMIT :limit
"""
_GRANTS = f"""
{select_sql(GRANTS.name, GRANTS.columns)}
WHERE customer_id = :customer_id
ORDER BY created_us, grant_id
"""
_REFUSALS = """
SELECT code, sum(count) FROM refusals
WHERE bucket_us > :since_us - :bucket_us
    AND (:run_id IS NULL OR run_id = :run_id)
    AND (:customer_id IS NULL OR customer_id = :customer_id)
GROUP BY code ORDER BY code
"""
_SEQUENCES = "SELECT sequence FROM transactions WHERE sequence > :after ORDER BY sequence"
_SEQUENCES_OF_CUSTOMER = """
WITH own (sequence) AS (
    SELECT sequence FROM transactions WHERE customer_id = :customer_id AND request_id IS NULL
    UNION
    SELECT sequence FROM requests JOIN transactions USING (request_id) WHERE requests.customer_id = :customer_id
    UNION
    SELECT sequence FROM holds JOIN transactions USING (request_id)
    WHERE holds.customer_id = :customer_id AND state IN ('in_flight', 'reserved')
)
SELECT sequence FROM own WHERE sequence > :after ORDER BY sequence
"""
_SEQUENCES_OF_REQUEST = "SELECT sequence FROM transactions WHERE request_id = :request_id ORDER BY sequence"
_ENTRIES = """
SELECT sequence, transaction_id, kind, key, at_us, customer_id, request_id, note, actor, previous_hash, hash
FROM transactions
WHERE sequence IN (SELECT value FROM json_each(:sequences))
ORDER BY sequence
"""
_POSTINGS = """
SELECT sequence, source, destination, amount_nanos FROM postings
WHERE sequence IN (SELECT value FROM json_each(:sequences))
ORDER BY sequence, position
"""
_DELIVERY_CELLS = ", ".join(f"deliveries.{column}" for column in DELIVERIES.columns)
_EVENT_CELLS = ", ".join(f"events.{column}" for column in EVENTS.columns)
_DUE = f"""
SELECT {_EVENT_CELLS} FROM deliveries JOIN events USING (event_id)
WHERE consumer = :consumer AND state = 'pending' AND leased_until_us <= :now_us AND next_attempt_us <= :now_us
ORDER BY events.sequence LIMIT :limit
"""  # noqa: S608 - the names are ours
_AFTER = f"""
{select_sql(EVENTS.name, EVENTS.columns)}
WHERE sequence > :after AND (:kinds = '[]' OR kind IN (SELECT value FROM json_each(:kinds)))
ORDER BY sequence LIMIT :limit
"""  # noqa: S608 - the names are ours
_DELIVERIES = f"""
SELECT {_EVENT_CELLS}, {_DELIVERY_CELLS} FROM deliveries JOIN events USING (event_id)
WHERE (:consumer IS NULL OR consumer = :consumer) AND (:state IS NULL OR state = :state)
ORDER BY events.sequence, consumer LIMIT :limit
"""  # noqa: S608 - the names are ours


class SqliteRows:
    """``core.ports.Rows`` over one snapshot."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def get[T: Entity](self, kind: type[T], *key: str | int) -> T | None:
        """See ``core.ports.Rows``."""
        table = table_of(kind)
        if not key or len(key) != len(table.key):
            raise ValueError(f"{kind.__name__} has the key {table.key}, not {key}")
        found: list[T] = load_rows(self._connection, table, (key,))
        return found[0] if found else None

    def find[T: Entity](self, kind: type[T], **where: str | int | None) -> tuple[T, ...]:
        """See ``core.ports.Rows``."""
        return find_rows(table_of(kind), where, self._candidates)

    def _candidates(self, table: Table[Any], column: str, value: Cell) -> list[Any]:
        return find_by(self._connection, table, column, value)


class SqliteBooks:
    """``core.ports.Books``, and the outbox's ``EventSource``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @contextmanager
    def snapshot(self) -> Iterator["SqliteBooks"]:
        """See ``core.ports.Books``."""
        with self._session() as connection:
            yield SqliteBooks(lambda: nullcontext(connection))

    def customers(
        self, *, cursor: str | None = None, limit: int = 50, include_archived: bool = False
    ) -> Page[Customer]:
        """See ``core.ports.Books``."""
        check_limit(limit)
        values = {
            "after": cursor or "",
            "archived": include_archived,
            "active": CustomerStatus.ACTIVE.value,
            "limit": limit + 1,
        }
        return page_of(self._all(CUSTOMERS, _CUSTOMERS, values), limit=limit, cursor_of=lambda row: row.customer_id)

    def requests(self, which: RequestFilter, *, cursor: str | None = None, limit: int = 50) -> Page[RequestRecord]:
        """See ``core.ports.Books``."""
        check_limit(limit)
        where, values = requests_where(which)
        if cursor is not None:
            where.append("(created_us, request_id) < (:cursor_us, :cursor_id)")
            values["cursor_us"], values["cursor_id"] = parse_request_cursor(cursor)
        sql = f"{_select(REQUESTS, where)} ORDER BY created_us DESC, request_id DESC LIMIT :limit"
        found = self._all(REQUESTS, sql, {**values, "limit": limit + 1})
        return page_of(found, limit=limit, cursor_of=request_cursor)

    def each_request(self, which: RequestFilter) -> Iterator[RequestRecord]:
        """See ``core.ports.Books``."""
        where, values = requests_where(which)
        with self._session() as connection:
            sql = f"{_select(REQUESTS, where)} ORDER BY created_us, request_id"
            yield from map(REQUESTS.decode, connection.execute(sql, values))

    def holds(
        self, *, open_only: bool, customer_id: CustomerId | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Hold]:
        """See ``core.ports.Books``."""
        check_limit(limit)
        where = [HOLDS.lookups["state"].only_sql] if open_only else []
        values: dict[str, Cell] = {"limit": limit + 1}
        if customer_id is not None:
            where.append("customer_id = :customer_id")
            values["customer_id"] = customer_id
        if cursor is not None:
            where.append("hold_id < :cursor")
            values["cursor"] = cursor
        found = self._all(HOLDS, f"{_select(HOLDS, where)} ORDER BY hold_id DESC LIMIT :limit", values)
        return page_of(found, limit=limit, cursor_of=lambda row: row.hold_id)

    def grants(self, customer_id: CustomerId) -> tuple[Grant, ...]:
        """See ``core.ports.Books``."""
        return tuple(self._all(GRANTS, _GRANTS, {"customer_id": customer_id}))

    def usage(self, which: RequestFilter, *, by: tuple[str, ...], time_zone: str = "UTC") -> tuple[UsageLine, ...]:
        """See ``core.ports.Books``."""
        with self._session() as connection:
            return usage_lines(connection, which, by=by, time_zone=time_zone)

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
        with self._session() as connection:
            return sqlite_flows(connection, which, customer_id)

    def flag_sets(self, which: RequestFilter) -> tuple[FlagSet, ...]:
        """See ``core.ports.Books``."""
        with self._session() as connection:
            return flag_sets(connection, which)

    def refusals(
        self, *, run_id: RunId | None = None, customer_id: CustomerId | None = None, since_us: int = 0
    ) -> tuple[tuple[str, int], ...]:
        """See ``core.ports.Books``."""
        values = {"run_id": run_id, "customer_id": customer_id, "since_us": since_us, "bucket_us": REFUSAL_BUCKET_US}
        with self._session() as connection:
            return tuple(connection.execute(_REFUSALS, values))

    def last_sequence(self) -> int:
        """See ``core.ports.Books``."""
        with self._session() as connection:
            (sequence,) = connection.execute("SELECT max(sequence) FROM transactions").fetchone()
            return sequence or 0

    def rollup_faults(self, *, limit: int) -> tuple[str, ...]:
        """See ``core.ports.Books``."""
        with self._session() as connection:
            return tuple(find_faults(connection, limit=limit))

    def journal(self, *, after: int = 0, customer_id: CustomerId | None = None) -> Iterator[JournalEntry]:
        """See ``core.ports.Books``."""
        sql = _SEQUENCES if customer_id is None else _SEQUENCES_OF_CUSTOMER
        with self._session() as connection:
            numbers = connection.execute(sql, {"after": after, "customer_id": customer_id})
            while found := numbers.fetchmany(_ENTRIES_AT_ONCE):
                sequences = to_json([number for (number,) in found])
                postings = _postings(connection, sequences)
                entries = connection.execute(_ENTRIES, {"sequences": sequences}).fetchall()
                yield from (_entry(cells, postings.get(cells[0], ())) for cells in entries)

    def rows[T: Entity](self, kind: type[T]) -> Iterator[T]:
        """See ``core.ports.Books``."""
        table = table_of(kind)
        with self._session() as connection:
            sql = f"{select_sql(table.name, table.columns, table.derived)} ORDER BY {order_sql(table)}"
            yield from map(table.decode, connection.execute(sql))

    def transactions_of(self, request_id: RequestId) -> tuple[Transaction, ...]:
        """See ``core.ports.Books``."""
        with self._session() as connection:
            numbers = connection.execute(_SEQUENCES_OF_REQUEST, {"request_id": request_id}).fetchall()
            sequences = to_json([number for (number,) in numbers])
            postings = _postings(connection, sequences)
            entries = connection.execute(_ENTRIES, {"sequences": sequences}).fetchall()
            return tuple(_entry(cells, postings.get(cells[0], ())).transaction for cells in entries)

    def overdue[T: (Subscription, Payment)](self, kind: type[T], *, now_us: int, limit: int) -> tuple[T, ...]:
        """See ``core.ports.Books``."""
        table = table_of(kind)
        sql = f"{_select(table, ['due_us <= :now_us'])} ORDER BY due_us, {order_sql(table)} LIMIT :limit"
        return tuple(self._all(table, sql, {"now_us": now_us, "limit": limit}))

    def due(self, consumer: str, *, now_us: int, limit: int) -> list[Event]:
        """See ``store.outbox.EventSource``."""
        return self._all(EVENTS, _DUE, {"consumer": consumer, "now_us": now_us, "limit": limit})

    def after(self, sequence: int, *, kinds: tuple[str, ...], limit: int) -> list[Event]:
        """See ``store.outbox.EventSource``."""
        return self._all(EVENTS, _AFTER, {"after": sequence, "kinds": to_json(kinds), "limit": limit})

    def last_event(self) -> int:
        """See ``store.outbox.EventSource``."""
        with self._session() as connection:
            (sequence,) = connection.execute("SELECT max(sequence) FROM events").fetchone()
            return sequence or 0

    def deliveries(self, *, consumer: str | None, state: str | None, limit: int) -> tuple[tuple[Event, Delivery], ...]:
        """See ``store.outbox.EventSource``."""
        values = {"consumer": consumer, "state": state, "limit": limit}
        width = len(EVENTS.columns)
        with self._session() as connection:
            found = connection.execute(_DELIVERIES, values).fetchall()
        return tuple((decode_event(cells[:width]), decode_delivery(cells[width:])) for cells in found)

    def _all[T](self, table: Table[T], sql: str, values: dict[str, Any]) -> list[T]:
        with self._session() as connection:
            return [table.decode(cells) for cells in connection.execute(sql, values)]


class SqliteReader:
    """``store.ledger.Reader`` over a pool of connections."""

    def __init__(self, pool: ReadPool) -> None:
        self._pool = pool

    @contextmanager
    def rows(self) -> Iterator[Rows]:
        """See ``store.ledger.Reader``."""
        with self._pool.snapshot() as connection:
            yield SqliteRows(connection)

    def books(self) -> SqliteBooks:
        """See ``store.ledger.Reader``."""
        return SqliteBooks(self._pool.snapshot)

    def events(self) -> SqliteBooks:
        """See ``store.ledger.Reader``."""
        return self.books()

    def close(self) -> None:
        """See ``store.ledger.Reader``."""
        self._pool.close()


def _select(table: Table[Any], where: list[str]) -> str:
    return f"{select_sql(table.name, table.columns, table.derived)}{' WHERE ' if where else ''}{' AND '.join(where)}"


def _postings(connection: sqlite3.Connection, sequences: str) -> dict[int, tuple[Posting, ...]]:
    found: dict[int, list[Posting]] = {}
    for sequence, source, destination, amount_nanos in connection.execute(_POSTINGS, {"sequences": sequences}):
        posting = Posting(source=source, destination=destination, amount_nanos=amount_nanos)
        found.setdefault(sequence, []).append(posting)
    return {sequence: tuple(postings) for sequence, postings in found.items()}


def _entry(cells: tuple[Any, ...], postings: tuple[Posting, ...]) -> JournalEntry:
    sequence, transaction_id, kind, key, at_us, customer_id, request_id, note, actor, previous_hash, link = cells
    transaction = Transaction(
        transaction_id=transaction_id,
        kind=kind,
        key=key,
        at_us=at_us,
        customer_id=customer_id,
        request_id=request_id,
        postings=postings,
        note=note,
        actor=actor,
    )
    return JournalEntry(sequence=sequence, transaction=transaction, previous_hash=previous_hash, hash=link)
