"""All rows of a ledger in memory, with the indexes behind ``find`` and the unique columns."""

from collections.abc import Sequence
from typing import Any

from lava_proxy.core.entities import JournalEntry
from lava_proxy.store.table import Cell, Key, Table
from lava_proxy.store.tables import TABLES


class State:
    """Not thread-safe: who shares it brings a lock."""

    def __init__(self) -> None:
        self.journal: list[JournalEntry] = []
        self.journal_names: set[str] = set()
        """Keys and ids of all transactions."""
        self.rows: dict[type, dict[Key, Any]] = {kind: {} for kind in TABLES}
        self._index: dict[tuple[type, str], dict[Cell, dict[Key, None]]] = {
            (kind, column): {} for kind, table in TABLES.items() for column in table.lookups
        }
        self._owners: dict[tuple[type, str], dict[Cell, Key]] = {
            (kind, column): {} for kind, table in TABLES.items() for column in table.unique
        }

    def add_entries(self, entries: Sequence[JournalEntry]) -> None:
        """Append to the journal."""
        for entry in entries:
            self.journal.append(entry)
            self.journal_names |= {f"key:{entry.transaction.key}", f"id:{entry.transaction.transaction_id}"}

    def put(self, table: Table[Any], row: Any) -> None:
        """Add a row, or replace the one with its key."""
        rows = self.rows[table.kind]
        key = table.key_of(row) if table.key else (len(rows) + 1,)
        old = rows.get(key)
        rows[key] = row
        for column, lookup in table.lookups.items():
            index = self._index[table.kind, column]
            if old is not None:
                index.get(lookup.value(old), {}).pop(key, None)
            if lookup.has(row):
                index.setdefault(lookup.value(row), {})[key] = None
        for column, value_of in table.unique.items():
            owners = self._owners[table.kind, column]
            if old is not None and owners.get(value_of(old)) == key:
                del owners[value_of(old)]
            owners[value_of(row)] = key

    def find(self, table: Table[Any], column: str, value: Cell) -> list[Any]:
        """The rows with this value in an indexed column, in primary-key order."""
        rows = self.rows[table.kind]
        return [rows[key] for key in sorted(self._index[table.kind, column].get(value, ()))]

    def owner(self, table: Table[Any], column: str, value: Cell) -> Key | None:
        """Whose value this is, in a unique column."""
        return self._owners[table.kind, column].get(value)

    def copy(self) -> "State":
        """The rows and the journal as they are now, for reading; the indexes stay behind."""
        copied = State()
        copied.journal = self.journal.copy()
        copied.rows = {kind: rows.copy() for kind, rows in self.rows.items()}
        return copied
