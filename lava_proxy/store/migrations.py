"""The versions of a ledger's file, and the way from each to the next.

``STEPS`` only ever grows. A file's version is the number of steps that have run on it; the table ``_sqlite_migrations``
records which and when. All steps that a file lacks run in one transaction under the write lock, each in a savepoint:
a file is old or new, never in between. Before an older file is changed, a copy is written beside it.
"""

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from lava_proxy import __version__
from lava_proxy.core.errors import LedgerTooNew, LedgerUnavailable
from lava_proxy.store import schema_rollups
from lava_proxy.store.schema import FIRST_TABLES
from lava_proxy.store.schema_alerts import ALERT_TABLES
from lava_proxy.store.schema_billing import BILLING_TABLES
from lava_proxy.store.schema_meters import METER_STEP
from lava_proxy.store.schema_reports import report_step
from lava_proxy.store.schema_reprice import add_pricing_facts
from lava_proxy.store.schema_units import add_units

if TYPE_CHECKING:
    from sqlite_utils import Database

APPLICATION_ID = 0x6C617661  # "lava"
WRITTEN_BY_FACT = "written_by"
_MIGRATION_SET = "ledger"


class MigrationStep(Struct, frozen=True, kw_only=True):
    """From one version to the next. ``run`` must not commit."""

    name: str
    run: "Callable[[Database], None]"


def _first_tables(database: "Database") -> None:
    for statement in FIRST_TABLES:
        database.conn.execute(statement)


def _rollups(database: "Database") -> None:
    for statement in (*schema_rollups.TABLES, *(schema_rollups.fill(*rollups) for rollups in schema_rollups.ROLLUPS)):
        database.conn.execute(statement)


def _alert_tables(database: "Database") -> None:
    for statement in ALERT_TABLES:
        database.conn.execute(statement)


def _meters_and_budgets(database: "Database") -> None:
    for statement in METER_STEP:
        database.conn.execute(statement)


def _billing_tables(database: "Database") -> None:
    for statement in BILLING_TABLES:
        database.conn.execute(statement)


STEPS: tuple[MigrationStep, ...] = (
    MigrationStep(name="first_tables", run=_first_tables),
    MigrationStep(name="rollups", run=_rollups),
    MigrationStep(name="alert_tables", run=_alert_tables),
    MigrationStep(name="meters_and_budgets", run=_meters_and_budgets),
    MigrationStep(name="billing", run=_billing_tables),
    MigrationStep(name="more_units", run=add_units),
    MigrationStep(name="reports", run=report_step),
    MigrationStep(name="pricing_facts", run=add_pricing_facts),
)


def schema_version(connection: sqlite3.Connection) -> int:
    """How many steps have run on a file."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def migrate(
    connection: sqlite3.Connection, path: Path, *, now_us: int, steps: Sequence[MigrationStep] = STEPS
) -> Path | None:
    """Bring a file to the version of this program. Gives the copy that was made before, if one was.

    Several processes may do this at once: the write lock lets one run the steps, and the others find them done.

    Raises:
        LedgerTooNew: a newer program wrote it.
        LedgerUnavailable: it is no ledger.
        sqlite3.Error: it cannot be read or written.
    """
    if check_file(connection, path, steps) == len(steps):
        return None
    connection.execute("BEGIN IMMEDIATE")
    try:
        before = check_file(connection, path, steps)
        backup = _back_up(path, before, now_us) if 0 < before < len(steps) else None
        if before < len(steps):
            _run(connection, steps)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return backup


def check_file(connection: sqlite3.Connection, path: Path, steps: Sequence[MigrationStep] = STEPS) -> int:
    """The version of a ledger's file; 0 for an empty one.

    Raises:
        LedgerTooNew: a newer program wrote it.
        LedgerUnavailable: it is no ledger.
    """
    version = schema_version(connection)
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != APPLICATION_ID and (version or tables):
        message = f"{path} is an SQLite file, but not a ledger of Lava's."
        raise LedgerUnavailable(message, hint="Name another file or home.", path=str(path), cause="not a ledger")
    if version > len(steps):
        raise LedgerTooNew(
            f"The ledger {path} has version {version}, written by lava-proxy {_written_by(connection)}; "
            f"this is lava-proxy {__version__}, which knows versions up to {len(steps)}.",
            hint="Install the newer lava-proxy again, or restore the copy that it made beside the file.",
            path=str(path),
            file_version=version,
            known_version=len(steps),
        )
    return version


def _written_by(connection: sqlite3.Connection) -> str:
    """Which program brought the file to its version, as far as a table that may have changed since still tells."""
    try:
        found = connection.execute("SELECT value FROM home_facts WHERE name = ?", (WRITTEN_BY_FACT,)).fetchone()
    except sqlite3.OperationalError:
        found = None
    return str(found[0]) if found else "(a newer version)"


def _run(connection: sqlite3.Connection, steps: Sequence[MigrationStep]) -> None:
    from sqlite_utils import Database  # slow to import, and needed once in a file's life
    from sqlite_utils.migrations import Migrations

    database = Database(connection, execute_plugins=False)
    migrations = Migrations(_MIGRATION_SET)
    for step in steps:
        migrations(name=step.name)(step.run)
    migrations.apply(database)
    connection.execute(f"PRAGMA user_version = {len(steps)}")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    written = (
        "INSERT INTO home_facts (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
    )
    connection.execute(written, (WRITTEN_BY_FACT, __version__))


def _back_up(path: Path, version: int, now_us: int) -> Path:
    """A consistent copy of the file, synced, while the caller keeps others from writing."""
    instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=now_us)
    copy = path.with_name(f"{path.name}.v{version}-{instant:%Y%m%dT%H%M%S}.{instant.microsecond:06d}Z.bak")
    os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    with open(copy, "rb") as written:
        os.fsync(written.fileno())
    return copy
