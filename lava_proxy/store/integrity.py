"""What a ledger's file is like, for `lava doctor`."""

import sqlite3
from contextlib import closing
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.errors import NotFound
from lava_proxy.store.checkpoint import wal_bytes
from lava_proxy.store.failures import explain
from lava_proxy.store.migrations import STEPS, schema_version
from lava_proxy.store.opening import SYNCHRONOUS_FACT

_WAL_RESET_FAULT = ((3, 7, 0), (3, 51, 2))
_PROBLEMS_MAX = 100


class Integrity(Struct, frozen=True, kw_only=True):
    """Facts about a file."""

    sqlite_version: str
    has_wal_reset_fault: bool
    """This SQLite can lose a log that several connections checkpoint; Lava lets only one do so."""
    file_bytes: int
    wal_bytes: int
    journal_mode: str = ""
    synchronous: str = ""
    schema_version: int = 0
    newest_schema_version: int = len(STEPS)
    problems: tuple[str, ...] = ()
    """What SQLite found wrong with the file; empty where it is sound."""


def integrity(path: Path, *, thorough: bool = False) -> Integrity:
    """Look at a file without changing it; ``thorough`` reads all of it, indexes and references too.

    A damaged file is not an error here but a problem in the answer.

    Raises:
        NotFound: there is none.
    """
    if not path.exists():
        raise NotFound(f"There is no ledger at {path}.", hint="`lava init` makes a home with one.", path=str(path))
    outside = Integrity(
        sqlite_version=sqlite3.sqlite_version,
        has_wal_reset_fault=_WAL_RESET_FAULT[0] <= sqlite3.sqlite_version_info <= _WAL_RESET_FAULT[1],
        file_bytes=path.stat().st_size,
        wal_bytes=wal_bytes(Path(f"{path}-wal")),
    )
    try:
        return _look_inside(path, outside, thorough)
    except sqlite3.Error as error:
        return replace(outside, problems=(explain(error, path).message,))


def _look_inside(path: Path, outside: Integrity, thorough: bool) -> Integrity:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)) as connection:
        connection.execute("PRAGMA query_only = ON")
        (journal_mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        return replace(
            outside,
            journal_mode=str(journal_mode),
            synchronous=_synchronous(connection),
            schema_version=schema_version(connection),
            problems=_problems(connection, thorough),
        )


def _problems(connection: sqlite3.Connection, thorough: bool) -> tuple[str, ...]:
    check = "integrity_check" if thorough else "quick_check"
    found = [str(line) for (line,) in connection.execute(f"PRAGMA {check}({_PROBLEMS_MAX})") if line != "ok"]
    if thorough:
        for table, rowid, parent, _ in connection.execute("PRAGMA foreign_key_check"):
            found.append(f"{table}: row {rowid} refers to a row of {parent} that does not exist")
    return tuple(found[:_PROBLEMS_MAX])


def _synchronous(connection: sqlite3.Connection) -> str:
    try:
        found = connection.execute("SELECT value FROM home_facts WHERE name = ?", (SYNCHRONOUS_FACT,)).fetchone()
    except sqlite3.OperationalError:
        return ""  # an empty file, or one that is not a ledger
    return str(found[0]) if found else ""
