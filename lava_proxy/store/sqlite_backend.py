"""The writer's side of a ledger in an SQLite file."""

import sqlite3
import time
from collections.abc import Callable, Sequence
from operator import itemgetter, ne
from pathlib import Path
from typing import Any

from lava_proxy.core.entities import JournalEntry
from lava_proxy.core.errors import LavaError, LedgerInconsistent
from lava_proxy.core.journal import GENESIS_HASH
from lava_proxy.store.backend import Batch, Head, Put
from lava_proxy.store.checkpoint import Checkpointer
from lava_proxy.store.connections import WRITER_CACHE_KIBIBYTES, FileIdentity, connect, identity_of
from lava_proxy.store.failures import explain
from lava_proxy.store.rollups import write_overage, write_rollups
from lava_proxy.store.statements import delete_rows, find_by, insert_rows, load_rows, update_rows
from lava_proxy.store.table import Cell, Key, Row, Table

_HEAD = """
SELECT
    (SELECT sequence FROM transactions ORDER BY sequence DESC LIMIT 1),
    (SELECT hash FROM transactions ORDER BY sequence DESC LIMIT 1),
    (SELECT max(sequence) FROM events)
"""
_TRANSACTION_COLUMNS = (
    "sequence",
    "transaction_id",
    "kind",
    "key",
    "at_us",
    "customer_id",
    "request_id",
    "note",
    "actor",
    "previous_hash",
    "hash",
)
_POSTING_COLUMNS = ("sequence", "position", "source", "destination", "amount_nanos")
_PAUSE_SECONDS_MIN = 0.0002
_PAUSE_SECONDS_MAX = 0.005


class SqliteBackend:
    """See ``store.backend.Backend``. The connection is opened when it is first needed, and again after a fault."""

    def __init__(
        self,
        path: Path,
        *,
        synchronous: str,
        busy_seconds: float,
        connection_class: type[sqlite3.Connection] = sqlite3.Connection,
    ) -> None:
        self._path = path
        self._synchronous = synchronous
        self._busy_seconds = busy_seconds
        self._connection_class = connection_class
        self._checkpointer = Checkpointer(path)
        self._identity: FileIdentity | None = None
        self._connection: sqlite3.Connection | None = None
        self._connections = 0
        self._is_suspect = False
        self._head: Head | None = None
        """Where the file stood when we last looked, or wrote."""
        self._next_head: Head | None = None
        """Where it will stand once what was flushed is committed."""

    def begin(self) -> Head:
        """Take the write lock; waits at most ``busy_seconds`` for it."""
        identity = identity_of(self._path)
        if identity != self._identity:
            self._drop_connection()
        try:
            connection = self._connection or self._connect()
            self._identity = identity
            self._lock(connection)
            (number,) = connection.execute("PRAGMA data_version").fetchone()
            version = (self._connections, number)
            if self._head is None or self._head.version != version:
                self._head = self._read_head(connection, version)
        except sqlite3.Error as error:
            raise self._explained(error) from error
        return self._head

    def _read_head(self, connection: sqlite3.Connection, version: tuple[int, int]) -> Head:
        sequence, link, event_sequence = connection.execute(_HEAD).fetchone()
        return Head(
            version=version, sequence=sequence or 0, hash=link or GENESIS_HASH, event_sequence=event_sequence or 0
        )

    def load(self, table: Table[Any], keys: Sequence[Key]) -> list[Any]:
        """See ``Backend``."""
        return self._run(lambda connection: load_rows(connection, table, keys))

    def find(self, table: Table[Any], column: str, value: Cell) -> list[Any]:
        """See ``Backend``."""
        return self._run(lambda connection: find_by(connection, table, column, value))

    def flush(self, batch: Batch) -> None:
        """See ``Backend``."""

        def write(connection: sqlite3.Connection) -> None:
            _write_journal(connection, batch.entries)
            for table, puts in batch.puts:
                _write_rows(connection, table, puts)
            if batch.rollups:
                write_rollups(connection, batch.rollups)
            write_overage(connection, batch.entries)

        self._run(write)
        assert self._head is not None
        last = batch.entries[-1] if batch.entries else None
        self._next_head = Head(
            version=self._head.version,
            sequence=last.sequence if last else self._head.sequence,
            hash=last.hash if last else self._head.hash,
            event_sequence=batch.event_sequence,
        )

    def commit(self) -> None:
        """See ``Backend``."""
        head, self._head = self._next_head, None
        self._run(lambda connection: connection.execute("COMMIT"))
        self._head = head
        self._checkpointer.committed(self._open())

    def rollback(self) -> None:
        """See ``Backend``."""
        connection, self._head = self._connection, None
        try:
            if connection is not None and connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._is_suspect = True
        if self._is_suspect:
            self._drop_connection()

    def rest(self) -> None:
        """See ``Backend``."""
        if self._connection is not None:
            self._checkpointer.rest(self._connection)

    def close(self) -> None:
        """See ``Backend``."""
        self._checkpointer.close(self._connection)
        self._drop_connection()

    def _open(self) -> sqlite3.Connection:
        assert self._connection is not None
        return self._connection

    def _run[R](self, work: Callable[[sqlite3.Connection], R]) -> R:
        try:
            return work(self._open())
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def _explained(self, error: sqlite3.Error) -> LavaError:
        """After any fault but a busy lock or a refused row, the connection is opened anew."""
        code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        self._is_suspect = code & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CONSTRAINT)
        return explain(error, self._path)

    def _connect(self) -> sqlite3.Connection:
        connection = connect(
            self._path,
            busy_seconds=self._busy_seconds,  # while it opens, another may just be closing
            cache_kibibytes=WRITER_CACHE_KIBIBYTES,
            connection_class=self._connection_class,
        )
        self._connection = connection
        self._connections += 1
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        connection.execute("PRAGMA busy_timeout = 0")  # from here on ``_lock`` waits
        return connection

    def _lock(self, connection: sqlite3.Connection) -> None:
        """``BEGIN IMMEDIATE``, asking often: SQLite's own waiting sleeps up to 100 ms at a time."""
        give_up_at = time.monotonic() + self._busy_seconds
        pause = _PAUSE_SECONDS_MIN
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                is_busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
                if not is_busy or time.monotonic() >= give_up_at:
                    raise
            else:
                return
            time.sleep(pause)
            pause = min(pause * 2, _PAUSE_SECONDS_MAX)

    def _drop_connection(self) -> None:
        connection, self._connection, self._identity = self._connection, None, None
        self._is_suspect = False
        if connection is not None:
            connection.close()


def _write_journal(connection: sqlite3.Connection, entries: Sequence[JournalEntry]) -> None:
    transactions = [_transaction_row(entry) for entry in entries]
    insert_rows(
        connection, "transactions", _TRANSACTION_COLUMNS, transactions, exactly=True
    )  # the hash is over the text
    postings: list[Row] = [
        (entry.sequence, position, posting.source, posting.destination, posting.amount_nanos)
        for entry in entries
        for position, posting in enumerate(entry.transaction.postings)
    ]
    insert_rows(connection, "postings", _POSTING_COLUMNS, postings)


def _transaction_row(entry: JournalEntry) -> Row:
    transaction = entry.transaction
    return (
        entry.sequence,
        transaction.transaction_id,
        transaction.kind,
        transaction.key,
        transaction.at_us,
        transaction.customer_id,
        transaction.request_id,
        transaction.note,
        transaction.actor,
        entry.previous_hash,
        entry.hash,
    )


def _write_rows(connection: sqlite3.Connection, table: Table[Any], puts: Sequence[Put]) -> None:
    new = [put.new for put in puts if put.old is None]
    changed = [put for put in puts if put.old is not None]
    if new:
        insert_rows(connection, table.name, table.columns, [table.encode(row) for row in new])
    if changed:
        _update(connection, table, changed)
    if table.children is not None:
        _write_children(connection, table, new, changed)


def _update(connection: sqlite3.Connection, table: Table[Any], puts: Sequence[Put]) -> None:
    """Set only the columns that differ in any of the rows: an index that is not concerned stays untouched."""
    if table.quick is not None:
        puts = _update_quickly(connection, table, table.quick, puts)
    rows: list[Row] = []
    patterns: set[tuple[bool, ...]] = set()
    for put in puts:
        new, old = table.encode(put.new), table.encode(put.old)
        if new != old:
            rows.append(new)
            patterns.add(tuple(map(ne, new, old)))
    if not rows:
        return
    places = {place for pattern in patterns for place, differs in enumerate(pattern) if differs}
    columns = tuple(table.columns[place] for place in sorted(places))
    pick = itemgetter(*map(table.columns.index, (*table.key, *columns)))
    _set(connection, table, columns, [pick(row) for row in rows])


def _update_quickly(
    connection: sqlite3.Connection, table: Table[Any], quick: Callable[[Any, Any], Row | None], puts: Sequence[Put]
) -> list[Put]:
    """Write what changed in the usual way; gives the rest."""
    rows: list[Row] = []
    rest: list[Put] = []
    for put in puts:
        cells = quick(put.new, put.old)
        if cells is None:
            rest.append(put)
        else:
            rows.append((*table.key_of(put.new), *cells))
    _set(connection, table, table.quick_columns, rows)
    return rest


def _set(connection: sqlite3.Connection, table: Table[Any], columns: tuple[str, ...], rows: list[Row]) -> None:
    found = update_rows(connection, table.name, table.key, columns, rows)
    if found != len(rows):
        raise LedgerInconsistent(
            f"{len(rows) - found} of {len(rows)} rows of {table.name} are gone; nothing was written."
        )


def _write_children(connection: sqlite3.Connection, table: Table[Any], new: list[Any], changed: Sequence[Put]) -> None:
    children = table.children
    assert children is not None
    again = [put.new for put in changed if not children.are_same(put.new, put.old)]
    if again:
        delete_rows(connection, children.name, children.columns[0], [table.key_of(row)[0] for row in again])
    rows = [child for row in (*new, *again) for child in children.encode(row)]
    insert_rows(connection, children.name, children.columns, rows)
