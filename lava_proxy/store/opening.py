"""Opening a ledger's file: made where it is missing, migrated where it is old, refused where it is another home's."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from lava_proxy.core.entities import Mode
from lava_proxy.core.errors import InvalidSettings, LedgerUnavailable, NotFound, Refused
from lava_proxy.core.ports import Clock
from lava_proxy.store.connections import connect
from lava_proxy.store.failures import explain
from lava_proxy.store.migrations import check_file, migrate

MODE_FACT = "mode"
SYNCHRONOUS_FACT = "synchronous"
SYNCHRONOUS = ("FULL", "NORMAL")
"""FULL survives the loss of power, NORMAL only the death of a process."""


def prepare(
    path: Path, *, mode: Mode | None, clock: Clock, synchronous: str | None, create: bool, busy_seconds: float
) -> str:
    """Make the file ready for use. Gives its ``synchronous`` setting, which is kept in the file.

    ``mode`` of ``None``: whichever it has, live for a new one.

    Raises:
        NotFound: there is no file, and none is to be made.
        Refused: it is the ledger of a home in the other mode.
        InvalidSettings: ``synchronous`` is neither FULL nor NORMAL.
        LedgerTooNew: a newer program wrote it.
        LedgerUnavailable: it is no ledger, or cannot be read or written.
    """
    if synchronous is not None and synchronous not in SYNCHRONOUS:
        raise InvalidSettings(
            f"synchronous: {synchronous!r} is not one of {', '.join(SYNCHRONOUS)}", field="synchronous"
        )
    _make_file(path, create)
    try:
        with closing(connect(path, busy_seconds=busy_seconds)) as connection:
            check_file(connection, path)
            _use_wal(connection, path)
            migrate(connection, path, now_us=clock.now_us())
            _keep_mode(connection, path, mode)
            return _keep_synchronous(connection, synchronous)
    except sqlite3.Error as error:
        raise explain(error, path) from error


def _make_file(path: Path, create: bool) -> None:
    if path.exists():
        return
    if not create:
        raise NotFound(f"There is no ledger at {path}.", hint="`lava init` makes a home with one.", path=str(path))
    try:
        # O_EXCL: closing a file that SQLite has open elsewhere in this process would drop its locks.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        hint = "See that the folder exists and may be written."
        raise LedgerUnavailable(f"The ledger {path} cannot be made ({error}).", hint=hint, path=str(path)) from error


def _use_wal(connection: sqlite3.Connection, path: Path) -> None:
    (journal_mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if journal_mode != "wal":
        hint = "Keep it on a local disk: SQLite's write-ahead log needs shared memory."
        message = f"The ledger {path} cannot keep a write-ahead log here."
        raise LedgerUnavailable(message, hint=hint, path=str(path), cause=str(journal_mode))


def _keep_mode(connection: sqlite3.Connection, path: Path, mode: Mode | None) -> None:
    found = _fact(connection, MODE_FACT)
    if found is None:
        values = (MODE_FACT, (mode or Mode.LIVE).value)
        connection.execute("INSERT OR IGNORE INTO home_facts (name, value) VALUES (?, ?)", values)
        found = _fact(connection, MODE_FACT)
    if mode is not None and found != mode.value:
        message = f"The ledger {path} belongs to a home in {found} mode and was opened in {mode.value} mode."
        hint = f"Use another home for {mode.value} mode; a home keeps its mode."
        raise Refused(message, hint=hint, path=str(path), file_mode=found, asked_mode=mode.value)


def _keep_synchronous(connection: sqlite3.Connection, synchronous: str | None) -> str:
    found = _fact(connection, SYNCHRONOUS_FACT)
    wanted = synchronous or found or SYNCHRONOUS[0]
    if wanted != found:
        values = (SYNCHRONOUS_FACT, wanted)
        connection.execute("INSERT OR REPLACE INTO home_facts (name, value) VALUES (?, ?)", values)
    return wanted


def _fact(connection: sqlite3.Connection, name: str) -> str | None:
    found = connection.execute("SELECT value FROM home_facts WHERE name = ?", (name,)).fetchone()
    return str(found[0]) if found else None
