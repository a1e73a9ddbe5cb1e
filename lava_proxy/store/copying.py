"""A consistent copy of a ledger's file, while calls go on."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from lava_proxy.store.connections import connect
from lava_proxy.store.failures import explain

_BUSY_SECONDS = 10.0


def copy_ledger(source: Path, target: Path) -> None:
    """Write the committed state of ``source`` to ``target``, a new file (mode 0600), and sync it.

    SQLite's backup takes it all in one step, out of one state: writers are not held up, and none can make it begin again.

    Raises:
        FileExistsError: ``target`` is there already.
        LedgerUnavailable: the source cannot be read, or the target cannot be written.
    """
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with (
            closing(connect(source, busy_seconds=_BUSY_SECONDS)) as reading,
            closing(sqlite3.connect(target)) as writing,
        ):
            reading.backup(writing)
    except sqlite3.Error as error:
        target.unlink()
        raise explain(error, source) from error
    with target.open("rb") as written:
        os.fsync(written.fileno())
