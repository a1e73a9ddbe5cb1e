"""Moving the write-ahead log into the file: by one process at a time, chosen by a file lock beside the ledger.

SQLite 3.7.0 to 3.51.2 can lose a log that is reset while several connections checkpoint
(https://sqlite.org/wal.html#walresetbug, read 2026-11), so nothing here checkpoints by itself: whoever holds the lock
does, on the writer's own thread, when it rests or when the log has grown.
"""

import fcntl
import os
import sqlite3
from contextlib import suppress
from pathlib import Path

WAL_BYTES_MAX = 32 * 1024 * 1024
"""A log that has grown beyond this is checkpointed between two groups, which takes some 30 ms; a busy writer rewrites
the same pages again and again, so that rare checkpoints are less work than many."""
_COMMITS_BETWEEN_LOOKS = 64


class Checkpointer:
    """Checkpoints through the writer's connection while this process has the lock."""

    def __init__(self, path: Path, *, wal_bytes_max: int = WAL_BYTES_MAX) -> None:
        self._wal = Path(f"{path}-wal")
        self._lock = os.open(f"{path}.checkpoint.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._wal_bytes_max = wal_bytes_max
        self._is_ours = False
        self._commits = 0
        self._has_news = True

    def committed(self, connection: sqlite3.Connection) -> None:
        """After each commit: checkpoint where the log has grown too long."""
        self._has_news = True
        self._commits += 1
        if self._commits >= _COMMITS_BETWEEN_LOOKS:
            self._commits = 0
            if wal_bytes(self._wal) > self._wal_bytes_max:
                self._checkpoint(connection, "PASSIVE")

    def rest(self, connection: sqlite3.Connection) -> None:
        """Nothing waits: bring the file up to date, then leave the log to whoever goes on writing.

        One at rest could not keep it short: beside a busy writer there is no moment at which all of it is in the file.
        """
        if self._has_news and self._checkpoint(connection, "PASSIVE"):
            self._has_news = False
        if self._is_ours:
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            self._is_ours = False

    def close(self, connection: sqlite3.Connection | None) -> None:
        """Empty the log where nobody needs it any more, and let another process take over."""
        if connection is not None:
            self._checkpoint(connection, "TRUNCATE")
        os.close(self._lock)

    def _checkpoint(self, connection: sqlite3.Connection, how: str) -> bool:
        """True where all of the log is in the file. A fault is left to the next commit, which meets it again."""
        if not self._take():
            return False
        with suppress(sqlite3.Error):
            busy, frames, done = connection.execute(f"PRAGMA wal_checkpoint({how})").fetchone()
            return bool(not busy and frames == done)
        return False

    def _take(self) -> bool:
        if not self._is_ours:
            with suppress(OSError):  # another has it, or locks fail here: after a commit nothing may raise
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._is_ours = True
        return self._is_ours


def wal_bytes(wal: Path) -> int:
    """The size of a write-ahead log; 0 where there is none."""
    try:
        return wal.stat().st_size
    except OSError:
        return 0
