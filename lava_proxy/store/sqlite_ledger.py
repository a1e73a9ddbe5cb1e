"""The ledger in an SQLite file."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from lava_proxy.core.entities import Mode
from lava_proxy.core.ports import Clock
from lava_proxy.store.connections import ReadPool, connect
from lava_proxy.store.failures import explain
from lava_proxy.store.ledger import WritingLedger, no_probe
from lava_proxy.store.opening import prepare
from lava_proxy.store.rollups import make_anew
from lava_proxy.store.sqlite_backend import SqliteBackend
from lava_proxy.store.sqlite_books import SqliteReader

BUSY_SECONDS = 5.0
"""How long a group waits for another process's write lock."""


class SqliteLedger(WritingLedger):
    """``core.ports.Ledger`` in one SQLite file, which any number of processes may share.

    ``probe`` is called at ``after_begin``, ``before_flush``, ``before_commit`` and ``after_commit`` of each group, on the
    writer's thread: a test may end the process there. It must not raise. ``connection_class`` lets a test stand between
    the writer and SQLite.
    """

    def __init__(
        self,
        path: Path,
        *,
        mode: Mode | None,
        clock: Clock,
        synchronous: str | None = None,
        create: bool = True,
        busy_seconds: float = BUSY_SECONDS,
        probe: Callable[[str], None] = no_probe,
        connection_class: type[sqlite3.Connection] = sqlite3.Connection,
    ) -> None:
        self.path = path
        self.synchronous = prepare(
            path, mode=mode, clock=clock, synchronous=synchronous, create=create, busy_seconds=busy_seconds
        )
        backend = SqliteBackend(
            path, synchronous=self.synchronous, busy_seconds=busy_seconds, connection_class=connection_class
        )
        reader = SqliteReader(ReadPool(path, busy_seconds=busy_seconds))
        super().__init__(backend, reader, clock=clock, probe=probe, name="lava-ledger")
        self._busy_seconds = busy_seconds

    def rebuild_rollups(self) -> int:
        """See ``core.ports.Ledger.rebuild_rollups``. Settlements wait meanwhile."""
        try:
            with closing(connect(self.path, busy_seconds=self._busy_seconds)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                count = make_anew(connection)
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise explain(error, self.path) from error
        return count
