"""Connections to a ledger's file: how they are set, and a pool of those that only read."""

import os
import sqlite3
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lava_proxy.store.failures import explain, missing

WRITER_CACHE_KIBIBYTES = 16 * 1024
READER_CACHE_KIBIBYTES = 2 * 1024
_STATEMENTS_CACHED = 512
_PRAGMAS = (
    "foreign_keys = ON",
    "recursive_triggers = ON",  # or INSERT OR REPLACE would slip by the triggers that refuse to delete
    "wal_autocheckpoint = 0",
    "temp_store = MEMORY",  # a statement of many rows keeps a journal of its own, else in a file
)

type FileIdentity = tuple[int, int]


def connect(
    path: Path,
    *,
    busy_seconds: float,
    cache_kibibytes: int = READER_CACHE_KIBIBYTES,
    connection_class: type[sqlite3.Connection] = sqlite3.Connection,
) -> sqlite3.Connection:
    """A connection to an existing file, with every setting that a file does not keep by itself.

    Transactions are begun and ended by statement. Nothing checkpoints by itself but the closing of the last connection.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=busy_seconds,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=_STATEMENTS_CACHED,
        factory=connection_class,
    )
    try:
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        connection.execute(f"PRAGMA cache_size = -{cache_kibibytes}")
    except BaseException:
        connection.close()
        raise
    return connection


def identity_of(path: Path) -> FileIdentity:
    """Which file stands at this path.

    Raises:
        LedgerUnavailable: none does.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise missing(path) from error
    return status.st_dev, status.st_ino


class ReadPool:
    """Connections for reading; each is used by one reader at a time."""

    def __init__(self, path: Path, *, busy_seconds: float) -> None:
        self._path = path
        self._busy_seconds = busy_seconds
        self._idle: deque[tuple[FileIdentity, sqlite3.Connection]] = deque()
        self._is_closed = False

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """A connection on which every statement sees one and the same committed state.

        Raises:
            LedgerUnavailable: the file cannot be read.
        """
        identity, connection = self._take()
        is_broken = False
        try:
            connection.execute("BEGIN")
            connection.execute("SELECT 1 FROM sqlite_schema").fetchone()  # SQLite fixes the state at the first look
            yield connection
        except sqlite3.Error as error:
            is_broken = True
            raise explain(error, self._path) from error
        finally:
            if is_broken or self._is_closed or not _end(connection):
                connection.close()
            else:
                self._idle.append((identity, connection))

    def close(self) -> None:
        """Close what is idle; what is in use closes when it comes back."""
        self._is_closed = True
        while self._idle:
            self._idle.pop()[1].close()

    def _take(self) -> tuple[FileIdentity, sqlite3.Connection]:
        identity = identity_of(self._path)
        while self._idle:
            with suppress(IndexError):  # another thread was quicker
                found, connection = self._idle.pop()
                if found == identity:
                    return found, connection
                connection.close()
        try:
            connection = connect(self._path, busy_seconds=self._busy_seconds)
            connection.execute("PRAGMA query_only = ON")
        except sqlite3.Error as error:
            raise explain(error, self._path) from error
        return identity, connection


def _end(connection: sqlite3.Connection) -> bool:
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except sqlite3.Error:
        return False
    return True
