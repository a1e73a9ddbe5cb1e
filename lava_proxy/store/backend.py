"""What a ledger backend does for the writer: five verbs around one commit group, and its upkeep."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from lava_proxy.core.entities import JournalEntry
from lava_proxy.core.rollups import Figures, RollupKey
from lava_proxy.store.table import Cell, Key, Table

GROUP_STEPS_MAX = 256
"""Steps in one commit group: enough to make the sync to disk cheap, few enough to be over soon."""


class Head(Struct, frozen=True, kw_only=True):
    """Where the file stands at the begin of a group."""

    version: tuple[int, int]
    """Other numbers than at the last begin: somebody else has written since (or another connection counts anew)."""
    sequence: int
    hash: str
    event_sequence: int


class Put(Struct, frozen=True):
    """A row to be written, and what the file holds in its place (``None``: nothing)."""

    new: Any
    old: Any


class Batch(Struct, frozen=True, kw_only=True):
    """All that a group writes, in an order in which it can be written."""

    entries: Sequence[JournalEntry]
    event_sequence: int
    """The last event's number, once this is written."""
    puts: Sequence[tuple[Table[Any], Sequence[Put]]]
    rollups: Mapping[RollupKey, Figures]
    """What the requests of this group add to their rollups."""


class Backend(Protocol):
    """Called by the writer's thread alone. Any of these may raise; then the writer rolls back."""

    def begin(self) -> Head:
        """Take the write lock, for a bounded time of waiting."""

    def load(self, table: Table[Any], keys: Sequence[Key]) -> list[Any]:
        """The rows with these primary keys, as far as they exist."""

    def find(self, table: Table[Any], column: str, value: Cell) -> list[Any]:
        """The rows with this value in an indexed column."""

    def flush(self, batch: Batch) -> None:
        """Write, without making it durable yet."""

    def commit(self) -> None:
        """Make what was flushed durable and give up the lock."""

    def rollback(self) -> None:
        """Forget what was flushed and give up the lock; never raises, and forgets a broken connection."""

    def rest(self) -> None:
        """Nothing waits: time for upkeep."""

    def close(self) -> None: ...
