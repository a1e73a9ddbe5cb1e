"""The ledger in memory: a real one, for tests and trials, that passes the same contract as the one on disk."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lava_proxy.core.entities import Entity, Event, Hold, HomeFact, JournalEntry, Mode, RequestRecord, RequestStatus
from lava_proxy.core.errors import Conflict, LavaError, LedgerInconsistent
from lava_proxy.core.journal import GENESIS_HASH
from lava_proxy.core.ports import Clock, Rows
from lava_proxy.store.backend import Batch, Head, Put
from lava_proxy.store.ledger import WritingLedger, no_probe
from lava_proxy.store.memory_books import MemoryBooks
from lava_proxy.store.memory_state import State
from lava_proxy.store.opening import MODE_FACT
from lava_proxy.store.rows_holds import HOLDS
from lava_proxy.store.table import Cell, Key, Table
from lava_proxy.store.tables import table_of
from lava_proxy.store.unit import find_rows


class MemoryBackend:
    """See ``store.backend.Backend``. A batch is checked in full on a copy of nothing but what it touches, then taken in."""

    def __init__(self, state: State, lock: threading.RLock) -> None:
        self._state = state
        self._lock = lock
        self._batch: Batch | None = None

    def begin(self) -> Head:
        """See ``Backend``; nobody else ever writes."""
        journal, events = self._state.journal, self._state.rows[Event]
        last = journal[-1] if journal else None
        return Head(
            version=(0, 0),
            sequence=last.sequence if last else 0,
            hash=last.hash if last else GENESIS_HASH,
            event_sequence=len(events),
        )

    def load(self, table: Table[Any], keys: Sequence[Key]) -> list[Any]:
        """See ``Backend``."""
        rows = self._state.rows[table.kind]
        return [rows[key] for key in keys if key in rows]

    def find(self, table: Table[Any], column: str, value: Cell) -> list[Any]:
        """See ``Backend``."""
        return self._state.find(table, column, value)

    def flush(self, batch: Batch) -> None:
        """See ``Backend``.

        Raises:
            Conflict: a key or a unique value is there already.
            LedgerInconsistent: a rule of the tables would be broken.
        """
        _check_journal(self._state, batch.entries)
        for table, puts in batch.puts:
            _check_rows(self._state, table, puts, batch)
        self._batch = batch

    def commit(self) -> None:
        """See ``Backend``."""
        batch, self._batch = self._batch, None
        if batch is None:
            return
        with self._lock:
            self._state.add_entries(batch.entries)
            for table, puts in batch.puts:
                for put in puts:
                    self._state.put(table, put.new)

    def rollback(self) -> None:
        """See ``Backend``."""
        self._batch = None

    def rest(self) -> None:
        """See ``Backend``."""

    def close(self) -> None:
        """See ``Backend``."""


class MemoryRows:
    """``core.ports.Rows`` over a state."""

    def __init__(self, state: State) -> None:
        self._state = state

    def get[T: Entity](self, kind: type[T], *key: str | int) -> T | None:
        """See ``core.ports.Rows``."""
        table = table_of(kind)
        if not key or len(key) != len(table.key):
            raise ValueError(f"{kind.__name__} has the key {table.key}, not {key}")
        found: T | None = self._state.rows[kind].get(key)
        return found

    def find[T: Entity](self, kind: type[T], **where: str | int | None) -> tuple[T, ...]:
        """See ``core.ports.Rows``."""
        return find_rows(table_of(kind), where, self._state.find)


class MemoryReader:
    """``store.ledger.Reader``."""

    def __init__(self, state: State, lock: threading.RLock) -> None:
        self._state = state
        self._lock = lock

    @contextmanager
    def rows(self) -> Iterator[Rows]:
        """See ``store.ledger.Reader``; the writer's commits wait meanwhile."""
        with self._lock:
            yield MemoryRows(self._state)

    def books(self) -> MemoryBooks:
        """See ``store.ledger.Reader``."""
        return MemoryBooks(self._copy)

    def events(self) -> MemoryBooks:
        """See ``store.ledger.Reader``."""
        return self.books()

    def close(self) -> None:
        """See ``store.ledger.Reader``."""

    def _copy(self) -> State:
        with self._lock:
            return self._state.copy()


class MemoryLedger(WritingLedger):
    """``core.ports.Ledger`` that is gone when the process is."""

    def __init__(self, *, mode: Mode, clock: Clock, probe: Callable[[str], None] = no_probe) -> None:
        state, lock = State(), threading.RLock()
        state.put(table_of(HomeFact), HomeFact(name=MODE_FACT, value=mode.value))
        super().__init__(
            MemoryBackend(state, lock), MemoryReader(state, lock), clock=clock, probe=probe, name="lava-ledger-memory"
        )


def _check_journal(state: State, entries: Sequence[JournalEntry]) -> None:
    keys: set[str] = set()
    for entry in entries:
        transaction = entry.transaction
        names = {f"key:{transaction.key}", f"id:{transaction.transaction_id}"}
        if names & keys or names & state.journal_names:
            raise _conflict("transactions.key")
        keys |= names


def _check_rows(state: State, table: Table[Any], puts: Sequence[Put], batch: Batch) -> None:
    final = {table.key_of(put.new): put.new for put in puts} if table.key else {}
    rows = state.rows[table.kind]
    for put in puts:
        row = put.new
        if (
            put.old is None
            and table.key
            and (table.key_of(row) in rows or (table.is_appended and final[table.key_of(row)] is not row))
        ):
            raise _conflict(f"{table.name}.{table.key[0]}")
        if table.is_sound is not None and not table.is_sound(row):
            raise _unsound(f"CHECK constraint failed: {table.name}")
        if table.name == "meter_versions" and put.old not in (None, row):
            raise _unsound("meter_versions only ever grows")
        if table is HOLDS and put.old is None:
            _check_caller(state, row)
        _check_references(state, table, row, batch)
    for column, value_of in table.unique.items():
        _check_unique(state, table, column, value_of, final)


def _check_caller(state: State, hold: Hold) -> None:
    """A caller's own id is refused at the door, so that no settle can ever fail for it."""
    caller_request_id = hold.request.caller_request_id
    if caller_request_id is None:
        return
    done = state.find(table_of(RequestRecord), "caller_request_id", caller_request_id)
    if any(record.status is RequestStatus.COMPLETED for record in done):
        raise _unsound("a completed request has this caller_request_id")


def _check_unique(
    state: State, table: Table[Any], column: str, value_of: Callable[[Any], Cell], final: dict[Key, Any]
) -> None:
    seen: set[Cell] = set()
    for key, row in final.items():
        value = value_of(row)
        if value is None:
            continue
        owner = state.owner(table, column, value)
        is_taken = owner is not None and owner != key and (owner not in final or value_of(final[owner]) == value)
        if value in seen or is_taken:
            raise _conflict(f"{table.name}.{column}")
        seen.add(value)


def _check_references(state: State, table: Table[Any], row: Any, batch: Batch) -> None:
    for reference in table.references:
        for key in reference.keys(row):
            if key not in state.rows[reference.kind] and not _is_in(batch, reference.kind, key):
                raise _unsound(f"FOREIGN KEY constraint failed: {table.name}")


def _is_in(batch: Batch, kind: type, key: Key) -> bool:
    return any(table.key_of(put.new) == key for table, puts in batch.puts if table.kind is kind for put in puts)


def _conflict(what: str) -> LavaError:
    return Conflict(
        f"This is already in the ledger (UNIQUE constraint failed: {what}); nothing was written.", constraint=what
    )


def _unsound(what: str) -> LavaError:
    hint = "This is a fault in Lava: please report it."
    return LedgerInconsistent(
        f"This would break a rule of the ledger ({what}); nothing was written.", hint=hint, constraint=what
    )
