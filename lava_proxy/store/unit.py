"""The unit of work: what one commit group has read and what it will write.

Rows are read through an identity map of two layers. ``_known`` is what the file holds; ``_dirty`` is what the steps of
this group have made of it. A step reads through both and writes only by its ``Decision``, which is taken in whole or
not at all: this is its savepoint. Everything dirty is flushed once, at the end of the group.

``_known`` is a cache that lives on from group to group only while the file itself says, under the write lock, that
nobody else has committed since (``Head.version``); it is dropped when anybody has, when a group fails, and when it has
grown large.
"""

from collections.abc import Callable
from typing import Any, cast

from lava_proxy.core.entities import Entity, Event, JournalEntry, RequestRecord, Transaction
from lava_proxy.core.journal import GENESIS_HASH, link_hash
from lava_proxy.core.ports import Decision
from lava_proxy.core.rollups import Figures, RollupKey, add
from lava_proxy.store.backend import Backend, Batch, Head, Put
from lava_proxy.store.table import Cell, Key, Lookup, Table
from lava_proxy.store.tables import TABLES, table_of

KNOWN_ROWS_MAX = 8192
NO_VERSION = (-1, -1)

type _Keys = dict[Key, None]


class Unit:
    """``core.ports.Rows`` for the steps of a group."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._head = Head(version=NO_VERSION, sequence=0, hash=GENESIS_HASH, event_sequence=0)
        self._known: dict[type, dict[Key, Any]] = {kind: {} for kind in TABLES}
        self._found: dict[tuple[type, str], dict[Cell, _Keys]] = _by_lookup()
        self._dirty: dict[type, dict[Key, Any]] = {kind: {} for kind in TABLES}
        self._touched: dict[tuple[type, str], dict[Cell, _Keys]] = _by_lookup()
        self._untouched: dict[type, list[Any]] = {kind: [] for kind in TABLES}
        self._appended: dict[type, list[Any]] = {kind: [] for kind, table in TABLES.items() if table.is_appended}
        self._transactions: list[Transaction] = []
        self._event_sequence = 0

    def begin(self) -> None:
        """Start a group under the write lock."""
        head = self._backend.begin()
        if head.version != self._head.version:
            self._forget()
        self._head = head
        self._event_sequence = head.event_sequence

    def get[T: Entity](self, kind: type[T], *key: str | int) -> T | None:
        """See ``core.ports.Rows``."""
        table = table_of(kind)
        if not key or len(key) != len(table.key):
            raise ValueError(f"{kind.__name__} has the key {table.key}, not {key}")
        return cast("T | None", self._current(table, key))

    def find[T: Entity](self, kind: type[T], **where: str | int | None) -> tuple[T, ...]:
        """See ``core.ports.Rows``."""
        return find_rows(table_of(kind), where, self._candidates)

    def apply(self, decision: Decision[Any]) -> None:
        """Take a decision in: all of it, or none where it is malformed."""
        tables = [table_of(type(row)) for row in decision.rows]
        self._transactions.extend(decision.transactions)
        for table, row in zip(tables, decision.rows, strict=True):
            if table.is_appended:
                self._append(table, row)
            else:
                self._dirty[table.kind][table.key_of(row)] = row
                self._untouched[table.kind].append(row)

    def is_clean(self) -> bool:
        """True where there is nothing to write."""
        return not (self._transactions or any(self._dirty.values()) or any(self._appended.values()))

    def flush(self) -> None:
        """Hand everything to the backend, with the links of the hash chain."""
        self._learn_what_is_replaced()
        puts = []
        for kind, table in TABLES.items():
            if table.is_appended:
                rows = [Put(row, None) for row in self._appended[kind]]
            else:
                known = self._known[kind]
                rows = [Put(row, known.get(key)) for key, row in self._dirty[kind].items()]
            if rows:
                puts.append((table, rows))
        self._backend.flush(
            Batch(entries=self._linked(), event_sequence=self._event_sequence, puts=puts, rollups=self._rolled_up())
        )

    def committed(self) -> None:
        """What was dirty is now what the file holds."""
        for kind, rows in self._dirty.items():
            if rows:
                self._learn(TABLES[kind], rows)
        for kind, appended in self._appended.items():
            if appended:
                self._forget(kind)
        self._drop_changes()
        if sum(map(len, self._known.values())) > KNOWN_ROWS_MAX or sum(map(len, self._found.values())) > KNOWN_ROWS_MAX:
            self._forget()

    def abandon(self) -> None:
        """The group failed: nothing that was read or written counts any more."""
        self._drop_changes()
        self._forget()
        self._head = Head(version=NO_VERSION, sequence=0, hash=GENESIS_HASH, event_sequence=0)

    def _current(self, table: Table[Any], key: Key) -> Any:
        dirty = self._dirty[table.kind]
        if key in dirty:
            return dirty[key]
        known = self._known[table.kind]
        if key in known:
            return known[key]
        for row in self._appended.get(table.kind, ()):
            if table.key_of(row) == key:
                return row
        return self._load(table, key)

    def _load(self, table: Table[Any], key: Key) -> Any:
        found = self._backend.load(table, (key,))
        row = self._known[table.kind][key] = found[0] if found else None
        return row

    def _candidates(self, table: Table[Any], column: str, value: Cell) -> list[Any]:
        """Every row that may have this value, in primary-key order."""
        spot = (table.kind, column)
        keys = self._found[spot].get(value)
        if keys is None:
            keys = self._found[spot][value] = self._look_up(table, column, value)
        if self._untouched[table.kind]:
            self._touch(table)
        touched = self._touched[spot].get(value)
        if touched:
            keys = keys | touched
        return [row for key in sorted(keys) if (row := self._current(table, key)) is not None]

    def _look_up(self, table: Table[Any], column: str, value: Cell) -> _Keys:
        known = self._known[table.kind]
        keys: _Keys = {}
        for row in self._backend.find(table, column, value):
            key = table.key_of(row)
            known.setdefault(key, row)
            keys[key] = None
        return keys

    def _append(self, table: Table[Any], row: Any) -> None:
        if type(row) is Event:
            self._event_sequence += 1
            row = _numbered(row, self._event_sequence)
            self._untouched[table.kind].append(row)
        self._appended[table.kind].append(row)

    def _touch(self, table: Table[Any]) -> None:
        """Index the changed rows of a kind by what they may be found by: only when somebody looks."""
        rows = self._untouched[table.kind]
        for column, lookup in table.lookups.items():
            touched = self._touched[table.kind, column]
            for row in rows:
                touched.setdefault(lookup.value(row), {})[table.key_of(row)] = None
        rows.clear()

    def _learn_what_is_replaced(self) -> None:
        """Read, in one go per table, the rows that steps put without having read them."""
        for kind, rows in self._dirty.items():
            table = TABLES[kind]
            if not rows or table.is_written_once:
                continue
            known = self._known[kind]
            unknown = [key for key in rows if key not in known]
            if unknown:
                known.update(dict.fromkeys(unknown))
                known.update((table.key_of(row), row) for row in self._backend.load(table, unknown))

    def _rolled_up(self) -> dict[RollupKey, Figures]:
        found: dict[RollupKey, Figures] = {}
        known = self._known[RequestRecord]
        for key, record in self._dirty[RequestRecord].items():
            before = known.get(key)
            if before is not None:
                add(found, before, sign=-1)
            add(found, record)
        return found

    def _linked(self) -> list[JournalEntry]:
        entries = []
        sequence, previous = self._head.sequence, self._head.hash
        for transaction in self._transactions:
            sequence += 1
            link = link_hash(previous, sequence, transaction)
            entries.append(JournalEntry(sequence=sequence, transaction=transaction, previous_hash=previous, hash=link))
            previous = link
        return entries

    def _learn(self, table: Table[Any], rows: dict[Key, Any]) -> None:
        known = self._known[table.kind]
        for column, lookup in table.lookups.items():
            found = self._found[table.kind, column]
            if found:
                _move_keys(found, lookup, known, rows)
        if table.is_done_with is None:
            known.update(rows)
            return
        for key, row in rows.items():
            if table.is_done_with(row):
                known.pop(key, None)
            else:
                known[key] = row

    def _drop_changes(self) -> None:
        for layer in (self._dirty, self._touched, self._untouched, self._appended):
            for changes in cast("dict[Any, dict[Any, Any] | list[Any]]", layer).values():
                if changes:
                    changes.clear()
        self._transactions.clear()

    def _forget(self, *kinds: type) -> None:
        for kind in kinds or TABLES:
            self._known[kind].clear()
            for column in TABLES[kind].lookups:
                self._found[kind, column].clear()


def find_rows[T: Entity](
    table: Table[T], where: dict[str, str | int | None], candidates: Callable[[Table[T], str, Cell], list[T]]
) -> tuple[T, ...]:
    """``Rows.find`` over anything that gives candidates by one column.

    Raises:
        ValueError: a column without an index is named, or none.
    """
    if not where:
        raise ValueError("find needs at least one column; Books.rows gives every row")
    lookups = [(table.lookup(column, value), value) for column, value in where.items()]
    column, value = next(iter(where.items()))
    return tuple(
        row for row in candidates(table, column, value) if all(lookup.matches(row, v) for lookup, v in lookups)
    )


def _by_lookup() -> dict[tuple[type, str], dict[Cell, _Keys]]:
    return {(kind, column): {} for kind, table in TABLES.items() for column in table.lookups}


def _move_keys(found: dict[Cell, _Keys], lookup: Lookup[Any], known: dict[Key, Any], rows: dict[Key, Any]) -> None:
    """Keep the keys found by a value in step with rows that change it."""
    for key, row in rows.items():
        old = known.get(key)
        if old is not None and lookup.value(old) == lookup.value(row) and lookup.has(old) == lookup.has(row):
            continue
        if old is not None and (keys := found.get(lookup.value(old))) is not None:
            keys.pop(key, None)
        if lookup.has(row) and (keys := found.get(lookup.value(row))) is not None:
            keys[key] = None


def _numbered(event: Event, sequence: int) -> Event:
    return Event(
        event_id=event.event_id,
        kind=event.kind,
        key=event.key,
        payload=event.payload,
        created_us=event.created_us,
        sequence=sequence,
    )
