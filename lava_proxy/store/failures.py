"""What SQLite's errors mean to a caller, and what to do about each."""

import sqlite3
from pathlib import Path

from lava_proxy.core.errors import Conflict, LavaError, LedgerInconsistent, LedgerUnavailable

_REASONS = {
    sqlite3.SQLITE_BUSY: (
        "is locked by another process",
        "Find what holds it open for writing (a backup, an SQLite shell) and let it finish.",
    ),
    sqlite3.SQLITE_LOCKED: ("is locked by another process", "Find what holds it open for writing and let it finish."),
    sqlite3.SQLITE_FULL: ("cannot grow: the disk is full", "Make room on the disk; nothing else needs to be done."),
    sqlite3.SQLITE_IOERR: (
        "cannot be read or written: the disk failed",
        "Look at the system's log for disk errors, and run `lava doctor`.",
    ),
    sqlite3.SQLITE_CORRUPT: (
        "is damaged",
        "Stop, keep a copy of the file, and restore the last backup; `lava doctor` shows the damage.",
    ),
    sqlite3.SQLITE_NOTADB: ("is not an SQLite file", "Put the right file in its place, or restore the last backup."),
    sqlite3.SQLITE_READONLY: (
        "is read-only",
        "Give the user that runs Lava the right to write the file and its folder.",
    ),
    sqlite3.SQLITE_PERM: (
        "may not be opened",
        "Give the user that runs Lava the right to write the file and its folder.",
    ),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", "See that the file and its folder exist and may be written."),
    sqlite3.SQLITE_PROTOCOL: (
        "is locked in a way that SQLite does not understand",
        "Keep it on a local disk, never on a network share.",
    ),
    sqlite3.SQLITE_NOMEM: ("cannot be used: there is no memory left", "Free some memory."),
}
_UNIQUE = (sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
_STEP_FAULTS = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError, sqlite3.DataError)


def explain(error: sqlite3.Error, path: Path) -> LavaError:
    """The error of ours for one of SQLite's.

    ``Conflict`` and ``LedgerInconsistent`` are the fault of what was written, ``LedgerUnavailable`` of the disk.
    """
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    if isinstance(error, _STEP_FAULTS):
        if code in _UNIQUE:
            return Conflict(f"This is already in the ledger ({error}); nothing was written.", constraint=str(error))
        return LedgerInconsistent(
            f"This would break a rule of the ledger ({error}); nothing was written.",
            hint="This is a fault in Lava: please report it.",
            constraint=str(error),
        )
    reason, hint = _REASONS.get(code & 0xFF, ("cannot be used", "Run `lava doctor`."))
    return LedgerUnavailable(f"The ledger {path} {reason} ({error}).", hint=hint, path=str(path), cause=str(error))


def missing(path: Path) -> LedgerUnavailable:
    """The file is gone, or another one stands in its place."""
    return LedgerUnavailable(
        f"The ledger {path} is not there any more.", hint="Put the file back.", path=str(path), cause="missing"
    )
